import { notDifferentiable, ZERO_GRADIENT } from "../rule.ts";
import type { GradientTable } from "../rule.ts";

const RANDOM = notDifferentiable(
  "its numbers are drawn anew in every run; shift and scale standard numbers by mul and add instead",
);

/** Ops that nothing flows back through, each with the reason. */
export const WITHOUT_GRADIENT = {
  random_bernoulli: ZERO_GRADIENT,
  random_categorical: ZERO_GRADIENT,
  random_normal: RANDOM,
  random_uniform: RANDOM,
} as const satisfies Partial<GradientTable>;
