/**
 * Anecdote trains language models on the Apple Neural Engine from TypeScript, and runs the very same programs on
 * any other machine. Everything the command line does is here: what one command needs stands at the top, the rooms of
 * the house (docs/architecture.md) are namespaces. Decoders of compiled programs are in `anecdote/inspect`,
 * measurements and the self-test in `anecdote/measure`, so that nobody loads them who does not ask for them.
 *
 * @example
 * ```ts
 * const run = await train({ preset: "nanogpt-char", data: "input.txt" });
 * for await (const event of run) console.log(event.kind);
 * console.log((await run.model.generate("ROMEO:")).text);
 * ```
 *
 * @module
 */
export { AnecdoteError, FileError } from "./util/errors.ts";
export { OptionError } from "./util/option-error.ts";
export { VERSION } from "./util/version.ts";

// anecdote train, generate, eval, plan
export {
  ModelHandle,
  TRAIN_OPTIONS,
  TrainRun,
  checkData,
  evaluateModel,
  openModel,
  planOf,
  plannedModel,
  resolveRun,
  resolveTrainConfig,
  runTraining,
  train,
  trainInWorker,
  trainedModel,
} from "./train/index.ts";
export type {
  CheckDataOptions,
  DataCheckReport,
  EvaluateOptions,
  EvaluationReport,
  JudgeOptions,
  ResolvedRun,
  ResolvedTrainConfig,
  RunContext,
  SessionOptions,
  TrainConfig,
  TrainLayer,
  TrainProgress,
  TrainRunOptions,
  TrainSettings,
  WriteOptions,
} from "./train/index.ts";
// anecdote export, fuse, and convert to .gguf, a stateful .mlpackage or an onnx folder
export { exportGguf } from "./runs/export-gguf.ts";
export type { GgufExport, GgufExportOptions } from "./runs/export-gguf.ts";
export { exportModel } from "./runs/export-model.ts";
export type { ExportedModel, ExportOptions } from "./runs/export-model.ts";
export { exportOnnxFolder } from "./runs/export-onnx.ts";
export type { OnnxExport, OnnxExportOptions } from "./runs/export-onnx.ts";
export { exportPackage } from "./runs/export-package.ts";
export type { PackageExport, PackageExportOptions } from "./runs/export-package.ts";
// anecdote serve, dashboard, report
export { serveModel } from "./server/serve-model.ts";
export type { ServedModel, ServeOptions } from "./server/serve-model.ts";
export type { DashboardOptions, RunningDashboard } from "./server/dashboard.ts";
export { runReport, startDashboard } from "./server/on-demand.ts";

export { Chat, generateFromFolder, withGenerator } from "./generate/index.ts";
export type {
  ChatOptions,
  FolderOptions,
  GenerateOptions,
  GeneratedText,
  Generator,
  SamplingOptions,
  StopReason,
} from "./generate/index.ts";

// anecdote check, convert, estimate, run, ops, chips
export { checkFile, estimateFile, openProgram, prepareRun } from "./files/index.ts";
export type {
  CheckOptions,
  CheckReport,
  ChipReport,
  ConvertOptions,
  ConvertReport,
  EstimateFileOptions,
  FileEstimate,
  OpenedProgram,
  PreparedRun,
  RunRequest,
} from "./files/index.ts";
export { estimateStep, estimateToken } from "./train/index.ts";
export type { EstimateModelOptions, StepEstimate, TokenEstimate } from "./train/index.ts";
export { FunctionResult, createEngine, runFunction } from "./engine/index.ts";
export type { FunctionInput, RunFunctionOptions, StoredElements } from "./engine/index.ts";
export { opReport } from "./grad/index.ts";
export type { OpReport } from "./grad/index.ts";
export { CHIPS, chipByName } from "./chip/index.ts";
export type { Chip } from "./chip/index.ts";

// runs
export {
  RunLock,
  convertFile,
  describeModelFolder,
  followEvents,
  listCheckpoints,
  readEvents,
  resolveModelFolder,
} from "./runs/index.ts";
export type { FollowOptions, ModelFolderReport, TrainEvent, TrainEventKind } from "./runs/index.ts";

// programs
export { FunctionBuilder, parseProgram, printProgram, programOf } from "./mil/index.ts";
export { differentiate, valueAndGradient } from "./grad/index.ts";

export * as chips from "./chip/index.ts";
export * as coreml from "./coreml/index.ts";
export * as engine from "./engine/index.ts";
export * as files from "./files/index.ts";
export * as generation from "./generate/index.ts";
export * as grad from "./grad/index.ts";
export * as mil from "./mil/index.ts";
export * as model from "./model/index.ts";
export * as plan from "./plan/index.ts";
export * as runs from "./runs/index.ts";
export * as text from "./text/index.ts";
export * as training from "./train/index.ts";

export type { RemediedFinding, RemediedFunction } from "./lower/index.ts";
export type { TensorNumbers } from "./onnx/tensor-numbers.ts";
export type { Storage } from "./plan/storage.ts";
export type { ByteSource } from "./util/byte-source.ts";
export type { ForeignNames } from "./util/foreign-names.ts";
export type { OptionLayer, OptionSpec, OptionTable, OptionValues } from "./util/options.ts";
export { Random } from "./util/random.ts";
export type { PartTimes } from "./cluster/plan/cluster-step.ts";
export type { SimulatedStep } from "./cluster/plan/step-simulation.ts";
export type { SectionRuns } from "./lower/join-dispatches.ts";
export type { PlacedProgram } from "./lower/ports.ts";
export type { ImportOptions } from "./onnx/import/import-model.ts";
export type { ApplicationOptions } from "./server/application.ts";
export type { ListenOptions, RunningServer } from "./server/listen.ts";
export type { WriteChunk } from "./util/atomic-file.ts";
export type { EnergyReading } from "./util/energy.ts";
export type { RandomState } from "./util/random.ts";
