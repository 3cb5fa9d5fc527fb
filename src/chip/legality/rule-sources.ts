import { familyIndex } from "../chip.ts";
import type { Chip } from "../chip.ts";

/** Sources many rules share. */
export const SWEEP = "ANEForge sweep of the MIL vocabulary, M5";
export const LIMITS = "ANEForge per-family limits, measured M1, M2, M5";

/** Limits that changed with H16. */
export function since16<T>(chip: Chip, before: T, after: T): T {
  return familyIndex(chip.family) >= familyIndex("H16") ? after : before;
}
