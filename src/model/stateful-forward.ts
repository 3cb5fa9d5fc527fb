import type { FunctionBuilder } from "../mil/builder.ts";
import { tensorLiteral } from "../mil/literal.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { tensorType } from "../mil/types.ts";
import { maskedScore } from "./attention.ts";
import { cachedContextLength, cachedContextReason } from "./context-length.ts";
import { ModelError } from "./errors.ts";
import type { Model } from "./model.ts";
import { ropeTables } from "./rope.ts";
import type { StageDataType } from "./stage-builder.ts";
import { StageInliner } from "./stage-inliner.ts";
import type { WeightWriter } from "./stage-inliner.ts";

/** Sizes of a function that goes on with a text, its keys and values in states. */
export interface StatefulSizes {
  /** Tokens a run takes, R. */
  readonly rowCount: number;
  /** Positions that the states hold, T. */
  readonly cacheLength: number;
  /** Of numbers; Core ML has states of fp16 only. */
  readonly dataType: StageDataType;
}

/** Names of a layer's states. */
export const stateNames = (layer: number) => ({
  keys: `key_cache_${layer}`,
  values: `value_cache_${layer}`,
});

/**
 * A model that goes on with a text as one function with its weights in it: `tokens` int32 [1, R] at positions from
 * `position` int32 [1] on, to `logits` [1, R, V]. Keys and values stand in states, [1, Hkv, T, D] each, two a layer;
 * a run reads the `position` rows before and writes its own behind them. `position` + R must not exceed T. Throws
 * `ModelError` where T or R is more than texts with cached keys may have.
 */
export function statefulForward(
  model: Model,
  { rowCount: R, cacheLength: T, dataType }: StatefulSizes,
  writeWeight: WeightWriter,
): MilFunction {
  const { config, functions, parameters } = model;
  const longest = cachedContextLength(config);
  if (T > longest || R > T) {
    throw new ModelError(
      "model.states",
      `${R} tokens at once and ${T} positions do not fit a context of ${longest}${cachedContextReason(config)}`,
      { remedy: `Use --max-seq-length ${longest} or less, and no more tokens at once.` },
    );
  }
  const writer = new StageInliner(writeWeight);
  const { builder } = writer;
  const tokens = builder.input("tokens", tensorType("int32", [1, R]));
  const position = builder.input("position", tensorType("int32", [1]));
  const cacheShape = [1, config.keyValueHeadCount, T, config.headSize];
  const cacheType = { kind: "state", wrapped: tensorType(dataType, cacheShape) } as const;
  const states = parameters.blocks.map((_, layer) => {
    const names = stateNames(layer);
    return {
      keys: builder.input(names.keys, cacheType),
      values: builder.input(names.values, cacheType),
    };
  });
  const places = new Places(builder, { position, rowCount: R, cacheLength: T, dataType });
  const shared: Record<string, Value> = { mask: places.mask() };
  const window = config.family === "gpt2" ? undefined : config.window;
  if (window !== undefined) shared["window_mask"] = places.windowMask(window.length);
  for (const { prefix, settings } of model.ropes) {
    const { cosines, signedSines } = ropeTables(settings, { rowCount: T, sequenceLength: T });
    const rows = (table: Float32Array, name: string): Value =>
      builder.op("gather", {
        x: builder.constant(tensorLiteral(dataType, [T, settings.headSize], table), name),
        indices: places.positions,
        axis: 0,
      });
    shared[`${prefix}cosines`] = rows(cosines, `${prefix}cosine_table`);
    shared[`${prefix}signed_sines`] = rows(signedSines, `${prefix}sine_table`);
  }
  const rows = { rowCount: R, dataType };
  let hidden = writer.inlineOne(functions.cachedEmbed(rows), parameters.embed, {
    tokens: builder.op("reshape", { x: tokens, shape: [R] }),
    position_ids: places.positions,
  });
  const [begin, end] = places.slice(cacheShape);
  const blocks = new Map<string | undefined, MilFunction>();
  for (const [layer, instance] of parameters.blocks.entries()) {
    const { variant } = instance;
    const block =
      blocks.get(variant) ??
      functions.cachedBlock({ ...rows, batchSize: 1, cacheLength: T, variant });
    blocks.set(variant, block);
    const state = states[layer];
    if (state === undefined) throw new ModelError("model.states", `no states of layer ${layer}`);
    const before = {
      keys: builder.op("read_state", { input: state.keys }),
      values: builder.op("read_state", { input: state.values }),
    };
    const results = writer.inline(block, instance, {
      ...shared,
      hidden,
      key_cache: before.keys,
      value_cache: before.values,
    });
    const named = (name: string): Value => {
      const value = results.get(name);
      if (value !== undefined) return value;
      throw new ModelError("model.states", `a cached block has no result "${name}"`);
    };
    for (const [part, update] of [
      ["keys", named("new_keys")],
      ["values", named("new_values")],
    ] as const) {
      const data = builder.op("slice_update", { x: before[part], update, begin, end });
      builder.many("write_state", { input: state[part], data });
    }
    hidden = named("hidden_out");
  }
  const logits = writer.inlineOne(functions.everyLogits(rows), parameters.head, { hidden });
  const shape = [1, R, config.vocabularySize];
  return builder.finish({ logits: builder.op("reshape", { x: logits, shape }) });
}

interface PlaceSizes extends StatefulSizes {
  readonly position: Value;
}

/** What follows from the number of positions before a run. */
class Places {
  /** int32 [R]. */
  readonly positions: Value;
  readonly #builder: FunctionBuilder;
  readonly #sizes: PlaceSizes;
  /** int32 [T]: 0, 1, ... */
  readonly #columns: Value;

  constructor(builder: FunctionBuilder, sizes: PlaceSizes) {
    this.#builder = builder;
    this.#sizes = sizes;
    const numbers = (count: number, name: string): Value =>
      builder.constant(
        tensorLiteral(
          "int32",
          [count],
          Array.from({ length: count }, (_, index) => index),
        ),
        name,
      );
    this.#columns = numbers(sizes.cacheLength, "columns");
    this.positions = builder.op("add", {
      x: numbers(sizes.rowCount, "rows"),
      y: sizes.position,
    });
  }

  /** [T]: 0 where a position holds a row, else very negative. */
  mask(): Value {
    return this.#hidden(this.#isEarlier());
  }

  /** [R, T]: 0 where a row sees the position. */
  windowMask(length: number): Value {
    const { rowCount, cacheLength } = this.#sizes;
    const rows = this.#builder.op("reshape", { x: this.positions, shape: [rowCount, 1] });
    const columns = this.#builder.op("reshape", { x: this.#columns, shape: [1, cacheLength] });
    const distance = this.#builder.op("sub", { x: rows, y: columns });
    const isNear = this.#builder.op("less", { x: distance, y: length });
    const earlier = this.#builder.op("reshape", {
      x: this.#isEarlier(),
      shape: [1, cacheLength],
    });
    return this.#hidden(this.#builder.op("logical_and", { x: isNear, y: earlier }));
  }

  /** Begin and end of the new rows in a cache. */
  slice(shape: readonly number[]): readonly [begin: Value, end: Value] {
    const { position, rowCount } = this.#sizes;
    const [batch = 1, heads = 1, , size = 1] = shape;
    const int32s = (values: readonly number[]): Value =>
      this.#builder.constant(tensorLiteral("int32", [values.length], values), "edge");
    const joined = (front: readonly number[], place: Value, back: readonly number[]): Value =>
      this.#builder.op("concat", { values: [int32s(front), place, int32s(back)], axis: 0 });
    const after = this.#builder.op("add", { x: position, y: rowCount });
    return [joined([0, 0], position, [0]), joined([batch, heads], after, [size])];
  }

  #isEarlier(): Value {
    return this.#builder.op("less", { x: this.#columns, y: this.#sizes.position });
  }

  #hidden(isVisible: Value): Value {
    const { dataType } = this.#sizes;
    const seen = this.#builder.op("cast", { x: isVisible, dtype: dataType });
    const lacking = this.#builder.op("sub", { x: seen, y: 1 });
    return this.#builder.op("mul", { x: lacking, y: -maskedScore(dataType) });
  }
}
