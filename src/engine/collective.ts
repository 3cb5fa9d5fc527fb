import type { BufferView } from "./engine.ts";
import { EngineError } from "./errors.ts";

/** What members of a group add up: arrays of one kind, of equal length at every member. */
export type ExchangedArray = Float32Array | Float64Array | Int32Array;

/** An exchange under way. Its arrays belong to it until it is done. */
export interface Exchange {
  /** Whether it is done; asking drives it on where the transport needs that. */
  isDone(): boolean;
  /** Rejects with `EngineError` where a member failed or left. */
  wait(): Promise<void>;
  /** As `wait`, without a turn of the event loop: for a thread that is in the middle of writing. */
  block(): void;
}

/** How sums of fp32 numbers travel. */
export interface WireFormat {
  readonly kind: "fp32" | "fp16";
  /**
   * For fp16, by array and as long as it: what rounding has lost of this member's numbers. It is added to what travels,
   * and becomes what is lost now. On shared memory; it belongs to the exchange until that is done.
   */
  readonly lost?: readonly Float32Array[];
}

/** The elements of an array of `length` that belong to a member: [first, end). Parts differ by one element at most. */
export function partOf(
  length: number,
  rank: number,
  size: number,
): readonly [first: number, end: number] {
  const boundary = (member: number): number => Math.floor((member * length) / size);
  return [boundary(rank), boundary(rank + 1)];
}

/**
 * A group of processes that train one model. Every member makes the same calls in the same order; each call returns at
 * once with its exchange. Sums are added in one tree of the members (`sumTree`), so every member gets the same bits.
 */
export interface Collective {
  /** This member, from 0. */
  readonly rank: number;
  readonly size: number;
  /** Each array becomes the sum of all members' arrays, in place. */
  allReduce(buffers: readonly ExchangedArray[], wire?: WireFormat): Exchange;
  /** In each array this member's part (`partOf`) becomes that of the sum; what else it holds is undefined then. */
  reduceScatter(buffers: readonly ExchangedArray[], wire?: WireFormat): Exchange;
  /** In each array every member's part becomes what that member has there. */
  allGather(buffers: readonly ExchangedArray[]): Exchange;
  /** Each array becomes that of the member `from`. */
  broadcast(buffers: readonly BufferView[], from: number): Exchange;
  /** Arrays with one tag arrive in the order in which they were sent. */
  send(buffers: readonly BufferView[], to: number, tag?: number): Exchange;
  /** Fills the arrays with what the member `from` sent under this tag. */
  receive(buffers: readonly BufferView[], from: number, tag?: number): Exchange;
  /** Done when every member has called it. */
  barrier(): Exchange;
}

const DONE: Exchange = Object.freeze({
  isDone: () => true,
  wait: () => Promise.resolve(),
  block: () => undefined,
});

function noOther(verb: string, rank: number): never {
  throw new EngineError(
    "engine.collective",
    `a process on its own has no member ${rank} to ${verb}`,
  );
}

/** The group of one process, to whom every exchange is done at once and costs nothing. */
export const ALONE: Collective = Object.freeze({
  rank: 0,
  size: 1,
  allReduce: () => DONE,
  reduceScatter: () => DONE,
  allGather: () => DONE,
  broadcast: () => DONE,
  send: (_, to) => noOther("send to", to),
  receive: (_, from) => noOther("receive from", from),
  barrier: () => DONE,
} satisfies Collective);

/** The two halves of a sum of `count` terms: the first has the odd one. Sums of a group and of micro-batches agree. */
export function halves(count: number): readonly [number, number] {
  const first = Math.ceil(count / 2);
  return [first, count - first];
}

/** Adds terms as `halves` says: ((t0 + t1) + t2) + (t3 + t4) of five. The result stands in the first one. */
export function sumTree(terms: readonly ExchangedArray[]): void {
  if (terms.length < 2) return;
  const [count] = halves(terms.length);
  const left = terms.slice(0, count);
  const right = terms.slice(count);
  sumTree(left);
  sumTree(right);
  const [sum] = left;
  const [other] = right;
  if (sum === undefined || other === undefined) return;
  if (sum instanceof Float32Array && other instanceof Float32Array) addFloats(sum, other);
  else for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (other[i] ?? 0);
}

/** `sum` becomes `sum + other`: one kind of array, so that the loop is fast. */
export function addFloats(sum: Float32Array, other: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (other[i] ?? 0);
}
