import type { OpRow } from "../op-row.ts";
import { ELEMENTWISE_BINARY } from "./elementwise-binary.ts";
import { LINEAR } from "./linear.ts";

/** The op table: one row an op, grouped by family, keyed by MIL's own names. */
export const OPS = {
  ...ELEMENTWISE_BINARY,
  ...LINEAR,
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
