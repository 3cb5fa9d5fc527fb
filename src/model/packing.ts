import type { MilFunction, Value } from "../mil/program.ts";
import { causalMask, maskedScore } from "./attention.ts";
import type { BatchSizes } from "./family.ts";
import { StageBuilder } from "./stage-builder.ts";

/** Names of the rotary tables that packed blocks read, fp32 [B, S, D] each. */
export const PACKED_TABLES = [
  "query_cosines",
  "query_signed_sines",
  "key_cosines",
  "key_signed_sines",
] as const;
export type PackedTables = Readonly<Record<(typeof PACKED_TABLES)[number], Float32Array>>;

/** Tables [S, D] of positions 0 to S - 1, of which a packed batch takes rows; `prefix` begins their names. */
export interface RopeOfPositions {
  readonly prefix: string;
  readonly headSize: number;
  readonly tables: PackedTables;
}

/** A mask that blocks read, under its name. `window`: rows a row sees, itself included. */
export interface PackedMask {
  readonly name: string;
  readonly window?: number | undefined;
}

const WHOLE_MASK: readonly PackedMask[] = [{ name: "attention_mask" }];

/**
 * What all blocks need to know of a packed batch, computed once a step. From documents and, with rotary positions,
 * position_ids, int32 [B, S], to masks [B, S, S] and `PACKED_TABLES`.
 */
export function packingFunction(
  sizes: BatchSizes,
  ropes: readonly RopeOfPositions[] = [],
  masks: readonly PackedMask[] = WHOLE_MASK,
): MilFunction {
  const { batchSize: B, sequenceLength: S, dataType } = sizes;
  const stage = new StageBuilder("packing", [], dataType);
  const documents = stage.input("documents", [B, S], "int32");
  const numbers = stage.op("cast", { x: documents, dtype: dataType });
  const distance = stage.op("sub", {
    x: stage.op("reshape", { x: numbers, shape: [B, S, 1] }),
    y: stage.op("reshape", { x: numbers, shape: [B, 1, S] }),
  });
  // 0 within a document, 1 between two: numbers of documents are whole.
  const apart = stage.op("minimum", { x: stage.op("abs", { x: distance }), y: 1 });
  const foreign = stage.op("mul", { x: apart, y: maskedScore(dataType) });
  const outputs: Record<string, Value> = {};
  for (const { name, window } of masks) {
    // Rows of a document follow one another, so a distance in the batch is one in the document.
    outputs[name] = stage.op("minimum", { x: foreign, y: causalMask(stage, S, window) });
  }
  const indices = ropes.length === 0 ? undefined : stage.input("position_ids", [B, S], "int32");
  for (const { prefix, headSize, tables } of ropes) {
    for (const name of PACKED_TABLES) {
      const x = stage.constant(tables[name], [S, headSize], `${prefix}${name}_table`);
      if (indices !== undefined)
        outputs[`${prefix}${name}`] = stage.op("gather", { x, indices, axis: 0 });
    }
  }
  return stage.finish(outputs);
}
