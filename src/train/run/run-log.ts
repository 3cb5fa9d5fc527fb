import { join } from "node:path";
import { stringify as stringifyYaml } from "yaml";
import { CONFIG_FILE, withConfigVersion } from "../../runs/config-file.ts";
import { EventLog, eventsPath, readEvents, rewindTo } from "../../runs/event-log.ts";
import type { TrainEvent, UntimedEvent } from "../../runs/events.ts";
import { trackerNames, Trackers } from "../../track/trackers.ts";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { AnecdoteError } from "../../util/errors.ts";
import type { TrainConfig } from "../config/config.ts";
import { savedSettings } from "../config/saved-settings.ts";
import { doneEvents } from "./activities.ts";
import type { Activity } from "./activities.ts";
import type { RunListener, TrainProgress } from "./run-context.ts";

/** Milliseconds without an event after which progress is one: while the run is prepared, and while it trains. */
const PREPARATION_EVERY_MS = 1000;
const STEP_EVERY_MS = 5000;

/** Where a run tells what it does: its caller, its folder, and the reports of others. */
export class RunLog {
  readonly #config: TrainConfig;
  readonly #listener: RunListener;
  #log: EventLog | undefined;
  #trackers: Trackers | undefined;
  #lastEventMs = 0;

  readonly #isFollowed: boolean;

  /** `isFollowed`: the folder had a log before this process. */
  constructor(config: TrainConfig, listener: RunListener, isFollowed: boolean) {
    this.#isFollowed = isFollowed;
    this.#config = config;
    this.#listener = listener;
  }

  /** Begins to write in the run's folder. `due`: what is told again after `step`. */
  open(step: number, due: readonly Activity[]): void {
    const { output_dir } = this.#config;
    const settings = withConfigVersion(savedSettings(this.#config));
    writeWholeFile(join(output_dir, CONFIG_FILE), stringifyYaml(settings));
    const path = eventsPath(output_dir);
    this.#log = new EventLog(path);
    // For the log's readers alone: this process has told nothing that it could take back.
    if (step > 0) this.#log.append(rewindTo(step, doneEvents(step, due, this.#config)));
    else if (this.#isFollowed) this.#log.append({ kind: "rewind", step, anew: true });
    this.#trackers = new Trackers(
      trackerNames(this.#config.report_to ?? ""),
      { runFolder: output_dir, before: readEvents(path), step },
      (message) => this.emit({ kind: "notice", step, message }),
    );
  }

  /** Tells the caller, and now and then those who read the run's log. */
  progress(step: number, text: string, at?: TrainProgress): void {
    this.#listener.onProgress(text, at);
    const everyMs = at === undefined ? PREPARATION_EVERY_MS : STEP_EVERY_MS;
    if (performance.now() - this.#lastEventMs < everyMs) return;
    this.emit({ kind: "progress", step, text, ...(at !== undefined && { loss: at.loss }) });
  }

  /** Tells the caller alone. */
  say(text: string): void {
    this.#listener.onProgress(text);
  }

  emit(untimed: UntimedEvent): TrainEvent {
    const event = this.#log?.append(untimed) ?? { t: Date.now() / 1000, ...untimed };
    this.#lastEventMs = performance.now();
    this.#trackers?.add(event);
    this.#listener.onEvent(event);
    return event;
  }

  /** Tells those who read the log why nothing comes any more; the caller gets the error itself. */
  failed(step: number, error: unknown): void {
    if (!(error instanceof AnecdoteError)) return;
    try {
      this.#log?.append({ kind: "notice", step, message: error.message, failure: true });
    } catch {
      // A disk that takes nothing may be what it failed by.
    }
  }

  close(): void {
    this.#trackers?.close();
    this.#log?.close();
  }
}
