import type { Chip } from "../../chip/chip.ts";
import { hostBytesPerMs } from "../../chip/cost/host.ts";
import { passTraffic } from "../../chip/cost/op-traffic.ts";
import { priceCall, pricingRates } from "../../chip/cost/model.ts";
import type { PricingRates } from "../../chip/cost/model.ts";
import type { FunctionWork, OpWork } from "../../chip/cost/work.ts";
import { matrixWork, movingWork, productWork } from "./op-work.ts";

/** Sizes of a decoder as the published trainers take them. */
export interface PipelineModel {
  readonly layers: number;
  readonly channels: number;
  readonly queryChannels: number;
  readonly keyChannels: number;
  readonly hidden: number;
  readonly heads: number;
  readonly sequence: number;
  /** Rows of the classifier: the trainer keeps only tokens that occur. */
  readonly vocabulary: number;
}

export const STORIES_110M: PipelineModel = {
  layers: 12,
  channels: 768,
  queryChannels: 768,
  keyChannels: 768,
  hidden: 2048,
  heads: 12,
  sequence: 256,
  vocabulary: 9205,
};

export const QWEN3_600M: PipelineModel = {
  layers: 28,
  channels: 1024,
  queryChannels: 2048,
  keyChannels: 1024,
  hidden: 3072,
  heads: 16,
  sequence: 256,
  vocabulary: 9205,
};

/** TinyLlama's shape, with the trainer's sequence. */
export const MICRO_GPT_1B: PipelineModel = {
  layers: 22,
  channels: 2048,
  queryChannels: 2048,
  keyChannels: 256,
  hidden: 5632,
  heads: 32,
  sequence: 256,
  vocabulary: 32_000,
};

/** Weights of such a model, embedding and head apart. */
export function parameterCount(model: PipelineModel): number {
  const { layers, channels, queryChannels, keyChannels, hidden, vocabulary } = model;
  const block = channels * (2 * queryChannels + 2 * keyChannels + 3 * hidden + 2);
  return layers * block + 2 * vocabulary * channels + channels;
}

export interface PipelinePrediction {
  readonly ms: number;
  readonly engineMs: number;
  readonly copyMs: number;
  readonly hostMs: number;
}

/** One kernel of a pipeline, by what it multiplies, moves and exchanges with the host. */
interface Kernel {
  /** [inner, outer] sizes of products with weights over the sequence. */
  readonly weights: readonly (readonly [number, number])[];
  /** Score matrices [heads, S, S] it multiplies (each one product) and passes it makes over them. */
  readonly scoreProducts: number;
  readonly scorePasses: number;
  readonly channelsIn: number;
  readonly channelsOut: number;
  /** Channels among them that stay on surfaces from one kernel to the next: scores are never copied. */
  readonly channelsKept: number;
}

const kernel = (
  weights: Kernel["weights"],
  channelsIn: number,
  channelsOut: number,
  scoreProducts = 0,
  scorePasses = 0,
  channelsKept = 0,
): Kernel => ({ weights, scoreProducts, scorePasses, channelsIn, channelsOut, channelsKept });

/** Ten kernels a layer, weights packed beside the activations (maderix, dynamic pipeline). */
function dynamicKernels(model: PipelineModel): readonly Kernel[] {
  const { channels: D, queryChannels: Q, keyChannels: K, hidden: H, heads, sequence: S } = model;
  const scores = heads * S;
  return [
    kernel(
      [
        [D, Q],
        [D, K],
        [D, K],
      ],
      D,
      2 * Q + 2 * K + D,
      2,
      9,
    ),
    kernel([[Q, D]], Q, D),
    kernel(
      [
        [D, H],
        [D, H],
        [H, D],
      ],
      2 * D,
      D + 3 * H,
    ),
    kernel([[D, H]], D, H),
    kernel(
      [
        [H, D],
        [H, D],
      ],
      2 * H,
      D,
    ),
    kernel([[D, Q]], D, Q),
    kernel([], 4 * Q, Q + 2 * scores, 3, 10, 2 * scores),
    kernel([], 2 * scores + 2 * Q, 2 * Q, 2, 8, 2 * scores),
    kernel([[Q, D]], Q, D),
    kernel(
      [
        [K, D],
        [K, D],
      ],
      2 * K,
      D,
    ),
  ];
}

/** Six kernels a layer with constant weights: the static pipeline. */
function staticKernels(model: PipelineModel): readonly Kernel[] {
  const { channels: D, hidden: H, heads, sequence: S } = model;
  const scores = 2 * heads * S;
  const square: readonly [number, number] = [D, D];
  return [
    kernel([square, square, square, square], D, 6 * D, 2, 9),
    kernel(
      [
        [D, H],
        [D, H],
        [H, D],
      ],
      D,
      2 * D + 3 * H,
    ),
    kernel(
      [
        [D, H],
        [H, D],
        [H, D],
      ],
      D + 2 * H,
      D + 2 * H,
    ),
    kernel([square], 4 * D, D + scores, 3, 10, scores),
    kernel([], scores + 2 * D, 2 * D, 2, 8, scores),
    kernel([square, square, square], 3 * D, D),
  ];
}

/** Copies of packed weights inside the program: slice, reshape, transpose, reshape. */
const UNPACK_PASSES = 4;
/** Passes over each activation a kernel takes or gives: transposes, reshapes, norms, sums. */
const ACTIVATION_PASSES = 4;

function kernelWork(kernel: Kernel, model: PipelineModel, isDynamic: boolean): FunctionWork {
  const { sequence: S, heads, queryChannels } = model;
  const ops: OpWork[] = [];
  for (const [inner, outer] of kernel.weights) {
    ops.push(matrixWork(isDynamic ? "matmul" : "pointwise", [S, inner, outer]));
    if (isDynamic) ops.push(movingWork("unpack", UNPACK_PASSES * 2 * 2 * inner * outer));
  }
  const scores = heads * S * S;
  const scoreProduct = productWork({
    kind: "matmul",
    flops: 2 * S * S * queryChannels,
    positions: S,
    weights: (S * queryChannels) / heads,
    activations: scores + 2 * S * queryChannels,
    fromMemory: false,
  });
  for (let i = 0; i < kernel.scoreProducts; i++) ops.push(scoreProduct);
  ops.push(
    movingWork(
      "softmax and its neighbours",
      kernel.scorePasses * passTraffic("add", 2 * scores, 2 * scores),
    ),
    movingWork("activations", ACTIVATION_PASSES * 2 * S * (kernel.channelsIn + kernel.channelsOut)),
  );
  return {
    name: "kernel",
    ops,
    inputBytes: 2 * S * kernel.channelsIn,
    outputBytes: 2 * S * kernel.channelsOut,
  };
}

/**
 * What the model says of a published trainer: its kernels on the engine, its copies between fp32 arrays and
 * fp16 surfaces, its classifier and elementwise work on the CPU. Weight gradients run beside, on other cores.
 */
export function predictPipeline(
  model: PipelineModel,
  chip: Chip,
  pipeline: "dynamic" | "static",
  rates: PricingRates = pricingRates(chip, "in-memory"),
): PipelinePrediction {
  const kernels = pipeline === "dynamic" ? dynamicKernels(model) : staticKernels(model);
  let engineMs = 0;
  let copied = 0;
  for (const kernel of kernels) {
    const work = kernelWork(kernel, model, pipeline === "dynamic");
    engineMs += priceCall(work, rates, { edgeBytes: work.inputBytes + work.outputBytes }).ms;
    copied += work.inputBytes + work.outputBytes - 2 * model.sequence * kernel.channelsKept;
  }
  const { layers, channels, hidden, sequence, vocabulary } = model;
  const classifierFlops = 3 * 2 * sequence * channels * vocabulary;
  // SiLU, norms, residuals and their derivatives, in fp32, read and written.
  const elementBytes = layers * sequence * (5 * hidden + 12 * channels) * 4 * 3;
  // Gradients of constant weights are made on the CPU while its caches and memory are wanted for copies: they hide behind
  // nothing that the published steps show.
  const gradientFlops =
    pipeline === "static"
      ? 2 * sequence * layers * (4 * channels * channels + 3 * channels * hidden)
      : 0;
  const copyMs = (layers * copied) / rates.hostBytesPerMs;
  const hostMs =
    ((vocabulary > 0 ? classifierFlops : 0) + gradientFlops) /
      (chip.rates.hostProducts.value * 1e9) +
    elementBytes / hostBytesPerMs(chip);
  return { ms: layers * engineMs + copyMs + hostMs, engineMs: layers * engineMs, copyMs, hostMs };
}
