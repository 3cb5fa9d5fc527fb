import { notDifferentiable } from "../rule.ts";
import type { GradientTable } from "../rule.ts";

export const CONVOLUTION_RULES = {
  conv: notDifferentiable("the table has no transposed convolution yet"),
} as const satisfies Partial<GradientTable>;
