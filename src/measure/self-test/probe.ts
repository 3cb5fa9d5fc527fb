import type { Chip, Driver } from "../../chip/chip.ts";
import type {
  AneDriver,
  AneLibrary,
  AssumptionId,
  DriverSettings,
} from "../../engine/ane/probe.ts";
import type { Group, Outcome, Verdict } from "./outcome.ts";
import { defined } from "../../util/defined.ts";

/** How much is probed: each level has all of those before it. */
export const LEVELS = ["quick", "default", "thorough"] as const;
export type Level = (typeof LEVELS)[number];

/** What a probe works with, in a process of its own. */
export interface ProbeContext {
  readonly driver: Driver;
  readonly library: AneLibrary;
  readonly chip: Chip;
  /** A folder that is empty at the first round and the same in all rounds. */
  readonly scratch: string;
  /** 0 in the first process; later ones exist for probes of `rounds`. */
  readonly round: number;
  /** The driver with these settings; closed after the probe. */
  readonly open: (settings?: DriverSettings) => AneDriver;
}

/** One rule that the drivers, or the programs they are given, rely on, and how a machine is asked about it. */
export interface Probe {
  readonly id: string;
  readonly group: Group;
  /** The rule as a sentence: "held" means that it is so. */
  readonly title: string;
  readonly driver: Driver | "both";
  readonly source: string;
  readonly assumption?: AssumptionId;
  /** A rule of src/chip/legality. */
  readonly rule?: string;
  /** What is done to find out. */
  readonly how: string;
  /** What each outcome means for the drivers and their users. */
  readonly means: Readonly<Record<Verdict, string>>;
  /** Default "default". */
  readonly level?: Level;
  /** Probes that must have held before: without them this one would tell nothing. */
  readonly needs: readonly string[];
  /** What it means that the process dies, hangs, or that a call fails. */
  readonly failure: Verdict;
  /** Where a death of the process is an answer: its end in words, judged. Else `failure` stands. */
  readonly judgeDeath?: (context: Pick<ProbeContext, "chip" | "driver">, end: string) => Outcome;
  /** Probes of one batch share a process, and go on in a new one where it dies. Default: a process of its own. */
  readonly batch?: string;
  /** Whether it compiles a program: one process may compile some only. */
  readonly isCompiling?: boolean;
  /** Processes that run one after the other over the same folder; the last one tells. Default 1. */
  readonly rounds?: number;
  /** Default 60 s. */
  readonly timeLimitMs?: number;
  /** Rough time on a Mac, for the estimate of what is left. Default 1 s. */
  readonly expectedMs?: number;
  readonly run: (context: ProbeContext) => Promise<Outcome>;
  /** What the drivers do otherwise on a machine that answered so. */
  readonly settings?: (outcome: Outcome) => DriverSettings | undefined;
}

/** A small program about which something was published. */
export interface DocumentedCase {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  readonly rule?: string;
  readonly driver?: Driver;
  readonly level?: Level;
  /** What is built on the rule. */
  readonly relies: string;
}

/** What the probes of such programs have in common; `unknownMeans` is for the answer "unknown". */
export function documentedProbe(
  { id, title, source, rule, driver, level, relies }: DocumentedCase,
  unknownMeans: string,
) {
  return {
    ...{ id, title, source, driver: driver ?? ("both" as const) },
    ...defined({ rule, level }),
    means: {
      held: `As documented: ${relies} is right for this machine.`,
      "did not hold": `Other than documented: ${relies} is wrong for this machine. Please report it.`,
      unknown: unknownMeans,
    },
    needs: ["program.runs"],
    failure: "unknown",
  } as const;
}

const outcomeAs =
  (verdict: Verdict) =>
  (detail: string, measured?: Outcome["measured"]): Outcome => ({
    ...{ verdict, detail },
    ...(measured !== undefined && { measured }),
  });
export const held = outcomeAs("held");
export const notHeld = outcomeAs("did not hold");
export const unknown = outcomeAs("unknown");
