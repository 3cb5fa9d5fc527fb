import * as z from "zod";
import { readSmallFile } from "../util/byte-source.ts";
import { messageOf } from "../util/errors.ts";
import { ARITHMETIC_RULES, RULE_NAMES } from "./arithmetic/rules.ts";
import type { RuleName } from "./arithmetic/rules.ts";
import { arithmeticOf, CURRENT_SET } from "./arithmetic/arithmetic.ts";
import type { ArithmeticChoice } from "./arithmetic/arithmetic.ts";
import { DRIVERS } from "./chip.ts";
import type { Chip, Driver } from "./chip.ts";
import { chipByName } from "./chips.ts";
import { ChipError } from "./errors.ts";
import { measured } from "./figure.ts";
import type { ChipRates } from "./rates.ts";
import { refuseLater } from "../util/format-version.ts";

/** A report has some hundred kilobytes. */
const MAXIMUM_BYTES = 16 << 20;

const probeSchema = z.object({
  id: z.string(),
  verdict: z.enum(["held", "did not hold", "unknown"]),
  measured: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])).optional(),
});

/** What a calibration needs of a report of `anecdote doctor --report`; the rest of it is for readers. */
/** Of the self-test's report; changes with the meaning of a field. */
const SCHEMA = 1;
const reportSchema = z.object({
  kind: z.literal("anecdote-self-test"),
  schema: z.literal(SCHEMA),
  made: z.string(),
  driver: z.enum(DRIVERS),
  ran_on: z.string(),
  machine: z.object({ chip: z.string(), system_version: z.string().optional() }),
  probes: z.array(probeSchema),
  rates: z.array(probeSchema),
});

/** What one machine answered, as choices for the simulator and figures for the cost model. */
export interface Calibration {
  readonly chip: string;
  readonly driver: Driver;
  readonly made: string;
  /** Rules that the report settles otherwise than they are taken, and those it confirms. */
  readonly arithmetic: ArithmeticChoice;
  readonly confirmed: readonly RuleName[];
  /** Rules whose probes contradict each other or gave what no variant gives: they stay as they are. */
  readonly unsettled: readonly RuleName[];
  /** Contested rules that no probe of the report speaks of. */
  readonly unasked: readonly RuleName[];
  /** Figures by the report's rates; empty where a library stood for the engine. */
  readonly rates: Partial<Readonly<Record<keyof ChipRates, number>>>;
}

/** Which figure a rate probe measures. */
export const RATE_FIGURES: Readonly<Record<string, keyof ChipRates>> = {
  "rate.convolution": "pointwise",
  "rate.matmul": "matmul",
  "rate.weights": "weightStream",
  "rate.elementwise": "activationStream",
  "rate.edges": "edgeStream",
};

/** A machine is not a hundred times another of its kind: such a figure is a broken one. */
const BELIEVABLE = 20;

/** Reads a report's file. Throws `ChipError` `chip.calibration` for another schema or a damaged file, and says why. */
export function readCalibration(path: string): Calibration {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(readSmallFile(path, MAXIMUM_BYTES)).toString("utf8"));
  } catch (error) {
    throw refused(path, `it cannot be read: ${messageOf(error)}`, error);
  }
  try {
    return calibrationOf(json);
  } catch (error) {
    if (error instanceof z.ZodError)
      throw refused(path, z.prettifyError(error).replaceAll(/\s*\n\s*/g, " "), error);
    throw refused(path, sentenceOf(error), error);
  }
}

/** What an error says with its remedy, as a part of a sentence. */
function sentenceOf(error: unknown): string {
  return messageOf(error)
    .replaceAll(/\s*\n\s*/g, " ")
    .replace(/\.$/, "");
}

function refused(path: string, why: string, cause: unknown): ChipError {
  return new ChipError(
    "chip.calibration",
    `${path} is no report of the self-test that this version reads: ${why}. Nothing was changed`,
    { remedy: "Make one on the Mac: anecdote doctor --report FILE.", cause },
  );
}

/**
 * The same of a report's contents. Throws `ZodError` for another shape, `ChipError` for a chip that is not known and for
 * a report of a later version.
 */
export function calibrationOf(json: unknown): Calibration {
  const format = { known: SCHEMA, what: "the report", field: "schema" };
  refuseLater(json, format, ChipError, "chip.calibration.version");
  const report = reportSchema.parse(json);
  const chip = chipByName(report.machine.chip);
  const taken = arithmeticOf(chip.family);
  const changes: Partial<Record<RuleName, string>> = {};
  const confirmed: RuleName[] = [];
  const unsettled: RuleName[] = [];
  const unasked: RuleName[] = [];
  for (const rule of RULE_NAMES) {
    const answers = report.probes.flatMap((probe) =>
      probe.measured?.["rule"] === rule ? [String(probe.measured["variants"] ?? "")] : [],
    );
    if (answers.length === 0) {
      unasked.push(rule);
      continue;
    }
    const fitting = fittingVariants(rule, answers);
    const [only] = fitting;
    if (fitting.includes(taken[rule])) confirmed.push(rule);
    else if (only !== undefined && fitting.length === 1) changes[rule] = only;
    else unsettled.push(rule);
  }
  const isSilicon = report.ran_on === "silicon";
  return {
    chip: chip.id,
    driver: report.driver,
    made: report.made,
    arithmetic: { set: CURRENT_SET, changes },
    confirmed,
    unsettled,
    unasked,
    rates: isSilicon ? ratesOf(report, chip) : {},
  };
}

/** Variants that fit every answer. */
function fittingVariants(rule: RuleName, answers: readonly string[]): readonly string[] {
  return Object.keys(ARITHMETIC_RULES[rule].variants).filter((variant) =>
    answers.every((answer) => answer.split(" ").includes(variant)),
  );
}

function ratesOf(
  { rates, driver }: z.infer<typeof reportSchema>,
  chip: Chip,
): Calibration["rates"] {
  const found: Partial<Record<keyof ChipRates, number>> = {};
  for (const { id, measured: figures } of rates) {
    if (id === "rate.floor") {
      const floor = Number(figures?.["medianMs"]);
      const name = driver === "e5rt" ? "e5rtFloor" : "inMemoryFloor";
      if (isBelievable(floor / chip.rates[name].value)) found[name] = floor;
      continue;
    }
    const name = RATE_FIGURES[id];
    // The probe's figure holds the dispatch; the model's of the same calls does too.
    const factor = Number(figures?.["rate"]) / Number(figures?.["predicted"]);
    if (name === undefined || !isBelievable(factor)) continue;
    found[name] = chip.rates[name].value * factor;
    if (name === "pointwise") found.spatial = chip.rates.spatial.value * factor;
  }
  return found;
}

function isBelievable(factor: number): boolean {
  return Number.isFinite(factor) && factor > 1 / BELIEVABLE && factor < BELIEVABLE;
}

/** The chip's record with the figures of one machine. Throws `ChipError` for a calibration of another chip. */
export function calibratedChip(chip: Chip, calibration: Calibration): Chip {
  if (calibration.chip !== chip.id) {
    throw new ChipError(
      "chip.calibration.chip",
      `the report is of ${calibration.chip}, not of ${chip.id}`,
      { remedy: `Price ${calibration.chip}, or give a report of ${chip.id}.` },
    );
  }
  const source = `this machine, self-test of ${calibration.made.slice(0, 10)}`;
  const rates = Object.fromEntries(
    Object.entries(calibration.rates).map(([name, value]) => [
      name,
      measured(value, chip.rates[name as keyof ChipRates].unit, source),
    ]),
  );
  return Object.freeze({ ...chip, rates: Object.freeze({ ...chip.rates, ...rates }) });
}

/** `calibrated:FILE` names the arithmetic and figures that a report found. */
const PREFIX = "calibrated:";

/** The report that an arithmetic's name asks for; nothing for one of another kind. */
export function reportOf(arithmetic: string): string | undefined {
  return arithmetic.startsWith(PREFIX) ? arithmetic.slice(PREFIX.length) : undefined;
}

/** A chip's record by name, with a report's figures where one is given. Throws `ChipError`. */
export function chipWith(name: string, calibrated?: string): Chip {
  const chip = chipByName(name);
  return calibrated === undefined ? chip : calibratedChip(chip, readCalibration(calibrated));
}

/** What a calibration changes, a line each. */
export function describeCalibration(calibration: Calibration): string {
  const { chip, made, arithmetic, confirmed, unsettled, unasked, rates } = calibration;
  const changes = Object.entries(arithmetic.changes).map(([rule, variant]) => `${rule}=${variant}`);
  const figures = Object.entries(rates).map(([name, value]) => `${name} ${value.toPrecision(3)}`);
  const list = (items: readonly string[]): string => (items.length > 0 ? items.join(", ") : "none");
  return (
    `calibrated by the self-test of ${chip} of ${made.slice(0, 10)}\n` +
    `  figures: ${list(figures)}\n  rules found otherwise: ${list(changes)}\n` +
    `  rules confirmed: ${confirmed.length}; left open: ${list(unsettled)}; not asked: ${list(unasked)}\n`
  );
}
