import type { Place } from "./tokenizer.ts";

/** What a thread that encodes is at. */
export const STARTING = 0;
export const IDLE = 1;
export const WORKING = 2;
export const DONE = 3;
export const FAILED = 4;

export const PLACES: readonly Place[] = ["start", "inside", "continues"];

/** UTF-16 units of the texts of one job, and parts that they may be. */
export const JOB_UNITS = 1 << 19;
export const JOB_PARTS = 1 << 13;
/** A character may become several ids: bytes of its own, or what a normalizer makes of it. */
const ID_ROOM = 2 * JOB_UNITS;

/** Memory that the two sides of a thread share: a job's texts one way, its ids the other. */
export interface EncodingBuffers {
  /** What it is at, and how many parts a job has. */
  readonly control: Int32Array;
  /** For each part: units of text, place, and then the number of its ids. */
  readonly parts: Int32Array;
  readonly text: Buffer;
  readonly ids: Uint32Array;
}

export interface SharedEncodingBuffers {
  readonly control: SharedArrayBuffer;
  readonly parts: SharedArrayBuffer;
  readonly text: SharedArrayBuffer;
  readonly ids: SharedArrayBuffer;
}

export const PART_WORDS = 3;

export function allocateEncodingBuffers(): SharedEncodingBuffers {
  return {
    control: new SharedArrayBuffer(8),
    parts: new SharedArrayBuffer(4 * PART_WORDS * JOB_PARTS),
    text: new SharedArrayBuffer(2 * JOB_UNITS),
    ids: new SharedArrayBuffer(4 * ID_ROOM),
  };
}

export function openEncodingBuffers(shared: SharedEncodingBuffers): EncodingBuffers {
  return {
    control: new Int32Array(shared.control),
    parts: new Int32Array(shared.parts),
    text: Buffer.from(shared.text),
    ids: new Uint32Array(shared.ids),
  };
}
