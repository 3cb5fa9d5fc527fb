export { applyRemedies, describeOutcome } from "./apply-remedies.ts";
export type { RemediedFinding, RemediedFunction } from "./apply-remedies.ts";
export type { ExpectedRuns, SectionRuns } from "./join-dispatches.ts";
export { lowerFunction } from "./lower-function.ts";
export type { ScalingOptions } from "./lower-function.ts";
export { OPERAND_SCALINGS } from "./operand-scaling.ts";
export type { OperandScaling } from "./operand-scaling.ts";
export { NotLowered } from "./lowering.ts";
export { checkPlacedPlan, estimatePlacedPlan, placedPrices, placePlan } from "./place-plan.ts";
export type {
  EngineInput,
  EngineOutput,
  EngineProgram,
  InputConversion,
  OperandScale,
  PlacedProgram,
} from "./ports.ts";
