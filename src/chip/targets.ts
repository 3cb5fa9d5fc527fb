import { didYouMean } from "../util/nearest.ts";
import type { Family } from "./chip.ts";
import { ChipError } from "./errors.ts";
import { measured } from "./figure.ts";
import type { Figure } from "./figure.ts";
import { SOURCES } from "./sources.ts";

/**
 * A target the compiler can name (`TargetArchitecture=h13`). An unknown name silently compiles for the
 * host, so names are checked before they are passed on.
 */
export interface CompileTarget {
  readonly name: string;
  /** M-series family with the same rules; absent for targets older or other than any M chip. */
  readonly family?: Family;
  /** The compiler's own count, not the cores Apple advertises. */
  readonly coreCount?: Figure;
  readonly maximumClock?: Figure;
  /** Clock the compiler counts with at the highest step, memory effects included. */
  readonly effectiveClock?: Figure;
  readonly devices: string;
}

const table = (value: number, unit: string): Figure => measured(value, unit, SOURCES.compilerTable);

function target(
  name: string,
  family: Family | undefined,
  devices: string,
  figures?: readonly [cores: number, maximumMhz: number, effectiveMhz: number],
): CompileTarget {
  return {
    name,
    devices,
    ...(family !== undefined && { family }),
    ...(figures !== undefined && {
      coreCount: table(figures[0], "compiler cores"),
      maximumClock: table(figures[1], "MHz"),
      effectiveClock: table(figures[2], "MHz"),
    }),
  };
}

/** Names read from the compiler's tables and from machines; devices are the M and A chips they belong to. */
export const COMPILE_TARGETS: readonly CompileTarget[] = Object.freeze([
  target("h11", undefined, "A11-class", [4, 1260, 1260]),
  target("t1", undefined, "a 16-core H13 relative", [16, 1428, 1428]),
  target("m11", undefined, "small cores", [1, 500, 500]),
  target("h13", "H13", "A14", [4, 1428, 1428]),
  target("h13g", "H13", "M1 family", [8, 1464, 1464]),
  target("h14", "H14", "A15", [4, 1938, 1452]),
  target("h14g", "H14", "M2 family"),
  target("h14c", "H14", "M2 Max and Ultra class"),
  target("h15", "H15", "A16", [4, 2064, 1524]),
  target("h15g", "H15", "M3 family"),
  target("h15c", "H15", "M3 Max and Ultra class", [32, 2364, 1776]),
  target("h16", "H16", "A17", [4, 2160, 1620]),
  target("h16g", "H16", "M4 family"),
  target("h16s", "H16", "M4 Pro class", [16, 2364, 1788]),
  target("h17", "H17", "A18", [4, 2172, 1644]),
  target("h17g", "H17", "M5"),
  target("h17s", "H17", "M5 Pro", [16, 2364, 1788]),
  target("h17c", "H17", "M5 Max class", [32, 2364, 1788]),
  target("h17d", "H17", "two dies", [64, 2364, 1788]),
  target("h18g", "H18", "M6"),
]);

/** Throws `ChipError` `chip.target` naming the nearest target. */
export function compileTarget(name: string): CompileTarget {
  const wanted = name.trim().slice(0, 64).toLowerCase();
  const found = COMPILE_TARGETS.find((candidate) => candidate.name === wanted);
  if (found !== undefined) return found;
  const names = COMPILE_TARGETS.map((candidate) => candidate.name);
  throw new ChipError(
    "chip.target",
    `There is no compile target "${name.slice(0, 64)}".${didYouMean(wanted, names)}`,
    { remedy: "The engine's compiler ignores unknown names and compiles for the host." },
  );
}
