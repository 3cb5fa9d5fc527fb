import { formatBytes, formatFlops, titledTable } from "../util/format.ts";
import { byteLengthOf, elementCount, formatType, staticShape } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import { functionCost } from "./function-cost.ts";
import type { FunctionCost } from "./function-cost.ts";
import { planMemory, totalByteLength } from "./memory.ts";
import type { PlanMemory } from "./memory.ts";
import { isTransient } from "./plan.ts";
import { formatUpdateTypes, updateTypesJson, updateTypesOf } from "./update-types.ts";
import type { Binding, BufferRole, Dispatch, OutputBinding, Plan } from "./plan.ts";

/** One forward value and whether the backward function is given it; grad's report has this form. */
export interface TapLine {
  readonly value: string;
  readonly operation: string;
  readonly type: TensorType;
  readonly kept: boolean;
  readonly byteLength: number;
  readonly recomputeFlops: number;
  readonly reason: string;
}

/** A plan with what its maker knows beyond it; a training plan has this form. */
export interface DescribedPlan {
  readonly plan: Plan;
  /** Rows of the head's chunks, and bytes of the logits of one. */
  readonly headChunkRows?: number;
  readonly logitsByteLength?: number;
  /** The derivative of the repeated block. */
  readonly block?: {
    readonly tapBytes: number;
    readonly smallestBytes: number;
    readonly recomputeFlops: number;
    readonly report: readonly TapLine[];
  };
}

function described(input: Plan | DescribedPlan): DescribedPlan {
  return "plan" in input ? input : { plan: input };
}

/** Dispatches of each program over all sections. */
function dispatchCounts(plan: Plan): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const dispatches of plan.sections.values())
    for (const { program } of dispatches) counts.set(program, (counts.get(program) ?? 0) + 1);
  return counts;
}

function programLines(plan: Plan, costs: ReadonlyMap<string, FunctionCost>): readonly string[] {
  const counts = dispatchCounts(plan);
  const rows = [...plan.programs.values()].map(({ name, hostKernel }) => {
    const cost = costs.get(name);
    return [
      name,
      String(cost?.operationCount ?? 0),
      formatFlops(cost?.flops ?? 0),
      formatBytes(cost?.constantByteLength ?? 0),
      cost?.largestIntermediate === undefined
        ? "-"
        : `${formatBytes(cost.largestIntermediate.byteLength)} ${cost.largestIntermediate.name}`,
      String(counts.get(name) ?? 0),
      hostKernel?.kind ?? "",
    ];
  });
  return [
    `programs: ${rows.length}`,
    ...titledTable(
      [
        "name",
        ">ops",
        ">a run",
        ">constants",
        "largest value inside",
        ">dispatches",
        "host kernel",
      ],
      rows,
    ),
  ];
}

/** Persistent buffers by role and group; naming every one would bury the rest. */
function persistentLines(plan: Plan): readonly string[] {
  const groups = new Map<string, { role: string; group: string; count: number; bytes: number }>();
  for (const { role, group, name, type } of plan.buffers.values()) {
    if (isTransient(role)) continue;
    const label = group ?? name;
    const key = `${role} ${label}`;
    const line = groups.get(key) ?? { role, group: label, count: 0, bytes: 0 };
    line.count++;
    line.bytes += byteLengthOf(type);
    groups.set(key, line);
  }
  const rows = [...groups.values()].map((line) => [
    line.role,
    line.group,
    String(line.count),
    formatBytes(line.bytes),
  ]);
  return [
    "persistent buffers",
    ...titledTable(["role", "group or name", ">buffers", ">bytes"], rows),
  ];
}

function transientLines(plan: Plan, memory: PlanMemory): readonly string[] {
  return memory.sections.flatMap((section) => {
    if (section.placements.length === 0) return [];
    const peak = plan.sections.get(section.section)?.[section.peakDispatch]?.label ?? "";
    return [
      `transient buffers of ${section.section}: ${formatBytes(section.arenaByteLength)} in one arena, at most ${formatBytes(section.peakByteLength)} alive (${peak})`,
      ...titledTable(
        ["name", "role", ">bytes", ">offset", "alive in dispatches"],
        section.placements.map((place) => [
          place.buffer,
          place.role,
          formatBytes(place.byteLength),
          String(place.offset),
          `${place.first} to ${place.last}`,
        ]),
      ),
    ];
  });
}

function bindingText({ buffer, offset }: Binding): string {
  return offset === 0 ? buffer : `${buffer}+${offset}`;
}

function outputText(binding: OutputBinding): string {
  return `${binding.mode === "accumulate" ? "+=" : "="} ${bindingText(binding)}`;
}

function dispatchLines(plan: Plan): readonly string[] {
  return [...plan.sections].flatMap(([section, dispatches]) => [
    `section ${section}: ${dispatches.length} dispatches`,
    ...dispatches.map(
      (dispatch, index) => `  ${index}  ${dispatch.label}: ${dispatchText(plan, dispatch)}`,
    ),
  ]);
}

/** What stands by its count in a dispatch's line: names of one weight after another would bury the rest. */
const COUNTED: Readonly<Partial<Record<BufferRole, string>>> = {
  weight: "weights",
  gradient: "gradients",
  optimizer: "moments",
  tap: "taps",
};

function dispatchText(plan: Plan, { program, inputs, outputs }: Dispatch): string {
  const list = <Kind extends Binding>(
    bindings: ReadonlyMap<string, Kind>,
    text: (binding: Kind) => string,
  ): string => {
    const parts: string[] = [];
    const counts = new Map<string, number>();
    for (const [port, binding] of bindings) {
      const role = plan.buffers.get(binding.buffer)?.role;
      const counted = role === undefined ? undefined : COUNTED[role];
      if (counted === undefined) parts.push(`${port} ${text(binding)}`);
      else {
        const sign = "mode" in binding && binding.mode === "accumulate" ? "+= " : "";
        counts.set(`${sign}${counted}`, (counts.get(`${sign}${counted}`) ?? 0) + 1);
      }
    }
    for (const [what, count] of counts)
      parts.push(what.startsWith("+= ") ? `+= ${count} ${what.slice(3)}` : `${count} ${what}`);
    return parts.join(", ");
  };
  return `${program}(${list(inputs, (binding) => `= ${bindingText(binding)}`)}) -> ${list(outputs, outputText)}`;
}

function tapLines(block: NonNullable<DescribedPlan["block"]>): readonly string[] {
  return [
    `values of one block: ${formatBytes(block.tapBytes)} kept for the backward pass (at least ${formatBytes(block.smallestBytes)} possible), ${formatFlops(block.recomputeFlops)} computed again`,
    ...titledTable(
      ["value", "op", "type", "kept", ">bytes", ">to recompute", "why"],
      block.report.map((line) => [
        line.value,
        line.operation,
        formatType(line.type),
        line.kept ? "kept" : "no",
        formatBytes(line.byteLength),
        formatFlops(line.recomputeFlops),
        line.reason,
      ]),
    ),
  ];
}

/** Bytes of the copy from which checkpoints are written: of what has a gradient, as fp32, and its optimizer's state. */
function copyByteLength(plan: Plan, { persistent }: PlanMemory): number {
  if (persistent.optimizer === 0) return 0;
  let elements = 0;
  for (const { role, type } of plan.buffers.values())
    if (role === "gradient") elements += elementCount(staticShape(type));
  return 4 * elements + persistent.optimizer;
}

function totalLines(
  { plan, headChunkRows, logitsByteLength }: DescribedPlan,
  memory: PlanMemory,
): readonly string[] {
  const persistent = Object.entries(memory.persistent)
    .filter(([, bytes]) => bytes > 0)
    .map(([role, bytes]) => `${role} ${formatBytes(bytes)}`)
    .join(", ");
  const updateTypes = updateTypesOf(plan);
  return [
    `plan ${plan.name}`,
    `  memory     ${formatBytes(totalByteLength(memory))}: all buffers, persistent and transient; what a runtime takes inside programs comes on top`,
    `  persistent ${formatBytes(memory.persistentByteLength)}: ${persistent}`,
    ...(memory.inFileByteLength === 0
      ? []
      : [
          `  in a file  ${formatBytes(memory.inFileByteLength)} of weights as fp32, read before each use`,
        ]),
    ...(updateTypes === undefined ? [] : [`  update     ${formatUpdateTypes(updateTypes)}`]),
    `  transient  ${formatBytes(memory.transientByteLength)}: ${memory.sections
      .filter((section) => section.arenaByteLength > 0)
      .map((section) => `${section.section} ${formatBytes(section.arenaByteLength)}`)
      .join(", ")}`,
    ...(copyByteLength(plan, memory) === 0
      ? []
      : [
          `  checkpoints ${formatBytes(copyByteLength(plan, memory))} more while they are written beside steps, where there is room: a copy of what is trained`,
        ]),
    ...(logitsByteLength === undefined
      ? []
      : [
          `  largest logits buffer ${formatBytes(logitsByteLength)}: ${headChunkRows ?? 0} rows at a time`,
        ]),
    `  flops      ${[...plan.sections]
      .map(([section, dispatches]) => `${section} ${formatFlops(sectionFlops(plan, dispatches))}`)
      .join(", ")}`,
  ];
}

/** Floating-point operations of a list of dispatches. */
function sectionFlops(plan: Plan, dispatches: readonly Dispatch[]): number {
  const perProgram = new Map<string, number>();
  let total = 0;
  for (const { program } of dispatches) {
    const fn = plan.programs.get(program)?.function;
    if (fn === undefined) continue;
    const flops = perProgram.get(program) ?? functionCost(fn).flops;
    perProgram.set(program, flops);
    total += flops;
  }
  return total;
}

function costsOf(plan: Plan): ReadonlyMap<string, FunctionCost> {
  return new Map(
    [...plan.programs.values()].map((program) => [program.name, functionCost(program.function)]),
  );
}

/** A plan as text: totals, programs, what is kept, buffers with their lifetimes, dispatches. */
export function printPlan(input: Plan | DescribedPlan): string {
  const whole = described(input);
  const { plan } = whole;
  const memory = planMemory(plan);
  const parts = [
    totalLines(whole, memory),
    programLines(plan, costsOf(plan)),
    ...(whole.block === undefined ? [] : [tapLines(whole.block)]),
    persistentLines(plan),
    transientLines(plan, memory),
    dispatchLines(plan),
  ];
  return `${parts.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

/** A plan as plain data for JSON; everything the text says, and every buffer by name. */
export function planJson(input: Plan | DescribedPlan): Readonly<Record<string, unknown>> {
  const { plan, block, headChunkRows, logitsByteLength } = described(input);
  const memory = planMemory(plan);
  const costs = costsOf(plan);
  const counts = dispatchCounts(plan);
  const updateTypes = updateTypesOf(plan);
  return {
    name: plan.name,
    ...(updateTypes !== undefined && { update: updateTypesJson(updateTypes) }),
    memory: {
      total_bytes: totalByteLength(memory),
      persistent_bytes: memory.persistentByteLength,
      in_file_bytes: memory.inFileByteLength,
      persistent_bytes_by_role: memory.persistent,
      transient_bytes: memory.transientByteLength,
      checkpoint_copy_bytes: copyByteLength(plan, memory),
    },
    ...(logitsByteLength !== undefined && {
      logits_bytes: logitsByteLength,
      head_chunk_rows: headChunkRows,
    }),
    ...(block !== undefined && {
      taps: {
        kept_bytes_per_layer: block.tapBytes,
        smallest_bytes_per_layer: block.smallestBytes,
        recompute_flops_per_layer: block.recomputeFlops,
        values: block.report.map((line) => ({
          value: line.value,
          operation: line.operation,
          type: formatType(line.type),
          kept: line.kept,
          bytes: line.byteLength,
          recompute_flops: Number.isFinite(line.recomputeFlops) ? line.recomputeFlops : null,
          reason: line.reason,
        })),
      },
    }),
    programs: [...plan.programs.values()].map(({ name, function: fn, hostKernel }) => {
      const cost = costs.get(name) ?? functionCost(fn);
      return {
        name,
        operations: cost.operationCount,
        flops: cost.flops,
        constant_bytes: cost.constantByteLength,
        largest_value: cost.largestIntermediate && {
          name: cost.largestIntermediate.name,
          bytes: cost.largestIntermediate.byteLength,
        },
        dispatches: counts.get(name) ?? 0,
        inputs: fn.inputs.map((input) => ({ name: input.name, type: formatType(input.type) })),
        outputs: fn.outputs.map((output) => ({ name: output.name, type: formatType(output.type) })),
        host_kernel: hostKernel?.kind ?? null,
      };
    }),
    buffers: [...plan.buffers.values()].map(({ name, type, role, group }) => ({
      name,
      type: formatType(type),
      bytes: byteLengthOf(type),
      role,
      ...(group !== undefined && { group }),
    })),
    sections: memory.sections.map((section) => ({
      name: section.section,
      flops: sectionFlops(plan, plan.sections.get(section.section) ?? []),
      arena_bytes: section.arenaByteLength,
      peak_bytes: section.peakByteLength,
      peak_dispatch: section.peakDispatch,
      transient: section.placements.map((place) => ({
        buffer: place.buffer,
        bytes: place.byteLength,
        offset: place.offset,
        first_dispatch: place.first,
        last_dispatch: place.last,
      })),
      dispatches: (plan.sections.get(section.section) ?? []).map((dispatch) => ({
        label: dispatch.label,
        program: dispatch.program,
        inputs: Object.fromEntries(
          [...dispatch.inputs].map(([port, binding]) => [port, { ...binding }]),
        ),
        outputs: Object.fromEntries(
          [...dispatch.outputs].map(([port, binding]) => [port, { ...binding }]),
        ),
      })),
    })),
  };
}
