import type { Chip, Driver } from "../chip/chip.ts";
import { compileMs } from "../chip/cost/compile.ts";
import { hostTensor } from "../mil/host-tensor.ts";
import { withInputValues } from "../mil/specialize.ts";
import type { MilFunction } from "../mil/program.ts";
import { elementCount, formatType, staticShape } from "../mil/types.ts";
import type { Dispatch, Plan, PlanProgram } from "../plan/plan.ts";
import { PassError } from "../passes/errors.ts";
import { Random } from "../util/random.ts";
import { placedPrices } from "./place-plan.ts";

/** Inputs of programs that become constants, by the program's name. */
export type ConstantInputs = ReadonlyMap<string, ReadonlySet<string>>;

/** Gives a frozen weight's numbers, by its buffer's name. */
export type ReadFrozen = (buffer: string) => Float32Array;

/**
 * Matrices of a plan that nothing writes and of which `isFrozen` says that no one else does, as inputs of programs: bound whole
 * in every dispatch. On an engine they may as well be constants of programs, one program a layer then.
 */
export function frozenInputs(
  plan: Plan,
  isFrozen: (buffer: string) => boolean,
): ReadonlyMap<string, ReadonlySet<string>> {
  const dispatches = [...plan.sections.values()].flat();
  const written = new Set(
    dispatches.flatMap(({ outputs }) => [...outputs.values()].map(({ buffer }) => buffer)),
  );
  const isConstant = (name: string, dispatch: Dispatch, fn: MilFunction): boolean => {
    const binding = dispatch.inputs.get(name);
    const spec = plan.buffers.get(binding?.buffer ?? "");
    const input = fn.inputs.find((one) => one.name === name);
    if (binding === undefined || spec === undefined || input?.type.kind !== "tensor") return false;
    return (
      spec.role === "weight" &&
      spec.isInFile !== true &&
      spec.type.dataType === "fp32" &&
      input.type.shape.length === 2 &&
      binding.offset === 0 &&
      !written.has(spec.name) &&
      isFrozen(spec.name) &&
      elementCount(staticShape(input.type)) === elementCount(staticShape(spec.type))
    );
  };
  const found = new Map<string, Set<string>>();
  for (const { name, function: fn, hostKernel } of plan.programs.values()) {
    if (hostKernel !== undefined) continue;
    const own = dispatches.filter(({ program }) => program === name);
    const names = fn.inputs
      .map((input) => input.name)
      .filter((input) => own.length > 0 && own.every((one) => isConstant(input, one, fn)));
    if (names.length > 0) found.set(name, new Set(names));
  }
  return found;
}

/**
 * The plan with these inputs as constants of programs, a program for each set of weights: dispatches of one layer in
 * several sections share theirs. The weights' buffers stay, for other plans that share them.
 */
export function withConstants(plan: Plan, inputs: ConstantInputs, read: ReadFrozen): Plan {
  return bound(plan, inputs, setOf, read);
}

/** `keyOf`: dispatches of one key share a program, with the constants of the first of them. */
function bound(plan: Plan, inputs: ConstantInputs, keyOf: typeof setOf, read: ReadFrozen): Plan {
  const programs = new Map(plan.programs);
  const names = new Map<string, string>();
  const constant = (dispatch: Dispatch): Dispatch => {
    const chosen = inputs.get(dispatch.program);
    const program = plan.programs.get(dispatch.program);
    if (chosen === undefined || chosen.size === 0 || program === undefined) return dispatch;
    const key = keyOf(dispatch, chosen);
    const name = names.get(key) ?? `${dispatch.program}_of_${names.size}`;
    if (!names.has(key)) {
      names.set(key, name);
      programs.set(
        name,
        boundProgram(program, name, chosen, (input) => read(bufferOf(dispatch, input))),
      );
    }
    const rest = new Map([...dispatch.inputs].filter(([input]) => !chosen.has(input)));
    return { ...dispatch, program: name, inputs: rest };
  };
  const sections = new Map(
    [...plan.sections].map(([name, dispatches]) => [name, dispatches.map(constant)] as const),
  );
  const used = new Set([...sections.values()].flat().map(({ program }) => program));
  return {
    ...plan,
    sections,
    programs: new Map([...programs].filter(([name]) => used.has(name))),
  };
}

/** What tells a program with its set of weights from others. */
function setOf(dispatch: Dispatch, chosen: ReadonlySet<string>): string {
  return JSON.stringify([dispatch.program, ...[...chosen].map((name) => bufferOf(dispatch, name))]);
}

function bufferOf({ inputs }: Dispatch, input: string): string {
  return inputs.get(input)?.buffer ?? "";
}

function boundProgram(
  program: PlanProgram,
  name: string,
  chosen: ReadonlySet<string>,
  read: (input: string) => Float32Array,
): PlanProgram {
  const tensors = new Map(
    program.function.inputs.flatMap((input) =>
      chosen.has(input.name) && input.type.kind === "tensor"
        ? [
            [
              input.name,
              hostTensor("fp32", staticShape(input.type), new Float64Array(read(input.name))),
            ] as const,
          ]
        : [],
    ),
  );
  return { ...program, name, function: { ...withInputValues(program.function, tensors), name } };
}

/** What became of the frozen weights, and what the other way would cost. */
export interface FrozenChoice {
  /** Empty where all stay inputs. */
  readonly inputs: ConstantInputs;
  /** Weights that become constants: of all layers, and of how many there are. */
  readonly constantCount: number;
  readonly weightCount: number;
  /** Programs that the sections have then, and how long a start compiles those more: a guess (`compileMs`). */
  readonly programCount: number;
  readonly compileMs: number;
  /** Of these, matrices so large that nobody priced them as constants: they stay inputs. */
  readonly unpricedCount: number;
  /** Predicted milliseconds of one run of the sections, by way; nothing for constants where none was priced. */
  readonly inputsMs: number;
  readonly constantsMs?: number;
  /** Why, as a sentence. */
  readonly reason: string;
}

export interface FrozenQuestion {
  readonly chip: Chip;
  readonly driver: Driver;
  /** Runs of sections that an update makes. */
  readonly runs: Readonly<Record<string, number>>;
  /** Updates that a start compiles for. */
  readonly updateCount: number;
  /** Constants whatever they cost, or where they are cheaper. */
  readonly wanted: "auto" | "constants";
  readonly isFrozen: (buffer: string) => boolean;
  /** Programs that this process may compile; without end by default. */
  readonly budget?: number | undefined;
}

/**
 * Chooses by the cost model, weight by weight, with drawn numbers in place of the weights': which become constants
 * (products with them are 1x1 convolutions, and nothing is brought to the engine) and which stay inputs, where one program
 * serves all layers. Nothing is chosen where compiling a program a layer takes longer than the run saves, or where the
 * budget has no room for them.
 */
export function chooseConstants(plan: Plan, question: FrozenQuestion): FrozenChoice {
  const { chip, driver, updateCount, wanted } = question;
  const runs = Object.fromEntries(Object.entries(question.runs).filter(([, count]) => count > 0));
  const sections = new Map([...plan.sections].filter(([name]) => (runs[name] ?? 0) > 0));
  const asked = { ...plan, sections };
  const all = frozenInputs(asked, question.isFrozen);
  const candidates = wanted === "constants" ? all : smallEnough(asked, all);
  const dispatches = [...sections.values()].flat();
  const countOf = (program: string): number =>
    dispatches.filter((dispatch) => dispatch.program === program).length;
  const samples = samplesOf(plan);
  const price = (priced: Plan, counts: FrozenQuestion["runs"]): number =>
    placedPrices(priced, chip, driver)({}).priceOf({ runs: counts }).ms;
  const chosen = new Map<string, ReadonlySet<string>>();
  for (const [program, inputs] of candidates) {
    const pricing = new ProgramPricing(asked, program, samples, price);
    const cheaper = [...inputs].filter((input) => wanted === "constants" || pricing.saves(input));
    if (cheaper.length > 0) chosen.set(program, new Set(cheaper));
  }
  const inputsMs = price(asked, runs);
  const weightCount = countWeights(all, countOf);
  const unpricedCount = weightCount - countWeights(candidates, countOf);
  const inputsProgramCount = new Set(dispatches.map(({ program }) => program)).size;
  const stay = (reason: string, constantsMs?: number): FrozenChoice => ({
    inputs: new Map(),
    constantCount: 0,
    weightCount,
    unpricedCount,
    programCount: inputsProgramCount,
    compileMs: 0,
    inputsMs,
    ...(constantsMs !== undefined && { constantsMs }),
    reason,
  });
  if (all.size === 0) return stay("no frozen matrix is an input of a program of the engine");
  if (candidates.size === 0) return stay("all of them are too large to be priced unasked");
  let constantsMs: number;
  try {
    const priced = chosen.size === 0 ? candidates : chosen;
    constantsMs = price(withSamples(asked, priced, samples), runs);
  } catch (error) {
    if (error instanceof PassError) return stay(`the chip takes no such program: ${error.message}`);
    throw error;
  }
  if (chosen.size === 0) return stay("no matrix is cheaper as a constant", constantsMs);
  const sets = distinctSets(dispatches, chosen);
  const compiling = sets.reduce(
    (sum, program) => sum + compileMs(plan.programs.get(program)?.function.operations.length ?? 0),
    0,
  );
  const programCount = inputsProgramCount - chosen.size + sets.length;
  const savedMs = (inputsMs - constantsMs) * updateCount;
  const { budget } = question;
  if (budget !== undefined && programCount > budget)
    return stay(
      `a program a layer makes ${programCount} programs, and this process may compile ${budget}`,
      constantsMs,
    );
  if (wanted === "auto" && savedMs <= compiling)
    return stay(
      `constants save ${savedMs.toFixed(0)} ms over ${updateCount} updates, and compiling a program a layer takes ${compiling.toFixed(0)}`,
      constantsMs,
    );
  return {
    inputs: chosen,
    constantCount: countWeights(chosen, countOf),
    weightCount,
    unpricedCount,
    programCount,
    compileMs: compiling,
    inputsMs,
    constantsMs,
    reason: wanted === "constants" ? "asked for" : "cheaper by the cost model",
  };
}

/**
 * Larger matrices, as heads have, stay inputs unless they are asked for: pricing takes time by their numbers, half a minute
 * for a head's. One of a shape is priced, so that models of any depth take as long.
 */
export const PRICED_ELEMENTS = 2 ** 22;

function smallEnough(plan: Plan, inputs: ConstantInputs): ConstantInputs {
  const small = new Map<string, ReadonlySet<string>>();
  for (const [program, names] of inputs) {
    const types = plan.programs.get(program)?.function.inputs ?? [];
    const fitting = types.flatMap(({ name, type }) =>
      names.has(name) &&
      type.kind === "tensor" &&
      elementCount(staticShape(type)) <= PRICED_ELEMENTS
        ? [name]
        : [],
    );
    if (fitting.length > 0) small.set(program, new Set(fitting));
  }
  return small;
}

function countWeights(inputs: ConstantInputs, countOf: (program: string) => number): number {
  let count = 0;
  for (const [program, names] of inputs) count += names.size * countOf(program);
  return count;
}

/** The program of each different set of weights, once. */
function distinctSets(dispatches: readonly Dispatch[], inputs: ConstantInputs): readonly string[] {
  const sets = new Map<string, string>();
  for (const dispatch of dispatches) {
    const chosen = inputs.get(dispatch.program);
    if (chosen === undefined) continue;
    sets.set(setOf(dispatch, chosen), dispatch.program);
  }
  return [...sets.values()];
}

/** What one dispatch of a program costs with a weight as a constant; weights of one shape are priced once. */
class ProgramPricing {
  readonly #plan: Plan | undefined;
  readonly #program: string;
  readonly #samples: ReadFrozen;
  readonly #price: (plan: Plan) => number | undefined;
  readonly #known = new Map<string, boolean>();
  #inputsMs: number | undefined;

  constructor(
    plan: Plan,
    program: string,
    samples: ReadFrozen,
    price: (plan: Plan, runs: FrozenQuestion["runs"]) => number,
  ) {
    const [dispatch] = [...plan.sections.values()].flat().filter((one) => one.program === program);
    const own = plan.programs.get(program);
    this.#program = program;
    this.#samples = samples;
    if (dispatch !== undefined && own !== undefined) {
      const [programs, sections] = [new Map([[program, own]]), new Map([["once", [dispatch]]])];
      this.#plan = { ...plan, programs, sections };
    }
    this.#price = (priced) => {
      try {
        return price(priced, { once: 1 });
      } catch (error) {
        // The chip takes no such program.
        if (error instanceof PassError) return undefined;
        throw error;
      }
    };
  }

  saves(input: string): boolean {
    if (this.#plan === undefined) return false;
    const type = this.#plan.programs
      .get(this.#program)
      ?.function.inputs.find(({ name }) => name === input)?.type;
    const key = type === undefined ? "" : formatType(type);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#inputsMs ??= this.#price(this.#plan);
    const inputs = new Map([[this.#program, new Set([input])]]);
    const constantMs = this.#price(withSamples(this.#plan, inputs, this.#samples));
    const saves =
      constantMs !== undefined && this.#inputsMs !== undefined && constantMs < this.#inputsMs;
    this.#known.set(key, saves);
    return saves;
  }
}

/** For prices alone: one program with drawn numbers serves all layers. */
function withSamples(plan: Plan, inputs: ConstantInputs, samples: ReadFrozen): Plan {
  return bound(plan, inputs, ({ program }) => program, samples);
}

/** Drawn numbers of a weight's size; weights of one size share them. */
function samplesOf(plan: Plan): ReadFrozen {
  const drawn = new Map<number, Float32Array>();
  const random = new Random(1);
  return (buffer) => {
    const type = plan.buffers.get(buffer)?.type;
    const length = type === undefined ? 0 : elementCount(staticShape(type));
    const known = drawn.get(length);
    if (known !== undefined) return known;
    const numbers = new Float32Array(length);
    for (let at = 0; at < length; at++) numbers[at] = 0.05 * (random.uniform() - 0.5);
    drawn.set(length, numbers);
    return numbers;
  };
}
