// What the training thread and the thread that owns MPI tell each other.
import type { MessagePort } from "node:worker_threads";
import type { WireFormat } from "../engine/collective.ts";
import type { BufferView } from "../engine/engine.ts";

/** State of a job, in its own word of shared memory. */
export const PENDING = 0;
export const DONE = 1;
export const FAILED = 2;

/** Words of the memory that both threads share. */
export const DOORBELL = 0;
/** 1: this member is at work with the others, who may expect it to come to their exchanges. */
export const WORKING = 1;
/** Optimizer updates done. */
export const STEP = 2;
/** Counts the turns of the thread of MPI: it stands still where a call does not come back. */
export const TURNS = 3;
/** Which of `WAITING_CALLS` the thread of MPI is in; 0: none of them. */
export const INSIDE = 4;
export const CONTROL_WORDS = 8;

/** Calls of MPI that come back only when all members have made them. */
export const WAITING_CALLS = [
  "a call",
  "MPI_Init_thread",
  "MPI_Comm_dup",
  "MPI_Comm_split",
  "MPI_Finalize",
] as const;
export type WaitingCall = Exclude<(typeof WAITING_CALLS)[number], "a call">;

/** The group of all processes. */
export const WORLD = 0;

/** What the MPI thread is asked to do. Arrays stand on shared memory. */
export type Work =
  | {
      readonly kind: "allReduce" | "reduceScatter";
      readonly group: number;
      readonly arrays: readonly BufferView[];
      readonly wire: WireFormat;
    }
  | { readonly kind: "allGather"; readonly group: number; readonly arrays: readonly BufferView[] }
  | {
      readonly kind: "broadcast";
      readonly group: number;
      readonly arrays: readonly BufferView[];
      readonly from: number;
    }
  | {
      readonly kind: "send" | "receive";
      readonly group: number;
      readonly arrays: readonly BufferView[];
      readonly peer: number;
      readonly tag: number;
    }
  | { readonly kind: "barrier"; readonly group: number }
  /** Members with one color form a group, in the order of their ranks. Its answer is a `FormedGroup`. */
  | { readonly kind: "split"; readonly group: number; readonly color: number }
  /** Its answer is `Traffic`. */
  | { readonly kind: "traffic" }
  | { readonly kind: "abort"; readonly code: number }
  | { readonly kind: "close" };

export interface Job {
  readonly work: Work;
  /** [PENDING, DONE or FAILED] */
  readonly state: Int32Array;
}

/** What comes back beside the state: an answer, or why the job failed. */
export type Answer =
  | {
      readonly kind: "opened";
      readonly rank: number;
      readonly size: number;
      readonly version: string;
    }
  | {
      readonly kind: "formed";
      readonly group: number;
      readonly rank: number;
      readonly size: number;
    }
  | { readonly kind: "traffic"; readonly traffic: Traffic }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

/** What the MPI thread has done since it began. */
export interface Traffic {
  /** To other members; by the format on the wire. */
  readonly sentBytes: number;
  /** During which at least one exchange was under way. */
  readonly busyMs: number;
  readonly exchangeCount: number;
}

/** What the MPI thread is started with. */
export interface MpiThreadData {
  readonly control: SharedArrayBuffer;
  readonly opened: Int32Array;
  /** Jobs come and answers go through it. */
  readonly port: MessagePort;
  readonly stallSeconds: number;
}
