// What the server tells a page of runs, as JSON has it. Types alone, so that the page can import them.
import type { RunAxis } from "../../runs/run-record.ts";
import type { RunRow } from "../../runs/run-row.ts";
import type { ClockState } from "../../runs/training-clock.ts";
import type { TrainEvent } from "../../runs/events.ts";

export type { RunRow } from "../../runs/run-row.ts";

type EventOf<Kind extends TrainEvent["kind"]> = Extract<TrainEvent, { readonly kind: Kind }>;

export interface RunList {
  /** The folder of runs, as it was given. */
  readonly root: string;
  /** The newest first. */
  readonly runs: readonly RunRow[];
}

export interface CheckpointView {
  readonly name: string;
  readonly step: number;
  readonly byteLength: number;
  readonly evalLoss: number | null;
}

export interface RunDetail {
  readonly run: RunRow;
  /** Name of its log among those that may stand in its place later; "" where it has no line yet. */
  readonly log: string;
  /** Of the last event that this knows of: the stream goes on after it. */
  readonly sequence: number;
  /** Numbers that it tells, as `train_loss`. */
  readonly names: readonly string[];
  readonly start: EventOf<"start"> | null;
  readonly end: EventOf<"end"> | null;
  readonly power: EventOf<"power"> | null;
  /** Where the time of the steps went in its last process. */
  readonly timings: EventOf<"timings"> | null;
  /** What it is doing where there is no report yet. */
  readonly progress: string | null;
  /** What it ended by, where that was an error. */
  readonly failure: string | null;
  readonly notices: readonly { readonly step: number; readonly message: string }[];
  readonly checkpoints: readonly CheckpointView[];
  /** Whether the newest checkpoint has a chat template. */
  readonly isChat: boolean;
  readonly config: Readonly<Record<string, unknown>>;
  /** Why there are no settings, where there is a file of them that cannot be read. */
  readonly configProblem: string | null;
  readonly sampleCount: number;
  /** Milliseconds an update, by the cost model, for a chip. */
  readonly predicted: NonNullable<EventOf<"end">["predicted"]> | null;
}

export interface SampleView {
  readonly step: number;
  readonly prompt: string;
  readonly text: string;
}

export interface CurveView {
  readonly name: string;
  readonly x: readonly number[];
  readonly y: readonly (number | null)[];
}

/** Numbers of one run over one axis. */
export interface SeriesView {
  readonly axis: RunAxis;
  /** Of the last event that these hold. */
  readonly sequence: number;
  /** Where time and tokens stood then. */
  readonly clock: ClockState;
  readonly tokens: number;
  readonly curves: readonly CurveView[];
}

/** One number of several runs. */
export interface ComparisonView {
  readonly axis: RunAxis;
  readonly name: string;
  readonly runs: readonly {
    readonly id: string;
    readonly x: readonly number[];
    readonly y: readonly (number | null)[];
    /** False where it is drawn by some points, until the log has been read. */
    readonly isWhole: boolean;
  }[];
}

export interface SettingsView {
  readonly ids: readonly string[];
  readonly rows: readonly {
    readonly name: string;
    readonly values: readonly unknown[];
    readonly isDifferent: boolean;
  }[];
}
