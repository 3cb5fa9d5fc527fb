import type { GradientTable } from "../rule.ts";
import { ACTIVATION_RULES } from "./activation.ts";
import { ATTENTION_RULES } from "./attention.ts";
import { CONVOLUTION_RULES } from "./convolution.ts";
import { ELEMENTWISE_BINARY_RULES } from "./elementwise-binary.ts";
import { ELEMENTWISE_UNARY_RULES } from "./elementwise-unary.ts";
import { GATHER_SCATTER_RULES } from "./gather-scatter.ts";
import { LINEAR_RULES } from "./linear.ts";
import { NORMALIZATION_RULES } from "./normalization.ts";
import { REDUCTION_RULES } from "./reduction.ts";
import { SLICING_RULES } from "./slicing.ts";
import { TENSOR_OPERATION_RULES } from "./tensor-operation.ts";
import { TENSOR_TRANSFORMATION_RULES } from "./tensor-transformation.ts";

/** The derivative of every op of the table, or the reason why it has none. */
export const GRADIENT_RULES = {
  ...ELEMENTWISE_BINARY_RULES,
  ...ELEMENTWISE_UNARY_RULES,
  ...ACTIVATION_RULES,
  ...LINEAR_RULES,
  ...REDUCTION_RULES,
  ...NORMALIZATION_RULES,
  ...TENSOR_TRANSFORMATION_RULES,
  ...SLICING_RULES,
  ...TENSOR_OPERATION_RULES,
  ...GATHER_SCATTER_RULES,
  ...ATTENTION_RULES,
  ...CONVOLUTION_RULES,
} as const satisfies GradientTable;
