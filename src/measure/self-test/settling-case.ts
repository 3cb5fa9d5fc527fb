import { familyIndex } from "../../chip/chip.ts";
import type { Chip, Family } from "../../chip/chip.ts";
import { ARITHMETIC_RULES } from "../../chip/arithmetic/rules.ts";
import type { Rule, RuleName } from "../../chip/arithmetic/rules.ts";
import { roundToHalfBy } from "../../engine/sim/probe.ts";
import type { NumberCase, Outcomes } from "./number-case.ts";

/** To fp16, ties away from zero: how the engine rounds its results. */
export const away = (value: number): number => roundToHalfBy(value, "half-away");

export const upTo = (chip: Chip, family: Family): boolean =>
  familyIndex(chip.family) <= familyIndex(family);
export const from = (chip: Chip, family: Family): boolean =>
  familyIndex(chip.family) >= familyIndex(family);

/** What relies on which products are kept. */
export const GRID = "the grid of products, from which loss scale and operand scaling follow";

/** The grid of products. */
export const STEP = 2 ** -16;
export const times = (count: number, product: readonly [number, number]) =>
  Array.from({ length: count }, () => product);
/** a x b = factor * 2^-16, both operands fp16. */
export const small = (factor: number): readonly [number, number] => [factor * 2 ** -8, 2 ** -8];

/** Products with 1. */
export const sums = (...numbers: readonly number[]) =>
  numbers.map((number) => [number, 1] as const);

/** A case of one number that tells variants of a rule apart. */
export function settling(
  id: string,
  title: string,
  rule: RuleName,
  program: Pick<NumberCase, "build" | "inputs">,
  right: readonly number[],
  outcomes: Outcomes,
  relies: string,
): NumberCase {
  return {
    ...{ id, title, source: sourceOf(rule), ...program },
    ...{ right, settles: { rule, outcomes }, relies },
  };
}

/** Who is said to have seen the variant that is taken. */
function sourceOf(name: RuleName): string {
  const rule: Rule = ARITHMETIC_RULES[name];
  const best = typeof rule.best === "string" ? rule.best : rule.best.H18;
  return rule.variants[best]?.evidence[0]?.source ?? "";
}
