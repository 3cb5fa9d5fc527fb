import type { ProductRules } from "./arithmetic.ts";

const OUTPUTS = { "half-even": 0, cut: 1, "half-away": 2 } as const;
const RANGES = {
  "final-sum-32758": 0,
  "final-sum": 32,
  "channel-order": 64,
  "any-order": 96,
} as const;
const PLAIN = 4;
const DROP_EXPONENTS = 8;
const ROUND_AWAY = 16;

/** The rules as the product kernel takes them (assembly/shared/grid-constants.ts). */
export function gridMode({ drop, rounding, range, output }: ProductRules): number {
  return (
    OUTPUTS[output] |
    RANGES[range] |
    (drop === "exponents" ? DROP_EXPONENTS : 0) |
    (rounding === "half-away" ? ROUND_AWAY : 0)
  );
}

/** Ordinary fp32 sums, rounded to fp16 to even. */
export const PLAIN_MODE = PLAIN;
