export { lowerFunction } from "./lower-function.ts";
export { NotLowered } from "./lowering.ts";
export { checkPlacedPlan, estimatePlacedPlan, placePlan } from "./place-plan.ts";
export type { PlacedProgram } from "./place-plan.ts";
export type { EngineInput, EngineOutput, EngineProgram, InputConversion } from "./ports.ts";
