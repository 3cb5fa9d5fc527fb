import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { constantTensor, optional, required, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { agree } from "./dimensions.ts";
import { elementsOfX, mapTensor, unary } from "./elementwise-unary.ts";
import { erf, sigmoid, softplus } from "./special-functions.ts";
import { spanOf } from "./strided.ts";

export const GELU_MODES = ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"] as const;

const gelu: Record<(typeof GELU_MODES)[number], (x: number) => number> = {
  EXACT: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  TANH_APPROXIMATION: (x) =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  SIGMOID_APPROXIMATION: (x) => x * sigmoid(1.702 * x),
};

function geluOf(call: OpCall): (x: number) => number {
  const mode = call.string("mode");
  const found = GELU_MODES.find((name) => name === mode);
  if (found === undefined) throw call.fail(`mode "${mode}" is none of ${GELU_MODES.join(", ")}`);
  return gelu[found];
}

function withAlpha(compute: (x: number, alpha: number) => number) {
  return defineOp({
    kind: "elementwise",
    pointwise: true,
    parameters: { x: tensor(), alpha: required("float") },
    infer: (call) => [call.tensorType("x")],
    evaluate: (call) => {
      const alpha = call.float("alpha");
      return [mapTensor(call.tensor("x"), (x) => compute(x, alpha))];
    },
    flops: elementsOfX,
  });
}

function withAlphaAndBeta(compute: (x: number, alpha: number, beta: number) => number) {
  return defineOp({
    kind: "elementwise",
    pointwise: true,
    parameters: { x: tensor(), alpha: required("float"), beta: required("float") },
    infer: (call) => [call.tensorType("x")],
    evaluate: (call) => {
      const alpha = call.float("alpha");
      const beta = call.float("beta");
      return [mapTensor(call.tensor("x"), (x) => compute(x, alpha, beta))];
    },
    flops: elementsOfX,
  });
}

/** Settings of one number a channel, the channels being axis 1. */
function checkChannels(call: OpCall, name: string): void {
  const channels = call.shape("x")[1];
  const [size, ...rest] = call.shape(name);
  if (channels === undefined || size === undefined || rest.length > 0 || !agree(size, channels)) {
    throw call.fail(`${name} must hold one number for each of x's channels (axis 1)`);
  }
}

/** Calls `compute` with every number and the index of its channel. */
function mapChannels(call: OpCall, compute: (x: number, channel: number) => number) {
  const x = call.tensor("x");
  const { size, inner } = spanOf(x.shape, 1);
  return hostTensor(
    x.dataType,
    x.shape,
    x.data.map((value, index) => compute(value, Math.floor(index / inner) % size)),
  );
}

export const ACTIVATION = {
  relu: unary((x) => Math.max(x, 0), { numbersOf: "operands" }),
  relu6: unary((x) => Math.min(Math.max(x, 0), 6)),
  sigmoid: unary(sigmoid),
  silu: unary((x) => x * sigmoid(x)),
  softplus: unary(softplus),
  softsign: unary((x) => x / (1 + Math.abs(x))),
  gelu: defineOp({
    kind: "elementwise",
    pointwise: true,
    parameters: { x: tensor(), mode: optional("string", "EXACT") },
    infer: (call) => {
      geluOf(call);
      return [call.tensorType("x")];
    },
    evaluate: (call) => [mapTensor(call.tensor("x"), geluOf(call))],
    flops: elementsOfX,
  }),
  clamped_relu: withAlphaAndBeta((x, alpha, beta) => Math.min(beta, x >= 0 ? x : alpha * x)),
  elu: withAlpha((x, alpha) => (x >= 0 ? x : alpha * Math.expm1(x))),
  leaky_relu: withAlpha((x, alpha) => (x >= 0 ? x : alpha * x)),
  linear_activation: withAlphaAndBeta((x, alpha, beta) => alpha * x + beta),
  scaled_tanh: withAlphaAndBeta((x, alpha, beta) => alpha * Math.tanh(beta * x)),
  sigmoid_hard: withAlphaAndBeta((x, alpha, beta) => Math.min(Math.max(alpha * x + beta, 0), 1)),
  thresholded_relu: withAlpha((x, alpha) => (x >= alpha ? x : 0)),
  prelu: defineOp({
    kind: "elementwise",
    parameters: { x: tensor(), alpha: constantTensor() },
    infer: (call) => {
      checkChannels(call, "alpha");
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const alpha = call.tensor("alpha").data;
      return [mapChannels(call, (x, channel) => (x >= 0 ? x : (alpha[channel] ?? 0) * x))];
    },
    flops: elementsOfX,
  }),
  softplus_parametric: defineOp({
    kind: "elementwise",
    parameters: { x: tensor(), alpha: constantTensor(), beta: constantTensor() },
    infer: (call) => {
      checkChannels(call, "alpha");
      checkChannels(call, "beta");
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const alpha = call.tensor("alpha").data;
      const beta = call.tensor("beta").data;
      return [
        mapChannels(
          call,
          (x, channel) => (alpha[channel] ?? 0) * softplus((beta[channel] ?? 0) * x),
        ),
      ];
    },
    flops: elementsOfX,
  }),
  softmax: defineOp({
    kind: "costly",
    parameters: { x: tensor(), axis: optional("int", -1) },
    infer: (call) => {
      call.axis("axis", call.shape("x").length);
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const { outer, size, inner } = spanOf(x.shape, call.axis("axis", x.shape.length));
      const output = hostTensor(x.dataType, x.shape);
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < inner; i++) {
          softmaxRun(x.data, output.data, o * size * inner + i, inner, size);
        }
      }
      return [output];
    },
    // Maximum, difference, exponential, sum and quotient.
    flops: (call) => 5 * elementsOfX(call),
  }),
} as const;

/** Softmax of `count` numbers that stand `step` apart. */
export function softmaxRun(
  source: Float64Array,
  target: Float64Array,
  start: number,
  step: number,
  count: number,
): void {
  const end = start + count * step;
  let maximum = -Infinity;
  for (let i = start; i < end; i += step) maximum = Math.max(maximum, source[i] ?? 0);
  let total = 0;
  for (let i = start; i < end; i += step) {
    const exponential = Math.exp((source[i] ?? 0) - maximum);
    target[i] = exponential;
    total += exponential;
  }
  for (let i = start; i < end; i += step) target[i] = (target[i] ?? 0) / total;
}
