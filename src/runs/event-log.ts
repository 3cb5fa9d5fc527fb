import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openFileSource, withFileSource } from "../util/byte-source.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { FileError, messageOf } from "../util/errors.ts";
import { checkpointPath } from "./checkpoint.ts";
import { EventLines, requireVersion } from "./event-lines.ts";
import { afterRewind } from "./events.ts";
import type { NumberedEvent, UntimedEvent } from "./events.ts";
import { closing } from "../util/closing.ts";

/** Bytes that are read at once. */
const WINDOW = 1 << 20;
/** Bytes in which the last events of a log are looked for first. */
const TAIL = 1 << 16;

/**
 * events.ndjson of a run: appended line by line and never written again, so that it can be followed. What a resumed run
 * goes back on is told by a `rewind` event.
 */
export class EventLog {
  readonly path: string;
  readonly #handle: number;
  #sequence: number;

  /** Throws `FileError` where the log cannot be written, `RunError` where it is of a later version. */
  constructor(path: string) {
    this.path = path;
    try {
      const end = logEnd(path);
      this.#sequence = end.sequence;
      this.#handle = openSync(path, "a");
      if (end.isCutOff) writeSync(this.#handle, "\n");
    } catch (error) {
      if (!(error instanceof Error && "syscall" in error)) throw error;
      throw new FileError("file.open", `cannot write ${path}: ${messageOf(error)}`, {
        remedy: "Choose another folder with --output-dir.",
        cause: error,
      });
    }
  }

  /** Gives the event its number and time. Throws `FileError` where the disk does not take it. */
  append(event: UntimedEvent): NumberedEvent {
    const sequence = this.#sequence + 1;
    const numbered = { sequence, t: Date.now() / 1000, ...event };
    try {
      writeSync(this.#handle, `${JSON.stringify(numbered, withoutNonFinite)}\n`);
    } catch (error) {
      throw new FileError("file.write", `cannot write ${this.path}: ${messageOf(error)}`, {
        remedy: "Free some space and continue with --resume; earlier checkpoints are intact.",
        cause: error,
      });
    }
    this.#sequence = sequence;
    return numbered;
  }

  /** Closes the file; what was written is on disk. */
  close(): void {
    closeSync(this.#handle);
  }
}

/** JSON has no word for what is no number: as what is not known, it is left out. */
function withoutNonFinite(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? undefined : value;
}

/** Where a run's log stands. */
export function eventsPath(runFolder: string): string {
  return join(runFolder, "events.ndjson");
}

/** Notes in a run's log that it was stopped after `step`, which is saved, where nothing else writes there any more. */
export function logInterruption(runFolder: string, step: number): NumberedEvent {
  return closing(new EventLog(eventsPath(runFolder)), (log) =>
    log.append({ kind: "interrupted", step, checkpoint: checkpointPath(runFolder, step) }),
  );
}

/** Adds to a run's log, from outside the thread that trained, what its user should know. */
export function logNotice(runFolder: string, step: number, message: string): NumberedEvent {
  return closing(new EventLog(eventsPath(runFolder)), (log) =>
    log.append({ kind: "notice", step, message }),
  );
}

/**
 * What a log tells of the run, in order: every whole event that still holds. Events of version 1 get the numbers of
 * their lines. Throws `RunError` `run.events.version` for a log of a later version.
 */
export function readEvents(path: string): readonly NumberedEvent[] {
  let events: NumberedEvent[] = [];
  for (const event of readStream(path)) {
    if (event.kind === "rewind") events = afterRewind(events, event);
    else events.push(event);
  }
  return events;
}

/** Every whole event of a log as it was written, rewinds and what they took back among them. */
export function* readStream(path: string): Generator<NumberedEvent> {
  if (!existsSync(path)) return;
  const source = openFileSource(path);
  try {
    const lines = new EventLines(path);
    for (let offset = 0; offset < source.byteLength; offset += WINDOW) {
      yield* lines.push(source.read(offset, Math.min(WINDOW, source.byteLength - offset)));
    }
    yield* lines.end();
  } finally {
    source.close();
  }
}

/**
 * Says in the log that a resumed run goes back to `step`: `afterRewind` tells what holds then. `kept`: how many events
 * of a kind that step keeps.
 */
export function rewindEvents(
  path: string,
  step: number,
  kept: ReadonlyMap<string, number> = new Map(),
): void {
  if (!existsSync(path)) return;
  closing(new EventLog(path), (log) => {
    log.append(rewindTo(step, kept));
  });
}

/** The event that says so. */
export function rewindTo(step: number, kept: ReadonlyMap<string, number>): UntimedEvent {
  return { kind: "rewind", step, ...(kept.size > 0 && { kept: Object.fromEntries(kept) }) };
}

/** Where a log goes on. */
export interface LogEnd {
  /** Of the last event; 0 where there is none. */
  readonly sequence: number;
  /** Whether its last line lacks its end. */
  readonly isCutOff: boolean;
}

export function logEnd(path: string): LogEnd {
  if (!existsSync(path)) return { sequence: 0, isCutOff: false };
  return withFileSource(path, (source) => {
    const { byteLength } = source;
    requireFirstLine(source);
    const isCutOff = byteLength > 0 && source.read(byteLength - 1, 1)[0] !== 0x0a;
    return { sequence: lastNumberInTail(source) ?? lineCount(source), isCutOff };
  });
}

/** The first event of a run tells the version. */
function requireFirstLine(source: ByteSource): void {
  const head = Buffer.from(source.read(0, Math.min(TAIL, source.byteLength))).toString("utf8");
  try {
    requireVersion(JSON.parse(head.split("\n", 1)[0] ?? ""), source.name);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}

/** The number of the last event that has one, where it stands near the end. */
function lastNumberInTail(source: ByteSource): number | undefined {
  const { byteLength } = source;
  for (let length = Math.min(TAIL, byteLength); length > 0;) {
    const text = Buffer.from(source.read(byteLength - length, length)).toString("utf8");
    for (const line of text.split("\n").reverse()) {
      const sequence = numberOf(line);
      if (sequence !== undefined) return sequence;
    }
    // Lines of version 1 have none, however far one looks: a few windows are enough to tell.
    if (length === byteLength || length >= 64 * TAIL) return undefined;
    length = Math.min(8 * length, byteLength);
  }
  return undefined;
}

function numberOf(line: string): number | undefined {
  if (!line.startsWith('{"')) return undefined;
  try {
    const { sequence } = JSON.parse(line) as { readonly sequence?: unknown };
    return typeof sequence === "number" ? sequence : undefined;
  } catch {
    return undefined;
  }
}

function lineCount(source: ByteSource): number {
  let count = 0;
  for (let offset = 0; offset < source.byteLength; offset += WINDOW) {
    for (const byte of source.read(offset, Math.min(WINDOW, source.byteLength - offset)))
      if (byte === 0x0a) count++;
  }
  return count;
}
