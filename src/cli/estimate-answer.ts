import type { Driver } from "../chip/chip.ts";
import type { Estimate, PlanEstimate } from "../chip/estimate.ts";
import type { FileEstimate } from "../files/estimate-file.ts";
import type { Model } from "../model/index.ts";
import type { StepEstimate } from "../train/index.ts";
import type { DriverFlags } from "./driver-option.ts";
import type { ProgramFlags } from "./named-file.ts";

export interface EstimateFlags extends DriverFlags, ProgramFlags {
  readonly chip: string;
  readonly token?: boolean;
  readonly hostCopies?: boolean;
  readonly calibrated?: string | boolean;
  readonly every?: string;
  readonly lowPower?: boolean;
  readonly asWritten?: boolean;
  readonly svg?: string;
}

/** What was estimated, with what stands beside it. */
export interface Answer {
  readonly estimate: Estimate | PlanEstimate;
  readonly what: string;
  /** Whose step or token it is. */
  readonly model?: Model;
  /** What was priced of a file. */
  readonly ofFile?: FileEstimate;
  /** A micro-batch of a training step as published trainers count it. */
  readonly published?: StepEstimate["published"];
  /** The run that a training step's programs are joined for. */
  readonly longRun?: StepEstimate["longRun"];
  /** In which types a training step's update reads and writes. */
  readonly update?: StepEstimate["update"];
  /** Where a frozen base's matrices stand. */
  readonly base?: StepEstimate["base"];
  /** With nonlinear ops on the host: both prices. */
  readonly placements?: StepEstimate["placements"];
}

export interface Target {
  readonly chip: string;
  readonly driver: Driver | undefined;
  /** Path of a report. */
  readonly calibrated?: string;
}
