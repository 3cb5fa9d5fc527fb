import type { Driver } from "../../chip/chip.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { chipByName } from "../../chip/index.ts";
import { simulateStep } from "../../cluster/index.ts";
import type { ClusterStep, Link, PartTimes, SimulatedStep } from "../../cluster/index.ts";
import type { PricedSettings } from "../config/part-settings.ts";
import { priceParts } from "./part-prices.ts";
import type { PricedParts } from "./part-prices.ts";

/**
 * Nanoseconds of the host for each number of a sum: packing, adding and unpacking in the thread of MPI. Measured on
 * an EPYC core that had other work too (bench/cluster.mjs, what transfers over an 800 Mbit/s link take beyond the
 * link's rate), not on a Mac.
 */
export const HOST_NS_PER_NUMBER = 10;

/** Machines of one chip, that follow each other in the host file. */
export interface MachineGroup {
  /** As commands take it: "m4-max". */
  readonly chip: string;
  readonly count: number;
}

/** A model's parts on the chips of some machines, the first of which is the one that is compared with. */
export interface ClusterParts {
  readonly parts: PricedParts;
  /** By chip. */
  readonly times: ReadonlyMap<string, PartTimes>;
}

/** Prices a model's parts on each chip. Throws `ChipError` for an unknown one. */
export function priceMachines(
  config: PricedSettings,
  machines: readonly MachineGroup[],
  driver?: Driver,
): ClusterParts {
  const times = new Map<string, PartTimes>();
  let parts: PricedParts | undefined;
  for (const { chip } of machines) {
    if (times.has(chip)) continue;
    const priced = priceParts(config, { chip: chipByName(chip), driver: chooseDriver(driver) });
    times.set(chip, priced.times);
    parts ??= priced;
  }
  if (parts === undefined) throw new Error("no machine, no plan");
  return { parts, times };
}

/** What is planned for. */
export interface ClusterPlanOptions {
  readonly machines: readonly MachineGroup[];
  readonly link: Link;
  /** Bytes of memory of one machine. */
  readonly machineBytes: number;
  /** Micro-batches of an update; default: four a machine. */
  readonly batchCount?: number;
}

/** How a model and its batches are spread over machines. */
export type LayoutKind = "data" | "sharded" | "pipeline" | "pipeline, sharded";

/** One way to arrange the machines, with what it is predicted to take. */
export interface PlannedLayout {
  readonly kind: LayoutKind;
  readonly stageCount: number;
  readonly replicaCount: number;
  readonly fits: boolean;
  /** Against the same machines without any exchange, each with what it can do: their compute alone. */
  readonly efficiency: number;
  readonly step: SimulatedStep;
}

/** Every layout of the machines, and the best. */
export interface ClusterPlan {
  readonly layouts: readonly PlannedLayout[];
  /** The fastest that fits; the one that needs the least memory where none does. */
  readonly best: PlannedLayout;
  /** Milliseconds of the fastest machine alone for the same update, whether or not it fits there. */
  readonly aloneMs: number;
  readonly tokenCount: number;
  readonly batchCount: number;
}

/** Predicts an update of every layout of some machines. */
export function planCluster(
  { parts, times }: ClusterParts,
  options: ClusterPlanOptions,
): ClusterPlan {
  const { machineBytes, link } = options;
  const machines = options.machines.flatMap(({ chip, count }) =>
    Array.from({ length: count }, () => times.get(chip) ?? parts.times),
  );
  const machineCount = machines.length;
  const batchCount = options.batchCount ?? 4 * machineCount;
  const common = {
    ...{ blockCount: parts.blockCount, times: parts.times, bytes: parts.bytes, wire: parts.wire },
    ...{ link, batchCount, hostNsPerNumber: HOST_NS_PER_NUMBER },
    ...(times.size > 1 && { machines }),
  };
  const alone = new Map(
    [...new Set(machines)].map((own) => [
      own,
      simulateStep({
        ...{ ...common, machines: [own], times: own },
        ...{ stageCount: 1, replicaCount: 1, isSharded: false },
      }),
    ]),
  );
  const rate = machines.reduce((sum, own) => sum + 1 / (alone.get(own)?.computeMs ?? Infinity), 0);
  const layouts = arrangements(machineCount, parts.stageLimit).map(
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
        efficiency: 1 / rate / step.stepMs,
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
    aloneMs: Math.min(...[...alone.values()].map(({ stepMs }) => stepMs)),
    tokenCount: batchCount * parts.tokensPerBatch,
  };
}

function arrangements(
  machineCount: number,
  stageLimit: number,
): readonly { readonly stageCount: number; readonly isSharded: boolean }[] {
  const stages = Array.from({ length: Math.min(machineCount, stageLimit) }, (_, i) => i + 1).filter(
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
