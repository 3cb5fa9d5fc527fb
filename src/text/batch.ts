import { TextError } from "./errors.ts";

/** A target that the loss leaves out. */
export const IGNORED_TARGET = -100;

/** Which documents the tokens of packed rows belong to. */
export interface Packing {
  /** [B, S], row by row: a token's place in its document, from 0; always less than S. */
  readonly positions: Int32Array;
  /** [B, S], row by row: a number of the token's document, from 0 in every row. Padding has a number of its own. */
  readonly documents: Int32Array;
}

/** Of a batch of pairs of answers: row 2i is the better one of pair i, row 2i + 1 the worse. */
export interface BatchPairs {
  /** `[B / 2]`: whether the pair is one; the others fill a batch up. */
  readonly isThere: readonly boolean[];
  /** Pairs that are there: what the loss is the mean over. */
  readonly count: number;
}

/** Rows of tokens for one forward pass. */
export interface Batch {
  readonly batchSize: number;
  readonly sequenceLength: number;
  /** [B, S], row by row. */
  readonly inputs: Int32Array;
  /** `[B, S]`: the token that follows; `IGNORED_TARGET` where nothing is to be predicted. */
  readonly targets: Int32Array;
  /** How many targets are not ignored. */
  readonly validTargetCount: number;
  /** Where rows hold several documents, none of which sees another. */
  readonly packing?: Packing;
  /** Where two rows each are held against each other. */
  readonly pairs?: BatchPairs;
}

/** What the loss of a batch is a mean over: its targets, or its pairs. */
export function lossCountOf({ validTargetCount, pairs }: Batch): number {
  return pairs === undefined ? validTargetCount : pairs.count;
}

/**
 * Training batches without end: pre-training windows, examples of a conversation, streams. What follows a state's
 * batches depends on the state alone.
 */
export interface Batches {
  /** Whether batches come with a packing: the plan then has its inputs. */
  readonly isPacked: boolean;
  /** Where the next batch begins: plain JSON, which a checkpoint keeps and the implementation takes back. */
  readonly state: unknown;
  /** The next batch; there always is one. */
  next(): Batch;
}

/** How many targets the loss counts. Throws `TextError` for one that is neither a token nor `IGNORED_TARGET`. */
export function countTargets(targets: Int32Array): number {
  let count = 0;
  for (const target of targets) {
    if (target >= 0) count++;
    else if (target !== IGNORED_TARGET) {
      throw new TextError(
        "text.target",
        `a target is ${target}, which is neither a token nor ${IGNORED_TARGET}`,
      );
    }
  }
  return count;
}

/** Largest number of documents in a row: their numbers are whole in fp16, in which an engine may compare them. */
export const MAXIMUM_DOCUMENTS = 2048;

/**
 * Throws `TextError` for a batch whose arrays do not have its sizes, whose count of targets is not what its targets
 * say, or whose packing names positions outside the row.
 */
export function checkBatch(batch: Batch): void {
  const { batchSize, sequenceLength, inputs, targets, validTargetCount, packing, pairs } = batch;
  const size = batchSize * sequenceLength;
  const fail = (problem: string): never => {
    throw new TextError("text.batch", `a batch of ${batchSize} x ${sequenceLength}: ${problem}`);
  };
  const arrays = { inputs, targets, ...packing };
  for (const [name, { length }] of Object.entries(arrays)) {
    if (length !== size) fail(`${name} has ${length} numbers, ${size} belong there`);
  }
  const counted = countTargets(targets);
  if (counted !== validTargetCount)
    fail(`${validTargetCount} targets are said to count, ${counted} do`);
  if (pairs !== undefined) {
    const count = pairs.isThere.filter(Boolean).length;
    if (2 * pairs.isThere.length !== batchSize || count !== pairs.count)
      fail(`${pairs.count} of ${pairs.isThere.length} pairs are said to be there, ${count} are`);
    if (packing !== undefined) fail("pairs of answers cannot stand in packed rows");
  }
  if (packing === undefined) return;
  for (const position of packing.positions) {
    if (position < 0 || position >= sequenceLength) fail(`a position is ${position}`);
  }
  for (const document of packing.documents) {
    if (document < 0 || document >= MAXIMUM_DOCUMENTS)
      fail(`a document has the number ${document}; a row holds at most ${MAXIMUM_DOCUMENTS}`);
  }
}
