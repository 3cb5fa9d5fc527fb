/** A step as data: programs, buffers with lifetimes, dispatches. */
export { PlanBuilder } from "./builder.ts";
export { PlanError } from "./errors.ts";
export { planMemory, totalByteLength } from "./memory.ts";
export type { PlanMemory } from "./memory.ts";
export type { Binding, BufferSpec, Dispatch, HostKernel, Plan, PlanProgram } from "./plan.ts";
export { planJson, printPlan } from "./print.ts";
