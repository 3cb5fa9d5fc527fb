import type { Engine, LoadedPlan } from "../engine/engine.ts";
import type { MilFunction } from "../mil/program.ts";
import { ropeTables } from "../model/index.ts";
import type { Model, ModelConfig } from "../model/index.ts";
import type { Plan } from "../plan/plan.ts";
import { firstCacheLength } from "./cache-growth.ts";
import type { PlannedSequence } from "./cache-growth.ts";
import { bucketFor, buildDecodePlan, decodeBuffers } from "./decode-plan.ts";
import type { DecodeSection } from "./decode-plan.ts";
import { GenerateError } from "./errors.ts";

export interface DecodeSessionOptions {
  readonly engine: Engine;
  readonly model: Model;
  /** A plan whose weight buffers are the model's: a training plan, or one of `buildWeightsPlan`. It must outlive the session. */
  readonly weights: LoadedPlan;
  /** Rows of a prompt that run at once. Default 32. */
  readonly prefillRowCount?: number;
  readonly optimize?: (fn: MilFunction) => MilFunction;
}

/** What is added to the score of a cache position without a row. */
const NOT_VISIBLE = -1e9;
const DEFAULT_PREFILL_ROWS = 32;
/** Fewer rows than this run one by one: a prefill computes all of its rows, used or not. */
const PREFILL_WORTHWHILE = 3;

/** One run of a section over so many tokens. */
interface SectionRun {
  readonly section: DecodeSection;
  readonly count: number;
}

interface Loaded {
  readonly plan: LoadedPlan;
  readonly bucket: number;
}

/**
 * One sequence under a model: appended tokens go through the stages once, their keys and values stay in a cache.
 * The cache grows by buckets; a bucket's programs are compiled when it is first needed, and kept. Engines whose sums
 * depend on the size of a cache round otherwise in another bucket: a sequence that `begin` begins is computed the same
 * whatever the session did before.
 */
export class DecodeSession {
  readonly #options: DecodeSessionOptions;
  readonly #model: Model;
  readonly #prefillRowCount: number;
  #loaded: Loaded | undefined;
  /** By bucket. */
  readonly #plans = new Map<number, LoadedPlan>();
  #length = 0;
  /** Positions that the cache holds at least. */
  #leastLength = 0;

  constructor(options: DecodeSessionOptions) {
    this.#options = options;
    this.#model = options.model;
    const rows = options.prefillRowCount ?? DEFAULT_PREFILL_ROWS;
    this.#prefillRowCount = Math.min(rows, options.model.config.contextLength);
  }

  get #config(): ModelConfig {
    return this.#model.config;
  }

  /** Positions filled so far. */
  get length(): number {
    return this.#length;
  }

  /** Positions left in the model's context. */
  get remaining(): number {
    return this.#config.contextLength - this.#length;
  }

  /**
   * Begins a sequence whose length is known, in place of the one before. Throws `EngineError` `engine.ane.budget`
   * where its programs are more than this process may compile.
   */
  begin(sequence: PlannedSequence): void {
    this.#length = 0;
    this.#loaded = undefined;
    const { engine } = this.#options;
    this.#leastLength = firstCacheLength(sequence, {
      engine,
      contextLength: this.#config.contextLength,
      planOf: (bucket) => this.#planOf(bucket),
      sectionsOfPrompt: (tokenCount) => [
        ...new Set(this.#runsOf(tokenCount).map(({ section }) => section)),
      ],
    });
  }

  /**
   * Appends tokens and returns the logits [V] that follow the last one; they stay valid until the next call.
   * Throws `GenerateError` for no tokens, ids outside the vocabulary and sequences longer than the context.
   */
  async append(tokens: readonly number[]): Promise<Float32Array> {
    this.#check(tokens);
    const { plan } = await this.#grow(this.#length + tokens.length);
    let done = 0;
    for (const { section, count } of this.#runsOf(tokens.length)) {
      await this.#run(plan, section, tokens.slice(done, done + count));
      done += count;
    }
    return floatsOf(plan, decodeBuffers.logits);
  }

  /** Forgets all positions from `length` on. Throws `GenerateError` for more than there are. */
  truncate(length = 0): void {
    if (!Number.isInteger(length) || length < 0 || length > this.#length)
      throw new GenerateError(
        "generate.length",
        `a sequence of ${this.#length} positions cannot be cut to ${length}`,
      );
    this.#length = length;
    if (this.#loaded !== undefined)
      floatsOf(this.#loaded.plan, decodeBuffers.mask).fill(NOT_VISIBLE, length);
  }

  async close(): Promise<void> {
    this.#loaded = undefined;
    for (const plan of this.#plans.values()) await plan.close();
    this.#plans.clear();
  }

  #check(tokens: readonly number[]): void {
    const { vocabularySize, contextLength } = this.#config;
    if (tokens.length === 0)
      throw new GenerateError("generate.tokens", "at least one token is needed to go on from");
    for (const token of tokens) {
      if (!Number.isInteger(token) || token < 0 || token >= vocabularySize)
        throw new GenerateError(
          "generate.tokens",
          `token ${token} is outside the vocabulary of ${vocabularySize}`,
        );
    }
    if (this.#length + tokens.length > contextLength)
      throw new GenerateError(
        "generate.context",
        `${this.#length} positions and ${tokens.length} more exceed the model's context of ${contextLength}`,
      );
  }

  /** How so many tokens are appended. */
  #runsOf(tokenCount: number): readonly SectionRun[] {
    const runs: SectionRun[] = [];
    for (let left = tokenCount; left > 0; left -= runs.at(-1)?.count ?? left) {
      runs.push(
        left < PREFILL_WORTHWHILE
          ? { section: "decode", count: 1 }
          : { section: "prefill", count: Math.min(left, this.#prefillRowCount) },
      );
    }
    return runs;
  }

  #planOf(bucket: number): Plan {
    const { model, optimize } = this.#options;
    return buildDecodePlan({
      model,
      bucket,
      prefillRowCount: this.#prefillRowCount,
      ...(optimize !== undefined && { optimize }),
    });
  }

  /** The plan whose cache holds `length` positions; rows of a smaller one are copied over. */
  async #grow(length: number): Promise<Loaded> {
    const old = this.#loaded;
    const needed = Math.max(length, this.#leastLength);
    if (old !== undefined && needed <= old.bucket) return old;
    const { engine, weights } = this.#options;
    const bucket = bucketFor(needed, this.#config.contextLength);
    const plan =
      this.#plans.get(bucket) ?? (await engine.load(this.#planOf(bucket), { share: weights }));
    this.#plans.set(bucket, plan);
    const mask = floatsOf(plan, decodeBuffers.mask);
    mask.fill(NOT_VISIBLE);
    mask.fill(0, 0, this.#length);
    if (old !== undefined) {
      for (const name of this.#cacheNames())
        this.#copyRows(floatsOf(old.plan, name), old.bucket, floatsOf(plan, name), bucket, 0);
    }
    this.#loaded = { plan, bucket };
    return this.#loaded;
  }

  #cacheNames(): readonly string[] {
    return this.#model.parameters.blocks.flatMap((_, layer) => [
      decodeBuffers.keyCache(layer),
      decodeBuffers.valueCache(layer),
    ]);
  }

  /** Copies `#length` rows of every head, or the given number, between [Hkv, rows, D] arrays. */
  #copyRows(
    source: Float32Array,
    sourceRows: number,
    target: Float32Array,
    targetRows: number,
    firstRow: number,
    count = this.#length,
  ): void {
    const { keyValueHeadCount, headSize } = this.#config;
    for (let head = 0; head < keyValueHeadCount; head++) {
      const from = head * sourceRows * headSize;
      target.set(
        source.subarray(from, from + count * headSize),
        (head * targetRows + firstRow) * headSize,
      );
    }
  }

  async #run(plan: LoadedPlan, section: DecodeSection, tokens: readonly number[]): Promise<void> {
    const rowCount = section === "decode" ? 1 : this.#prefillRowCount;
    const ids = plan.view(decodeBuffers.tokens(section));
    ids.fill(0);
    ids.set(tokens);
    this.#writePositions(plan, section, rowCount);
    plan.view(decodeBuffers.row(section)).fill(tokens.length - 1);
    await plan.run(section);
    const bucket = this.#loaded?.bucket ?? 0;
    const copy = (from: string, to: string): void =>
      this.#copyRows(
        floatsOf(plan, from),
        rowCount,
        floatsOf(plan, to),
        bucket,
        this.#length,
        tokens.length,
      );
    this.#model.parameters.blocks.forEach((_, layer) => {
      copy(decodeBuffers.newKeys(section, layer), decodeBuffers.keyCache(layer));
      copy(decodeBuffers.newValues(section, layer), decodeBuffers.valueCache(layer));
    });
    const length = this.#length + tokens.length;
    floatsOf(plan, decodeBuffers.mask).fill(0, this.#length, length);
    this.#length = length;
  }

  #writePositions(plan: LoadedPlan, section: DecodeSection, rowCount: number): void {
    const config = this.#config;
    if (config.family === "gpt2") {
      const positions = plan.view(decodeBuffers.positions(section));
      for (let row = 0; row < rowCount; row++)
        positions[row] = Math.min(this.#length + row, config.contextLength - 1);
      return;
    }
    const { cosines, signedSines } = ropeTables(config, rowCount, this.#length);
    floatsOf(plan, decodeBuffers.cosines(section)).set(cosines);
    floatsOf(plan, decodeBuffers.signedSines(section)).set(signedSines);
  }
}

function floatsOf(plan: LoadedPlan, name: string): Float32Array {
  const view = plan.view(name);
  if (view instanceof Float32Array) return view;
  throw new GenerateError("generate.buffer", `buffer "${name}" does not hold fp32 numbers`);
}
