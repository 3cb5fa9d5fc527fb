import { arithmeticOf } from "../../chip/arithmetic/arithmetic.ts";
import { familyIndex } from "../../chip/chip.ts";
import type { Chip } from "../../chip/chip.ts";
import { evaluateFunction } from "../../engine/reference/evaluate.ts";
import { Machine, SimulatedFunction } from "../../engine/sim/probe.ts";
import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { MilFunction } from "../../mil/program.ts";
import { opRow } from "../../mil/ops/index.ts";
import { parseProgram } from "../../mil/text/index.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import { roundToFloat16 } from "../../util/float16.ts";
import { Random } from "../../util/random.ts";
import { held, notHeld, unknown } from "./probe.ts";
import type { ProbeContext } from "./probe.ts";
import type { Outcome } from "./outcome.ts";
import { PUBLISHED_ERRORS } from "./published-errors.ts";
import { isUnwritten, runProgram } from "./run-program.ts";
import type { Task } from "./task.ts";

/** An error may be so many times the published or simulated one: inputs differ. */
const TOLERANCE = 2;
/** What fp16 results may be off without anybody having published a size. */
const UNPUBLISHED = 1e-3;

/** How far numbers are from those of the reference. */
export interface ErrorFigures {
  /** Square root of the sum of squared differences over that of the squares. */
  readonly relative: number;
  readonly maximum: number;
  /** Results that are not finite where the reference's are, or the other way round. */
  readonly notFinite: number;
}

export function errorOf(
  got: readonly ArrayLike<number>[],
  wanted: readonly ArrayLike<number>[],
): ErrorFigures {
  let squares = 0;
  let differences = 0;
  let maximum = 0;
  let notFinite = 0;
  wanted.forEach((numbers, output) => {
    for (let i = 0; i < numbers.length; i++) {
      const right = numbers[i] ?? 0;
      const mine = got[output]?.[i] ?? NaN;
      if (!Number.isFinite(right) || !Number.isFinite(mine)) {
        if (!Object.is(right, mine)) notFinite++;
        continue;
      }
      const difference = Math.abs(mine - right);
      squares += right * right;
      differences += difference * difference;
      maximum = Math.max(maximum, difference);
    }
  });
  const relative = squares === 0 ? Math.sqrt(differences) : Math.sqrt(differences / squares);
  return { relative, maximum, notFinite };
}

/** One op of a plan on the engine, on the reference and on the simulator, over the same random numbers. */
export async function runOp(
  task: Extract<Task, { readonly kind: "op" }>,
  context: Pick<ProbeContext, "chip" | "open">,
): Promise<Outcome> {
  const [fn] = parseProgram(task.text, { fileName: task.id }).functions;
  if (fn === undefined) throw new Error(`${task.id} is no program`);
  const op = fn.operations.find(({ type }) => type !== "const")?.type ?? "";
  const random = new Random(task.seed);
  const inputs = fn.inputs.map((input, index) => {
    const shape = input.type.kind === "tensor" ? staticShape(input.type) : [];
    return { name: input.name, shape, data: numbersFor(op, index, shape, random) };
  });
  const tensors = (): ReadonlyMap<string, HostTensor> =>
    new Map(inputs.map(({ name, shape, data }) => [name, hostTensor("fp16", shape, data.slice())]));
  const exact = evaluateFunction(fn, tensors(), { precision: "float64" });
  const reference = fn.outputs.map(({ name }) => exact.get(name)?.data ?? []);
  const simulated = await simulate(fn, tensors(), context.chip);
  const got = await runProgram(
    context.open(),
    fn,
    inputs.map(({ data }) => data),
  );
  return judgeOp(op, got, reference, simulated);
}

export function judgeOp(
  op: string,
  got: readonly ArrayLike<number>[],
  reference: readonly ArrayLike<number>[],
  simulated: readonly ArrayLike<number>[],
): Outcome {
  const mine = errorOf(got, reference);
  const model = errorOf(simulated, reference);
  const published = PUBLISHED_ERRORS[op];
  const isSim = errorOf(got, simulated);
  const equalsSim = isSim.maximum === 0 && isSim.notFinite === 0;
  const measured = {
    relative: mine.relative,
    maximum: mine.maximum,
    notFinite: mine.notFinite,
    simulatedRelative: model.relative,
    simulatedMaximum: model.maximum,
    equalsSimulator: equalsSim,
    ...(published !== undefined && { published }),
  };
  const told = [
    `relative L2 ${mine.relative.toExponential(1)}, largest ${mine.maximum.toExponential(1)}`,
    published === undefined ? "nobody published one" : `published ${published.toExponential(1)}`,
    equalsSim ? "bit for bit the simulator's" : `simulator ${model.relative.toExponential(1)}`,
  ].join("; ");
  if (got.some((numbers) => Array.from(numbers).some(isUnwritten)))
    return notHeld("the output was not written", measured);
  if (mine.notFinite > model.notFinite)
    return notHeld(`${mine.notFinite} results are not finite; ${told}`, measured);
  const bound = TOLERANCE * Math.max(published ?? UNPUBLISHED, model.relative);
  if (mine.relative <= bound) return held(told, measured);
  return published === undefined ? unknown(told, measured) : notHeld(told, measured);
}

async function simulate(
  fn: MilFunction,
  tensors: ReadonlyMap<string, HostTensor>,
  chip: Chip,
): Promise<readonly ArrayLike<number>[]> {
  const machine = new Machine(1);
  const family = familyIndex(chip.family);
  try {
    const results = new SimulatedFunction(fn, "engine").run(tensors, {
      place: "engine",
      numerics: "exact",
      machine,
      arithmetic: arithmeticOf(chip.family),
      clampSlices: family <= familyIndex("H14"),
    });
    return fn.outputs.map(({ name }) => [...(results.get(name)?.data ?? [])]);
  } finally {
    await machine.close();
  }
}

/** Numbers that the op takes in training: normal, positive where a logarithm wants it, products of ordinary size. */
function numbersFor(
  op: string,
  index: number,
  shape: readonly number[],
  random: Random,
): Float64Array {
  const isDivisor = op === "real_div" && index === 1;
  return Float64Array.from({ length: elementCount(shape) }, () => {
    const normal = random.normal();
    if (opRow(op)?.domain === "positive" || isDivisor)
      return roundToFloat16(0.25 + Math.abs(normal));
    return roundToFloat16(op === "matmul" ? 0.5 * normal : normal);
  });
}
