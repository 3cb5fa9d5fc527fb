import { setImmediate } from "node:timers/promises";
import type { CompilationCost, Engine, LoadedPlan, SectionsOfPlan } from "../engine/engine.ts";
import type { MilFunction } from "../mil/program.ts";
import { cachedContextLength, cachedContextReason } from "../model/index.ts";
import type { Model, ModelConfig } from "../model/index.ts";
import type { Plan } from "../plan/plan.ts";
import { firstCacheLength } from "./cache-growth.ts";
import type { PlannedSequence } from "./cache-growth.ts";
import { CacheShape } from "./cache-shape.ts";
import type { NextToken, ShapeSize } from "./cache-shape.ts";
import { batchBucketFor, bucketFor, buildDecodePlan, cacheBuckets } from "./decode-plan.ts";
import type { DecodeSection } from "./decode-plan.ts";
import { GenerateError } from "./errors.ts";
import { KnownRopeRows } from "./rope-rows.ts";
import { Sequence } from "./sequence.ts";

/** How a decoder is made. */
export interface DecoderOptions {
  readonly engine: Engine;
  readonly model: Model;
  /** A plan whose weight buffers are the model's: a training plan, or one of `buildWeightsPlan`. It must outlive the decoder. */
  readonly weights: LoadedPlan;
  /** The weights do not change while the decoder lives, and memory for a second copy of them is there. Default false. */
  readonly frozenWeights?: boolean;
  /** Rows of a prompt that run at once. Default 32. */
  readonly prefillRowCount?: number;
  /** Sequences that one run continues at most; more are run in turns. Default 32. */
  readonly maximumBatch?: number;
  /** Most bytes of caches that stay loaded while nobody uses them. Default 1 GiB. */
  readonly cacheByteLimit?: number;
  /** Rewrites a stage's function before it is planned. Default: the passes of every engine. */
  readonly optimize?: (fn: MilFunction) => MilFunction;
}

const DEFAULT_PREFILL_ROWS = 32;
const DEFAULT_MAXIMUM_BATCH = 32;
const DEFAULT_CACHE_BYTES = 2 ** 30;
/** Fewer rows than this run one by one: a prefill computes all of its rows, used or not. */
const PREFILL_WORTHWHILE = 3;
/** A runtime that blocks the thread gives others a chance this often. */
const BREATHE_EVERY_MS = 20;

/** One run of a section over so many tokens. */
interface SectionRun {
  readonly section: DecodeSection;
  readonly count: number;
  /** Rows that the section takes, used or not. */
  readonly rowCount: number;
}

/** Which sizes were compiled ahead, and which are run one sequence at a time because the process may compile no more. */
export interface PreparedShapes {
  readonly prepared: readonly { readonly batchSize: number; readonly bucket: number }[];
  readonly left: readonly { readonly batchSize: number; readonly bucket: number }[];
}

/**
 * Runs sequences under a model: appended tokens go through the stages once, their keys and values stay in the sequence.
 * Sequences join and leave from step to step. Programs are static, so caches and batches come in buckets; a bucket's
 * programs are compiled when it is first needed, or ahead by `prepare`, and kept.
 *
 * A sequence is always computed in the cache it would have alone: those of one bucket share a run, others do not. On the
 * reference engine a batch therefore gives the bits of its sequences alone, and on the CPU engine where its few rows run
 * as one program; elsewhere a product of several rows may round its last bits otherwise than one of a single row.
 */
export class Decoder {
  readonly #options: DecoderOptions;
  /** Tokens of the longest text. */
  readonly #contextLength: number;
  readonly #ropeRows: KnownRopeRows;
  readonly #prefillRowCount: number;
  /** Rows of the section that takes short prompts and the ends of long ones, where the engine has use for one. */
  readonly #shortRowCount: number | undefined;
  /** Rows of the section that takes long prompts, where the engine has use for one. */
  readonly #longRowCount: number | undefined;
  readonly #maximumBatch: number;
  /** By `<batch>x<bucket>`, least recently used first. */
  readonly #shapes = new Map<string, CacheShape>();
  /** Batch bucket of the last step, by cache bucket. */
  readonly #lastBatch = new Map<number, number>();
  #breathedMs = performance.now();

  constructor(options: DecoderOptions) {
    this.#options = options;
    const { config, parameters } = options.model;
    const contextLength = cachedContextLength(config);
    this.#contextLength = contextLength;
    this.#ropeRows = new KnownRopeRows(contextLength);
    const isWhole = parameters.weights.every(({ storage }) => storage.kind === "fp32");
    const fewRowCount = options.engine.fewRowCounts?.[isWhole ? "whole" : "stored"];
    this.#prefillRowCount = Math.min(
      options.prefillRowCount ?? DEFAULT_PREFILL_ROWS,
      contextLength,
    );
    const isShorter = fewRowCount !== undefined && fewRowCount < this.#prefillRowCount;
    this.#shortRowCount = isShorter ? fewRowCount : undefined;
    const { longRowCount } = options.engine;
    const isLonger =
      options.prefillRowCount === undefined &&
      longRowCount !== undefined &&
      longRowCount <= contextLength;
    this.#longRowCount = isLonger ? longRowCount : undefined;
    this.#maximumBatch = options.maximumBatch ?? DEFAULT_MAXIMUM_BATCH;
    if (!Number.isInteger(this.#maximumBatch) || this.#maximumBatch < 1)
      throw new GenerateError(
        "generate.batch",
        `a batch of ${this.#maximumBatch} sequences cannot run; it takes a whole number, 1 or more`,
      );
  }

  get #config(): ModelConfig {
    return this.#options.model.config;
  }

  /**
   * An empty sequence. One whose length is planned is computed the same whatever the decoder did before; throws
   * `EngineError` `engine.ane.budget` where its programs are more than this process may compile.
   */
  sequence(planned?: PlannedSequence): Sequence {
    return new Sequence(this.#config, planned === undefined ? 0 : this.#leastCapacity(planned));
  }

  #leastCapacity(planned: PlannedSequence): number {
    return firstCacheLength(planned, {
      engine: this.#options.engine,
      contextLength: this.#contextLength,
      planOf: (bucket) => this.#planOf({ batchSize: 1, bucket }),
      sectionsOfPrompt: (tokenCount) => this.#sectionsOf(tokenCount),
    });
  }

  /**
   * Appends tokens and returns the logits [V] that follow the last one; they stay valid until the next call. `signal`
   * ends it between two runs: it rejects with the signal's reason, and the sequence holds what was done. Throws
   * `GenerateError` for no tokens, ids outside the vocabulary and sequences longer than the context.
   */
  async append(
    sequence: Sequence,
    tokens: readonly number[],
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    this.#check(sequence, tokens);
    this.#reserve(sequence, tokens.length);
    let done = 0;
    for (;;) {
      signal?.throwIfAborted();
      const { count, logits } = await this.#appendRun(sequence, tokens.slice(done));
      done += count;
      if (done === tokens.length) return logits;
      await this.breathe();
    }
  }

  /**
   * The first run of `append`: many tokens at most, so that others get their turn between two of them. Gives how many
   * were appended, and the logits once all are.
   */
  async appendSome(
    sequence: Sequence,
    tokens: readonly number[],
  ): Promise<{ readonly count: number; readonly logits: Float32Array | undefined }> {
    this.#check(sequence, tokens);
    this.#reserve(sequence, tokens.length);
    const { count, logits } = await this.#appendRun(sequence, tokens);
    return { count, logits: count === tokens.length ? logits : undefined };
  }

  /** As `appendSome`, with the logits of every token that was appended, [count, V]. */
  async scoreSome(
    sequence: Sequence,
    tokens: readonly number[],
  ): Promise<{ readonly count: number; readonly logits: Float32Array }> {
    this.#check(sequence, tokens);
    this.#reserve(sequence, tokens.length);
    const count = Math.min(tokens.length, this.#prefillRowCount);
    const size = { batchSize: 1, bucket: sequence.capacity, everyRow: true };
    const shape = await this.#shape(size, "prefill");
    const rows = tokens.slice(0, count);
    const logits = await shape.append("prefill", this.#prefillRowCount, sequence, rows);
    return { count, logits: logits.subarray(0, count * this.#config.vocabularySize) };
  }

  /** As `stepEach`, with the logits [V] of each in the order of the entries, copied. */
  async step(
    entries: readonly NextToken[],
    signal?: AbortSignal,
  ): Promise<readonly Float32Array[]> {
    const results: Float32Array[] = [];
    await this.stepEach(
      entries,
      (logits, index) => {
        results[index] = logits.slice();
      },
      signal,
    );
    return results;
  }

  /**
   * Continues every sequence by its token; `take` hears the logits [V] of each entry, which are not to be kept. Several
   * that have caches of one size run together. Throws as `append` and for a sequence that is named twice, before anything
   * runs.
   */
  async stepEach(
    entries: readonly NextToken[],
    take: (logits: Float32Array, index: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const groups = new Map<number, number[]>();
    const ids = new Set<number>();
    for (const [index, { sequence, token }] of entries.entries()) {
      this.#check(sequence, [token]);
      if (ids.has(sequence.id))
        throw new GenerateError("generate.batch", "a step takes each sequence once");
      ids.add(sequence.id);
      const bucket = this.#bucketFor(sequence, sequence.length + 1);
      groups.set(bucket, [...(groups.get(bucket) ?? []), index]);
    }
    for (const [bucket, indexes] of groups) {
      for (let start = 0; start < indexes.length; start += this.#maximumBatch) {
        signal?.throwIfAborted();
        const part = indexes.slice(start, start + this.#maximumBatch);
        await this.#stepTogether(
          bucket,
          part.flatMap((index) => entries[index] ?? []),
          (logits, order) => take(logits, part[order] ?? 0),
        );
      }
    }
  }

  /**
   * Compiles what `sequenceCount` sequences of up to `length` positions need, so that no step waits for it: first all
   * that one sequence needs, then batches, the largest first. Batches whose caches would put others out are compiled
   * when they are needed. What this process may not compile any more is left out:
   * such batches run one sequence at a time. Throws `EngineError` `engine.ane.budget` where one sequence does not fit.
   */
  async prepare(
    { sequenceCount, length }: { readonly sequenceCount: number; readonly length: number },
    signal?: AbortSignal,
  ): Promise<PreparedShapes> {
    const contextLength = this.#contextLength;
    const longest = bucketFor(Math.min(length, contextLength), contextLength);
    const buckets = cacheBuckets(contextLength).filter((bucket) => bucket <= longest);
    const least = this.#leastCapacity({ promptLength: 1, length: longest });
    const used = buckets.filter((bucket) => bucket >= least);
    const largest = batchBucketFor(Math.min(sequenceCount, this.#maximumBatch));
    const batches: number[] = [];
    for (let size = largest; size > 1; size /= 2) batches.push(size);
    const { cacheByteLimit = DEFAULT_CACHE_BYTES } = this.#options;
    let byteLength = 0;
    const prepared: { batchSize: number; bucket: number }[] = [];
    const left: { batchSize: number; bucket: number }[] = [];
    for (const batchSize of [1, ...batches]) {
      for (const bucket of used) {
        signal?.throwIfAborted();
        if (batchSize > 1 && !this.#mayCompile(batchSize, bucket)) {
          left.push({ batchSize, bucket });
          continue;
        }
        byteLength += this.#cacheBytes(batchSize, bucket);
        if (batchSize > 1 && byteLength > cacheByteLimit) {
          byteLength -= this.#cacheBytes(batchSize, bucket);
          continue;
        }
        const { plan } = await this.#shape({ batchSize, bucket }, "prefill");
        for (const section of plan.plan.sections.keys()) await plan.prepare(section);
        prepared.push({ batchSize, bucket });
        await this.breathe();
      }
    }
    return { prepared, left };
  }

  /** Lets timers, signals and sockets of this thread have their turn, now and then. */
  async breathe(): Promise<void> {
    if (performance.now() - this.#breathedMs < BREATHE_EVERY_MS) return;
    await setImmediate();
    this.#breathedMs = performance.now();
  }

  /** Frees the engine. Throws nothing. */
  async close(): Promise<void> {
    for (const shape of this.#shapes.values()) await shape.close();
    this.#shapes.clear();
  }

  /** Bytes of keys and values of so many sequences. */
  #cacheBytes(batchSize: number, bucket: number): number {
    const { layerCount, keyValueHeadCount, headSize } = this.#config;
    return 2 * 4 * layerCount * batchSize * keyValueHeadCount * bucket * headSize;
  }

  #check(sequence: Sequence, tokens: readonly number[]): void {
    const { vocabularySize } = this.#config;
    const contextLength = this.#contextLength;
    if (tokens.length === 0)
      throw new GenerateError("generate.tokens", "at least one token is needed to go on from");
    for (const token of tokens) {
      if (!Number.isInteger(token) || token < 0 || token >= vocabularySize)
        throw new GenerateError(
          "generate.tokens",
          `token ${token} is outside the vocabulary of ${vocabularySize}`,
        );
    }
    if (sequence.length + tokens.length > contextLength)
      throw new GenerateError(
        "generate.context",
        `${sequence.length} positions and ${tokens.length} more exceed the model's context of ${contextLength}${cachedContextReason(this.#config)}`,
      );
  }

  async #appendRun(
    sequence: Sequence,
    tokens: readonly number[],
  ): Promise<{ readonly count: number; readonly logits: Float32Array }> {
    const { section, count, rowCount } = this.#nextRun(tokens.length);
    const shape = await this.#shape({ batchSize: 1, bucket: sequence.capacity }, section);
    const logits = await shape.append(section, rowCount, sequence, tokens.slice(0, count));
    return { count, logits };
  }

  async #stepTogether(
    bucket: number,
    entries: readonly NextToken[],
    take: (logits: Float32Array, order: number) => void,
  ): Promise<void> {
    for (const { sequence } of entries) sequence.grow(bucket);
    const batchSize = this.#batchSize(bucket, entries.length);
    const shape = await this.#shape({ batchSize, bucket }, "decode");
    if (batchSize > 1) {
      for (const [order, logits] of (await shape.step(entries)).entries()) take(logits, order);
      return;
    }
    for (const [order, { sequence, token }] of entries.entries())
      take(await shape.append("decode", 1, sequence, [token]), order);
  }

  /**
   * Slots for so many sequences. A batch that loses some stays in its size until half of it is empty, since another size
   * copies every cache.
   */
  #batchSize(bucket: number, count: number): number {
    const last = this.#lastBatch.get(bucket) ?? 1;
    const needed = batchBucketFor(count);
    const size = count > 1 && last > needed && last <= 2 * needed ? last : needed;
    const isLoaded = this.#shapes.has(keyOf({ batchSize: size, bucket }));
    const chosen = size === 1 || isLoaded || this.#mayCompile(size, bucket) ? size : 1;
    this.#lastBatch.set(bucket, chosen);
    return chosen;
  }

  /** How so many tokens begin to be appended. */
  #nextRun(tokenCount: number): SectionRun {
    if (tokenCount < PREFILL_WORTHWHILE) return { section: "decode", count: 1, rowCount: 1 };
    const short = this.#shortRowCount;
    if (short !== undefined && tokenCount <= short)
      return { section: "short_prefill", count: tokenCount, rowCount: short };
    const long = this.#longRowCount;
    // More than half of its rows in use: the pieces of a shorter prompt would take longer.
    if (long !== undefined && tokenCount > long / 2)
      return { section: "long_prefill", count: Math.min(tokenCount, long), rowCount: long };
    const rowCount = this.#prefillRowCount;
    return { section: "prefill", count: Math.min(tokenCount, rowCount), rowCount };
  }

  #sectionsOf(tokenCount: number): readonly DecodeSection[] {
    const sections = new Set<DecodeSection>();
    for (let left = tokenCount; left > 0;) {
      const { section, count } = this.#nextRun(left);
      sections.add(section);
      left -= count;
    }
    return [...sections];
  }

  #bucketFor(sequence: Sequence, length: number): number {
    const needed = Math.max(length, sequence.leastCapacity, sequence.capacity);
    return bucketFor(needed, this.#contextLength);
  }

  #reserve(sequence: Sequence, tokenCount: number): void {
    sequence.grow(this.#bucketFor(sequence, sequence.length + tokenCount));
  }

  #planOf(size: ShapeSize): Plan {
    const { model, optimize } = this.#options;
    const shortRowCount = this.#shortRowCount;
    const longRowCount = this.#longRowCount;
    const { isShort = false } = size;
    // A smaller cache never takes so many.
    const hasLong = !isShort && longRowCount !== undefined && longRowCount <= size.bucket;
    return buildDecodePlan({
      ...{ model, ...size },
      ...(!isShort && { prefillRowCount: this.#prefillRowCount }),
      ...(shortRowCount !== undefined && { shortRowCount }),
      ...(hasLong && { longRowCount }),
      ...(optimize !== undefined && { optimize }),
    });
  }

  /** Whether the process may still compile a batch's programs. */
  #mayCompile(batchSize: number, bucket: number): boolean {
    const { engine } = this.#options;
    if (engine.compilationCost?.([]) === undefined) return true;
    const needs: SectionsOfPlan = {
      plan: this.#planOf({ batchSize, bucket }),
      sections: ["decode"],
    };
    const cost: CompilationCost | undefined = engine.compilationCost([needs]);
    return cost === undefined || cost.missing <= cost.left;
  }

  /**
   * A loaded plan that has a section. Before a long prompt comes, one text is written by a plan for short ones: sections
   * that nobody runs take as long to build as those that somebody does.
   */
  async #shape(size: ShapeSize, section: DecodeSection): Promise<CacheShape> {
    const isFew = section === "short_prefill" || section === "decode";
    const short = { ...size, isShort: true };
    const mayBeShort =
      this.#shortRowCount !== undefined && size.batchSize === 1 && size.everyRow !== true;
    if (!mayBeShort) return this.#loaded(size);
    if (isFew && !this.#shapes.has(keyOf(size))) return this.#loaded(short);
    const shape = await this.#loaded(size);
    await this.#shapes.get(keyOf(short))?.close();
    this.#shapes.delete(keyOf(short));
    return shape;
  }

  async #loaded(size: ShapeSize): Promise<CacheShape> {
    const key = keyOf(size);
    const { engine, model, weights, frozenWeights = false } = this.#options;
    const found = this.#shapes.get(key);
    this.#shapes.delete(key);
    const shape =
      found ??
      new CacheShape(
        await engine.load(this.#planOf(size), { share: weights, frozenWeights }),
        ...([{ model, ropeRows: this.#ropeRows }, size] as const),
      );
    this.#shapes.set(key, shape);
    if (found === undefined) await this.#closeUnused(shape);
    return shape;
  }

  /** Closes caches that were not used for longest, where they take more than they may and can be compiled again. */
  async #closeUnused(used: CacheShape): Promise<void> {
    const { engine, cacheByteLimit = DEFAULT_CACHE_BYTES } = this.#options;
    if (engine.compilationCost?.([]) !== undefined) return;
    let byteLength = 0;
    for (const shape of this.#shapes.values()) byteLength += shape.byteLength;
    for (const [key, shape] of this.#shapes) {
      if (byteLength <= cacheByteLimit) return;
      if (shape === used) continue;
      this.#shapes.delete(key);
      byteLength -= shape.byteLength;
      await shape.close();
    }
  }
}

function keyOf({ batchSize, bucket, everyRow = false, isShort = false }: ShapeSize): string {
  return `${batchSize}x${bucket}${everyRow ? " every row" : ""}${isShort ? " short" : ""}`;
}
