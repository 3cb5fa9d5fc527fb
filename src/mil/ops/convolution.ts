import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import {
  constantTensor,
  optional,
  optionalConstantTensor,
  optionalTensor,
  required,
  tensor,
} from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { addProduct } from "./dense-product.ts";
import { mapTensor } from "./elementwise-unary.ts";
import { agree, checkRank, checkVector, derive, formatShape, product } from "./dimensions.ts";
import { coordinatesOf, forEachWindowElement, perAxis, windowGeometry } from "./windows.ts";
import type { WindowGeometry } from "./windows.ts";

function checkKernelRank(call: OpCall): void {
  const weight = call.shape("weight");
  const count = call.shape("x").length - 2;
  if (weight.length - 2 !== count) {
    throw call.fail(`weight ${formatShape(weight)} needs ${count} kernel sizes`);
  }
}

function kernelOf(call: OpCall): readonly number[] {
  checkKernelRank(call);
  return call
    .shape("weight")
    .slice(2)
    .map((size) => {
      if (size === "?") throw call.fail("weight's kernel sizes must be known");
      return size;
    });
}

export function convolutionGeometry(call: OpCall): WindowGeometry {
  return windowGeometry(call, call.shape("x").slice(2), kernelOf(call));
}

export function convolutionType(call: OpCall): TensorType {
  checkRank(call, "x", 3);
  const [batch = 1, channels = 1] = call.shape("x");
  const [outputs = 1, inputs = 1] = call.shape("weight");
  const groups = call.int("groups");
  checkKernelRank(call);
  if (channels !== "?" && inputs !== "?" && inputs * groups !== channels) {
    throw call.fail(
      `weight takes ${inputs} channels in each of ${groups} groups, x has ${channels} channels`,
    );
  }
  if (outputs !== "?" && outputs % groups !== 0) {
    throw call.fail(`${outputs} output channels do not divide into ${groups} groups`);
  }
  checkVector(call, "bias", outputs, "output channel");
  return tensorType(call.dataType("x"), [batch, outputs, ...convolutionGeometry(call).outputs]);
}

/** Output places that are worked on together; bounds the memory of the unfolded windows. */
const CHUNK = 1024;

/**
 * Convolution of x [N, C, ...] with weight [O, C / groups, ...]: the windows of some output places are unfolded
 * into a matrix [C / groups * kernel, places], which the weights of a group are multiplied with.
 */
function convolve(call: OpCall, weight: HostTensor): HostTensor {
  const x = call.tensor("x");
  const bias = call.optionalNumbers("bias");
  const type = convolutionType(call);
  const geometry = convolutionGeometry(call);
  const output = hostTensor(type.dataType, staticShape(type));
  const [batch = 1, channels = 1, ...inputs] = x.shape;
  const [, outputs = 1, ...places] = output.shape;
  const groups = call.int("groups");
  const inputSize = elementCount(inputs);
  const outputSize = elementCount(places);
  const kernelSize = elementCount(geometry.kernel);
  const perGroup = channels / groups;
  const outputsPerGroup = outputs / groups;
  const depth = perGroup * kernelSize;
  for (let start = 0; start < outputSize; start += CHUNK) {
    const width = Math.min(CHUNK, outputSize - start);
    // Where each window element of each place lies in the input, and in the unfolded matrix of one channel.
    const from: number[] = [];
    const to: number[] = [];
    for (let place = 0; place < width; place++) {
      const at = coordinatesOf(start + place, places);
      forEachWindowElement(geometry, inputs, at, (kernel, input) => {
        from.push(input);
        to.push(kernel * width + place);
      });
    }
    for (let n = 0; n < batch; n++) {
      for (let group = 0; group < groups; group++) {
        const unfolded = new Float64Array(depth * width);
        for (let c = 0; c < perGroup; c++) {
          const source = (n * channels + group * perGroup + c) * inputSize;
          const target = c * kernelSize * width;
          for (let i = 0; i < from.length; i++) {
            unfolded[target + (to[i] ?? 0)] = x.data[source + (from[i] ?? 0)] ?? 0;
          }
        }
        const firstOutput = group * outputsPerGroup;
        const result = new Float64Array(outputsPerGroup * width);
        result.forEach((_, i) => {
          result[i] = bias?.[firstOutput + Math.floor(i / width)] ?? 0;
        });
        const rows = weight.data.subarray(
          firstOutput * depth,
          (firstOutput + outputsPerGroup) * depth,
        );
        addProduct(result, rows, unfolded, outputsPerGroup, depth, width);
        for (let o = 0; o < outputsPerGroup; o++) {
          const target = (n * outputs + firstOutput + o) * outputSize + start;
          output.data.set(result.subarray(o * width, (o + 1) * width), target);
        }
      }
    }
  }
  return output;
}

export function convolutionFlops(call: OpCall): number {
  const [, perGroup = 1, ...kernel] = call.staticShape("weight");
  const outputs = elementCount(staticShape(convolutionType(call)));
  return (2 * perGroup * elementCount(kernel) + Number(call.has("bias"))) * outputs;
}

export const WINDOW_SETTINGS = {
  strides: optional("ints"),
  pad_type: optional("string", "valid"),
  pad: optional("ints"),
  dilations: optional("ints"),
  groups: optional("int", 1),
} as const;

/** Sizes of a transposed convolution. */
interface TransposedGeometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Elements cut off before each spatial axis of the full result. */
  readonly cuts: readonly Dimension[];
  readonly type: TensorType;
}

/**
 * The full result of an axis is `(size - 1) * stride + (kernel - 1) * dilation + 1`; `custom` cuts `pad` off,
 * `same` cuts it to `size * stride`, the odd element at the end, and `output_shape` overrules all sizes
 * (what it leaves beyond the cut result is filled by the formula, as PyTorch's output_padding is).
 */
function transposedGeometry(call: OpCall): TransposedGeometry {
  checkRank(call, "x", 3);
  const [batch = 1, channels = 1, ...spatial] = call.shape("x");
  const [inputs = 1, perGroup = 1] = call.shape("weight");
  const kernel = kernelOf(call);
  const groups = call.int("groups");
  if (!agree(inputs, channels)) {
    throw call.fail(`weight takes ${inputs} channels, x has ${channels}`);
  }
  if (inputs !== "?" && inputs % groups !== 0) {
    throw call.fail(`${inputs} channels do not divide into ${groups} groups`);
  }
  const outputs = derive([perGroup], (size = 1) => size * groups);
  checkVector(call, "bias", outputs, "output channel");
  const strides = perAxis(call, "strides", spatial.length, 1);
  const dilations = perAxis(call, "dilations", spatial.length, 1);
  const padType = call.choice("pad_type", ["valid", "same", "custom"]);
  const pad = padType === "custom" ? perAxis(call, "pad", 2 * spatial.length, 0) : [];
  const cuts: Dimension[] = [];
  const sizes = spatial.map((size, axis): Dimension => {
    const stride = strides[axis] ?? 1;
    const extent = ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
    const full = derive([size], (count = 1) => (count - 1) * stride + extent);
    if (padType === "same") {
      const output = derive([size], (count = 1) => count * stride);
      cuts.push(
        derive([full, output], (all = 0, kept = 0) => Math.max(0, Math.floor((all - kept) / 2))),
      );
      return output;
    }
    const before = pad[2 * axis] ?? 0;
    const after = pad[2 * axis + 1] ?? 0;
    cuts.push(before);
    return derive([full], (all = 0) => {
      if (all - before - after < 1) throw call.fail(`pad leaves nothing of spatial axis ${axis}`);
      return all - before - after;
    });
  });
  const shape = [batch, outputs, ...sizes];
  if (!call.has("output_shape")) {
    return { kernel, strides, dilations, cuts, type: tensorType(call.dataType("x"), shape) };
  }
  const wanted = call.ints("output_shape");
  if (
    wanted.length !== shape.length ||
    !agree(batch, wanted[0] ?? 1) ||
    !agree(outputs, wanted[1] ?? 1)
  ) {
    throw call.fail(
      `output_shape ${formatShape(wanted)} must start with batch ${batch} and ${outputs} channels`,
    );
  }
  return { kernel, strides, dilations, cuts, type: tensorType(call.dataType("x"), wanted) };
}

/** Every input element adds `weight * element` to the window of outputs it belongs to. */
function convolveTransposed(call: OpCall): HostTensor {
  const { kernel, strides, dilations, cuts, type } = transposedGeometry(call);
  const x = call.tensor("x");
  const weight = call.tensor("weight");
  const output = hostTensor(type.dataType, staticShape(type));
  const [batch = 1, channels = 1, ...inputs] = x.shape;
  const [, outputs = 1, ...places] = output.shape;
  const groups = call.int("groups");
  const inputSize = elementCount(inputs);
  const outputSize = elementCount(places);
  const kernelSize = elementCount(kernel);
  const outputsPerGroup = outputs / groups;
  const bias = call.optionalNumbers("bias");
  output.data.forEach((_, index) => {
    output.data[index] = bias?.[Math.floor(index / outputSize) % outputs] ?? 0;
  });
  for (let place = 0; place < inputSize; place++) {
    const at = coordinatesOf(place, inputs);
    for (let k = 0; k < kernelSize; k++) {
      const within = coordinatesOf(k, kernel);
      let target = 0;
      const inside = places.every((size, axis) => {
        const position =
          (at[axis] ?? 0) * (strides[axis] ?? 1) +
          (within[axis] ?? 0) * (dilations[axis] ?? 1) -
          Number(cuts[axis] ?? 0);
        target = target * size + position;
        return position >= 0 && position < size;
      });
      if (!inside) continue;
      for (let n = 0; n < batch; n++) {
        for (let c = 0; c < channels; c++) {
          const group = Math.floor(c / (channels / groups));
          const value = x.data[(n * channels + c) * inputSize + place] ?? 0;
          for (let o = 0; o < outputsPerGroup; o++) {
            const index = (n * outputs + group * outputsPerGroup + o) * outputSize + target;
            const factor = weight.data[(c * outputsPerGroup + o) * kernelSize + k] ?? 0;
            output.data[index] = (output.data[index] ?? 0) + value * factor;
          }
        }
      }
    }
  }
  return output;
}

/** Weights of `conv_quantized` as numbers: `linear` is `w * scale + bias`, a channel's or one for all. */
function quantizedWeight(call: OpCall): HostTensor {
  if (call.string("quantization_type") !== "linear") {
    throw call.fail('only quantization_type "linear" is defined');
  }
  const weight = call.tensor("weight");
  const scale = call.tensor("quant_scale").data;
  const offset = call.tensor("quant_bias").data;
  const inner = elementCount(weight.shape.slice(1));
  const pick = (values: Float64Array, channel: number): number =>
    (values.length === 1 ? values[0] : values[channel]) ?? 0;
  return mapTensor(
    weight,
    (value, index) => {
      const channel = Math.floor(index / inner);
      return value * pick(scale, channel) + pick(offset, channel);
    },
    "fp32",
  );
}

export const CONVOLUTION = {
  conv: defineOp({
    kind: "costly",
    product: {
      operands: ["x", "weight"],
      slides: true,
      terms: (call) => product(call.shape("weight").slice(1)),
    },
    parameters: { x: tensor(), weight: tensor(), bias: optionalTensor(), ...WINDOW_SETTINGS },
    infer: (call) => [convolutionType(call)],
    evaluate: (call) => [convolve(call, call.tensor("weight"))],
    flops: convolutionFlops,
  }),

  conv_quantized: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      weight: tensor("uint8"),
      bias: optionalConstantTensor(),
      quantization_type: required("string"),
      nbits: optional("int", 8),
      quant_scale: constantTensor(),
      quant_bias: constantTensor(),
      ...WINDOW_SETTINGS,
    },
    infer: (call) => [convolutionType(call)],
    evaluate: (call) => [convolve(call, quantizedWeight(call))],
    flops: convolutionFlops,
  }),

  conv_transpose: defineOp({
    kind: "costly",
    product: {
      operands: ["x", "weight"],
      slides: true,
      terms: (call) => product(call.shape("weight").toSpliced(1, 1)),
    },
    parameters: {
      x: tensor(),
      weight: tensor(),
      bias: optionalTensor(),
      output_shape: optional("ints"),
      ...WINDOW_SETTINGS,
    },
    infer: (call) => [transposedGeometry(call).type],
    evaluate: (call) => [convolveTransposed(call)],
    flops: (call) => {
      const [, perGroup = 1, ...kernel] = call.staticShape("weight");
      return 2 * elementCount(call.staticShape("x")) * perGroup * elementCount(kernel);
    },
  }),
} as const;
