import { IGNORED_TARGET } from "./batch.ts";
import type { Batch, Batches } from "./batch.ts";
import { TextError } from "./errors.ts";
import { scanTokens } from "./token-view.ts";
import type { TokenView } from "./token-view.ts";
import { windowSampler } from "./windows.ts";
import type { SamplerOptions, SamplerState, WindowSampler } from "./windows.ts";

/** How batches are cut from tokens. */
export interface BatchOptions extends SamplerOptions {
  readonly batchSize: number;
}

function checkBatchSize(batchSize: number): void {
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new TextError(
      "text.batch",
      `the batch size must be a whole number of rows, found ${batchSize}`,
    );
  }
}

/** Windows of a corpus, every token of which but the first is a target: what pre-training reads. */
export class WindowBatches implements Batches {
  readonly isPacked = false;
  readonly #view: TokenView;
  readonly #sampler: WindowSampler;
  readonly #batchSize: number;
  readonly #sequenceLength: number;
  readonly #window: Int32Array;

  /** `resume` is a state of such batches over the same data. Throws what `windowSampler` throws. */
  constructor(view: TokenView, options: BatchOptions, resume?: unknown) {
    checkBatchSize(options.batchSize);
    this.#view = view;
    this.#sampler = windowSampler(view, options, resume);
    this.#batchSize = options.batchSize;
    this.#sequenceLength = options.contextLength;
    this.#window = new Int32Array(options.contextLength + 1);
  }

  get state(): SamplerState {
    return this.#sampler.state;
  }

  get rowsPerEpoch(): number {
    return this.#sampler.windowsPerEpoch;
  }

  /** The next batch of windows. */
  next(): Batch {
    const length = this.#sequenceLength;
    const inputs = new Int32Array(this.#batchSize * length);
    const targets = new Int32Array(this.#batchSize * length);
    for (let row = 0; row < this.#batchSize; row++) {
      this.#view.read(this.#sampler.next(), this.#window);
      inputs.set(this.#window.subarray(0, length), row * length);
      targets.set(this.#window.subarray(1), row * length);
    }
    return {
      batchSize: this.#batchSize,
      sequenceLength: length,
      inputs,
      targets,
      validTargetCount: targets.length,
    };
  }
}

/** How tokens are cut for an evaluation. */
export interface EvaluationOptions {
  readonly batchSize: number;
  /** S. */
  readonly contextLength: number;
  /** Input where a row is not filled. Default 0. */
  readonly padding?: number | undefined;
  /** Stops after this many batches; default: the whole split. */
  readonly batchLimit?: number | undefined;
  /**
   * The token that ends a document. Given, every document begins a row of its own and is judged with nothing but
   * itself as context; not given, the tokens are cut into windows wherever they fall.
   */
  readonly endOfText?: number | undefined;
  /** The token that every document begins with, where there is one that does not end them as well. */
  readonly beginOfText?: number | undefined;
}

/** A row holds tokens `start` to `end`, of which all but the first are targets. */
interface Row {
  readonly start: number;
  readonly end: number;
}

function* windowRows(tokenCount: number, length: number, from: number): Generator<Row> {
  for (let start = from; start + 1 < tokenCount; start += length) {
    yield { start, end: Math.min(start + length + 1, tokenCount) };
  }
}

/** Rows of documents. An end-of-text token is the last target of a document and the first input of the next one. */
function* documentRows(view: TokenView, options: EvaluationOptions): Generator<Row> {
  const { contextLength, beginOfText, endOfText } = options;
  const mark = beginOfText ?? endOfText;
  const endLength = beginOfText === undefined ? 1 : 0;
  let start = 0;
  for (const { position, ids } of scanTokens(view)) {
    if (mark === undefined) break;
    for (let at = ids.indexOf(mark); at >= 0; at = ids.indexOf(mark, at + 1)) {
      yield* windowRows(position + at + endLength, contextLength, start);
      start = position + at;
    }
  }
  yield* windowRows(view.tokenCount, contextLength, start);
}

function isByDocument({ beginOfText, endOfText }: EvaluationOptions): boolean {
  return beginOfText !== undefined || endOfText !== undefined;
}

/** How many rows an evaluation has. */
export function evaluationRowCount(view: TokenView, options: EvaluationOptions): number {
  if (!isByDocument(options))
    return Math.ceil(Math.max(0, view.tokenCount - 1) / options.contextLength);
  let count = 0;
  for (const row of documentRows(view, options)) count += row.end > row.start ? 1 : 0;
  return count;
}

/**
 * Batches over a whole split: every token but the first is a target exactly once. The last row and the last batch
 * are filled up with padding whose targets are ignored, so that every batch is [B, S].
 * Throws `TextError` `text.short` for fewer than two tokens.
 */
export function* evaluationBatches(view: TokenView, options: EvaluationOptions): Generator<Batch> {
  const { batchSize, contextLength } = options;
  checkBatchSize(batchSize);
  if (view.tokenCount < 2) {
    throw new TextError(
      "text.short",
      `${view.name} has ${view.tokenCount} tokens, too few to predict one from another`,
    );
  }
  const rows = isByDocument(options)
    ? documentRows(view, options)
    : windowRows(view.tokenCount, contextLength, 0);
  let batchCount = 0;
  let inputs = new Int32Array(0);
  let targets = new Int32Array(0);
  let filled = 0;
  let validTargetCount = 0;
  for (const { start, end } of rows) {
    if (filled === 0) {
      inputs = new Int32Array(batchSize * contextLength).fill(options.padding ?? 0);
      targets = new Int32Array(batchSize * contextLength).fill(IGNORED_TARGET);
      validTargetCount = 0;
    }
    const count = end - start - 1;
    const window = new Int32Array(count + 1);
    view.read(start, window);
    inputs.set(window.subarray(0, count), filled * contextLength);
    targets.set(window.subarray(1), filled * contextLength);
    validTargetCount += count;
    if (++filled < batchSize) continue;
    yield { batchSize, sequenceLength: contextLength, inputs, targets, validTargetCount };
    filled = 0;
    if (++batchCount === options.batchLimit) return;
  }
  if (filled > 0)
    yield { batchSize, sequenceLength: contextLength, inputs, targets, validTargetCount };
}
