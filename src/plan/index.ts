/** A step as data: programs, buffers with lifetimes, dispatches. */
export { PlanBuilder } from "./builder.ts";
export { PlanError } from "./errors.ts";
export { planMemory, totalByteLength } from "./memory.ts";
export type { Placement, PlanMemory, SectionMemory } from "./memory.ts";
export type {
  Binding,
  BufferRole,
  BufferSpec,
  Dispatch,
  HostKernel,
  MomentType,
  OutputBinding,
  PersistentRole,
  Plan,
  PlanProgram,
  TransientRole,
  UnpackedWeight,
} from "./plan.ts";
export { planJson, printPlan } from "./print.ts";
export type { BindingInput, OutputBindingInput } from "./builder.ts";
export type { DescribedPlan, TapLine } from "./print.ts";
export type { UpdateTypes } from "./update-types.ts";
export type { GroupedStorage, ScaleType } from "./storage.ts";
export type { StoredArray, StoredNumbers } from "./stored-numbers.ts";
