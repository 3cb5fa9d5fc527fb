import type { OpRow } from "../op-row.ts";
import { ACTIVATION } from "./activation.ts";
import { ATTENTION } from "./attention.ts";
import { CONVOLUTION } from "./convolution.ts";
import { ELEMENTWISE_BINARY } from "./elementwise-binary.ts";
import { ELEMENTWISE_UNARY } from "./elementwise-unary.ts";
import { GATHER_SCATTER } from "./gather-scatter.ts";
import { LINEAR } from "./linear.ts";
import { NORMALIZATION } from "./normalization.ts";
import { REDUCTION } from "./reduction.ts";
import { SLICING } from "./slicing.ts";
import { TENSOR_OPERATION } from "./tensor-operation.ts";
import { TENSOR_TRANSFORMATION } from "./tensor-transformation.ts";

/** The op table: one row an op, grouped by family, keyed by MIL's own names. */
export const OPS = {
  ...ELEMENTWISE_BINARY,
  ...ELEMENTWISE_UNARY,
  ...ACTIVATION,
  ...LINEAR,
  ...REDUCTION,
  ...NORMALIZATION,
  ...TENSOR_TRANSFORMATION,
  ...SLICING,
  ...TENSOR_OPERATION,
  ...GATHER_SCATTER,
  ...ATTENTION,
  ...CONVOLUTION,
} as const satisfies Record<string, OpRow>;

export type OpName = keyof typeof OPS;

const NAMES: ReadonlySet<string> = new Set(Object.keys(OPS));

export function isOpName(name: string): name is OpName {
  return NAMES.has(name);
}

/** The row of an op by name, or nothing for an op that is carried through unknown. */
export function opRow(name: string): OpRow | undefined {
  return isOpName(name) ? OPS[name] : undefined;
}
