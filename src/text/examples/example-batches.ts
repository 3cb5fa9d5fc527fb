import { z } from "zod";
import { IGNORED_TARGET, MAXIMUM_DOCUMENTS } from "../batch.ts";
import type { Batch, Batches } from "../batch.ts";
import { TextError } from "../errors.ts";
import { permutation } from "../permutation.ts";
import type { ExampleSet } from "./example-set.ts";
import { packRows } from "./pack-rows.ts";
import { savedPosition } from "../saved-position.ts";

/** How examples are put into rows. */
export interface ExampleRowOptions {
  readonly batchSize: number;
  /** S. */
  readonly contextLength: number;
  /** Several examples stand in a row, none of which sees another; else each has a row of its own. */
  readonly isPacked: boolean;
  /** Input where a row is not filled. Default 0. */
  readonly padding?: number | undefined;
}

export interface ExampleBatchOptions extends ExampleRowOptions {
  readonly seed: number;
}

const count = z.int().nonnegative();
const stateSchema = z.object({
  kind: z.literal("examples"),
  seed: z.number(),
  epoch: count,
  /** Rows given in this epoch. */
  position: count,
  /** What the state belongs to. */
  exampleCount: count,
  tokenCount: count,
  contextLength: count,
  isPacked: z.boolean(),
});

/** Where such batches stand; a checkpoint keeps it. */
export type ExampleState = Readonly<z.infer<typeof stateSchema>>;

/** Numbers of the examples in a row. */
export type Row = readonly number[];

/** One number of a row's documents is the padding's. */
const MOST_IN_A_ROW = MAXIMUM_DOCUMENTS - 1;

/** Examples in an order of their own every epoch, each once, alone in rows or packed. */
export class ExampleBatches implements Batches {
  readonly isPacked: boolean;
  readonly rowsPerEpoch: number;
  readonly #set: ExampleSet;
  readonly #options: ExampleBatchOptions;
  #epoch: number;
  #position: number;
  #rows: (position: number) => Row;

  /**
   * `resume` is a state of such batches over the same examples. Throws `TextError` `text.examples.none` where there are
   * none, `text.resume` where the state is of others.
   */
  constructor(set: ExampleSet, options: ExampleBatchOptions, resume?: unknown) {
    if (set.count === 0) throw noExamples(set);
    this.#set = set;
    this.#options = options;
    this.isPacked = options.isPacked;
    const state = resume === undefined ? undefined : readState(resume, set, options);
    this.#epoch = state?.epoch ?? 0;
    this.#position = state?.position ?? 0;
    const { rows, rowCount } = epochRows(set, options, this.#epoch);
    this.#rows = rows;
    this.rowsPerEpoch = rowCount;
  }

  get state(): ExampleState {
    const { seed, contextLength, isPacked } = this.#options;
    return {
      kind: "examples",
      ...{ seed, epoch: this.#epoch, position: this.#position },
      ...{ exampleCount: this.#set.count, tokenCount: this.#set.tokenCount },
      ...{ contextLength, isPacked },
    };
  }

  /** The next batch of examples. */
  next(): Batch {
    const rows = Array.from({ length: this.#options.batchSize }, () => this.#nextRow());
    return batchOf(this.#set, rows, this.#options);
  }

  #nextRow(): Row {
    if (this.#position >= this.rowsPerEpoch) {
      this.#epoch++;
      this.#position = 0;
      this.#rows = epochRows(this.#set, this.#options, this.#epoch).rows;
    }
    return this.#rows(this.#position++);
  }
}

export function noExamples({ name }: ExampleSet): TextError {
  return new TextError("text.examples.none", `${name} has no example to learn from`, {
    remedy: "anecdote data check shows what becomes of its rows.",
  });
}

function readState(saved: unknown, set: ExampleSet, options: ExampleBatchOptions): ExampleState {
  const { seed, contextLength, isPacked } = options;
  const now = {
    seed,
    exampleCount: set.count,
    tokenCount: set.tokenCount,
    contextLength,
    isPacked,
  };
  return savedPosition(saved, stateSchema, now, {
    names: {
      exampleCount: "a number of examples of",
      tokenCount: "a token count of",
      contextLength: "a context length of",
      isPacked: "packing",
    },
    remedy:
      "Go on with the data, context length and packing of the first run; or begin another run from its model.",
    kindRemedy: "Go on with the data and the --data-format of the first run.",
  });
}

function inputsOf(set: ExampleSet, index: number): number {
  return set.lengthOf(index) - 1;
}

/** The rows of an epoch in their order. */
function epochRows(
  set: ExampleSet,
  { isPacked, contextLength, seed }: ExampleBatchOptions,
  epoch: number,
): { readonly rowCount: number; readonly rows: (position: number) => Row } {
  const examples = permutation(set.count, seed, epoch);
  if (!isPacked) return { rowCount: set.count, rows: (position) => [examples(position)] };
  const order = Array.from({ length: set.count }, (_, position) => examples(position));
  const packed = packedRows(set, order, contextLength);
  // Packing sorts by length; another order of its own undoes that.
  const shuffled = permutation(packed.length, seed + 1, epoch);
  return { rowCount: packed.length, rows: (position) => packed[shuffled(position)] ?? [] };
}

function packedRows(set: ExampleSet, order: readonly number[], contextLength: number) {
  const lengths = Array.from({ length: set.count }, (_, index) => inputsOf(set, index));
  return packRows(lengths, order, contextLength, MOST_IN_A_ROW);
}

/** Rows as a batch: targets that are not learned are left out, and what is not filled is padding. */
export function batchOf(
  set: ExampleSet,
  rows: readonly Row[],
  { batchSize, contextLength, isPacked, padding = 0 }: ExampleRowOptions,
): Batch {
  const size = batchSize * contextLength;
  const inputs = new Int32Array(size).fill(padding);
  const targets = new Int32Array(size).fill(IGNORED_TARGET);
  const positions = new Int32Array(size);
  const documents = new Int32Array(size);
  let validTargetCount = 0;
  for (let row = 0; row < batchSize; row++) {
    let at = row * contextLength;
    const examples = rows[row] ?? [];
    for (const [number, index] of examples.entries()) {
      const length = inputsOf(set, index);
      for (let place = 0; place < length; place++, at++) {
        inputs[at] = set.tokenAt(index, place);
        positions[at] = place;
        documents[at] = number;
        if (!set.isLearnedAt(index, place + 1)) continue;
        targets[at] = set.tokenAt(index, place + 1);
        validTargetCount++;
      }
    }
    documents.fill(examples.length, at, (row + 1) * contextLength);
  }
  return {
    ...{ batchSize, sequenceLength: contextLength, inputs, targets, validTargetCount },
    ...(isPacked && { packing: { positions, documents } }),
  };
}

/**
 * Batches over a whole set, each example once; the last batch is filled up with rows of padding. Throws `TextError`
 * `text.examples.none` for a set without examples.
 */
export function* exampleEvaluationBatches(
  set: ExampleSet,
  options: ExampleRowOptions & { readonly batchLimit?: number | undefined },
): Generator<Batch> {
  if (set.count === 0) throw noExamples(set);
  const { rows, rowCount } = epochRows(set, { ...options, seed: 0 }, 0);
  const { batchSize, batchLimit = Infinity } = options;
  for (let batch = 0; batch * batchSize < rowCount && batch < batchLimit; batch++) {
    const first = batch * batchSize;
    const taken = Math.min(batchSize, rowCount - first);
    yield batchOf(
      set,
      Array.from({ length: taken }, (_, row) => rows(first + row)),
      options,
    );
  }
}
