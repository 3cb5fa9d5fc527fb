/**
 * What is in compiled programs, models and weight files of any format, and what two of them differ in:
 * `anecdote inspect` and `anecdote diff`.
 *
 * @module
 */
export { diffFiles } from "./files/diff-files.ts";
export type { FileDiff } from "./files/diff-files.ts";
export { inspectFile } from "./files/inspect-file.ts";
export type { FileReport } from "./files/inspect-file.ts";
export { diffPrograms, programDiffText } from "./inspect/program-diff.ts";
export type {
  FunctionDiff,
  OperationPair,
  ProgramDiff,
  ProgramDifference,
  ProgramSide,
} from "./inspect/program-diff.ts";
export { programGraph } from "./inspect/program-graph.ts";
export { summarizeProgram } from "./inspect/program-summary.ts";
export type { PortSummary, ProgramSummary } from "./inspect/program-summary.ts";
export type {
  SummarizedFunction,
  SummarizedPort,
  SummarizedWeight,
  Summary,
} from "./inspect/summary.ts";
export { taskTimeOf } from "./inspect/task-time.ts";
export * from "./inspect/hwx/index.ts";
export * from "./inspect/e5/index.ts";
export { describeModelFolder, modelFolderJson } from "./runs/describe-model-folder.ts";
export type { ModelFolderReport } from "./runs/describe-model-folder.ts";
export type { FunctionSummary, WeightSummary } from "./inspect/program-summary.ts";
