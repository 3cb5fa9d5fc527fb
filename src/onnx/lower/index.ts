import type { OpName } from "../../mil/ops/index.ts";
import { LOWER_ACTIVATION } from "./activation.ts";
import { LOWER_ATTENTION } from "./attention.ts";
import { LOWER_CONSTEXPR } from "./constexpr.ts";
import { LOWER_CONTROL_FLOW } from "./control-flow.ts";
import { LOWER_CONVOLUTION } from "./convolution.ts";
import { LOWER_ELEMENTWISE_BINARY } from "./elementwise-binary.ts";
import { LOWER_ELEMENTWISE_UNARY } from "./elementwise-unary.ts";
import { LOWER_GATHER_SCATTER } from "./gather-scatter.ts";
import { LOWER_IMAGE } from "./image.ts";
import { LOWER_LINEAR } from "./linear.ts";
import { LOWER_NORMALIZATION } from "./normalization.ts";
import { NOT_LOWERED } from "./not-lowered.ts";
import { LOWER_POOLING } from "./pooling.ts";
import { LOWER_QUANTIZATION } from "./quantization.ts";
import { LOWER_RANDOM } from "./random.ts";
import { LOWER_RECURRENT } from "./recurrent.ts";
import { LOWER_REDUCTION } from "./reduction.ts";
import type { EvaluatedNow, Lowering, NotLowered } from "./site.ts";
import { LOWER_SLICING } from "./slicing.ts";
import { LOWER_SPACE } from "./space.ts";
import { LOWER_TENSOR_OPERATION } from "./tensor-operation.ts";
import { LOWER_TENSOR_TRANSFORMATION } from "./tensor-transformation.ts";

export type LoweringRow = Lowering | EvaluatedNow | NotLowered;

/** How every op of the table is written in ONNX, one row an op; an op without a row is a compile error. */
export const LOWERINGS = {
  ...LOWER_ELEMENTWISE_BINARY,
  ...LOWER_ELEMENTWISE_UNARY,
  ...LOWER_ACTIVATION,
  ...LOWER_REDUCTION,
  ...LOWER_LINEAR,
  ...LOWER_NORMALIZATION,
  ...LOWER_TENSOR_TRANSFORMATION,
  ...LOWER_TENSOR_OPERATION,
  ...LOWER_SLICING,
  ...LOWER_GATHER_SCATTER,
  ...LOWER_ATTENTION,
  ...LOWER_CONVOLUTION,
  ...LOWER_POOLING,
  ...LOWER_QUANTIZATION,
  ...LOWER_CONSTEXPR,
  ...LOWER_SPACE,
  ...LOWER_CONTROL_FLOW,
  ...LOWER_RECURRENT,
  ...LOWER_IMAGE,
  ...LOWER_RANDOM,
  ...NOT_LOWERED,
} as const satisfies Record<OpName, LoweringRow>;

const ROWS: ReadonlyMap<string, LoweringRow> = new Map(Object.entries(LOWERINGS));

export function loweringOf(op: string): LoweringRow | undefined {
  return ROWS.get(op);
}

/** Whether an op can be written in ONNX. */
export function hasOnnxForm(op: string): boolean {
  const row = ROWS.get(op);
  return row !== undefined && !("notLowered" in row);
}
