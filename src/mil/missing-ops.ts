import { PUBLIC_OPS } from "./op-signature.ts";
import type { PublicOpName } from "./op-signature.ts";
import { OPS_WITH_FIXTURES } from "./ops/with-fixtures.ts";

/** Public ops that no fixture executes on the reference engine, in alphabetical order. */
export function missingOps(): readonly PublicOpName[] {
  const done = new Set(OPS_WITH_FIXTURES);
  return PUBLIC_OPS.filter((op) => !done.has(op));
}
