import { z } from "zod";
import type { Batch, Batches } from "../batch.ts";
import { permutation } from "../permutation.ts";
import { batchOf, noExamples } from "./example-batches.ts";
import type { ExampleSet } from "./example-set.ts";
import { savedPosition } from "../saved-position.ts";

/** How pairs of answers are put into rows. */
export interface PairRowOptions {
  /** Pairs of a batch: rows are twice as many. */
  readonly batchSize: number;
  /** S. */
  readonly contextLength: number;
  /** Input where a row is not filled. Default 0. */
  readonly padding?: number | undefined;
}

const count = z.int().nonnegative();
const stateSchema = z.object({
  kind: z.literal("pairs"),
  seed: z.number(),
  epoch: count,
  /** Pairs given in this epoch. */
  position: count,
  /** What the state belongs to. */
  pairCount: count,
  tokenCount: count,
  contextLength: count,
});

const REMEDY = "Go on with the data, the context length and the method of the first run.";

/** Where such batches stand; a checkpoint keeps it. */
export type PairState = Readonly<z.infer<typeof stateSchema>>;

/**
 * Pairs of answers in an order of their own every epoch, each once: rows 2i and 2i + 1 of a batch are the better and the
 * worse one. Of the set, examples 2i and 2i + 1 are.
 */
export class PairBatches implements Batches {
  readonly isPacked = false;
  readonly rowsPerEpoch: number;
  readonly #set: ExampleSet;
  readonly #options: PairRowOptions & { readonly seed: number };
  #epoch = 0;
  #position = 0;

  /**
   * `resume` is a state of such batches over the same pairs. Throws `TextError` `text.examples.none` where there are none,
   * `text.resume` where the state is of others.
   */
  constructor(
    set: ExampleSet,
    options: PairRowOptions & { readonly seed: number },
    resume?: unknown,
  ) {
    if (set.count < 2) throw noExamples(set);
    this.#set = set;
    this.#options = options;
    this.rowsPerEpoch = set.count / 2;
    if (resume === undefined) return;
    const { epoch, position } = savedPosition(resume, stateSchema, this.#identity, {
      remedy: REMEDY,
      kindRemedy: REMEDY,
    });
    this.#epoch = epoch;
    this.#position = position;
  }

  get state(): PairState {
    return { kind: "pairs", ...this.#identity, epoch: this.#epoch, position: this.#position };
  }

  /** The next batch of pairs. */
  next(): Batch {
    const pairs = Array.from({ length: this.#options.batchSize }, () => this.#nextPair());
    return batchOfPairs(this.#set, pairs, this.#options);
  }

  get #identity() {
    const { seed, contextLength } = this.#options;
    const { tokenCount } = this.#set;
    return { seed, pairCount: this.rowsPerEpoch, tokenCount, contextLength };
  }

  #nextPair(): number {
    if (this.#position >= this.rowsPerEpoch) {
      this.#epoch++;
      this.#position = 0;
    }
    return permutation(this.rowsPerEpoch, this.#options.seed, this.#epoch)(this.#position++);
  }
}

/** Pairs as a batch; where fewer are given, the last ones are padding that no loss counts. */
function batchOfPairs(set: ExampleSet, pairs: readonly number[], options: PairRowOptions): Batch {
  const { batchSize } = options;
  const rows = pairs.flatMap((pair) => [[2 * pair], [2 * pair + 1]]);
  const isThere = Array.from({ length: batchSize }, (_, index) => index < pairs.length);
  return {
    ...batchOf(set, rows, { ...options, batchSize: 2 * batchSize, isPacked: false }),
    pairs: { isThere, count: pairs.length },
  };
}

/**
 * Batches over a whole set, each pair once. Throws `TextError` `text.examples.none` for a set without pairs.
 */
export function* pairEvaluationBatches(
  set: ExampleSet,
  options: PairRowOptions & { readonly batchLimit?: number | undefined },
): Generator<Batch> {
  if (set.count < 2) throw noExamples(set);
  const { batchSize, batchLimit = Infinity } = options;
  const pairCount = set.count / 2;
  const order = permutation(pairCount, 0, 0);
  for (let batch = 0; batch * batchSize < pairCount && batch < batchLimit; batch++) {
    const first = batch * batchSize;
    const taken = Math.min(batchSize, pairCount - first);
    const pairs = Array.from({ length: taken }, (_, index) => order(first + index));
    yield batchOfPairs(set, pairs, options);
  }
}
