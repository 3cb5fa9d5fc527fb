import { arithmeticOf } from "../../chip/arithmetic/arithmetic.ts";
import type { RuleName } from "../../chip/arithmetic/rules.ts";
import type { Chip, Driver } from "../../chip/chip.ts";
import { FunctionBuilder } from "../../mil/builder.ts";
import { tensorLiteral } from "../../mil/literal.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { spellAll } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { documentedProbe, held, notHeld, unknown } from "./probe.ts";
import type { DocumentedCase, Probe, ProbeContext } from "./probe.ts";
import { isUnwritten, runProgram, sameNumbers } from "./run-program.ts";

/** What the engine is said to give: these numbers, one of several, or anything but the right ones. */
export type Documented =
  | readonly number[]
  | { readonly oneOf: Readonly<Record<string, readonly number[]>> }
  | "wrong";

/** Numbers by variant of a rule, several where more than one fits it. */
export type Outcomes = Readonly<Record<string, readonly (readonly number[])[]>>;

/** Compiling, loading and running a program of one or two ops. */
const NUMBER_MS = 500;

/** A small program whose result tells which of two arithmetics a machine has. */
export interface NumberCase extends DocumentedCase {
  readonly build: () => MilFunction;
  readonly inputs: readonly ArrayLike<number>[];
  /** What the program says, rounded to fp16: the first numbers of the first output. */
  readonly right: readonly number[];
  /** Nothing where nobody knows for the chip. Absent where the case settles a rule. */
  readonly documented?: (chip: Chip, driver: Driver) => Documented | undefined;
  /** The rule of the engine's arithmetic that the case helps to settle, and what each of its variants gives. */
  readonly settles?: { readonly rule: RuleName; readonly outcomes: Outcomes };
  readonly tolerance?: number;
}

export const half = (...shape: readonly number[]): TensorType => tensorType("fp16", shape);

/** A function of inputs x, y, ... of these shapes with one result. */
export function program<const Shapes extends readonly (readonly number[])[]>(
  shapes: Shapes,
  body: (f: FunctionBuilder, ...inputs: InputsOf<Shapes>) => Value,
): MilFunction {
  const f = new FunctionBuilder("probe");
  const names = ["x", "y", "z"];
  const inputs = shapes.map((shape, index) => f.input(names[index] ?? `x${index}`, half(...shape)));
  return f.finish({ result: body(f, ...(inputs as readonly Value[] as InputsOf<Shapes>)) });
}

type InputsOf<Shapes extends readonly unknown[]> = { readonly [Index in keyof Shapes]: Value };

export function constant(
  f: FunctionBuilder,
  shape: readonly number[],
  numbers: ArrayLike<number>,
): Value {
  return f.constant(tensorLiteral("fp16", shape, Array.from(numbers)));
}

/** `count` numbers: those given first, then `rest`. */
export function padded(count: number, first: readonly number[], rest = 0): readonly number[] {
  return Array.from({ length: count }, (_, index) => first[index] ?? rest);
}

/**
 * Which variants of a rule the numbers fit. Held where the one that the simulator takes for the chip is among them; the
 * report keeps their names, from which a calibration is made.
 */
export function judgeRule(
  got: ArrayLike<number>,
  { right, settles }: Pick<NumberCase, "right" | "settles">,
  chip: Chip,
): Outcome {
  if (settles === undefined) throw new Error("the case settles no rule");
  const { rule, outcomes } = settles;
  const first = Array.from({ length: right.length }, (_, i) => got[i] ?? NaN);
  const gives = `gives ${spellAll(first)}`;
  const fitting = Object.entries(outcomes).flatMap(([variant, ways]) =>
    ways.some((numbers) => sameNumbers(first, numbers, 0)) ? [variant] : [],
  );
  const measured = { gives: spellAll(first, 32), rule, variants: fitting.join(" ") };
  if (first.some(isUnwritten)) return notHeld("the output was not written", measured);
  const taken: string = arithmeticOf(chip.family)[rule];
  const expected = Object.entries(outcomes)
    .map(([variant, ways]) => `${variant} ${ways.map((way) => spellAll(way)).join(" or ")}`)
    .join(", ");
  if (fitting.length === 0)
    return notHeld(`${gives}, which no variant of ${rule} gives: ${expected}`, measured);
  const says = `${gives}: ${rule} is ${fitting.join(" or ")}`;
  return fitting.includes(taken)
    ? held(says, measured)
    : notHeld(`${says}, not ${taken} as the simulator takes it`, measured);
}

export function judgeNumbers(
  got: ArrayLike<number>,
  { right, tolerance = 0 }: Pick<NumberCase, "right" | "tolerance">,
  documented: Documented | undefined,
): Outcome {
  const first = Array.from({ length: right.length }, (_, i) => got[i] ?? NaN);
  const gives = `gives ${spellAll(first)}`;
  const rightly = `the right numbers are ${spellAll(right)}`;
  const measured = { gives: spellAll(first, 32) };
  if (first.some(isUnwritten)) return notHeld("the output was not written", measured);
  const isRight = sameNumbers(first, right, tolerance);
  if (documented === undefined) {
    return unknown(
      `${gives}; ${isRight ? "which is right" : rightly}; nobody published it for this chip`,
      measured,
    );
  }
  if (documented === "wrong") {
    return isRight
      ? notHeld(`${gives}, which is right`, measured)
      : held(`${gives}; ${rightly}`, measured);
  }
  if ("oneOf" in documented) {
    const found = Object.entries(documented.oneOf).find(([, numbers]) =>
      sameNumbers(first, numbers, tolerance),
    );
    if (found !== undefined)
      return held(`${gives}: ${found[0]}; ${rightly}`, { ...measured, as: found[0] });
    return notHeld(isRight ? `${gives}, which is right` : `${gives}; ${rightly}`, measured);
  }
  if (sameNumbers(first, documented, tolerance)) {
    return held(
      isRight ? `${gives}, which is right` : `${gives} as documented; ${rightly}`,
      measured,
    );
  }
  return notHeld(
    isRight
      ? `${gives}, which is right; documented are ${spellAll(documented)}`
      : `${gives}; documented are ${spellAll(documented)}, ${rightly}`,
    measured,
  );
}

export function numberProbe(entry: NumberCase, group: "arithmetic" | "miscompiles"): Probe {
  return {
    ...documentedProbe(entry, `Whether ${entry.relies} is right for this machine is not known.`),
    group,
    how: "a program of one or two ops over numbers that tell both arithmetics apart",
    // Each compiles one small program; a process of its own would take longer than the answer.
    batch: group,
    isCompiling: true,
    expectedMs: NUMBER_MS,
    run: async (context: ProbeContext) => {
      const outputs = await runProgram(context.open(), entry.build(), entry.inputs);
      const got = outputs[0] ?? [];
      if (entry.settles !== undefined) return judgeRule(got, entry, context.chip);
      return judgeNumbers(got, entry, entry.documented?.(context.chip, context.driver));
    },
  };
}
