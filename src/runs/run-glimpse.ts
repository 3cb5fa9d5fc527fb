import { openSync, closeSync, fstatSync, readSync } from "node:fs";
import { EventLines } from "./event-lines.ts";
import { eventsPath } from "./event-log.ts";
import type { NumberedEvent } from "./events.ts";

/** Bytes at both ends of a log, read whole. */
const EDGE_BYTES = 1 << 15;
/** Bytes read at each place between; longer lines are met by chance. */
const SAMPLE_BYTES = 2048;
const NEWLINE = 0x0a;
const REPORT = '"kind":"step"';
const EVALUATION = '"kind":"eval"';
/** Evaluations are rare: the last one is looked for in so many bytes before the end. */
const EVALUATION_BYTES = 1 << 20;

/** What a look at parts of a log tells: a long run in a millisecond, where reading it takes a second. */
export interface RunGlimpse {
  /** The first and the last `start`. */
  readonly first: Extract<NumberedEvent, { readonly kind: "start" }> | undefined;
  readonly start: Extract<NumberedEvent, { readonly kind: "start" }> | undefined;
  /** The last event that is no notice. */
  readonly last: NumberedEvent | undefined;
  readonly lastReport: Extract<NumberedEvent, { readonly kind: "step" }> | undefined;
  /** Nothing as well where a long log has none near its end. */
  readonly lastEvaluation: Evaluation | undefined;
  /** Whether it waits, as somebody asked. */
  readonly isPaused: boolean;
  readonly updatedAt: number | undefined;
  /** Some reports of all the run, steps growing. */
  readonly reports: readonly Extract<NumberedEvent, { readonly kind: "step" }>[];
  /** Whether these are all there are. */
  readonly isWhole: boolean;
  /** Of the log. */
  readonly byteLength: number;
}

/** Of a log with nothing in it. */
export function glimpseOfNothing(): RunGlimpse {
  return glimpseOf([], true, 0);
}

/**
 * Looks at both ends of a run's log and at `sampleCount` places between. Throws `RunError` for a log of a later version;
 * a missing log is an empty one.
 */
export function glimpseRun(runFolder: string, sampleCount: number): RunGlimpse {
  const path = eventsPath(runFolder);
  let handle: number;
  try {
    handle = openSync(path, "r");
  } catch {
    return glimpseOfNothing();
  }
  try {
    const byteLength = fstatSync(handle).size;
    const read = (from: number, length: number): Uint8Array => {
      if (memory.byteLength < length) memory = new Uint8Array(length);
      const wanted = Math.max(0, Math.min(length, byteLength - from));
      return memory.subarray(0, readSync(handle, memory, 0, wanted, from));
    };
    if (byteLength <= 2 * EDGE_BYTES + sampleCount * SAMPLE_BYTES) {
      const lines = new EventLines(path);
      return glimpseOf([...lines.push(read(0, byteLength)), ...lines.end()], true, byteLength);
    }
    const events = [...new EventLines(path).push(read(0, EDGE_BYTES))];
    const span = byteLength - 2 * EDGE_BYTES;
    for (let index = 0; index < sampleCount; index++) {
      const from = EDGE_BYTES + Math.floor((index * span) / sampleCount);
      const line = firstReport(wholeLines(read(from, SAMPLE_BYTES)));
      events.push(...new EventLines(path).push(line));
    }
    const tail = new EventLines(path).push(wholeLines(read(byteLength - EDGE_BYTES, EDGE_BYTES)));
    events.push(...tail);
    const found = glimpseOf(events, false, byteLength);
    if (tail.some(({ kind }) => kind === "eval")) return found;
    const evaluation = lastEvaluation(read, path, byteLength - EDGE_BYTES);
    // What a rewind took back is told again, or not yet.
    const holds = evaluation !== undefined && evaluation.step <= (found.last?.step ?? 0);
    return { ...found, lastEvaluation: holds ? evaluation : undefined };
  } finally {
    closeSync(handle);
  }
}

/** One piece for all that is read: what is read is used before the next is. */
let memory = new Uint8Array(EDGE_BYTES);

type Evaluation = Extract<NumberedEvent, { readonly kind: "eval" }>;

/** The last evaluation of a log in the bytes before `to`, if it stands near. */
function lastEvaluation(
  read: (from: number, length: number) => Uint8Array,
  path: string,
  to: number,
): Evaluation | undefined {
  const from = Math.max(0, to - EVALUATION_BYTES);
  const bytes = read(from, to - from);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let found: Evaluation | undefined;
  // Forward, though the last is wanted: searching backward takes three times as long.
  for (let at = text.indexOf(EVALUATION); at >= 0;) {
    const start = text.lastIndexOf(NEWLINE, at) + 1;
    const end = text.indexOf(NEWLINE, at);
    if (end < 0) break;
    const [event] = new EventLines(path).push(text.subarray(start, end + 1));
    if (event?.kind === "eval") found = event;
    at = text.indexOf(EVALUATION, end);
  }
  return found;
}

/** Whether a run waits after these events, if it runs at all. */
export function isPausedAfter(events: readonly NumberedEvent[]): boolean {
  const last = events.findLast(
    (event) =>
      (event.kind === "control" && event.command !== "save") ||
      event.kind === "step" ||
      event.kind === "start",
  );
  return last?.kind === "control" && last.command === "pause";
}

/** The lines that begin in a piece. */
function wholeLines(bytes: Uint8Array): Uint8Array {
  const first = bytes.indexOf(NEWLINE) + 1;
  return first === 0 ? new Uint8Array() : bytes.subarray(first);
}

/** The first whole line that looks like a report. */
function firstReport(bytes: Uint8Array): Uint8Array {
  for (let start = 0; ;) {
    const end = bytes.indexOf(NEWLINE, start);
    if (end < 0) return new Uint8Array();
    const line = bytes.subarray(start, end + 1);
    if (Buffer.from(line.buffer, line.byteOffset, line.byteLength).includes(REPORT)) return line;
    start = end + 1;
  }
}

function glimpseOf(
  events: readonly NumberedEvent[],
  isWhole: boolean,
  byteLength: number,
): RunGlimpse {
  const reports: Extract<NumberedEvent, { readonly kind: "step" }>[] = [];
  const take = (to: number): void => {
    while ((reports.at(-1)?.step ?? -1) > to) reports.pop();
  };
  let evaluation: Evaluation | undefined;
  for (const event of events) {
    if (event.kind === "eval") evaluation = event;
    if (event.kind === "rewind") {
      const to = event.anew === true ? -1 : event.step;
      take(to);
      if ((evaluation?.step ?? 0) > to) evaluation = undefined;
    }
    if (event.kind !== "step") continue;
    // Between two samples there may be a rewind that was not met: what stands later holds.
    take(event.step - 1);
    reports.push(event);
  }
  return {
    first: events.find((event) => event.kind === "start"),
    start: events.findLast((event) => event.kind === "start"),
    last: events.findLast(({ kind }) => kind !== "notice"),
    lastReport: reports.at(-1),
    lastEvaluation: evaluation,
    isPaused: isPausedAfter(events),
    updatedAt: events.at(-1)?.t,
    reports,
    isWhole,
    byteLength,
  };
}
