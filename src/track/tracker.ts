import type { TrainEvent } from "../runs/events.ts";

/** Keeps a run's numbers in a form that other programs read. */
export interface Tracker {
  /** Takes what the run tells, rewinds excepted. Throws `FileError` where it cannot be kept. */
  add(event: TrainEvent): void;
  close(): void;
}

/** Where a tracker begins. */
export interface TrackerStart {
  readonly runFolder: string;
  /** What the run's log holds of the time before: a resumed run goes on after it. */
  readonly before: readonly TrainEvent[];
  /** The step that the run goes on from; 0 for a new one. */
  readonly step: number;
}

/** Numbers of an event by the names that its schema gives them; what is no number is left out. */
export function numbersOf(event: TrainEvent): readonly (readonly [string, number])[] {
  return Object.entries(event).flatMap(([name, value]) =>
    typeof value === "number" && !NO_SERIES.has(name) ? [[name, value] as const] : [],
  );
}

const NO_SERIES: ReadonlySet<string> = new Set(["t", "sequence", "step"]);
