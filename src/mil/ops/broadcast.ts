import { stridesOf } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import type { Dimension } from "../types.ts";

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

/** Reads a tensor as if it had the broadcast `shape`, by flat index. */
export function broadcastReader(
  source: HostTensor,
  shape: readonly number[],
): (index: number) => number {
  const { data } = source;
  if (data.length === 1) return () => data[0] ?? 0;
  const sourceStrides = stridesOf(source.shape);
  const targetStrides = stridesOf(shape);
  const offset = shape.length - source.shape.length;
  const steps = shape.map((_, axis) => {
    const size = source.shape[axis - offset] ?? 1;
    return size === 1 ? 0 : (sourceStrides[axis - offset] ?? 0);
  });
  return (index) => {
    let rest = index;
    let position = 0;
    for (let axis = 0; axis < shape.length; axis++) {
      const stride = targetStrides[axis] ?? 1;
      const coordinate = Math.floor(rest / stride);
      rest -= coordinate * stride;
      position += coordinate * (steps[axis] ?? 0);
    }
    return data[position] ?? 0;
  };
}
