/**
 * What the self-test and the commands ask of this machine's Neural Engine and of its drivers: the one face of this
 * folder beside the engine itself. Nothing else of it is imported from other rooms (scripts/check-imports.mjs).
 */
export { ASSUMPTIONS } from "./assumptions.ts";
export type { AssumptionId } from "./assumptions.ts";
export { driverAvailability } from "./availability.ts";
export { chooseChip } from "./choose-chip.ts";
export type {
  AneDriver,
  DeviceBuffer,
  DriverOperation,
  DriverProgram,
  DriverStream,
  EngineSource,
} from "./driver.ts";
export { E5rtCalls } from "./e5rt/calls.ts";
export type { CallSite } from "./e5rt/calls.ts";
export { lendEvaluator } from "./evaluator.ts";
export { E5RT_FUNCTIONS, NEURAL_ENGINE_MASK, PLAIN_BUFFER } from "./ffi/e5rt-functions.ts";
export type { Handle } from "./ffi/e5rt-functions.ts";
export {
  CLASS_NAMES,
  MESSAGES,
  NEURAL_ENGINE_FRAMEWORK,
  OBJC_LIBRARIES,
  ROUTE_CLASS_NAMES,
} from "./ffi/objc-functions.ts";
export type { ClassName, ObjectPointer } from "./ffi/objc-functions.ts";
export { STDERR_FOLDER_VARIABLE } from "./ffi/stderr-capture.ts";
export { identifyMachine } from "./identity.ts";
export type { MachineIdentity } from "./identity.ts";
export { ObjcRuntime } from "./in-memory/objc.ts";
export { findLibrary, hasNeuralEngine } from "./library.ts";
export type { AneLibrary } from "./library.ts";
export {
  describeProfile,
  readMachineProfile,
  saveMachineProfile,
  systemBuild,
} from "./machine-profile.ts";
export type { DriverSettings } from "./machine-profile.ts";
export { openDriver } from "./open-driver.ts";
export { cacheFolder, writeProgramFolder } from "./program-folder.ts";
export { canonicalSource, programFiles } from "./program-text.ts";
