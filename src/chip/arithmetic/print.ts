import { wrapped } from "../../util/format.ts";
import type { Chip } from "../chip.ts";
import { arithmeticOf, CURRENT_SET } from "./arithmetic.ts";
import type { ArithmeticChoice } from "./arithmetic.ts";
import { ARITHMETIC_RULES, RULE_NAMES } from "./rules.ts";
import type { Rule } from "./rules.ts";
import { formatPublications, publicationsIn } from "../publications.ts";

/** The rules of a chip's arithmetic: what is taken, what else somebody says, with sources and probes. */
export function formatArithmeticRules(
  chip: Chip,
  choice: ArithmeticChoice | string = CURRENT_SET,
): string {
  const arithmetic = arithmeticOf(chip.family, choice);
  const rows = RULE_NAMES.map((name) => {
    const rule: Rule = ARITHMETIC_RULES[name];
    const taken: string = arithmetic[name];
    const variants = Object.entries(rule.variants)
      .toSorted(([a], [b]) => Number(b === taken) - Number(a === taken))
      .map(([variant, { says, evidence }]) => {
        const mark = variant === taken ? "*" : " ";
        const lines = evidence.map(
          ({ chips, confidence, source }) =>
            `${wrapped("      ", `${confidence} (${chips}): ${source}`)}\n`,
        );
        return `${wrapped(`  ${mark} ${variant}: `, says)}\n${lines.join("")}`;
      });
    const probes = `    told apart by doctor's ${rule.probes.join(", ")}\n`;
    return `${name}: ${rule.title}\n${variants.join("")}${probes}`;
  });
  const sources = formatPublications(
    RULE_NAMES.flatMap((name) => {
      const rule: Rule = ARITHMETIC_RULES[name];
      return Object.values(rule.variants).flatMap(({ evidence }) =>
        evidence.map(({ source }) => source),
      );
    }),
  );
  return `${chip.name}: arithmetic of family ${chip.family}; * is what sim:${chip.id} takes\n\n${rows.join("\n")}\nwhere to read it:\n${sources}`;
}

/** The same as JSON. */
export function arithmeticJson(
  chip: Chip,
  choice: ArithmeticChoice | string = CURRENT_SET,
): readonly Readonly<Record<string, unknown>>[] {
  const arithmetic = arithmeticOf(chip.family, choice);
  return RULE_NAMES.map((name) => {
    const { title, variants, probes }: Rule = ARITHMETIC_RULES[name];
    return {
      rule: name,
      title,
      taken: arithmetic[name],
      contested: Object.keys(variants).length > 1,
      probes,
      variants: Object.entries(variants).map(([variant, { says, evidence }]) => ({
        variant,
        says,
        evidence: evidence.map((row) => ({
          ...row,
          addresses: publicationsIn(row.source).map(({ address }) => address),
        })),
      })),
    };
  });
}
