import { didYouMean } from "../../util/nearest.ts";
import type { Family } from "../chip.ts";
import { ChipError } from "../errors.ts";
import { ARITHMETIC_RULES, RULE_NAMES } from "./rules.ts";
import type { Rule, RuleName } from "./rules.ts";

export type VariantName<Name extends RuleName> = keyof (typeof ARITHMETIC_RULES)[Name]["variants"] &
  string;

/** A variant of every rule: all that decides about a result's bits. */
export type Arithmetic = { readonly [Name in RuleName]: VariantName<Name> };

/** Sets of variants by the month they were believed in. */
export const ARITHMETIC_SETS = ["2026-08", "2026-11"] as const;
export type ArithmeticSet = (typeof ARITHMETIC_SETS)[number];
export const CURRENT_SET: ArithmeticSet = "2026-11";
/** What runs had that do not say. */
export const FIRST_SET: ArithmeticSet = "2026-08";

/** A set, and the rules in which an arithmetic differs from it: `2026-11,sum.range=any-order`. */
export interface ArithmeticChoice {
  readonly set: ArithmeticSet;
  readonly changes: Partial<Readonly<Record<RuleName, string>>>;
}

const isSet = (text: string): text is ArithmeticSet => ARITHMETIC_SETS.some((set) => set === text);
export const isRuleName = (text: string): text is RuleName => Object.hasOwn(ARITHMETIC_RULES, text);

/**
 * Reads `2026-08`, `sum.range=any-order`, or a set followed by changes, separated by commas. Throws `ChipError`
 * `chip.arithmetic` with the nearest name of a set, rule or variant.
 */
export function parseArithmetic(text: string): ArithmeticChoice {
  let set: ArithmeticSet = CURRENT_SET;
  const changes: Partial<Record<RuleName, string>> = {};
  for (const [index, part] of text.slice(0, 2048).split(",").entries()) {
    const entry = part.trim();
    const equals = entry.indexOf("=");
    if (equals < 0) {
      if (index > 0 || !isSet(entry)) throw unknownSet(entry);
      set = entry;
      continue;
    }
    const rule = entry.slice(0, equals).trim();
    if (!isRuleName(rule)) {
      throw new ChipError(
        "chip.arithmetic",
        `there is no rule "${rule.slice(0, 64)}" of the engine's arithmetic.${didYouMean(rule, RULE_NAMES)}`,
        { remedy: `Rules: ${RULE_NAMES.join(", ")}.` },
      );
    }
    changes[rule] = knownVariant(rule, entry.slice(equals + 1).trim());
  }
  return { set, changes };
}

function unknownSet(text: string): ChipError {
  return new ChipError(
    "chip.arithmetic",
    `there is no arithmetic "${text.slice(0, 64)}".${didYouMean(text, [...ARITHMETIC_SETS, ...RULE_NAMES])}`,
    { remedy: `Sets: ${ARITHMETIC_SETS.join(", ")}; or rule=variant, as in sum.range=any-order.` },
  );
}

/** The variant itself. Throws `ChipError` `chip.arithmetic` with the nearest one. */
export function knownVariant(rule: RuleName, variant: string): string {
  const variants = Object.keys(ARITHMETIC_RULES[rule].variants);
  if (variants.includes(variant)) return variant;
  throw new ChipError(
    "chip.arithmetic",
    `rule "${rule}" has no variant "${variant.slice(0, 64)}".${didYouMean(variant, variants)}`,
    { remedy: `Variants: ${variants.join(", ")}.` },
  );
}

/** The shortest text that `parseArithmetic` reads back. */
export function formatArithmetic({ set, changes }: ArithmeticChoice): string {
  return [set, ...Object.entries(changes).map(([rule, variant]) => `${rule}=${variant}`)].join(",");
}

/** What a family of engines computes with, as far as the choice goes. */
export function arithmeticOf(
  family: Family,
  choice: ArithmeticChoice | string = CURRENT_SET,
): Arithmetic {
  const { set, changes } = typeof choice === "string" ? parseArithmetic(choice) : choice;
  const chosen = Object.fromEntries(
    RULE_NAMES.map((name) => {
      const rule: Rule = ARITHMETIC_RULES[name];
      const of = set === "2026-08" ? rule.august : rule.best;
      return [name, changes[name] ?? (typeof of === "string" ? of : of[family])];
    }),
  );
  // Each name is one of its rule's: of the table, or checked by `parseArithmetic`.
  return chosen as Arithmetic;
}
