/**
 * Measurements of this machine's engine beside published ones and the cost model, and the self-test of `doctor`:
 * `anecdote bench` and `anecdote doctor`.
 *
 * @module
 */
export {
  SUITES,
  SUITE_NAMES,
  formatReport,
  runBench,
  selectCases,
  writeReport,
} from "./measure/engine-bench/index.ts";
export type { BenchOptions, CaseResult, EngineReport } from "./measure/engine-bench/index.ts";
export { CLAIMS_NOT_REPEATED, formatPaper, paperRows } from "./measure/published/paper.ts";
export type { PaperRow } from "./measure/published/paper.ts";
export { rooflineOf, rooflineSvg, rooflineText } from "./measure/published/roofline.ts";
export { GROUP_NAMES } from "./measure/self-test/outcome.ts";
export type { Group, ProbeResult } from "./measure/self-test/outcome.ts";
export type { SelfTestReport } from "./measure/self-test/report.ts";
export { runSelfTest } from "./measure/self-test/self-test.ts";
export type { SelfTestOptions } from "./measure/self-test/self-test.ts";
export { measureStep } from "./train/index.ts";
export type { MeasuredStep } from "./train/index.ts";
export type { BenchCase, PowerProbe } from "./measure/engine-bench/index.ts";
export type { Roof, Roofline, Slope } from "./measure/published/roofline.ts";
export type { StepPrediction } from "./train/index.ts";
export type { BuildOptions, CasePlan, RowShape } from "./measure/engine-bench/index.ts";
export type { Progress } from "./measure/self-test/self-test.ts";
