/** Engines compile programs, own buffers and run dispatches. */
export { ENGINE_NAMES, createEngine } from "./create.ts";
export type {
  BufferView,
  CompilationCost,
  DispatchTiming,
  Engine,
  EngineDescription,
  EngineUsage,
  ExecutionStep,
  FewRowCounts,
  LoadOptions,
  LoadedPlan,
  MemoryReport,
  SectionExecution,
  SectionsOfPlan,
} from "./engine.ts";
export { ALONE } from "./collective.ts";
export type { Collective, Exchange, ExchangedArray, WireFormat } from "./collective.ts";
export { EngineError } from "./errors.ts";
export { evaluateFunction } from "./reference/evaluate.ts";
export { FunctionResult } from "./function-values.ts";
export type { FunctionInput, StoredElements } from "./function-values.ts";
export { runFunction } from "./run-function.ts";
export type { RunFunctionOptions } from "./run-function.ts";
export type { EngineOptions } from "./create.ts";
export type { EvaluateOptions } from "./reference/evaluate.ts";
export type { AneEngineOptions } from "./ane/index.ts";
