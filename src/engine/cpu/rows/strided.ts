import type { Address } from "./instructions.ts";

/** An axis in memory; strides count numbers. */
export interface Axis {
  readonly size: number;
  readonly stride: number;
}

/** Numbers of a value in memory: axes in the order of its elements, and its shape, which may cut them otherwise. */
export interface Strided {
  readonly address: Address;
  readonly shape: readonly number[];
  /** Axes of size 1 are left out. */
  readonly axes: readonly Axis[];
  /** How many chunks must be done before the numbers stand there; 0 where the thread wrote them itself. */
  readonly ready: number;
}

export function countOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Numbers one after the other. */
export function dense(address: Address, shape: readonly number[], ready: number): Strided {
  const count = countOf(shape);
  return { address, shape, axes: count === 1 ? [] : [{ size: count, stride: 1 }], ready };
}

/** Neighbouring axes that are one. */
function merged(axes: readonly Axis[]): readonly Axis[] {
  const result: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = result.at(-1);
    if (last !== undefined && last.stride === axis.size * axis.stride)
      result[result.length - 1] = { size: last.size * axis.size, stride: axis.stride };
    else result.push(axis);
  }
  return result;
}

export function isDense({ axes }: Strided): boolean {
  const all = merged(axes);
  return all.length === 0 || (all.length === 1 && all[0]?.stride === 1);
}

/** The same elements in another shape. */
export function reshaped(value: Strided, shape: readonly number[]): Strided {
  return { ...value, shape };
}

/** The axes behind each axis of the shape; nothing where an axis of memory would have to be cut unevenly. */
export function axesByShape({ shape, axes }: Strided): readonly (readonly Axis[])[] | undefined {
  const left = [...axes];
  const groups: Axis[][] = [];
  for (const size of shape) {
    const group: Axis[] = [];
    let wanted = size;
    while (wanted > 1) {
      const axis = left.shift();
      if (axis === undefined) return undefined;
      if (wanted % axis.size === 0) {
        group.push(axis);
        wanted /= axis.size;
      } else if (axis.size % wanted === 0) {
        const inner = axis.size / wanted;
        group.push({ size: wanted, stride: axis.stride * inner });
        left.unshift({ size: inner, stride: axis.stride });
        wanted = 1;
      } else return undefined;
    }
    groups.push(group);
  }
  return groups;
}

/** Axes in another order; nothing where the shape's axes are none of memory. */
export function transposed(value: Strided, order: readonly number[]): Strided | undefined {
  const groups = axesByShape(value);
  if (groups === undefined) return undefined;
  return {
    ...value,
    shape: order.map((axis) => value.shape[axis] ?? 1),
    axes: order.flatMap((axis) => groups[axis] ?? []),
  };
}

/** Pieces of these sizes along an axis of the shape; nothing where that is none of memory. */
export function pieces(
  value: Strided,
  axis: number,
  sizes: readonly number[],
): readonly Strided[] | undefined {
  const groups = axesByShape(value);
  const along = groups && singleAxis([groups[axis] ?? []]);
  if (groups === undefined || along === undefined) return undefined;
  const { address, shape } = value;
  let start = 0;
  return sizes.map((size) => {
    const byteOffset = address.byteOffset + 4 * start * along.stride;
    start += size;
    return {
      ...value,
      address: { ...address, byteOffset },
      shape: shape.map((whole, at) => (at === axis ? size : whole)),
      axes: groups.flatMap((group, at) =>
        at === axis ? (size > 1 ? [{ size, stride: along.stride }] : []) : group,
      ),
    };
  });
}

/** Rows of `width` numbers along up to three axes. */
export interface Rows3 {
  readonly sizes: readonly [number, number, number];
  readonly strides: readonly [number, number, number];
}

/** A value's rows along its axes, as few as they are; nothing for more than three, and for rows that are not dense. */
export function rowsOf(value: Strided, width: number): Rows3 | undefined {
  const flat = { ...value, shape: [countOf(value.shape) / width, width] };
  const groups = axesByShape(flat);
  if (groups === undefined) return undefined;
  const [outer = [], inner = []] = groups;
  const row = merged(inner);
  if (row.length > 1 || (row[0] !== undefined && row[0].stride !== 1)) return undefined;
  return threeAxes(merged(outer));
}

function threeAxes(axes: readonly Axis[]): Rows3 | undefined {
  if (axes.length > 3) return undefined;
  const one: Axis = { size: 1, stride: 0 };
  const [a = one, b = one, c = one] = [
    ...Array.from({ length: 3 - axes.length }, () => one),
    ...axes,
  ];
  return { sizes: [a.size, b.size, c.size], strides: [a.stride, b.stride, c.stride] };
}

/** The one axis in memory behind several neighbouring axes of the shape; nothing where they are no single one. */
export function singleAxis(groups: readonly (readonly Axis[])[]): Axis | undefined {
  const all = merged(groups.flat());
  return all.length > 1 ? undefined : (all[0] ?? { size: 1, stride: 0 });
}
