import type { Driver } from "../../chip/chip.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { chipByName } from "../../chip/index.ts";
import { simulateStep } from "../../cluster/index.ts";
import type {
  ClusterStep,
  Link,
  PartBytes,
  PartTimes,
  SimulatedStep,
} from "../../cluster/index.ts";
import { byteLengthOf } from "../../mil/types.ts";
import { planMemory } from "../../plan/index.ts";
import type { Plan } from "../../plan/index.ts";
import type { TrainConfig } from "../config/config.ts";
import { planOf } from "../run/plan-of.ts";
import { plannedModel } from "../run/prepare.ts";
import { trainedModel } from "../run/trained-model.ts";
import { placedPrices } from "../../lower/index.ts";

/**
 * Nanoseconds of the host for each number of a sum: packing, adding and unpacking in the thread of MPI. Measured on
 * an EPYC core that had other work too (bench/cluster.mjs, what transfers over an 800 Mbit/s link take beyond the
 * link's rate), not on a Mac.
 */
export const HOST_NS_PER_NUMBER = 10;

/** What is planned for. */
export interface ClusterPlanOptions {
  readonly machineCount: number;
  readonly chip: string;
  readonly link: Link;
  /** Bytes of memory of one machine. */
  readonly machineBytes: number;
  /** Micro-batches of an update; default: four a machine. */
  readonly batchCount?: number;
  readonly driver?: Driver;
}

export type LayoutKind = "data" | "sharded" | "pipeline" | "pipeline, sharded";

/** One way to arrange the machines, with what it is predicted to take. */
export interface PlannedLayout {
  readonly kind: LayoutKind;
  readonly stageCount: number;
  readonly replicaCount: number;
  readonly fits: boolean;
  /** Against as many machines that need no exchange: their compute alone. */
  readonly efficiency: number;
  readonly step: SimulatedStep;
}

export interface ClusterPlan {
  readonly layouts: readonly PlannedLayout[];
  /** The fastest that fits; the one that needs the least memory where none does. */
  readonly best: PlannedLayout;
  /** Milliseconds of one machine alone for the same update, whether or not it fits there. */
  readonly aloneMs: number;
  readonly tokenCount: number;
  readonly batchCount: number;
}

/** A model's parts on a chip: priced once, simulated in any number. */
export interface PricedParts {
  readonly blockCount: number;
  readonly times: PartTimes;
  readonly bytes: PartBytes;
  readonly wire: "fp32" | "fp16";
  readonly tokensPerBatch: number;
}

/** Prices the parts of a training step by the cost model: a model of one block is priced, the others are like it. */
export function priceParts(
  config: TrainConfig,
  { chip, driver }: Pick<ClusterPlanOptions, "chip" | "driver">,
): PricedParts {
  const whole = plannedModel(config);
  const single = trainedModel({ ...config, trained_layers: -1 }, { ...whole, layerCount: 1 });
  const { plan } = planOf({ ...config, engine: "ane", gradient_accumulation_steps: 1 }, single);
  const { priceOf } = placedPrices(plan, chipByName(chip), chooseDriver(driver))({});
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
    times,
    bytes: bytesOf(plan, config, whole.channelCount),
    wire: config.wire,
    tokensPerBatch: config.batch_size * config.max_seq_length,
  };
}

function bytesOf(plan: Plan, config: TrainConfig, channelCount: number): PartBytes {
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

/** Predicts an update of every layout of some machines. */
export function planCluster(parts: PricedParts, options: ClusterPlanOptions): ClusterPlan {
  const { machineCount, machineBytes, link } = options;
  const batchCount = options.batchCount ?? 4 * machineCount;
  const common = {
    ...{ blockCount: parts.blockCount, times: parts.times, bytes: parts.bytes, wire: parts.wire },
    ...{ link, batchCount, hostNsPerNumber: HOST_NS_PER_NUMBER },
  };
  const alone = simulateStep({ ...common, stageCount: 1, replicaCount: 1, isSharded: false });
  const layouts = arrangements(machineCount, parts.blockCount).map(
    ({ stageCount, isSharded }): PlannedLayout => {
      const replicaCount = machineCount / stageCount;
      const step = simulateStep({
        ...common,
        stageCount,
        replicaCount,
        isSharded,
      } satisfies ClusterStep);
      return {
        kind:
          stageCount === 1
            ? isSharded
              ? "sharded"
              : "data"
            : isSharded
              ? "pipeline, sharded"
              : "pipeline",
        ...{ stageCount, replicaCount, step },
        fits: step.memoryBytes <= machineBytes,
        efficiency: alone.computeMs / machineCount / step.stepMs,
      };
    },
  );
  const fitting = layouts.filter(({ fits }) => fits);
  const least = (
    some: readonly PlannedLayout[],
    of: (layout: PlannedLayout) => number,
  ): PlannedLayout | undefined =>
    some.reduce<PlannedLayout | undefined>(
      (found, layout) => (found === undefined || of(layout) < of(found) ? layout : found),
      undefined,
    );
  const best =
    least(fitting, ({ step }) => step.stepMs) ?? least(layouts, ({ step }) => step.memoryBytes);
  if (best === undefined) throw new Error("no machine, no layout");
  return {
    ...{ layouts, best, batchCount },
    aloneMs: alone.stepMs,
    tokenCount: batchCount * parts.tokensPerBatch,
  };
}

function arrangements(
  machineCount: number,
  blockCount: number,
): readonly { readonly stageCount: number; readonly isSharded: boolean }[] {
  const stages = Array.from({ length: Math.min(machineCount, blockCount) }, (_, i) => i + 1).filter(
    (count) => machineCount % count === 0,
  );
  return stages.flatMap((stageCount) =>
    machineCount / stageCount > 1
      ? [
          { stageCount, isSharded: false },
          { stageCount, isSharded: true },
        ]
      : [{ stageCount, isSharded: false }],
  );
}

/** What keeps a layout from being faster, as words: compute too, which more machines make less. */
export function whatLimits(layout: PlannedLayout): string {
  if (!layout.fits) return "memory";
  const { stepMs, computeMs } = layout.step;
  const [lost] = losses(layout);
  const isCompute = lost === undefined || computeMs >= lost.ms;
  return isCompute ? told("compute", computeMs, stepMs) : told(lost.name, lost.ms, stepMs);
}

/** The largest part of a step in which a machine does not compute. */
export function whatIsLost(layout: PlannedLayout): string {
  const [lost] = losses(layout);
  return told(lost?.name ?? "", lost?.ms ?? 0, layout.step.stepMs);
}

function losses({
  step,
}: PlannedLayout): readonly { readonly name: string; readonly ms: number }[] {
  const { bubbleMs, exposedMs, latencyMs, linkMs } = step;
  return [
    { name: "waiting for other stages (the pipeline's bubble)", ms: bubbleMs },
    { name: latencyMs > linkMs / 2 ? "the latency of messages" : "the link's rate", ms: exposedMs },
  ].toSorted((a, b) => b.ms - a.ms);
}

function told(name: string, ms: number, stepMs: number): string {
  return `${name} (${Math.round((100 * ms) / stepMs)} %)`;
}
