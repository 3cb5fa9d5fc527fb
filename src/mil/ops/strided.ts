import { stridesOf, zeros } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import { elementCount } from "../types.ts";

/**
 * A dense row-major copy of `shape` elements read from `source` at
 * `offset + sum(coordinate[axis] * strides[axis])`. Transposing, slicing, reversing, broadcasting and
 * tiling are all this, with different strides.
 */
export function stridedCopy(
  source: Float64Array,
  shape: readonly number[],
  strides: readonly number[],
  offset = 0,
): Float64Array {
  const copy = zeros(shape);
  const inner = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  forEachRow(shape, strides, offset, (start, position) => {
    for (let i = 0; i < inner; i++) copy[start + i] = source[position + i * step] ?? 0;
  });
  return copy;
}

/** Writes dense row-major numbers of `shape` to the places of `target` that `stridedCopy` would read them from. */
export function stridedWrite(
  target: Float64Array,
  numbers: Float64Array,
  shape: readonly number[],
  strides: readonly number[],
  offset = 0,
): void {
  const inner = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  forEachRow(shape, strides, offset, (start, position) => {
    for (let i = 0; i < inner; i++) target[position + i * step] = numbers[start + i] ?? 0;
  });
}

/** Calls `visit` with the flat start of every row (run along the last axis), dense and by strides. */
function forEachRow(
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  visit: (start: number, position: number) => void,
): void {
  const count = elementCount(shape);
  if (count === 0) return;
  const inner = shape.at(-1) ?? 1;
  const coordinates = shape.map(() => 0);
  for (let start = 0; start < count; start += inner) {
    let position = offset;
    for (let axis = 0; axis < shape.length - 1; axis++) {
      position += (coordinates[axis] ?? 0) * (strides[axis] ?? 0);
    }
    visit(start, position);
    for (let axis = shape.length - 2; axis >= 0; axis--) {
      const next = (coordinates[axis] ?? 0) + 1;
      coordinates[axis] = next;
      if (next < (shape[axis] ?? 1)) break;
      coordinates[axis] = 0;
    }
  }
}

/** The numbers of a tensor broadcast to `shape`; the tensor's own array where nothing changes. */
export function expandTo(source: HostTensor, shape: readonly number[]): Float64Array {
  if (source.data.length === elementCount(shape)) return source.data;
  const strides = stridesOf(source.shape);
  const offset = shape.length - source.shape.length;
  return stridedCopy(
    source.data,
    shape,
    shape.map((_, axis) =>
      (source.shape[axis - offset] ?? 1) === 1 ? 0 : (strides[axis - offset] ?? 0),
    ),
  );
}

/** The numbers of a tensor with its axes in the order `permutation`. */
export function permute(source: HostTensor, permutation: readonly number[]): Float64Array {
  const strides = stridesOf(source.shape);
  return stridedCopy(
    source.data,
    permutation.map((axis) => source.shape[axis] ?? 1),
    permutation.map((axis) => strides[axis] ?? 0),
  );
}

/** Sizes around one axis: a tensor is `outer` blocks of `size` rows of `inner` numbers. */
export interface AxisSpan {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
}

export function spanOf(shape: readonly number[], axis: number): AxisSpan {
  return {
    outer: elementCount(shape.slice(0, axis)),
    size: shape[axis] ?? 1,
    inner: elementCount(shape.slice(axis + 1)),
  };
}
