import type { ProgramRow } from "../published/measured-row.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import type { DataType } from "../../mil/types.ts";
import type { Plan } from "../../plan/plan.ts";

/** What is measured, in the order of the report. */
export const SUITES = {
  peak: "Peak rate: chains of 1x1 convolutions by depth and channels",
  weights: "Weight sizes: one 1x1 convolution, with the notch sizes 4096 and 8192",
  matmul: "Matrix product against 1x1 convolution of the same numbers",
  int8: "int8 against fp16",
  latency:
    "Dispatch latency: the smallest program, one stream against many calls, one op against 64",
  layer: "Transformer layer and training step, forward and backward",
  gemv: "One row times a matrix: what a generated token does",
  conv: "3x3 convolutions",
  ops: "Elementwise ops, softmax and norms",
} as const;
export type SuiteName = keyof typeof SUITES;
/** Names of all suites. */
export const SUITE_NAMES = Object.keys(SUITES) as readonly SuiteName[];

type WithoutResult<Row> = Row extends ProgramRow
  ? Omit<Row, "chip" | "ms" | "source" | "ane_w" | "ane_mw" | "driver" | "host_copies">
  : never;

/** A row of a file of measurements before anybody measured it: kind and sizes. */
export type RowShape = WithoutResult<ProgramRow>;

/** How constants are written. `placeholder` gives them a type without numbers: enough to check and to price. */
export type ConstantMode = "numbers" | "placeholder";

/** How a case's plan is built for the engine that runs or prices it. */
export interface BuildOptions {
  /** Element type of buffers and constants: fp16 for a prediction, fp32 where an engine converts. */
  readonly dataType: Extract<DataType, "fp16" | "fp32">;
  readonly constants: ConstantMode;
  /** Whether timed results must be the host's: an engine may drop what nobody reads, a Neural Engine copies what somebody does. */
  readonly readsResults: boolean;
}

/** A case as a plan: section `time` is timed, section `check` does the same and leaves its results to be read. */
export interface CasePlan {
  readonly plan: Plan;
  /** Sections of one timed call, in order. */
  readonly time: readonly string[];
  /** Sections after which the buffers of `outputs` hold results. */
  readonly check: readonly string[];
  readonly outputs: readonly string[];
  /** Writes fixed numbers into inputs and weights; called once after loading. */
  readonly fill: (loaded: LoadedPlan) => void;
}

/** One measurement. */
export interface BenchCase {
  /** `peak.conv1x1-chain.128x512@64`: stable from version to version. */
  readonly id: string;
  readonly suite: SuiteName;
  /** For people. */
  readonly title: string;
  /** Kind and sizes of one dispatch, where it is a row of the published kind. */
  readonly shape?: RowShape;
  /** Its name in the table of `anecdote bench paper`, where that holds what was published. */
  readonly paper?: string;
  /** Inputs are converted and copied in, results out, within the timed call: as the publisher measured. */
  readonly hostCopies: boolean;
  /** Dispatches of one timed call. */
  readonly dispatches: number;
  /** How the dispatches are given to the engine: all in one call, or each in one of its own. */
  readonly calls: "one" | "each";
  /** Floating-point operations and bytes of weights of one timed call. */
  readonly flops: number;
  readonly weightBytes: number;
  /** Cases of one group take turns, run by run, so that heat and load meet them alike. */
  readonly group: string;
  /** Part of `--quick`. */
  readonly isQuick: boolean;
  /** Bytes of memory that measuring needs, roughly. */
  readonly memoryBytes: number;
  /** The plan that is run, for an engine. */
  readonly build: (options: BuildOptions) => CasePlan;
}
