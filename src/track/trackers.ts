import { AnecdoteError } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { CsvTracker } from "./csv.ts";
import { TrackError } from "./errors.ts";
import { TensorBoardTracker } from "./tensorboard.ts";
import type { Tracker, TrackerStart } from "./tracker.ts";
import type { TrainEvent } from "../runs/events.ts";

const MAKERS = {
  tensorboard: (start: TrackerStart): Tracker => new TensorBoardTracker(start),
  csv: (start: TrackerStart): Tracker => new CsvTracker(start),
} as const;

export type TrackerName = keyof typeof MAKERS;
export const TRACKER_NAMES = Object.keys(MAKERS) as readonly TrackerName[];

function isTrackerName(name: string): name is TrackerName {
  return Object.hasOwn(MAKERS, name);
}

/** The names in "tensorboard,csv"; none for "none". Throws `TrackError` `track.unknown` for another one. */
export function trackerNames(list: string): readonly TrackerName[] {
  const names = list.split(",").map((name) => name.trim());
  return [...new Set(names)].flatMap((name) => {
    if (name === "none" || name === "") return [];
    if (isTrackerName(name)) return [name];
    const known = [...TRACKER_NAMES, "none"];
    throw new TrackError(
      "track.unknown",
      `--report-to takes ${known.join(", ")}, not "${name}".${didYouMean(name, known)}`,
    );
  });
}

/**
 * A run's trackers as one. One that fails is told of once and left out: a run does not end because a report of it cannot
 * be written.
 */
export class Trackers implements Tracker {
  #open: Tracker[] = [];
  readonly #onFailure: (message: string) => void;

  constructor(
    names: readonly TrackerName[],
    start: TrackerStart,
    onFailure: (message: string) => void,
  ) {
    this.#onFailure = onFailure;
    for (const name of names) this.#try(() => this.#open.push(MAKERS[name](start)));
  }

  add(event: TrainEvent): void {
    for (const tracker of this.#open) {
      if (!this.#try(() => tracker.add(event)))
        this.#open = this.#open.filter((other) => other !== tracker);
    }
  }

  close(): void {
    for (const tracker of this.#open) this.#try(() => tracker.close());
    this.#open = [];
  }

  #try(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      if (!(error instanceof AnecdoteError)) throw error;
      this.#onFailure(`${error.message}; the run goes on without it`);
      return false;
    }
  }
}
