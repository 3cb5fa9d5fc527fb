export { DRIVERS, FAMILIES } from "./chip.ts";
export type { Chip, Driver, Family } from "./chip.ts";
export { chipByName, CHIPS, findChip } from "./chips.ts";
export { ChipError } from "./errors.ts";
export { estimateFunction, estimateJson, estimatePlan, trainingRuns } from "./estimate.ts";
export type {
  Estimate,
  EstimateOptions,
  EstimatedDispatch,
  EstimatedOp,
  Placement,
  PlanEstimate,
  PlanEstimateOptions,
} from "./estimate.ts";
export { formatFigure } from "./figure.ts";
export type { Figure, FigureKind } from "./figure.ts";
export { allRules, checkFunction, checkPlan, isLegal } from "./legality/check.ts";
export type { Finding } from "./legality/check.ts";
export type {
  FunctionRule,
  OpRule,
  PlanRule,
  RuleContext,
  Severity,
  Symptom,
} from "./legality/rule.ts";
export { chipJson, formatChip, formatChips, formatEstimate, formatFindings } from "./print.ts";
export { COMPILE_TARGETS, compileTarget } from "./targets.ts";
export type { CompileTarget } from "./targets.ts";
export type { Bound } from "./cost/model.ts";
export type { Breakdown } from "./estimate.ts";
export type { AnyRule } from "./legality/rule.ts";
export type { ChipRates } from "./rates.ts";
export type { OpRoof, RoofKind, RoofMemory } from "./cost/roof.ts";
