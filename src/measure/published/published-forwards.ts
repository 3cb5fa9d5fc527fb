import type { Chip } from "../../chip/chip.ts";
import { hostBytesPerMs } from "../../chip/cost/host.ts";
import { priceCall, pricingRates } from "../../chip/cost/model.ts";
import type { PricingRates } from "../../chip/cost/model.ts";
import type { FunctionWork } from "../../chip/cost/work.ts";
import type { PipelineModel, PipelinePrediction } from "./published-pipeline.ts";
import { matrixWork } from "./op-work.ts";

/** SmolLM2-360M as AutoANE trains it: tokens that do not occur are left out of the classifier. */
export const SMOLLM2_360M: PipelineModel = {
  layers: 32,
  channels: 960,
  queryChannels: 960,
  keyChannels: 320,
  hidden: 2560,
  heads: 15,
  sequence: 256,
  vocabulary: 16_893,
};

/** Forward passes of one step without derivatives: the weights moved one way and the other. */
const FORWARDS = 2;
/** Of an adapter: its corrections of four projections stay on the CPU. */
const RANK = 8;
/** fp32 reads and writes of a layer's values on the CPU: norms, rotary embedding, softmax, corrections, residuals. */
const HOST_PASSES = 3;

interface Program {
  /** Products with constant weights: [inner, outer]. */
  readonly products: readonly (readonly [number, number])[];
  readonly channelsIn: number;
  readonly channelsOut: number;
}

/** Three programs a layer with constant weights: queries, keys and values; the projection; the gated layers. */
function programs(model: PipelineModel): readonly Program[] {
  const { channels: D, queryChannels: Q, keyChannels: K, hidden: H } = model;
  return [
    {
      products: [
        [D, Q],
        [D, K],
        [D, K],
      ],
      channelsIn: D,
      channelsOut: Q + 2 * K,
    },
    { products: [[Q, D]], channelsIn: Q, channelsOut: D },
    {
      products: [
        [D, H],
        [D, H],
        [H, D],
      ],
      channelsIn: D,
      channelsOut: D,
    },
  ];
}

function workOf({ products, channelsIn, channelsOut }: Program, positions: number): FunctionWork {
  return {
    name: "program",
    ops: products.map(([inner, outer]) => matrixWork("pointwise", [positions, inner, outer])),
    inputBytes: 2 * positions * channelsIn,
    outputBytes: 2 * positions * channelsOut,
  };
}

/**
 * What the model says of a step of forward passes alone whose constant products are the engine's and whose attention,
 * norms, adapters and classifier are the CPU's (AutoANE).
 */
export function predictForwards(
  model: PipelineModel,
  chip: Chip,
  rates: PricingRates = pricingRates(chip, "in-memory"),
): PipelinePrediction {
  const { layers, channels: D, queryChannels: Q, keyChannels: K, sequence: S } = model;
  let engineMs = 0;
  let copied = 0;
  for (const program of programs(model)) {
    const work = workOf(program, S);
    const edgeBytes = work.inputBytes + work.outputBytes;
    engineMs += priceCall(work, rates, { edgeBytes }).ms;
    copied += edgeBytes;
  }
  const attentionFlops = 2 * 2 * S * S * Q;
  const adapterFlops = 2 * S * RANK * (4 * D + 2 * Q + 2 * K);
  const classifierFlops = 2 * S * D * model.vocabulary;
  const values = S * (6 * D + 3 * Q + 4 * K) + 2 * model.heads * S * S;
  const hostMs =
    (layers * (attentionFlops + adapterFlops) + classifierFlops) /
      (chip.rates.hostProducts.value * 1e9) +
    (layers * values * 4 * HOST_PASSES) / hostBytesPerMs(chip);
  const copyMs = (layers * copied) / rates.hostBytesPerMs;
  return {
    ms: FORWARDS * (layers * engineMs + copyMs + hostMs),
    engineMs: FORWARDS * layers * engineMs,
    copyMs: FORWARDS * copyMs,
    hostMs: FORWARDS * hostMs,
  };
}
