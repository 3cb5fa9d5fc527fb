/** Engines compile programs, own buffers and run dispatches. */
export { ENGINE_NAMES, createEngine } from "./create.ts";
export type {
  BufferView,
  DispatchTiming,
  Engine,
  EngineDescription,
  LoadOptions,
  LoadedPlan,
  MemoryReport,
} from "./engine.ts";
export { EngineError } from "./errors.ts";
export { evaluateFunction } from "./reference/evaluate.ts";
export { runForTensors, runFunction } from "./run-function.ts";
export type { FunctionResult, RunFunctionOptions } from "./run-function.ts";
