import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import {
  constantTensor,
  optional,
  optionalConstantTensor,
  required,
  tensor,
} from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount } from "../types.ts";
import { checkPerChannel, checkRank, formatShape, sameOrUnknown } from "./dimensions.ts";
import { elementsOfX, mapChannels } from "./elementwise-unary.ts";
import { permute, spanOf, stridedWrite } from "./strided.ts";

function checkScale(call: OpCall, name: string, axes: readonly number[]): void {
  if (!call.has(name)) return;
  const shape = call.shape("x");
  const wanted = axes.map((axis) => shape[axis] ?? 1);
  if (!sameOrUnknown(call.shape(name), wanted)) {
    throw call.fail(
      `${name} has shape ${formatShape(call.shape(name))}, the normalized axes have ${formatShape(wanted)}`,
    );
  }
}

/** (x - mean) / sqrt(variance + epsilon) over `axes`, times gamma plus beta, which run along those axes. */
function normalizeOver(
  x: HostTensor,
  axes: readonly number[],
  epsilon: number,
  gamma?: Float64Array,
  beta?: Float64Array,
): HostTensor {
  const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const order = [...kept, ...axes];
  const values = permute(x, order);
  const count = elementCount(axes.map((axis) => x.shape[axis] ?? 1));
  for (let start = 0; start < values.length; start += count) {
    let mean = 0;
    for (let i = 0; i < count; i++) mean += values[start + i] ?? 0;
    mean /= count;
    let variance = 0;
    for (let i = 0; i < count; i++) variance += ((values[start + i] ?? 0) - mean) ** 2;
    const scale = 1 / Math.sqrt(variance / count + epsilon);
    for (let i = 0; i < count; i++) {
      const normal = ((values[start + i] ?? 0) - mean) * scale;
      values[start + i] = normal * (gamma?.[i] ?? 1) + (beta?.[i] ?? 0);
    }
  }
  // Back into the order of x's axes.
  const output = hostTensor(x.dataType, x.shape);
  const strides = stridesOf(x.shape);
  stridedWrite(
    output.data,
    values,
    order.map((axis) => x.shape[axis] ?? 1),
    order.map((axis) => strides[axis] ?? 0),
  );
  return output;
}

export const NORMALIZATION = {
  layer_norm: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      axes: optional("ints"),
      gamma: optionalConstantTensor(),
      beta: optionalConstantTensor(),
      epsilon: optional("float", 1e-5),
    },
    infer: (call) => {
      const axes = call.axes("axes", call.shape("x").length).toSorted((a, b) => a - b);
      checkScale(call, "gamma", axes);
      checkScale(call, "beta", axes);
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const axes = call.axes("axes", x.shape.length).toSorted((a, b) => a - b);
      const gamma = call.optionalNumbers("gamma");
      const beta = call.optionalNumbers("beta");
      return [normalizeOver(x, axes, call.floatOf("epsilon", x.dataType), gamma, beta)];
    },
    // Mean, difference, square, sum, scale; then gamma and beta.
    flops: (call) => (5 + Number(call.has("gamma")) + Number(call.has("beta"))) * elementsOfX(call),
  }),

  batch_norm: defineOp({
    kind: "elementwise",
    parameters: {
      x: tensor(),
      mean: constantTensor(),
      variance: constantTensor(),
      gamma: optionalConstantTensor(),
      beta: optionalConstantTensor(),
      epsilon: optional("float", 1e-5),
    },
    infer: (call) => {
      checkRank(call, "x", 3);
      for (const name of ["mean", "variance", "gamma", "beta"]) checkPerChannel(call, name);
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const mean = call.tensor("mean").data;
      const variance = call.tensor("variance").data;
      const gamma = call.optionalNumbers("gamma");
      const beta = call.optionalNumbers("beta");
      const epsilon = call.floatOf("epsilon", x.dataType);
      return [
        mapChannels(x, (value, channel) => {
          const deviation = Math.sqrt((variance[channel] ?? 0) + epsilon);
          const normal = (value - (mean[channel] ?? 0)) / deviation;
          return normal * (gamma?.[channel] ?? 1) + (beta?.[channel] ?? 0);
        }),
      ];
    },
    flops: (call) => 4 * elementsOfX(call),
  }),

  instance_norm: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      gamma: optionalConstantTensor(),
      beta: optionalConstantTensor(),
      epsilon: optional("float", 1e-5),
    },
    infer: (call) => {
      checkRank(call, "x", 3, 4);
      checkPerChannel(call, "gamma");
      checkPerChannel(call, "beta");
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const spatial = x.shape.map((_, axis) => axis).slice(2);
      const gamma = call.optionalNumbers("gamma");
      const beta = call.optionalNumbers("beta");
      const normal = normalizeOver(x, spatial, call.floatOf("epsilon", x.dataType));
      return [
        mapChannels(
          normal,
          (value, channel) => value * (gamma?.[channel] ?? 1) + (beta?.[channel] ?? 0),
        ),
      ];
    },
    flops: (call) => 7 * elementsOfX(call),
  }),

  l2_norm: defineOp({
    kind: "costly",
    parameters: { x: tensor(), epsilon: optional("float", 1e-6) },
    infer: (call) => {
      checkRank(call, "x", 3);
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const epsilon = call.floatOf("epsilon", x.dataType);
      const count = elementCount(x.shape.slice(-3));
      const output = hostTensor(x.dataType, x.shape);
      for (let start = 0; start < x.data.length; start += count) {
        let squares = 0;
        for (let i = start; i < start + count; i++) squares += (x.data[i] ?? 0) ** 2;
        const norm = Math.sqrt(squares + epsilon);
        for (let i = start; i < start + count; i++) output.data[i] = (x.data[i] ?? 0) / norm;
      }
      return [output];
    },
    flops: (call) => 3 * elementsOfX(call),
  }),

  local_response_norm: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      size: required("int"),
      alpha: optional("float", 1e-4),
      beta: optional("float", 0.75),
      k: optional("float", 1),
    },
    infer: (call) => {
      checkRank(call, "x", 3, 4);
      return [call.tensorType("x")];
    },
    // Channels stand third from the end: a tensor of rank 3 is an image without a batch. Source: what coremltools' own
    // test of the op expects of Core ML for [1, 3, 2]. The window is PyTorch's: size / 2 channels before, (size - 1) / 2 after, rounded down, zeros outside.
    evaluate: (call) => {
      const x = call.tensor("x");
      const window = call.int("size");
      const alpha = call.floatOf("alpha", x.dataType);
      const beta = call.floatOf("beta", x.dataType);
      const k = call.floatOf("k", x.dataType);
      const before = Math.floor(window / 2);
      const axis = x.shape.length - 3;
      const { size: channels, inner } = spanOf(x.shape, axis);
      return [
        mapChannels(
          x,
          (value, channel, index) => {
            let squares = 0;
            const first = Math.max(0, channel - before);
            const last = Math.min(channels - 1, channel - before + window - 1);
            for (let other = first; other <= last; other++) {
              squares += (x.data[index + (other - channel) * inner] ?? 0) ** 2;
            }
            return value / (k + (alpha / window) * squares) ** beta;
          },
          axis,
        ),
      ];
    },
    flops: (call) => (2 * call.int("size") + 4) * elementsOfX(call),
  }),
} as const;
