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
  /** Counts bytes that are sent to others. */
  count(byteLength: number): void;
}
