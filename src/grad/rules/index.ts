import type { GradientTable } from "../rule.ts";
import { ACTIVATION_RULES } from "./activation.ts";
import { ATTENTION_RULES } from "./attention.ts";
import { CONVOLUTION_RULES } from "./convolution.ts";
import { EINSUM_RULES } from "./einsum.ts";
import { ELEMENTWISE_BINARY_RULES } from "./elementwise-binary.ts";
import { ELEMENTWISE_UNARY_RULES } from "./elementwise-unary.ts";
import { GATHER_SCATTER_RULES } from "./gather-scatter.ts";
import { LINEAR_RULES } from "./linear.ts";
import { NORMALIZATION_RULES } from "./normalization.ts";
import { POOLING_RULES } from "./pooling.ts";
import { QUANTIZATION_RULES } from "./quantization.ts";
import { RECURRENT_RULES } from "./recurrent.ts";
import { REDUCTION_RULES } from "./reduction.ts";
import { RESIZING_RULES } from "./resizing.ts";
import { SAMPLING_RULES } from "./sampling.ts";
import { SLICING_RULES } from "./slicing.ts";
import { SORTING_RULES } from "./sorting.ts";
import { SPACE_DEPTH_RULES } from "./space-depth.ts";
import { TENSOR_OPERATION_RULES } from "./tensor-operation.ts";
import { TENSOR_TRANSFORMATION_RULES } from "./tensor-transformation.ts";
import { WITHOUT_GRADIENT } from "./without-gradient.ts";

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
  ...POOLING_RULES,
  ...EINSUM_RULES,
  ...SORTING_RULES,
  ...SPACE_DEPTH_RULES,
  ...QUANTIZATION_RULES,
  ...RESIZING_RULES,
  ...SAMPLING_RULES,
  ...RECURRENT_RULES,
  ...WITHOUT_GRADIENT,
} as const satisfies GradientTable;
