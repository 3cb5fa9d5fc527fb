import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { EventLines } from "./event-lines.ts";
import { eventsPath, logEnd } from "./event-log.ts";
import type { NumberedEvent } from "./events.ts";
import { beginsAs, readHead } from "./log-head.ts";

const WINDOW = 1 << 20;
const TAIL = 1 << 16;
const NEWLINE = 0x0a;

/** From where and how long a run's events are followed. */
export interface FollowOptions {
  /**
   * Events with a larger number alone: what a reader that comes back has not seen. "end": only what comes from now on.
   * Default 0, all.
   */
  readonly after?: number | "end";
  /** Ends the following: the generator returns. */
  readonly signal?: AbortSignal;
  /** Milliseconds between two looks at the file. Default 200. */
  readonly pollMs?: number;
  /** Ends it as well once all that was written is told and this says so: nobody writes any more. */
  readonly isOver?: () => boolean;
}

/** How a log begins, and how long it is. */
interface FileState {
  readonly head: Buffer;
  readonly byteLength: number;
}

/**
 * A run's events as they are written, rewinds among them (`afterRewind` says what holds then). The folder or its log
 * may still be missing. A log that another version wrote anew, as 0.1.0 does at a resume, begins with a `rewind` that
 * takes everything back and has the number 0. Throws `RunError` for a log of a later version.
 */
export async function* followEvents(
  runFolder: string,
  { after = 0, signal, pollMs = 200, isOver }: FollowOptions = {},
): AsyncGenerator<NumberedEvent, void> {
  const path = eventsPath(runFolder);
  let file: FileState | undefined;
  let offset = 0;
  let lines = new EventLines(path);
  let last = after === "end" ? logEnd(path).sequence : after;
  let isFirst = true;
  while (!isAborted(signal)) {
    // Asked before the look at the file: what was written until then is seen by it.
    const isLast = isOver?.() === true;
    const now = await fileState(path);
    if (now !== undefined) {
      const isNew = file !== undefined && !beginsAs(now.head, file.head);
      if (isNew || now.byteLength < offset) {
        [offset, last, lines] = [0, 0, new EventLines(path)];
        yield { kind: "rewind", sequence: 0, t: Date.now() / 1000, step: 0, anew: true };
      } else if (isFirst && last > 0) {
        offset = await offsetAfter(path, now.byteLength, last);
        lines = new EventLines(path, offset === 0 ? 0 : last);
      }
      file = now;
      isFirst = false;
      for await (const bytes of readFrom(path, offset, now.byteLength)) {
        offset += bytes.byteLength;
        for (const event of lines.push(bytes)) {
          if (event.sequence <= last) continue;
          last = event.sequence;
          yield event;
          if (isAborted(signal)) return;
        }
      }
    }
    if (isLast) return;
    try {
      await delay(pollMs, undefined, { ...(signal && { signal }), ref: true });
    } catch {
      return; // aborted
    }
  }
}

/** A signal changes while a consumer works; the compiler would not look twice. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

async function fileState(path: string): Promise<FileState | undefined> {
  try {
    const handle = await open(path, "r");
    try {
      const { size } = await handle.stat();
      return { head: await readHead(handle), byteLength: size };
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}

async function* readFrom(path: string, from: number, to: number): AsyncGenerator<Uint8Array> {
  if (to <= from) return;
  const handle = await open(path, "r");
  try {
    for (let offset = from; offset < to;) {
      const bytes = new Uint8Array(Math.min(WINDOW, to - offset));
      const { bytesRead } = await handle.read(bytes, 0, bytes.byteLength, offset);
      if (bytesRead === 0) return;
      offset += bytesRead;
      yield bytes.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

/**
 * Where a line begins before which no event has a number above `last`: found from the end, since those who come back
 * have missed little. 0 where lines have no numbers.
 */
async function offsetAfter(path: string, byteLength: number, last: number): Promise<number> {
  for (let length = Math.min(TAIL, byteLength); length < byteLength; length *= 8) {
    const start = byteLength - Math.min(length, byteLength);
    const parts: Uint8Array[] = [];
    for await (const part of readFrom(path, start, byteLength)) parts.push(part);
    const bytes = Buffer.concat(parts);
    // The window begins inside a line.
    const first = bytes.indexOf(NEWLINE) + 1;
    if (first === 0) continue;
    const end = bytes.indexOf(NEWLINE, first);
    if (end < 0) continue;
    const sequence = sequenceOf(bytes.subarray(first, end));
    if (sequence === undefined) return 0;
    if (sequence <= last) return start + first;
  }
  return 0;
}

function sequenceOf(line: Buffer): number | undefined {
  try {
    const { sequence } = JSON.parse(line.toString("utf8")) as { readonly sequence?: unknown };
    return typeof sequence === "number" ? sequence : undefined;
  } catch {
    return undefined;
  }
}
