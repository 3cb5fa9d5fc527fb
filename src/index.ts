/**
 * Anecdote trains language models on the Apple Neural Engine from TypeScript, and runs the very same programs on
 * any other machine. Everything the command line does is here; each namespace is one room of the house
 * (docs/architecture.md).
 */
export * as mil from "./mil/index.ts";
export * as coreml from "./coreml/index.ts";
export * as plan from "./plan/index.ts";
export * as grad from "./grad/index.ts";
export * as engine from "./engine/index.ts";
export * as model from "./model/index.ts";
export * as text from "./text/index.ts";
export * as train from "./train/index.ts";
export * as generate from "./generate/index.ts";
export * as hwx from "./inspect/hwx/index.ts";
export { AnecdoteError } from "./util/errors.ts";
export { VERSION } from "./util/version.ts";

export { createEngine, runFunction } from "./engine/index.ts";
export { differentiate, valueAndGradient } from "./grad/index.ts";
export { FunctionBuilder, parseProgram, printProgram, programOf } from "./mil/index.ts";
export {
  evaluateModel,
  resolveTrainConfig,
  RunLock,
  runTraining,
  trainInWorker,
} from "./train/index.ts";
export type { TrainConfig, TrainEvent } from "./train/index.ts";
export { generateFromFolder, withGenerator } from "./generate/index.ts";
