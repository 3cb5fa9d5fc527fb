import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { writeWholeFile } from "../util/atomic-file.ts";
import { openFileSource } from "../util/byte-source.ts";
import { FileError, messageOf } from "../util/errors.ts";
import { checkpointPath } from "./checkpoint.ts";
import { trainEventSchema } from "./events.ts";
import type { TrainEvent } from "./events.ts";

/** events.ndjson of a run: appended line by line, read back tolerating a line that a crash cut off. */
export class EventLog {
  readonly path: string;
  #handle: number;

  constructor(path: string) {
    this.path = path;
    try {
      this.#handle = openSync(path, "a");
    } catch (error) {
      throw new FileError("file.open", `cannot write ${path}: ${messageOf(error)}`, {
        remedy: "Choose another folder with --output-dir.",
        cause: error,
      });
    }
  }

  append(event: TrainEvent): void {
    try {
      writeSync(this.#handle, `${JSON.stringify(event)}\n`);
    } catch (error) {
      throw new FileError("file.write", `cannot write ${this.path}: ${messageOf(error)}`, {
        remedy: "Free some space and continue with --resume; earlier checkpoints are intact.",
        cause: error,
      });
    }
  }

  close(): void {
    closeSync(this.#handle);
  }
}

/** Where a run's log stands. */
export function eventsPath(runFolder: string): string {
  return join(runFolder, "events.ndjson");
}

/** Notes in a run's log that it was stopped after `step`, which is saved, where nothing else writes there any more. */
export function logInterruption(runFolder: string, step: number): TrainEvent {
  const checkpoint = checkpointPath(runFolder, step);
  const event: TrainEvent = { t: Date.now() / 1000, kind: "interrupted", step, checkpoint };
  const log = new EventLog(eventsPath(runFolder));
  log.append(event);
  log.close();
  return event;
}

/** Every whole event of a log, in order. Lines that are no events of this version are passed over. */
export function readEvents(path: string): readonly TrainEvent[] {
  if (!existsSync(path)) return [];
  const source = openFileSource(path);
  try {
    const events: TrainEvent[] = [];
    for (const line of Buffer.from(source.read(0, source.byteLength))
      .toString("utf8")
      .split("\n")) {
      if (line === "") continue;
      let content: unknown;
      try {
        content = JSON.parse(line);
      } catch {
        continue; // cut off by a crash
      }
      const event = trainEventSchema.safeParse(content);
      if (event.success) events.push(event.data);
    }
    return events;
  } finally {
    source.close();
  }
}

/**
 * Drops what was logged after `step`, since a resumed run goes through those steps again, and of that step the end,
 * an interruption, and events of a kind beyond the number in `kept`.
 */
export function rewindEvents(
  path: string,
  step: number,
  kept: ReadonlyMap<string, number> = new Map(),
): void {
  if (!existsSync(path)) return;
  const counts = new Map<string, number>();
  const events = readEvents(path).filter((event) => {
    if (event.step !== step) return event.step < step;
    const count = (counts.get(event.kind) ?? 0) + 1;
    counts.set(event.kind, count);
    return (
      event.kind !== "end" &&
      event.kind !== "interrupted" &&
      count <= (kept.get(event.kind) ?? Infinity)
    );
  });
  writeWholeFile(path, events.map((event) => `${JSON.stringify(event)}\n`).join(""));
}
