import { linkNamed, TASK_KINDS } from "../cluster/index.ts";
import { planCluster, priceMachines, whatIsLost, whatLimits } from "../train/index.ts";
import type {
  ClusterParts,
  ClusterPlan,
  MachineGroup,
  PlannedLayout,
  PricedSettings,
} from "../train/index.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { formatBytes, formatMs } from "../util/format.ts";
import { timelinePlot } from "../util/plot/index.ts";
import { UsageError } from "./errors.ts";
import { printJson } from "./terminal.ts";

/** `plan --machines`: what it is given. */
export interface MachineFlags {
  readonly machines: readonly MachineGroup[];
  readonly link: string;
  /** Of one machine, in GiB. */
  readonly machineMemory: number;
  /** Micro-batches of an update where somebody says how many. */
  readonly batchCount: number | undefined;
  readonly svg?: string | undefined;
  readonly growth: boolean;
  readonly json: boolean;
}

const MOST_MACHINES = 4096;
const LARGEST_GROWTH = 1024;
/** Efficiency below which machines are wasted. */
const WASTED_BELOW = 0.75;
/** Lanes of a timeline that can still be read. */
const MOST_LANES = 16;
const DEFAULT_CHIP = "m4";

/** "8" with a chip of its own flag, or "m4:6,m2:2". Throws `UsageError` for what is neither. */
export function machineGroups(text: string, chip: string | undefined): readonly MachineGroup[] {
  const groups = text.split(",").map((part): MachineGroup => {
    const [, name, count] = /^(?:([a-z][\w-]*):)?(\d+)$/i.exec(part.trim()) ?? [];
    return { chip: name ?? chip ?? DEFAULT_CHIP, count: Number(count) };
  });
  const isMixed = text.includes(":");
  const sum = groups.reduce((total, { count }) => total + count, 0);
  const isWhole = groups.every(({ count }) => count > 0) && (isMixed || groups.length === 1);
  if (!isWhole || !(sum <= MOST_MACHINES)) {
    throw new UsageError(
      "cli.plan.machines",
      `--machines takes a number from 1 to ${MOST_MACHINES}, or chips with theirs, not "${text}"`,
      { remedy: "As in --machines 8 --chip m4, or --machines m4:6,m2:2." },
    );
  }
  if (isMixed && chip !== undefined) {
    throw new UsageError("cli.plan.machines", "--chip does nothing: --machines names the chips");
  }
  return groups;
}

/** Predicts a training step of several machines, prints the layouts and picks the best. */
export function planMachines(config: PricedSettings, flags: MachineFlags): void {
  const { machines, batchCount } = flags;
  if (config.method === "dpo" && machines.reduce((sum, { count }) => sum + count, 0) > 1) {
    throw new UsageError(
      "cli.plan.machines",
      "updates by pairs of answers (--method dpo) are not planned for several machines: no run has shown them",
      { remedy: "Give --machines 1, or --method lora." },
    );
  }
  const link = linkNamed(flags.link);
  const chips = [...new Set(machines.map(({ chip }) => chip))];
  const [chip = DEFAULT_CHIP] = chips;
  if (flags.growth && chips.length > 1) {
    throw new UsageError("cli.plan.machines", "--growth takes machines of one chip", {
      remedy: `Give --machines 8 --chip ${chip}, or leave --growth out.`,
    });
  }
  const priced = priceMachines(config, machines);
  const options = { link, machineBytes: flags.machineMemory * 2 ** 30 };
  const planned = planCluster(priced, {
    ...{ ...options, machines },
    ...(batchCount !== undefined && { batchCount }),
  });
  const growth = flags.growth
    ? Array.from({ length: Math.log2(LARGEST_GROWTH) + 1 }, (_, power) => 2 ** power).map(
        (count) => ({
          machineCount: count,
          plan: planCluster(priced, { ...options, machines: [{ chip, count }] }),
        }),
      )
    : [];
  if (flags.svg !== undefined) writeWholeFile(flags.svg, timeline(planned, flags));
  if (flags.json) {
    printJson({
      ...{ machines, link, parts: priced.parts, times: Object.fromEntries(priced.times) },
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
    });
    return;
  }
  process.stdout.write(printed(planned, priced, flags, link.source));
  if (flags.growth) process.stdout.write(printedGrowth(growth));
  if (flags.svg !== undefined) process.stdout.write(`timeline of the best: ${flags.svg}\n`);
}

function layoutJson(layout: PlannedLayout): object {
  const { step, kind, stageCount, replicaCount, fits, efficiency } = layout;
  const { firsts, shares } = step.arrangement;
  return {
    ...{ layout: kind, stages: stageCount, replicas: replicaCount, fits, efficiency },
    ...{ first_blocks: firsts, shares },
    ...{ step_ms: step.stepMs, compute_ms: step.computeMs, bubble_ms: step.bubbleMs },
    ...{ exposed_ms: step.exposedMs, link_ms: step.linkMs, latency_ms: step.latencyMs },
    memory_bytes: step.memoryBytes,
    limit: whatLimits(layout),
  };
}

/** Widths of a table that fits 80 columns. */
const COLUMNS = [31, 9, 8, 7, 6, 6, 11] as const;

function row(name: string, cells: readonly string[]): string {
  const [first, ...others] = COLUMNS;
  const padded = cells.map((cell, i) => cell.padStart(others[i] ?? 0)).join("");
  return `  ${name.padEnd(first)}${padded}`.trimEnd();
}

function rowOf(name: string, layout: PlannedLayout, tokenCount: number): string {
  const { step, efficiency, fits } = layout;
  const share = (ms: number): string => percent(ms / step.stepMs);
  return row(name, [
    timeOf(step.stepMs),
    compact((1000 * tokenCount) / step.stepMs),
    percent(efficiency),
    share(step.bubbleMs),
    share(step.exposedMs),
    `${formatBytes(step.memoryBytes)}${fits ? " " : "!"}`,
  ]);
}

/** "840 ms", "27.1 s". */
function timeOf(ms: number): string {
  return ms < 10_000 ? formatMs(ms) : `${Number((ms / 1000).toPrecision(3))} s`;
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;

/** "950", "12.3k", "1.2M". */
function compact(value: number): string {
  if (value < 1000) return String(Number(value.toPrecision(3)));
  if (value < 1e6) return `${Number((value / 1000).toPrecision(3))}k`;
  return `${Number((value / 1e6).toPrecision(3))}M`;
}

const HEADER = ["step", "tok/s", "effic.", "wait", "exch.", "memory"];
const LEGEND = [
  "tok/s: tokens a second; effic.: of what the machines compute on their own;",
  "wait: for other stages; exch.: for sums and weights; !: more than there is",
];

function nameOf({ kind, stageCount, replicaCount }: PlannedLayout): string {
  return `${kind} ${stageCount} x ${replicaCount}`;
}

/** "8 machines with m4", "8 machines (6 m4, 2 m2)". */
function machineNames(machines: readonly MachineGroup[]): string {
  const count = machines.reduce((sum, group) => sum + group.count, 0);
  const [first] = machines;
  if (machines.length === 1) return `${count} machines with ${first?.chip ?? ""}`;
  return `${count} machines (${machines.map((group) => `${group.count} ${group.chip}`).join(", ")})`;
}

function printed(
  planned: ClusterPlan,
  { parts, times }: ClusterParts,
  flags: MachineFlags,
  linkSource: string,
): string {
  const { layouts, best, batchCount, tokenCount, aloneMs } = planned;
  const lines = [
    `${machineNames(flags.machines)}, ${flags.machineMemory} GiB each; predicted, nothing of it measured`,
    `${flags.link}: ${linkSource}; gradients travel as ${parts.wire}`,
    `an update of ${batchCount} micro-batches, ${tokenCount} tokens; ${times.size > 1 ? "the fastest machine" : "one machine"} alone: ${timeOf(aloneMs)}`,
    `${parts.blockCount} blocks, gradients of one ${formatBytes(parts.bytes.blockGradient)}`,
    ...[...times].map(
      ([chip, { blockForward, blockBackward }]) =>
        `  ${chip}: ${formatMs(blockForward)} forward, ${formatMs(blockBackward)} backward each`,
    ),
    "",
    row("layout: stages x replicas", HEADER),
    ...layouts.map((layout) => rowOf(nameOf(layout), layout, tokenCount)),
    ...LEGEND.map((line) => `  ${line}`),
    "",
    best.fits
      ? `best: ${nameOf(best)}, limited by ${whatLimits(best)}`
      : `none fits; ${nameOf(best)} needs the least memory`,
    ...arranged(best, parts.blockCount),
    "",
  ];
  return `${lines.join("\n")}\n`;
}

/** What the best layout gives each machine, where that is not alike. */
function arranged({ step, replicaCount }: PlannedLayout, blockCount: number): readonly string[] {
  const { firsts, shares } = step.arrangement;
  const blocks = firsts.map((first, stage) => (firsts[stage + 1] ?? blockCount) - first);
  const isEven = shares.every((count) => count === shares[0]);
  return [
    ...(blocks.length > 1 ? [`  blocks by stage: ${runs(blocks)}`] : []),
    ...(isEven
      ? []
      : [
          `  micro-batches of each ${blocks.length > 1 ? "pipeline" : "machine"}: ${runs(shares)}`,
          `  --shares auto finds them by measuring${replicaCount > 16 ? "" : `, --shares ${shares.join(",")} sets them`}`,
        ]),
  ];
}

/** "5, 5, 2" as "2 x 5, 2". */
function runs(counts: readonly number[]): string {
  const parts: { readonly count: number; times: number }[] = [];
  for (const count of counts) {
    const last = parts.at(-1);
    if (last?.count === count) last.times++;
    else parts.push({ count, times: 1 });
  }
  return parts
    .map(({ count, times }) => (times > 1 ? `${times} x ${count}` : String(count)))
    .join(", ");
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
    row("machines: best layout", HEADER),
    ...growth.map(({ machineCount, plan }) =>
      rowOf(`${machineCount}: ${nameOf(plan.best)}`, plan.best, plan.tokenCount),
    ),
    wasteful === undefined
      ? `up to ${LARGEST_GROWTH} machines three quarters of their time is compute`
      : `from ${wasteful.machineCount} machines on more than a quarter is lost;\nfirst stops: ${whatIsLost(wasteful.plan.best)}`,
    ...(last === undefined ? [] : [`at ${last.machineCount}: ${whatIsLost(last.plan.best)}`]),
    "",
  ];
  return `${lines.join("\n")}\n`;
}

/** What the machines of one pipeline do in an update; where pipelines differ, of one of each kind. */
function timeline({ best }: ClusterPlan, { machines, link }: MachineFlags): string {
  const { kinds } = best.step.arrangement;
  const shown = kinds
    .flatMap((kind, number) =>
      Array.from({ length: best.stageCount }, (_, stage) => ({
        resource: `${number}.${stage}`,
        name: `${kinds.length > 1 ? `${kind.replicaCount} of ${kind.batchCount}, ` : ""}stage ${stage + 1}`,
      })),
    )
    .slice(0, MOST_LANES / 2);
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
    title: `An update: ${nameOf(best)}`,
    description: `Predicted for ${machineNames(machines)} over ${link}: what the machines of one replica compute and exchange, in milliseconds.`,
    lanes: shown.flatMap(({ name, resource }) => [
      lane(name, `compute ${resource}`),
      lane("its link", `link ${resource}`),
    ]),
    marks: [{ at: best.step.stepMs, label: timeOf(best.step.stepMs) }],
    kinds: TASK_KINDS.map((kind) => kind),
  });
}
