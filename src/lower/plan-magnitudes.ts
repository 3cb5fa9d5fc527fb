import type { Value } from "../mil/program.ts";
import type { Dispatch, Plan, PlanProgram } from "../plan/plan.ts";
import { analyzeMagnitudes, magnitudeOf, oneHotMagnitude } from "./magnitudes.ts";
import type { FunctionMagnitudes, Magnitude, ProductMagnitude } from "./magnitudes.ts";
import type { EngineProgram, ProductRange } from "./ports.ts";

/** Ranges by program, then by the name of the product's result. Products of unknown operands have none. */
export type PlanProductRanges = ReadonlyMap<string, ReadonlyMap<string, ProductRange>>;

/**
 * Walks through a plan's sections and follows the magnitudes of buffers from dispatch to dispatch: weights as they
 * are initialised and the loss scale, where the plan tells them, then everything that is computed from those.
 * `engineProgramOf` gives a program as the engine runs it; others are followed as they are written.
 */
export function planProductRanges(
  plan: Plan,
  engineProgramOf: (name: string) => EngineProgram | undefined,
): PlanProductRanges {
  const ranges = new Map<string, Map<string, ProductRange>>();
  const unknown = new Map<string, Set<string>>();
  const followed = new Map<string, Followed>();
  for (const dispatches of plan.sections.values()) {
    const buffers = initialMagnitudes(plan);
    for (const dispatch of dispatches) {
      const program = plan.programs.get(dispatch.program);
      // What is unpacked has the magnitude its buffer tells, and so have the gradients of preferences.
      const kernel = program?.hostKernel?.kind;
      if (kernel === "unpack" || kernel === "preference" || kernel === "stream") continue;
      if (program === undefined || program.hostKernel !== undefined) {
        for (const { buffer } of dispatch.outputs.values()) buffers.delete(buffer);
        continue;
      }
      const engine = engineProgramOf(program.name);
      // Sections for the first and for later micro-batches run the same programs on the same magnitudes.
      const key = keyOf(dispatch, buffers);
      const known = followed.get(key);
      const found =
        known ??
        (engine === undefined
          ? onHost(program, dispatch, buffers)
          : onEngine(engine, dispatch, buffers));
      writeOutputs(dispatch, buffers, found);
      if (known !== undefined) continue;
      followed.set(key, found);
      if (engine === undefined) continue;
      const ofProgram = ranges.get(program.name) ?? new Map<string, ProductRange>();
      const unknownOfProgram = unknown.get(program.name) ?? new Set<string>();
      ranges.set(program.name, ofProgram);
      unknown.set(program.name, unknownOfProgram);
      for (const { outputs } of engine.function.operations) {
        for (const output of outputs) {
          const magnitude = found.magnitudes.products.get(output);
          if (magnitude === undefined) unknownOfProgram.add(output.name);
          else ofProgram.set(output.name, joined(ofProgram.get(output.name), magnitude));
        }
      }
    }
  }
  // Unknown in one dispatch is unknown: the others say nothing about it.
  for (const [program, names] of unknown)
    for (const name of names) ranges.get(program)?.delete(name);
  return ranges;
}

/** Two dispatches with one key compute the same magnitudes. */
function keyOf({ program, inputs }: Dispatch, buffers: Buffers): string {
  const parts = [...inputs].map(([name, { buffer }]) => {
    const of = buffers.get(buffer);
    return of === undefined
      ? name
      : `${name} ${of.rms} ${of.bound} ${of.positive} ${of.isGradient} ${of.oneHot}`;
  });
  return [program, ...parts].join("\n");
}

function initialMagnitudes(plan: Plan): Map<string, Magnitude> {
  const known = new Map<string, Magnitude>();
  for (const { name, role, rms } of plan.buffers.values()) {
    if (rms === undefined) continue;
    known.set(name, magnitudeOf(Math.log2(rms), { isGradient: role === "input" }));
  }
  return known;
}

function joined(before: ProductRange | undefined, now: ProductMagnitude): ProductRange {
  const { product, sum, isGradient } = now;
  if (before === undefined) return { product, sum, isGradient };
  return {
    product: Math.min(before.product, product),
    sum: Math.max(before.sum, sum),
    isGradient: before.isGradient || isGradient,
  };
}

interface Followed {
  readonly magnitudes: FunctionMagnitudes;
  /** By the name of the plan function's output. */
  readonly outputs: ReadonlyMap<string, Magnitude>;
}

type Buffers = ReadonlyMap<string, Magnitude>;

function inputOf(dispatch: Dispatch, name: string, buffers: Buffers): Magnitude | undefined {
  const binding = dispatch.inputs.get(name);
  return binding === undefined ? undefined : buffers.get(binding.buffer);
}

function onHost({ function: fn }: PlanProgram, dispatch: Dispatch, buffers: Buffers): Followed {
  const inputs = new Map<string, Magnitude>();
  for (const { name } of fn.inputs) {
    const magnitude = inputOf(dispatch, name, buffers);
    if (magnitude !== undefined) inputs.set(name, magnitude);
  }
  const magnitudes = analyzeMagnitudes(fn, inputs);
  const outputs = new Map<string, Magnitude>();
  for (const output of fn.outputs) {
    const magnitude = magnitudes.values.get(output);
    if (magnitude !== undefined) outputs.set(output.name, magnitude);
  }
  return { magnitudes, outputs };
}

function onEngine(engine: EngineProgram, dispatch: Dispatch, buffers: Buffers): Followed {
  const inputs = new Map<string, Magnitude>();
  for (const { name, from, conversion } of engine.inputs) {
    const magnitude =
      conversion.kind === "half"
        ? inputOf(dispatch, from, buffers)
        : conversion.kind === "one-hot"
          ? oneHotMagnitude(conversion.depth)
          : magnitudeOf(0, { bound: 0, positive: true });
    if (magnitude !== undefined) inputs.set(name, magnitude);
  }
  const magnitudes = analyzeMagnitudes(engine.function, inputs);
  const results = new Map<string, Value>(
    engine.function.outputs.map((output) => [output.name, output]),
  );
  const outputs = new Map<string, Magnitude>();
  for (const { name, to, conversion } of engine.outputs) {
    const result = results.get(name);
    const magnitude = result === undefined ? undefined : magnitudes.values.get(result);
    if (magnitude !== undefined && conversion.kind === "write") outputs.set(to, magnitude);
  }
  return { magnitudes, outputs };
}

function writeOutputs(
  dispatch: Dispatch,
  buffers: Map<string, Magnitude>,
  { outputs }: Followed,
): void {
  for (const [name, { buffer, mode }] of dispatch.outputs) {
    if (mode === "accumulate") continue;
    const magnitude = outputs.get(name);
    if (magnitude === undefined) buffers.delete(buffer);
    else buffers.set(buffer, magnitude);
  }
}
