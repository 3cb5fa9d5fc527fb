import type { LoadedPlan } from "../../engine/engine.ts";
import type { TrainEvent } from "../../runs/events.ts";
import type { EnergyBlock } from "../costs/energy-block.ts";
import type { RunFiles } from "./checkpoint-contents.ts";
import type { ControlBlock } from "./control.ts";

/** Between two `step` events. */
export interface TrainProgress {
  readonly step: number;
  /** Of this update alone. */
  readonly loss: number;
}

/** Who hears what a run does while it goes on. */
export interface RunListener {
  /** Hears every event of the run, in order. */
  readonly onEvent: (event: TrainEvent) => void;
  /** What is being done; `at` while it trains. */
  readonly onProgress: (text: string, at?: TrainProgress) => void;
}

/** What a run in the calling thread is given beside its settings. */
export interface RunContext extends RunListener {
  readonly control: ControlBlock;
  /** What a power meter on the main thread reads. */
  readonly energy?: EnergyBlock;
  /** Told once everything another thread needs to save this run exists. */
  readonly onReady?: (loaded: LoadedPlan, files: RunFiles) => void;
}
