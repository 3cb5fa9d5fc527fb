import type { OpCall } from "../op-call.ts";
import type { Dimension } from "../types.ts";

/** The shape that two known ones broadcast to, aligned at the last axis; sizes other than 1 are taken to be equal. */
export function jointShape(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    return left === 1 ? right : left;
  });
}

/** The shape two operands broadcast to, aligned at the last axis. Throws `MilError` where sizes differ. */
export function broadcastShapes(
  call: OpCall,
  a: readonly Dimension[],
  b: readonly Dimension[],
): readonly Dimension[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    if (left === "?") return right;
    if (right === "?") return left;
    throw call.fail(`sizes ${left} and ${right} at axis ${axis} do not broadcast`);
  });
}
