import type { Literal, MilFunction } from "../mil/program.ts";
import { tensorType } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import type { BatchSizes } from "./family.ts";
import type { Model } from "./model.ts";
import { StageInliner, weightIdentifier } from "./stage-inliner.ts";
import type { WeightSpec } from "./weights.ts";

/** The first elements of a weight, as many as `type` has: all of them, or the rows of the positions in use. */
export type NumbersOf = (weight: WeightSpec, type: TensorType) => Literal;

/**
 * A model's forward pass as one function with its weights in it: `tokens` int32 [B, S] to `logits` [B, S, V], those at
 * a position for the token after it. Each layer stands in it once; a tied table is one constant.
 */
export function wholeForward(model: Model, sizes: BatchSizes, numbersOf: NumbersOf): MilFunction {
  const { batchSize, sequenceLength, dataType } = sizes;
  const writer = new StageInliner((builder, weight, type) =>
    builder.constant(numbersOf(weight, type), weightIdentifier(weight)),
  );
  const tokens = writer.builder.input("tokens", tensorType("int32", [batchSize, sequenceLength]));
  const { embed, block, everyLogits } = model.functions;
  const { parameters } = model;
  let hidden = writer.inlineOne(embed(sizes), parameters.embed, { tokens });
  const layers = new Map<string | undefined, MilFunction>();
  for (const instance of parameters.blocks) {
    const { variant } = instance;
    const layer = layers.get(variant) ?? block({ ...sizes, variant });
    layers.set(variant, layer);
    hidden = writer.inlineOne(layer, instance, { hidden });
  }
  const rows = everyLogits({ rowCount: batchSize * sequenceLength, dataType });
  const logits = writer.inlineOne(rows, parameters.head, { hidden });
  const shape = [batchSize, sequenceLength, model.config.vocabularySize];
  return writer.builder.finish({
    logits: writer.builder.op("reshape", { x: logits, shape }),
  });
}
