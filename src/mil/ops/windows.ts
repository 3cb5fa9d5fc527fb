import type { OpCall } from "../op-call.ts";
import type { Dimension } from "../types.ts";
import { derive, formatShape } from "./dimensions.ts";

export const PAD_TYPES = ["valid", "same", "same_lower", "custom"] as const;
export type PadType = (typeof PAD_TYPES)[number];

/** One number for each spatial axis, `fallback` where the parameter is absent. */
export function perAxis(call: OpCall, name: string, count: number, fallback: number) {
  if (!call.has(name)) return Array.from({ length: count }, () => fallback);
  const values = call.ints(name);
  if (values.length !== count) {
    throw call.fail(`${name} must hold ${count} numbers, not ${formatShape(values)}`);
  }
  if (values.some((value) => value < fallback)) {
    throw call.fail(`${name} ${formatShape(values)} must be ${fallback} or more`);
  }
  return values;
}

/** How windows move along the spatial axes of an input. */
export interface WindowGeometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly pads: readonly (readonly [Dimension, Dimension])[];
  readonly outputs: readonly Dimension[];
}

/**
 * Padding and output sizes of convolution and pooling over spatial sizes `inputs`.
 * `same` makes `ceil(size / stride)` outputs and puts an odd element of padding at the end, `same_lower` at
 * the beginning. With `ceil_mode` a last window may hang over the end, but not start in the padding there.
 */
export function windowGeometry(
  call: OpCall,
  inputs: readonly Dimension[],
  kernel: readonly number[],
): WindowGeometry {
  const count = inputs.length;
  const strides = perAxis(call, "strides", count, 1);
  const dilations = call.has("dilations")
    ? perAxis(call, "dilations", count, 1)
    : kernel.map(() => 1);
  const padType = call.choice("pad_type", PAD_TYPES);
  const custom = padType === "custom" ? perAxis(call, "pad", 2 * count, 0) : [];
  const ceil = call.has("ceil_mode") && call.bool("ceil_mode");
  const pads: (readonly [Dimension, Dimension])[] = [];
  const outputs = inputs.map((input, axis) => {
    const stride = strides[axis] ?? 1;
    const extent = ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
    if (padType === "same" || padType === "same_lower") {
      const output = derive([input], (size = 1) => Math.ceil(size / stride));
      const total = derive([input], (size = 1) =>
        Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent - size),
      );
      const small = derive([total], (all = 0) => Math.floor(all / 2));
      const large = derive([total], (all = 0) => Math.ceil(all / 2));
      pads.push(padType === "same" ? [small, large] : [large, small]);
      return output;
    }
    const before = custom[2 * axis] ?? 0;
    const after = custom[2 * axis + 1] ?? 0;
    pads.push([before, after]);
    return derive([input], (size = 1) => {
      const room = size + before + after - extent;
      let output = Math.floor((room + (ceil ? stride - 1 : 0)) / stride) + 1;
      if (ceil && (output - 1) * stride >= size + before && before + after > 0) output--;
      if (output < 1) {
        throw call.fail(
          `a window of ${extent} does not fit into spatial axis ${axis} of ${size} padded by ${before} and ${after}`,
        );
      }
      return output;
    });
  });
  return { kernel, strides, dilations, pads, outputs };
}

/**
 * Calls `visit` for every element of the window at `output` that lies inside the input, with the flat index
 * within the kernel and within the input's spatial axes.
 */
export function forEachWindowElement(
  geometry: WindowGeometry,
  inputs: readonly number[],
  output: readonly number[],
  visit: (kernelIndex: number, inputIndex: number) => void,
): void {
  const { kernel, strides, dilations, pads } = geometry;
  const walk = (axis: number, kernelIndex: number, inputIndex: number): void => {
    if (axis === inputs.length) {
      visit(kernelIndex, inputIndex);
      return;
    }
    const size = inputs[axis] ?? 1;
    const before = Number(pads[axis]?.[0] ?? 0);
    const start = (output[axis] ?? 0) * (strides[axis] ?? 1) - before;
    for (let k = 0; k < (kernel[axis] ?? 1); k++) {
      const position = start + k * (dilations[axis] ?? 1);
      if (position < 0 || position >= size) continue;
      walk(axis + 1, kernelIndex * (kernel[axis] ?? 1) + k, inputIndex * size + position);
    }
  };
  walk(0, 0, 0);
}

/** Coordinates of a flat index in `shape`. */
export function coordinatesOf(index: number, shape: readonly number[]): number[] {
  const coordinates = shape.map(() => 0);
  let rest = index;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] ?? 1;
    coordinates[axis] = rest % size;
    rest = Math.floor(rest / size);
  }
  return coordinates;
}
