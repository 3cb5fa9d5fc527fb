import type { FunctionBuilder } from "../mil/builder.ts";
import { tensorLiteral } from "../mil/literal.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { tensorType } from "../mil/types.ts";
import { maskedScore } from "./attention.ts";
import { cachedContextLength, hasDynamicTurns } from "./context-length.ts";
import type { ModelConfig } from "./config.ts";
import { ModelError } from "./errors.ts";
import type { Model } from "./model.ts";
import { ropeTables } from "./rope.ts";
import type { RopeSettings } from "./rope.ts";
import { StageInliner } from "./stage-inliner.ts";

/** Sizes that a reader of the function leaves open. */
export interface OpenForwardSizes {
  /** Sequences, B. */
  readonly batchSize: number;
  /** New tokens of each, S. */
  readonly rowCount: number;
  /** Tokens before them, P. */
  readonly pastLength: number;
}

/** Names of a layer's keys and values, before and after the new tokens, as ONNX decoders have them. */
export const cacheNames = (layer: number) => ({
  pastKeys: `past_key_values.${layer}.key`,
  pastValues: `past_key_values.${layer}.value`,
  presentKeys: `present.${layer}.key`,
  presentValues: `present.${layer}.value`,
});

const DATA_TYPE = "fp32";

/**
 * A model that goes on with texts, its weights and its keys and values as inputs: `input_ids` int32 [B, S],
 * `attention_mask` int32 [B, P + S] (0 where a sequence is filled up), `position_ids` int32 [B, S] and
 * `past_key_values.N.key` and `.value` fp32 [B, Hkv, P, D] to `logits` fp32 [B, S, V] and `present.N.key` and `.value`
 * [B, Hkv, P + S, D]. Weights are inputs under their own names. Nothing in it but sizes depends on B, S and P.
 */
export function openForward(
  model: Model,
  { batchSize: B, rowCount: S, pastLength: P }: OpenForwardSizes,
): MilFunction {
  const { config, functions, parameters } = model;
  const writer = new StageInliner((into, { name }, type) => into.input(name, type));
  const { builder } = writer;
  const ids = builder.input("input_ids", tensorType("int32", [B, S]));
  const present = builder.input("attention_mask", tensorType("int32", [B, P + S]));
  const positionIds = builder.input("position_ids", tensorType("int32", [B, S]));
  const cacheType = tensorType(DATA_TYPE, [B, config.keyValueHeadCount, P, config.headSize]);
  const caches = parameters.blocks.map((_, layer) => {
    const names = cacheNames(layer);
    return {
      key_cache: builder.input(names.pastKeys, cacheType),
      value_cache: builder.input(names.pastValues, cacheType),
    };
  });
  const sight = new Sight(builder, present, [B, S, P]);
  const shared: Record<string, Value> = { attention_mask: sight.mask() };
  const window = config.family === "gpt2" ? undefined : config.window;
  if (window !== undefined) shared["sliding_attention_mask"] = sight.mask(window.length);
  const indices = builder.op("reshape", { x: positionIds, shape: [B * S] });
  const known = tableLength(config);
  for (const { prefix, settings } of model.ropes) {
    const turns = turnsAt(builder, indices, settings, known);
    shared[`${prefix}cosines`] = turns.cosines;
    shared[`${prefix}signed_sines`] = turns.signedSines;
  }
  const rows = { rowCount: B * S, dataType: DATA_TYPE } as const;
  let hidden = writer.inlineOne(functions.cachedEmbed(rows), parameters.embed, {
    tokens: builder.op("reshape", { x: ids, shape: [B * S] }),
    position_ids: indices,
  });
  const results: Record<string, Value> = {};
  const blocks = new Map<string | undefined, MilFunction>();
  for (const [layer, instance] of parameters.blocks.entries()) {
    const { variant } = instance;
    const sizes = { batchSize: B, rowCount: S, cacheLength: P, dataType: DATA_TYPE } as const;
    const block =
      blocks.get(variant) ?? functions.cachedBlock({ ...sizes, variant, isJoined: true });
    blocks.set(variant, block);
    const made = writer.inline(block, instance, { ...shared, ...caches[layer], hidden });
    const named = (name: string): Value => {
      const value = made.get(name);
      if (value !== undefined) return value;
      throw new ModelError("model.forward", `a block has no result "${name}"`);
    };
    const names = cacheNames(layer);
    results[names.presentKeys] = named("keys");
    results[names.presentValues] = named("values");
    hidden = named("hidden_out");
  }
  const logits = writer.inlineOne(functions.everyLogits(rows), parameters.head, { hidden });
  const shape = [B, S, config.vocabularySize];
  return builder.finish({ logits: builder.op("reshape", { x: logits, shape }), ...results });
}

/**
 * Positions that tables have: the model's context, and one more, since some readers count Gemma's from 1 (turns are
 * relative). With dynamic scaling a table ends where the first context does: runtimes refuse what is behind it.
 */
function tableLength(config: ModelConfig): number {
  return hasDynamicTurns(config) ? cachedContextLength(config) : config.contextLength + 1;
}

/** Rows of the tables of cosines and signed sines, [rows, D] each; halves of D are alike and stand once. */
function turnsAt(
  builder: FunctionBuilder,
  indices: Value,
  settings: RopeSettings,
  rowCount: number,
): { readonly cosines: Value; readonly signedSines: Value } {
  const { cosines, signedSines } = ropeTables(settings, { rowCount, sequenceLength: rowCount });
  const { headSize } = settings;
  const half = headSize / 2;
  const picked = (table: Float32Array, name: string): Value => {
    const firsts = Float32Array.from({ length: rowCount * half }, (_, index) => {
      const row = Math.floor(index / half);
      return table[row * headSize + (index % half)] ?? 0;
    });
    const literal = tensorLiteral(DATA_TYPE, [rowCount, half], firsts);
    return builder.op("gather", { x: builder.constant(literal, name), indices, axis: 0 });
  };
  const cosine = picked(cosines, "cosine_table");
  const negatedSine = picked(signedSines, "sine_table");
  const sine = builder.op("mul", { x: negatedSine, y: -1 });
  return {
    cosines: builder.op("concat", { values: [cosine, cosine], axis: 1 }),
    signedSines: builder.op("concat", { values: [negatedSine, sine], axis: 1 }),
  };
}

/** Which of the P + S columns each of the S new rows sees. */
class Sight {
  readonly #builder: FunctionBuilder;
  /** int32 [B, S, P + S]: how far before the row a column stands; negative behind it. */
  readonly #distance: Value;
  /** [B, S, P + S]: columns that hold a token and do not stand behind the row. */
  readonly #isEarlier: Value;

  constructor(
    builder: FunctionBuilder,
    present: Value,
    [B, S, P]: readonly [batchSize: number, rowCount: number, pastLength: number],
  ) {
    this.#builder = builder;
    const one = builder.op("add", { x: builder.op("mul", { x: present, y: 0 }), y: 1 });
    const places = builder.op("cumsum", { x: one, axis: 1, exclusive: true, reverse: false });
    const own = builder.op("slice_by_index", { x: places, begin: [0, P], end: [B, P + S] });
    const rows = builder.op("reshape", { x: own, shape: [B, S, 1] });
    const columns = builder.op("reshape", { x: places, shape: [B, 1, P + S] });
    this.#distance = builder.op("sub", { x: rows, y: columns });
    const isBefore = builder.op("greater_equal", { x: this.#distance, y: 0 });
    const held = builder.op("reshape", { x: present, shape: [B, 1, P + S] });
    const isHeld = builder.op("greater", { x: held, y: 0 });
    this.#isEarlier = builder.op("logical_and", { x: isBefore, y: isHeld });
  }

  /** [B, S, P + S]: 0 where a row sees the column, of the last `window` where that is given, else very negative. */
  mask(window?: number): Value {
    const builder = this.#builder;
    const isVisible =
      window === undefined
        ? this.#isEarlier
        : builder.op("logical_and", {
            x: this.#isEarlier,
            y: builder.op("less", { x: this.#distance, y: window }),
          });
    const seen = builder.op("cast", { x: isVisible, dtype: DATA_TYPE });
    const lacking = builder.op("sub", { x: seen, y: 1 });
    return builder.op("mul", { x: lacking, y: -maskedScore(DATA_TYPE) });
  }
}
