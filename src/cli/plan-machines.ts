import { linkNamed, TASK_KINDS } from "../cluster/index.ts";
import { planCluster, priceParts, whatIsLost, whatLimits } from "../train/index.ts";
import type { ClusterPlan, PlannedLayout, PricedParts, TrainConfig } from "../train/index.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { formatBytes, formatMs } from "../util/format.ts";
import { timelinePlot } from "../util/plot/index.ts";

/** `plan --machines`: what it is given. */
export interface MachineFlags {
  readonly machines: number;
  readonly chip: string;
  readonly link: string;
  /** Of one machine, in GiB. */
  readonly machineMemory: number;
  /** Micro-batches of an update where somebody says how many. */
  readonly batchCount: number | undefined;
  readonly svg?: string | undefined;
  readonly growth: boolean;
  readonly json: boolean;
}

const LARGEST_GROWTH = 1024;
/** Efficiency below which machines are wasted. */
const WASTED_BELOW = 0.75;
/** Lanes of a timeline that can still be read. */
const MOST_LANES = 16;

/** Predicts a training step of several machines, prints the layouts and picks the best. */
export function planMachines(config: TrainConfig, flags: MachineFlags): void {
  const link = linkNamed(flags.link);
  const parts = priceParts(config, { chip: flags.chip });
  const options = {
    ...{ chip: flags.chip, link, machineBytes: flags.machineMemory * 2 ** 30 },
  };
  const planned = planCluster(parts, {
    ...options,
    machineCount: flags.machines,
    ...(flags.batchCount !== undefined && { batchCount: flags.batchCount }),
  });
  const growth = flags.growth
    ? Array.from({ length: Math.log2(LARGEST_GROWTH) + 1 }, (_, power) => 2 ** power).map(
        (machineCount) => ({
          machineCount,
          plan: planCluster(parts, { ...options, machineCount }),
        }),
      )
    : [];
  if (flags.svg !== undefined) writeWholeFile(flags.svg, timeline(planned, flags));
  if (flags.json) {
    process.stdout.write(
      `${JSON.stringify({
        ...{ machines: flags.machines, chip: flags.chip, link, parts },
        ...{ batches: planned.batchCount, tokens: planned.tokenCount },
        alone_ms: planned.aloneMs,
        layouts: planned.layouts.map(layoutJson),
        best: layoutJson(planned.best),
        ...(flags.growth && {
          growth: growth.map(({ machineCount, plan }) => ({
            machines: machineCount,
            ...layoutJson(plan.best),
          })),
        }),
      })}\n`,
    );
    return;
  }
  process.stdout.write(printed(planned, parts, flags, link.source));
  if (flags.growth) process.stdout.write(printedGrowth(growth));
  if (flags.svg !== undefined) process.stdout.write(`timeline of the best: ${flags.svg}\n`);
}

function layoutJson(layout: PlannedLayout): object {
  const { step, kind, stageCount, replicaCount, fits, efficiency } = layout;
  return {
    ...{ layout: kind, stages: stageCount, replicas: replicaCount, fits, efficiency },
    ...{ step_ms: step.stepMs, compute_ms: step.computeMs, bubble_ms: step.bubbleMs },
    ...{ exposed_ms: step.exposedMs, link_ms: step.linkMs, latency_ms: step.latencyMs },
    memory_bytes: step.memoryBytes,
    limit: whatLimits(layout),
  };
}

const COLUMNS = [34, 11, 11, 11, 9, 9, 9, 12] as const;

function row(cells: readonly string[]): string {
  return `  ${cells.map((cell, i) => cell.padEnd(COLUMNS[i] ?? 0)).join("")}`.trimEnd();
}

function cellsOf(name: string, layout: PlannedLayout, tokenCount: number): readonly string[] {
  const { step, efficiency, fits } = layout;
  const share = (ms: number): string => `${((100 * ms) / step.stepMs).toFixed(1)} %`;
  return [
    name,
    formatMs(step.stepMs),
    `${Math.round((1000 * tokenCount) / step.stepMs)}`,
    `${(100 * efficiency).toFixed(1)} %`,
    share(step.computeMs),
    share(step.bubbleMs),
    share(step.exposedMs),
    `${formatBytes(step.memoryBytes)}${fits ? "" : ", too much"}`,
  ];
}

const HEADER = row([
  "layout",
  "step",
  "tokens/s",
  "efficient",
  "compute",
  "bubble",
  "exchange",
  "memory",
]);

function nameOf({ kind, stageCount, replicaCount }: PlannedLayout): string {
  return `${kind} ${stageCount} x ${replicaCount}`;
}

function printed(
  planned: ClusterPlan,
  parts: PricedParts,
  flags: MachineFlags,
  linkSource: string,
): string {
  const { layouts, best, batchCount, tokenCount, aloneMs } = planned;
  const lines = [
    `${flags.machines} machines with ${flags.chip}, ${flags.link} (${linkSource}), ${flags.machineMemory} GiB each; predicted, nothing of it measured`,
    `an update of ${batchCount} micro-batches, ${tokenCount} tokens; one machine alone would take ${formatMs(aloneMs)}`,
    `${parts.blockCount} blocks: ${formatMs(parts.times.blockForward)} forward, ${formatMs(parts.times.blockBackward)} backward each; gradients of a block ${formatBytes(parts.bytes.blockGradient)}`,
    "",
    HEADER,
    ...layouts.map((layout) => row(cellsOf(nameOf(layout), layout, tokenCount))),
    "",
    best.fits
      ? `best: ${nameOf(best)}, limited by ${whatLimits(best)}`
      : `none fits; ${nameOf(best)} needs the least memory`,
    "",
  ];
  return `${lines.join("\n")}\n`;
}

function printedGrowth(
  growth: readonly { readonly machineCount: number; readonly plan: ClusterPlan }[],
): string {
  const wasteful = growth.find(
    ({ plan, machineCount }) => machineCount > 1 && plan.best.efficiency < WASTED_BELOW,
  );
  const last = growth.at(-1);
  const lines = [
    "more machines, four micro-batches each:",
    row([
      "machines, best layout",
      ...["step", "tokens/s", "efficient", "compute", "bubble", "exchange", "memory"],
    ]),
    ...growth.map(({ machineCount, plan }) =>
      row(cellsOf(`${machineCount}: ${nameOf(plan.best)}`, plan.best, plan.tokenCount)),
    ),
    wasteful === undefined
      ? `up to ${LARGEST_GROWTH} machines three quarters of their time is compute`
      : `from ${wasteful.machineCount} machines on more than a quarter is lost; first stops: ${whatIsLost(wasteful.plan.best)}`,
    ...(last === undefined ? [] : [`at ${last.machineCount}: ${whatIsLost(last.plan.best)}`]),
    "",
  ];
  return `${lines.join("\n")}\n`;
}

/** What the machines of one pipeline do in an update. */
function timeline({ best }: ClusterPlan, { chip, link }: MachineFlags): string {
  const stages = Array.from({ length: Math.min(best.stageCount, MOST_LANES / 2) }, (_, i) => i);
  const lane = (name: string, resource: string) => ({
    name,
    how: "predicted" as const,
    bars: best.step.tasks
      .filter((task) => task.resource === resource && task.ms > 0)
      .map((task) => ({
        ...{ start: task.startMs, length: task.ms, label: task.label },
        kind: TASK_KINDS.indexOf(task.kind),
      })),
  });
  return timelinePlot({
    title: `An update on ${nameOf(best)} machines`,
    description: `Predicted for ${chip} over ${link}: what the machines of one replica compute and exchange, in milliseconds.`,
    lanes: stages.flatMap((stage) => [
      lane(`stage ${stage + 1}`, `compute ${stage}`),
      lane(`its link`, `link ${stage}`),
    ]),
    marks: [{ at: best.step.stepMs, label: formatMs(best.step.stepMs) }],
    kinds: TASK_KINDS.map((kind) => kind),
  });
}
