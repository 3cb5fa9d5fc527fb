import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, required, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { TensorType } from "../types.ts";
import { checkRank } from "./dimensions.ts";
import { coordinatesOf, forEachWindowElement, PAD_TYPES, windowGeometry } from "./windows.ts";
import type { WindowGeometry } from "./windows.ts";

function poolGeometry(call: OpCall): WindowGeometry {
  const spatial = call.shape("x").slice(2);
  const kernel = call.ints("kernel_sizes");
  if (kernel.length !== spatial.length || kernel.some((size) => size < 1)) {
    throw call.fail(`kernel_sizes must hold ${spatial.length} positive numbers`);
  }
  if (call.bool("ceil_mode")) {
    const padType = call.choice("pad_type", PAD_TYPES);
    if (padType.startsWith("same"))
      throw call.fail(`ceil_mode does not go with pad_type ${padType}`);
    const pad = call.has("pad") ? call.ints("pad") : [];
    if (pad.some((size, index) => index % 2 === 0 && size !== pad[index + 1])) {
      throw call.fail("ceil_mode needs equal padding before and after");
    }
  }
  return windowGeometry(call, spatial, kernel);
}

function poolType(call: OpCall): TensorType {
  checkRank(call, "x", 3);
  const [batch = 1, channels = 1] = call.shape("x");
  return tensorType(call.dataType("x"), [batch, channels, ...poolGeometry(call).outputs]);
}

const POOL_PARAMETERS = {
  x: tensor(),
  kernel_sizes: required("ints"),
  strides: optional("ints"),
  pad_type: required("string"),
  pad: optional("ints"),
  ceil_mode: optional("bool", false),
} as const;

/** Numbers of the window that lie inside the input, and the window's size with its padding. */
type Pool = (values: readonly number[], windowSize: number, call: OpCall) => number;

function evaluatePool(call: OpCall, pool: Pool) {
  const x = call.tensor("x");
  const geometry = poolGeometry(call);
  const output = hostTensor(x.dataType, staticShape(poolType(call)));
  const inputs = x.shape.slice(2);
  const places = output.shape.slice(2);
  const inputSize = elementCount(inputs);
  const outputSize = elementCount(places);
  const planes = elementCount(x.shape.slice(0, 2));
  for (let place = 0; place < outputSize; place++) {
    const coordinates = coordinatesOf(place, places);
    const inside: number[] = [];
    forEachWindowElement(geometry, inputs, coordinates, (_, index) => inside.push(index));
    const windowSize = paddedWindowSize(geometry, inputs, coordinates);
    for (let plane = 0; plane < planes; plane++) {
      const values = inside.map((index) => x.data[plane * inputSize + index] ?? 0);
      output.data[plane * outputSize + place] = pool(values, windowSize, call);
    }
  }
  return [output];
}

/** Elements of a window counting padding, but not what ceil_mode lets hang over the padded end (as PyTorch). */
function paddedWindowSize(
  { kernel, strides, pads }: WindowGeometry,
  inputs: readonly number[],
  place: readonly number[],
): number {
  return kernel.reduce((count, size, axis) => {
    const [before = 0, after = 0] = pads[axis]?.map(Number) ?? [];
    const start = (place[axis] ?? 0) * (strides[axis] ?? 1) - before;
    const end = Math.min(start + size, (inputs[axis] ?? 1) + after);
    return count * (end - start);
  }, 1);
}

function poolFlops(call: OpCall): number {
  return elementCount(staticShape(poolType(call))) * elementCount(call.ints("kernel_sizes"));
}

const sumOf = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);

export const POOLING = {
  avg_pool: defineOp({
    kind: "costly",
    parameters: {
      ...POOL_PARAMETERS,
      exclude_padding_from_average: optional("bool", false),
    },
    infer: (call) => [poolType(call)],
    evaluate: (call) =>
      evaluatePool(call, (values, windowSize) => {
        const count = call.bool("exclude_padding_from_average") ? values.length : windowSize;
        return sumOf(values) / count;
      }),
    flops: poolFlops,
  }),

  /** The square root of the sum of squares over the window. */
  l2_pool: defineOp({
    kind: "costly",
    parameters: POOL_PARAMETERS,
    infer: (call) => {
      checkRank(call, "x", 3, 4);
      return [poolType(call)];
    },
    evaluate: (call) =>
      evaluatePool(call, (values) => Math.sqrt(sumOf(values.map((value) => value * value)))),
    flops: (call) => 2 * poolFlops(call),
  }),

  max_pool: defineOp({
    kind: "costly",
    parameters: POOL_PARAMETERS,
    infer: (call) => [poolType(call)],
    evaluate: (call) =>
      evaluatePool(call, (values) => values.reduce((a, b) => Math.max(a, b), -Infinity)),
    flops: poolFlops,
  }),
} as const;
