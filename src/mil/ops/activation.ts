import { hostTensor } from "../host-tensor.ts";
import { constantTensor, optional, required, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { checkPerChannel } from "./dimensions.ts";
import { elementsOfX, mapChannels, pointwise, unary } from "./elementwise-unary.ts";
import { erf, sigmoid, softplus } from "./special-functions.ts";
import { spanOf } from "./strided.ts";

export const GELU_MODES = ["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"] as const;

const gelu: Record<(typeof GELU_MODES)[number], (x: number) => number> = {
  EXACT: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  TANH_APPROXIMATION: (x) =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  SIGMOID_APPROXIMATION: (x) => x * sigmoid(1.702 * x),
};

const withAlpha = (compute: (x: number, alpha: number) => number) =>
  pointwise({ alpha: required("float") }, (call) => {
    const alpha = call.float("alpha");
    return (x) => compute(x, alpha);
  });

const withAlphaAndBeta = (compute: (x: number, alpha: number, beta: number) => number) =>
  pointwise({ alpha: required("float"), beta: required("float") }, (call) => {
    const alpha = call.float("alpha");
    const beta = call.float("beta");
    return (x) => compute(x, alpha, beta);
  });

export const ACTIVATION = {
  relu: unary((x) => Math.max(x, 0), { numbersOf: "operands" }),
  relu6: unary((x) => Math.min(Math.max(x, 0), 6)),
  sigmoid: unary(sigmoid),
  silu: unary((x) => x * sigmoid(x)),
  softplus: unary(softplus),
  softsign: unary((x) => x / (1 + Math.abs(x))),
  gelu: pointwise(
    { mode: optional("string", "EXACT") },
    (call) => gelu[call.choice("mode", GELU_MODES)],
    { check: (call) => call.choice("mode", GELU_MODES) },
  ),
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
      checkPerChannel(call, "alpha");
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const alpha = call.tensor("alpha").data;
      return [
        mapChannels(call.tensor("x"), (x, channel) => (x >= 0 ? x : (alpha[channel] ?? 0) * x)),
      ];
    },
    flops: elementsOfX,
  }),
  softplus_parametric: defineOp({
    kind: "elementwise",
    parameters: { x: tensor(), alpha: constantTensor(), beta: constantTensor() },
    infer: (call) => {
      checkPerChannel(call, "alpha");
      checkPerChannel(call, "beta");
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const alpha = call.tensor("alpha").data;
      const beta = call.tensor("beta").data;
      return [
        mapChannels(
          call.tensor("x"),
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
