import type { FunctionBuilder } from "../../mil/builder.ts";
import type { OpCall } from "../../mil/op-call.ts";
import { coordinatesOf, forEachWindowElement, windowGeometry } from "../../mil/ops/windows.ts";
import type { Operand, Value } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import {
  asValue,
  broadcastTo,
  div,
  filled,
  int32s,
  mul,
  reshapeTo,
  sliceAxis,
  tensorDataType,
  where,
} from "../emit.ts";
import type { GradientTable } from "../rule.ts";
import { tensorLiteral } from "../../mil/literal.ts";

/** The windows of a pooling op as lists of places in a flat image. */
interface PoolWindows {
  readonly planes: number;
  readonly imageSize: number;
  readonly windowCount: number;
  readonly windowSize: number;
  /** [windowCount * windowSize]; `imageSize` where a window hangs over the image. */
  readonly places: Operand;
  /** Numbers each window takes its average over. */
  readonly counts: readonly number[];
}

function poolWindows(call: OpCall): PoolWindows {
  const [batch = 1, channels = 1, ...inputs] = call.staticShape("x");
  const kernel = call.ints("kernel_sizes");
  const geometry = windowGeometry(call, inputs, kernel);
  const outputs = geometry.outputs.map(Number);
  const windowCount = elementCount(outputs);
  const windowSize = elementCount(kernel);
  const imageSize = elementCount(inputs);
  const places = Array.from({ length: windowCount * windowSize }, () => imageSize);
  const excludesPadding = call.type === "avg_pool" && call.bool("exclude_padding_from_average");
  const counts = Array.from({ length: windowCount }, (_, window) => {
    const at = coordinatesOf(window, outputs);
    let inside = 0;
    forEachWindowElement(geometry, inputs, at, (k, index) => {
      places[window * windowSize + k] = index;
      inside++;
    });
    if (excludesPadding) return inside;
    // Padding counts, but not what ceil_mode lets hang over the padded end.
    return kernel.reduce((count, size, axis) => {
      const [before = 0, after = 0] = geometry.pads[axis]?.map(Number) ?? [];
      const start = (at[axis] ?? 0) * (geometry.strides[axis] ?? 1) - before;
      return count * (Math.min(start + size, (inputs[axis] ?? 1) + after) - start);
    }, 1);
  });
  return {
    planes: batch * channels,
    imageSize,
    windowCount,
    windowSize,
    places: int32s(places, [places.length]),
    counts,
  };
}

/** Adds what every element of every window [planes, windows, size] hands back into the images. */
function intoImages(
  e: FunctionBuilder,
  windows: PoolWindows,
  parts: Value,
  shape: readonly number[],
): Value {
  const { planes, imageSize, windowCount, windowSize } = windows;
  const sum = e.op("scatter", {
    data: filled(e, tensorDataType(parts), [planes, imageSize + 1], 0),
    indices: windows.places,
    updates: reshapeTo(e, parts, [planes, windowCount * windowSize]),
    axis: 1,
    mode: "add",
  });
  return reshapeTo(e, sliceAxis(e, sum, 1, 0, imageSize), shape);
}

/** One number a window as [planes, windows, 1]. */
function perWindow(e: FunctionBuilder, windows: PoolWindows, x: Value): Value {
  return reshapeTo(e, x, [windows.planes, windows.windowCount, 1]);
}

function overWindows(e: FunctionBuilder, windows: PoolWindows, x: Value): Value {
  return broadcastTo(e, x, [windows.planes, windows.windowCount, windows.windowSize]);
}

/** Elements of all windows [planes, windows, size], `outside` where there is no image. */
function windowElements(
  e: FunctionBuilder,
  windows: PoolWindows,
  x: Operand,
  outside: number,
): Value {
  const { planes, imageSize, windowCount, windowSize } = windows;
  const flat = reshapeTo(e, asValue(e, x), [planes, imageSize]);
  const margin = filled(e, tensorDataType(x), [planes, 1], outside);
  const extended = e.op("concat", { values: [flat, margin], axis: 1 });
  const elements = e.op("gather", { x: extended, indices: windows.places, axis: 1 });
  return reshapeTo(e, elements, [planes, windowCount, windowSize]);
}

export const POOLING_RULES = {
  avg_pool: ({ emit, gradient, operand, call, shape }) => {
    const windows = poolWindows(call);
    const shares = tensorLiteral(
      tensorDataType(operand("x")),
      [windows.windowCount, 1],
      windows.counts.map((count) => 1 / count),
    );
    const share = mul(emit, perWindow(emit, windows, gradient), shares);
    return { x: intoImages(emit, windows, overWindows(emit, windows, share), shape("x")) };
  },

  // The largest elements of a window share its gradient.
  max_pool: ({ emit, gradient, operand, output, call, shape }) => {
    const windows = poolWindows(call);
    const x = operand("x");
    const lowest = tensorDataType(x) === "fp16" ? -65504 : -3e38;
    const elements = windowElements(emit, windows, x, lowest);
    const hits = emit.op("cast", {
      x: emit.op("equal", { x: elements, y: perWindow(emit, windows, output) }),
      dtype: tensorDataType(x),
    });
    const count = emit.op("reduce_sum", { x: hits, axes: [2], keep_dims: true });
    const share = div(emit, perWindow(emit, windows, gradient), count);
    return { x: intoImages(emit, windows, mul(emit, hits, share), shape("x")) };
  },

  // x times the sum of g / y over the windows an element stands in
  l2_pool: ({ emit, gradient, operand, output, call, shape }) => {
    const windows = poolWindows(call);
    const safe = where(emit, emit.op("greater", { x: output, y: 0 }), output, 1);
    const share = perWindow(emit, windows, div(emit, gradient, safe));
    const spread = intoImages(emit, windows, overWindows(emit, windows, share), shape("x"));
    return { x: mul(emit, spread, operand("x")) };
  },
} as const satisfies Partial<GradientTable>;
