import type { ScaledHalves } from "../../engine/host/scaled-halves.ts";
import type { Communicator } from "./mpi.ts";

/** Something under way. */
export interface Task {
  isDone(): boolean;
}

/** A group as its exchanges see it. */
export interface Channels {
  readonly rank: number;
  readonly size: number;
  readonly scatter: Communicator;
  readonly gather: Communicator;
  /** Of the thread, for what travels as fp16. */
  readonly halves: ScaledHalves;
  /** Counts bytes that are sent to others. */
  count(byteLength: number): void;
}
