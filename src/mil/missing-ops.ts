import { PUBLIC_OPS } from "./op-signature.ts";
import type { PublicOpName } from "./op-signature.ts";
import { opRow } from "./ops/index.ts";

/**
 * Public ops that are not evaluated, in alphabetical order. All others are executed by fixtures of other
 * libraries, which a test demands.
 */
export function missingOps(): readonly PublicOpName[] {
  return PUBLIC_OPS.filter((op) => opRow(op)?.evaluate === undefined);
}
