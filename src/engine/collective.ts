import { EngineError } from "./errors.ts";

/** What members of a group exchange: arrays of one kind, of equal length at every member. */
export type ExchangedArray = Float32Array | Float64Array | Int32Array;

/** An exchange under way. Its arrays belong to it until it is done. */
export interface Exchange {
  /** Whether it is done; asking drives it on where the transport needs that. */
  isDone(): boolean;
  /** Rejects with `EngineError` where a member failed or left. */
  wait(): Promise<void>;
}

/**
 * A group of processes that train one model. Every member makes the same calls in the same order; each call returns at
 * once with its exchange. Sums are added in the order of the members, so every member gets the same bits.
 */
export interface Collective {
  /** This member, from 0. */
  readonly rank: number;
  readonly size: number;
  /** Each array becomes the sum of all members' arrays, in place. */
  allReduce(buffers: readonly ExchangedArray[]): Exchange;
  /** `target` becomes this member's part of the sum of all sources: their elements from rank times its length on. */
  reduceScatter(source: ExchangedArray, target: ExchangedArray): Exchange;
  /** `target` becomes all members' sources, one after the other. */
  allGather(source: ExchangedArray, target: ExchangedArray): Exchange;
  /** Arrays with one tag arrive in the order in which they were sent. */
  send(buffers: readonly ExchangedArray[], to: number, tag?: number): Exchange;
  receive(buffers: readonly ExchangedArray[], from: number, tag?: number): Exchange;
  /** Done when every member has called it. */
  barrier(): Exchange;
}

const DONE: Exchange = Object.freeze({ isDone: () => true, wait: () => Promise.resolve() });

function sameLength(source: ExchangedArray, target: ExchangedArray): void {
  if (source.constructor === target.constructor && source.length === target.length) return;
  throw new EngineError(
    "engine.collective",
    `${source.length} elements of ${source.constructor.name} are exchanged for ${target.length} of ${target.constructor.name}`,
  );
}

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
  reduceScatter: (source, target) => {
    sameLength(source, target);
    target.set(source);
    return DONE;
  },
  allGather: (source, target) => {
    sameLength(source, target);
    target.set(source);
    return DONE;
  },
  send: (_, to) => noOther("send to", to),
  receive: (_, from) => noOther("receive from", from),
  barrier: () => DONE,
} satisfies Collective);
