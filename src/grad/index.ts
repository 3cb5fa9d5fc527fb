/** Reverse-mode differentiation: MIL function in, MIL functions out. */
export { differentiate } from "./differentiate.ts";
export type { Derivative, DifferentiateOptions } from "./differentiate.ts";
export { GradError } from "./errors.ts";
export { opNames, opReport } from "./op-report.ts";
export type { OpReport } from "./op-report.ts";
export { valueAndGradient } from "./value-and-gradient.ts";
export type { TapReport } from "./tap-report.ts";
export type { GradientRequest } from "./reverse.ts";
