import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { makeFolders } from "../../util/atomic-file.ts";
import { EventLog, eventsPath, logEnd } from "../../runs/event-log.ts";

/** Preparations that are over sooner are not told of. */
const FIRST_MS = 1000;
const EVERY_MS = 1000;

/**
 * A run's log before there is a run: reading and encoding long texts takes minutes, in which those who follow the run want
 * to see it. The log is begun once that has taken a second. What fails before the run begins leaves none behind.
 */
export class PreparationLog {
  /** Whether the folder had a log before this process. */
  readonly wasThere: boolean;
  readonly #wasFolderThere: boolean;
  readonly #folder: string;
  readonly #step: number;
  readonly #startedMs = performance.now();
  #log: EventLog | undefined;
  #lastMs = -Infinity;
  #sequence = 0;

  /** `step`: the one that a resumed run goes on from. */
  constructor(folder: string, step: number) {
    this.#folder = folder;
    this.#step = step;
    this.wasThere = existsSync(eventsPath(folder));
    this.#wasFolderThere = existsSync(folder);
  }

  /** What is being done, at most once a second. Throws `FileError` where the log cannot be written. */
  tell(text: string): void {
    const now = performance.now();
    if (now - this.#startedMs < FIRST_MS || now - this.#lastMs < EVERY_MS) return;
    this.#lastMs = now;
    if (this.#log === undefined) makeFolders(this.#folder);
    this.#log ??= new EventLog(eventsPath(this.#folder));
    ({ sequence: this.#sequence } = this.#log.append({ kind: "progress", step: this.#step, text }));
  }

  /** The run's own log goes on from here. */
  close(): void {
    this.#log?.close();
    this.#log = undefined;
  }

  /** Takes a log away that tells of nothing but a preparation which came to nothing, and the folder made for it. */
  discard(): void {
    this.close();
    const path = eventsPath(this.#folder);
    if (this.wasThere || this.#sequence === 0 || logEnd(path).sequence !== this.#sequence) return;
    rmSync(path);
    if (!this.#wasFolderThere && readdirSync(this.#folder).length === 0) rmdirSync(this.#folder);
  }
}
