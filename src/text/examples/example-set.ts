import { createHash } from "node:crypto";
import type { EncodedExample } from "./example-encoder.ts";

/** Examples as tokens, each at most one row long. */
export interface ExampleSet {
  /** Told in messages. */
  readonly name: string;
  readonly count: number;
  /** Of all examples. */
  readonly tokenCount: number;
  /** Tokens of an example; a row takes one less, since each but the last is an input and each but the first a target. */
  lengthOf(index: number): number;
  /** A token of an example. */
  tokenAt(index: number, place: number): number;
  /** Whether the token counts as a target. */
  isLearnedAt(index: number, place: number): boolean;
}

/** A set that examples are added to: four bytes a token, which hold whether it is learned as well. */
export class ExampleStore implements ExampleSet {
  readonly name: string;
  #tokens = new Int32Array(1 << 12);
  #ends = new Float64Array(1 << 8);
  #count = 0;
  #tokenCount = 0;

  constructor(name: string) {
    this.name = name;
  }

  get count(): number {
    return this.#count;
  }

  get tokenCount(): number {
    return this.#tokenCount;
  }

  /** The first `limit` tokens of an example. */
  add({ ids, isLearned }: EncodedExample, limit: number): void {
    const length = Math.min(ids.length, limit);
    if (this.#tokenCount + length > this.#tokens.length)
      this.#tokens = grown(this.#tokens, new Int32Array(2 * Math.max(this.#tokens.length, length)));
    if (this.#count === this.#ends.length)
      this.#ends = grown(this.#ends, new Float64Array(2 * this.#ends.length));
    for (let place = 0; place < length; place++) {
      const id = ids[place] ?? 0;
      this.#tokens[this.#tokenCount++] = isLearned[place] === true ? id : ~id;
    }
    this.#ends[this.#count++] = this.#tokenCount;
  }

  lengthOf(index: number): number {
    return (this.#ends[index] ?? 0) - this.#startOf(index);
  }

  tokenAt(index: number, place: number): number {
    const stored = this.#tokens[this.#startOf(index) + place] ?? 0;
    return stored < 0 ? ~stored : stored;
  }

  isLearnedAt(index: number, place: number): boolean {
    return (this.#tokens[this.#startOf(index) + place] ?? -1) >= 0;
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : (this.#ends[index - 1] ?? 0);
  }
}

function grown<Numbers extends Int32Array | Float64Array>(
  before: Numbers,
  larger: Numbers,
): Numbers {
  larger.set(before);
  return larger;
}

/** Examples `start` to `end` of another set. */
export function sliceExamples(
  whole: ExampleSet,
  start: number,
  end: number,
  name = whole.name,
): ExampleSet {
  let tokenCount = 0;
  for (let index = start; index < end; index++) tokenCount += whole.lengthOf(index);
  return {
    name,
    count: end - start,
    tokenCount,
    lengthOf: (index) => whole.lengthOf(start + index),
    tokenAt: (index, place) => whole.tokenAt(start + index, place),
    isLearnedAt: (index, place) => whole.isLearnedAt(start + index, place),
  };
}

/** Tells a set from others: its tokens and what of them is learned. */
export function examplesDigest(set: ExampleSet): string {
  const hash = createHash("sha256");
  for (let index = 0; index < set.count; index++) {
    const length = set.lengthOf(index);
    const block = new Int32Array(length + 1);
    block[0] = length;
    for (let place = 0; place < length; place++) {
      const id = set.tokenAt(index, place);
      block[place + 1] = set.isLearnedAt(index, place) ? id : ~id;
    }
    hash.update(new Uint8Array(block.buffer));
  }
  return hash.digest("hex");
}
