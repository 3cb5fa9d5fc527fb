import type { Figure } from "./figure.ts";
import type { ChipRates } from "./rates.ts";

/** Generations of the engine, by the M-series rule M(n) = H(n + 12). */
export const FAMILIES = ["H13", "H14", "H15", "H16", "H17", "H18"] as const;
/** Chips that share an engine, by the target their programs are compiled for. */
export type Family = (typeof FAMILIES)[number];

/** The two ways into the engine: `e5rt_*` in C, `_ANEInMemoryModel` in Objective-C. */
export const DRIVERS = ["e5rt", "in-memory"] as const;
/** The way into the Neural Engine. */
export type Driver = (typeof DRIVERS)[number];

/** What one Neural Engine accepts, how fast it runs and at what power, each with its source. */
export interface Chip {
  /** As Apple writes it: "M4 Max". */
  readonly name: string;
  /** As commands take it: "m4-max". */
  readonly id: string;
  readonly family: Family;
  /** What the runtime calls the engine, where somebody read it. */
  readonly architecture: string;
  /** Neural Engines in the package: an Ultra has two, and one program runs on one of them. */
  readonly engineCount: number;
  readonly cores: Figure;
  /** Highest clock in the compiler's table. */
  readonly clock: Figure;
  readonly advertised: Figure;
  /** What the advertised number counts. */
  readonly advertisedMeaning: "fp16" | "int8" | "not stated";
  /** Multiply-accumulate units, from advertised = 2 x units x clock at the precision it counts. */
  readonly multiplyAccumulateUnits: Figure;
  /** On-chip memory as different people have it; no figure is Apple's. */
  readonly onChipMemory: readonly Figure[];
  readonly loadPower: Figure;
  readonly idlePower: Figure;
  /** Of the whole package, shared with CPU and GPU. */
  readonly memoryBandwidth: Figure;
  readonly rates: ChipRates;
  readonly notes: readonly string[];
}

export function familyIndex(family: Family): number {
  return FAMILIES.indexOf(family);
}
