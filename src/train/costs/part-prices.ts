import type { Chip, Driver } from "../../chip/chip.ts";
import type { PartBytes, PartTimes } from "../../cluster/index.ts";
import { placedPrices } from "../../lower/index.ts";
import { byteLengthOf } from "../../mil/types.ts";
import { planMemory } from "../../plan/index.ts";
import type { Plan } from "../../plan/index.ts";
import type { PricedSettings } from "../config/part-settings.ts";
import { canBeSplit, planOf } from "../run/plan-of.ts";
import { plannedModel } from "../run/prepare.ts";
import { plannedTraining } from "../run/planned-model.ts";
import type { ClusterStep } from "../../cluster/plan/cluster-step.ts";

/** A model's parts on a chip: priced once, simulated in any number. */
export interface PricedParts extends Pick<ClusterStep, "blockCount" | "times" | "bytes" | "wire"> {
  /** Machines over which the blocks can be split, at most. */
  readonly stageLimit: number;
  readonly tokensPerBatch: number;
}

/** Prices the parts of a training step by the cost model: a model of one block is priced, the others are like it. */
export function priceParts(
  config: PricedSettings,
  { chip, driver }: { readonly chip: Chip; readonly driver: Driver },
): PricedParts {
  const whole = plannedModel(config);
  const single = plannedTraining({ ...config, trained_layers: -1 }, 1);
  const { plan } = planOf({ ...config, engine: "ane", gradient_accumulation_steps: 1 }, single, {});
  const { priceOf } = placedPrices(plan, chip, driver)({});
  const { dispatches } = priceOf({ runs: { forward_backward: 1, gradient_norm: 1, update: 1 } });
  const sum = (pattern: RegExp): number =>
    dispatches.reduce((ms, { label, ms: own }) => (pattern.test(label) ? ms + own : ms), 0);
  const times: PartTimes = {
    embedForward: sum(/^(?:forward embed|unpack embed|packing)/),
    blockForward: sum(/^(?:forward block|unpack block\.\d+ forward)/),
    blockBackward: sum(/^(?:backward block|unpack block\.\d+ backward)/),
    head: sum(/^(?:head rows|unpack head)/),
    embedBackward: sum(/^backward embed/),
    blockUpdate: sum(/^(?:update|gradient norm) block/),
    embedUpdate: sum(/^(?:update|gradient norm) embed/),
    headUpdate: sum(/^(?:update|gradient norm) head/),
  };
  return {
    blockCount: whole.layerCount,
    stageLimit: canBeSplit(config, single) ? whole.layerCount : 1,
    times,
    bytes: bytesOf(plan, config, whole.channelCount),
    wire: config.wire,
    tokensPerBatch: config.batch_size * config.max_seq_length,
  };
}

function bytesOf(plan: Plan, config: PricedSettings, channelCount: number): PartBytes {
  const sum = (role: string, belongs: (group: string) => boolean): number =>
    [...plan.buffers.values()].reduce(
      (bytes, buffer) =>
        buffer.role === role && belongs(buffer.group ?? "")
          ? bytes + byteLengthOf(buffer.type)
          : bytes,
      0,
    );
  const inBlock = (group: string): boolean => group === "block.0";
  const inEmbed = (group: string): boolean => group === "embed";
  const inHead = (group: string): boolean => group === "head";
  const inEnds = (group: string): boolean => !inBlock(group);
  const taps = [...plan.buffers.values()]
    .filter(({ role, name }) => role === "tap" || name === "hidden.0")
    .reduce((bytes, { type }) => bytes + byteLengthOf(type), 0);
  return {
    blockGradient: sum("gradient", inBlock),
    embedGradient: sum("gradient", inEmbed),
    headGradient: sum("gradient", inHead),
    blockWeights: sum("weight", inBlock),
    blockOptimizer: sum("optimizer", inBlock),
    endWeights: sum("weight", inEnds),
    endOptimizer: sum("optimizer", inEnds),
    blockTaps: taps,
    transient: Math.max(0, planMemory(plan).transientByteLength - taps),
    hidden: 4 * config.batch_size * config.max_seq_length * channelCount,
  };
}
