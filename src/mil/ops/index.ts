import { OpCall } from "../op-call.ts";
import type { OpRow } from "../op-row.ts";
import type { Operation } from "../program.ts";
import { ACTIVATION } from "./activation.ts";
import { ATTENTION } from "./attention.ts";
import { CONSTEXPR } from "./constexpr.ts";
import { CONTROL_FLOW } from "./control-flow.ts";
import { CONVOLUTION } from "./convolution.ts";
import { DETECTION } from "./detection.ts";
import { EINSUM } from "./einsum.ts";
import { ELEMENTWISE_BINARY } from "./elementwise-binary.ts";
import { ELEMENTWISE_UNARY } from "./elementwise-unary.ts";
import { GATHER_SCATTER } from "./gather-scatter.ts";
import { CROP_RESIZE } from "./crop-resize.ts";
import { IMAGE } from "./image.ts";
import { JOINING } from "./joining.ts";
import { LINEAR } from "./linear.ts";
import { LISTS } from "./lists.ts";
import { NORMALIZATION } from "./normalization.ts";
import { PADDING } from "./padding.ts";
import { POOLING } from "./pooling.ts";
import { QUANTIZATION } from "./quantization.ts";
import { RANDOM } from "./random.ts";
import { RECURRENT } from "./recurrent.ts";
import { REDUCTION } from "./reduction.ts";
import { SLICING } from "./slicing.ts";
import { SORTING } from "./sorting.ts";
import { SPACE_DEPTH } from "./space-depth.ts";
import { TENSOR_OPERATION } from "./tensor-operation.ts";
import { TENSOR_TRANSFORMATION } from "./tensor-transformation.ts";

/** The rows as they are written, each with the names and kinds of its own parameters in its type. */
const ROWS = {
  ...ELEMENTWISE_BINARY,
  ...ELEMENTWISE_UNARY,
  ...ACTIVATION,
  ...LINEAR,
  ...EINSUM,
  ...REDUCTION,
  ...NORMALIZATION,
  ...TENSOR_TRANSFORMATION,
  ...SLICING,
  ...SPACE_DEPTH,
  ...JOINING,
  ...PADDING,
  ...TENSOR_OPERATION,
  ...SORTING,
  ...GATHER_SCATTER,
  ...ATTENTION,
  ...CONVOLUTION,
  ...POOLING,
  ...RECURRENT,
  ...QUANTIZATION,
  ...CONSTEXPR,
  ...RANDOM,
  ...CONTROL_FLOW,
  ...LISTS,
  ...IMAGE,
  ...CROP_RESIZE,
  ...DETECTION,
} as const satisfies Record<string, OpRow>;

/** Names of the op table. */
export type OpName = keyof typeof ROWS;

/** The row of one op: an `OpRow` that knows the names and kinds of its parameters. */
export type OpRowOf<Name extends OpName> = Omit<OpRow, "parameters"> &
  Pick<(typeof ROWS)[Name], "parameters">;

/** The op table: one row an op, grouped by family, keyed by MIL's own names. */
export const OPS: { readonly [Name in OpName]: OpRowOf<Name> } = ROWS;

const NAMES: ReadonlySet<string> = new Set(Object.keys(OPS));

/** Whether the op table has a name. */
export function isOpName(name: string): name is OpName {
  return NAMES.has(name);
}

/** Ops that make weights of stored, compressed constants; told by their name, whether the table has them or not. */
export const isConstexpr = (name: string): boolean => name.startsWith("constexpr_");

/** The row of an op by name, or nothing for an op that is carried through unknown. */
export function opRow(name: string): OpRow | undefined {
  return isOpName(name) ? OPS[name] : undefined;
}

/** Floating-point operations of one op of known sizes; 0 for an op that is carried through unknown. */
export function flopsOf(operation: Operation): number {
  const row = opRow(operation.type);
  return row?.flops?.(new OpCall(operation, row)) ?? 0;
}
