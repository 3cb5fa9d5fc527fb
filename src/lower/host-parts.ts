import type { MilFunction, Value } from "../mil/program.ts";
import type { BufferSpec, Dispatch, OutputBinding, Plan, PlanProgram } from "../plan/plan.ts";
import type { PlacedProgram } from "./ports.ts";

/** A plan whose programs are each the host's or the engine's, and where they run. */
export interface SplitPlan {
  readonly plan: Plan;
  readonly placed: ReadonlyMap<string, PlacedProgram>;
  /** For each dispatch of a section as it runs, the indices of the given plan's dispatches that it is, or is part of. */
  readonly places: ReadonlyMap<string, readonly (readonly number[])[]>;
}

/**
 * The plan as it runs: a program of the engine that the host begins (see `EngineProgram.hostPart`) becomes two, and
 * each of its dispatches a dispatch of either. What passes between them stands in scratch buffers.
 */
export function splitHostParts(plan: Plan, placed: ReadonlyMap<string, PlacedProgram>): SplitPlan {
  const splits = new Map<string, Split>();
  const inPlace = new Set<string>();
  for (const program of plan.programs.values()) {
    const found = placed.get(program.name);
    if (found?.place !== "engine" || found.program.hostPart === undefined) continue;
    const split = splitOf(program, found.program.hostPart);
    if (isInPlace(plan, split)) inPlace.add(program.name);
    else splits.set(program.name, split);
  }
  const places = new Map(
    [...plan.sections].map(([section, dispatches]) => [
      section,
      dispatches.flatMap(({ program }, index) =>
        splits.has(program) ? [[index], [index]] : [[index]],
      ),
    ]),
  );
  if (splits.size + inPlace.size === 0) return { plan, placed, places };
  const programs = new Map(plan.programs);
  const buffers = new Map(plan.buffers);
  const running = new Map(placed);
  for (const name of inPlace) running.set(name, { place: "host", reason: IN_PLACE });
  for (const [name, { host, engine, between }] of splits) {
    programs.set(name, engine);
    programs.set(host.name, host);
    running.set(host.name, { place: "host", reason: "integers and look-ups are the host's" });
    for (const spec of between.values()) buffers.set(spec.name, spec);
  }
  const sections = new Map(
    [...plan.sections].map(([section, dispatches]) => [
      section,
      dispatches.flatMap((dispatch) => {
        const split = splits.get(dispatch.program);
        return split === undefined ? [dispatch] : splitDispatch(dispatch, split);
      }),
    ]),
  );
  return { plan: { ...plan, programs, buffers, sections }, placed: running, places };
}

const IN_PLACE = "the host would write a result before the engine reads what stands in its place";

/** Whether some dispatch has a result of the host's on a buffer that it reads. */
function isInPlace(plan: Plan, { engine, host, between }: Split): boolean {
  for (const dispatches of plan.sections.values()) {
    for (const { program, inputs, outputs } of dispatches) {
      if (program !== engine.name) continue;
      const read = new Set([...inputs.values()].map(({ buffer }) => buffer));
      for (const { name } of host.function.outputs) {
        const binding = between.has(name) ? undefined : outputs.get(name);
        if (binding !== undefined && read.has(binding.buffer)) return true;
      }
    }
  }
  return false;
}

interface Split {
  readonly host: PlanProgram;
  readonly engine: PlanProgram;
  /** Scratch buffers by the names of the host part's results; those of the plan's function have none. */
  readonly between: ReadonlyMap<string, BufferSpec>;
}

function splitOf(program: PlanProgram, hostPart: MilFunction): Split {
  const { name, function: fn } = program;
  const results = new Set(fn.outputs.map((output) => output.name));
  const between = new Map<string, BufferSpec>();
  const passed: Value[] = [];
  for (const output of hostPart.outputs) {
    if (results.has(output.name) || output.type.kind !== "tensor") continue;
    passed.push(output);
    const buffer = `${name}: ${output.name}`;
    between.set(output.name, { name: buffer, type: output.type, role: "scratch" });
  }
  const done = new Set(hostPart.outputs.map((output) => output.name));
  const ports: MilFunction = Object.freeze({
    ...fn,
    inputs: Object.freeze([...fn.inputs, ...passed]),
    outputs: Object.freeze(fn.outputs.filter((output) => !done.has(output.name))),
  });
  return {
    host: Object.freeze({ name: `${name} (host part)`, function: hostPart }),
    engine: Object.freeze({ ...program, function: ports }),
    between,
  };
}

function splitDispatch(dispatch: Dispatch, { host, engine, between }: Split): readonly Dispatch[] {
  const { label, inputs, outputs } = dispatch;
  const hostOutputs = new Map<string, OutputBinding>();
  const passed = new Map(inputs);
  for (const { name } of host.function.outputs) {
    const spec = between.get(name);
    const own = outputs.get(name);
    if (spec === undefined) {
      if (own !== undefined) hostOutputs.set(name, own);
      continue;
    }
    hostOutputs.set(name, { buffer: spec.name, offset: 0, mode: "write" });
    passed.set(name, { buffer: spec.name, offset: 0 });
  }
  const used = new Set(host.function.inputs.map(({ name }) => name));
  return [
    {
      label: `${label} (host part)`,
      program: host.name,
      inputs: new Map([...inputs].filter(([name]) => used.has(name))),
      outputs: hostOutputs,
    },
    {
      label,
      program: engine.name,
      inputs: passed,
      outputs: new Map([...outputs].filter(([name]) => !hostOutputs.has(name))),
    },
  ];
}
