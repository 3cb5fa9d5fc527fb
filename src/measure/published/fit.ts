import { familyIndex } from "../../chip/chip.ts";
import type { Chip } from "../../chip/chip.ts";
import type { Figure } from "../../chip/figure.ts";
import type { ChipRates } from "../../chip/rates.ts";
import { SOURCES } from "../../chip/sources.ts";
import { rowCase } from "./row-case.ts";
import type { MeasuredRow } from "./measured-row.ts";
import type { RowCase } from "./row-case.ts";
import { priceCall, ratesToPricing, SHARED } from "../../chip/cost/model.ts";
import type { PricingRates, SharedConstants } from "../../chip/cost/model.ts";

/** Figures a fit may move; the others stay as recorded. */
const FREE_RATES = [
  "inMemoryFloor",
  "e5rtFloor",
  "pointwise",
  "spatial",
  "matmul",
  "weightStream",
  "hostCopy",
] as const satisfies readonly (keyof ChipRates)[];

type RateValues = Readonly<Record<keyof ChipRates, { readonly value: number }>>;

export interface FittedModel {
  readonly rates: ReadonlyMap<string, RateValues>;
  readonly shared: SharedConstants;
}

/** How far, in e-folds, a figure may wander from where it started before it costs as much as a row's error. */
const PRIOR_WIDTH = 0.5;

/**
 * Fits the chips' figures to rows by coordinate descent on the mean absolute log error, held near `start`.
 * Deterministic; used to check that the recorded figures are where the rows put them, and to judge the
 * model on rows that were left out.
 */
export function fitModel(
  rows: readonly MeasuredRow[],
  start: ReadonlyMap<string, RateValues>,
  sweeps = 12,
): FittedModel {
  // A whole trainer's step is no call: it has nothing to fit.
  const cases = rows.filter(({ kind }) => kind !== "training-step").map(rowCase);
  const rates = new Map<string, RateValues>(start);
  const shared = SHARED;
  for (const [id, initial] of start) {
    const own = cases.filter((row) => row.chip.id === id);
    if (own.length === 0) continue;
    let values: RateValues = initial;
    let best = loss(own, values, initial, shared);
    for (let sweep = 0, step = 0.2; sweep < sweeps; sweep++, step *= 0.7) {
      for (const name of FREE_RATES) {
        for (const factor of [Math.exp(step), Math.exp(-step)]) {
          const tried: RateValues = {
            ...values,
            [name]: { value: values[name].value * factor },
          };
          const score = loss(own, tried, initial, shared);
          if (score < best) {
            best = score;
            values = tried;
          }
        }
      }
    }
    rates.set(id, values);
  }
  return { rates, shared };
}

export function pricingOf(model: FittedModel, row: RowCase): PricingRates {
  const rates = model.rates.get(row.chip.id) ?? row.chip.rates;
  return ratesToPricing(rates, row.driver, isNotched(row.chip));
}

function loss(
  cases: readonly RowCase[],
  rates: RateValues,
  initial: RateValues,
  shared: SharedConstants,
): number {
  let total = 0;
  for (const row of cases) {
    const price = priceCall(row.work, ratesToPricing(rates, row.driver, isNotched(row.chip)), {
      hostBytes: row.hostBytes,
      edgeBytes: row.edgeBytes,
      shared,
    });
    total += Math.abs(Math.log(price.ms / row.row.ms));
  }
  for (const name of FREE_RATES) {
    total += (Math.log(rates[name].value / initial[name].value) / PRIOR_WIDTH) ** 2;
  }
  return total / cases.length;
}

/** 3x3 convolutions on H17 and H18 run at 1.3 to 1.5 times the direct rate. */
const WINOGRAD = 1.4;
/** Two programs on two engines against one. */
const TWO_ENGINES = 1.8;

function hasWinograd(chip: Chip): boolean {
  return familyIndex(chip.family) >= familyIndex("H17");
}

function isNotched(chip: Chip): boolean {
  return familyIndex(chip.family) <= familyIndex("H16");
}

/** How much faster weights come on a package with a wider memory: Pro, Max and Ultra against the plain chip. */
const WIDE_STREAM = 1.9;

const TIERS = ["", "Pro", "Max", "Ultra"] as const;

function tierIndex(chip: Chip): number {
  return Math.max(
    0,
    TIERS.findIndex((tier) => tier !== "" && chip.name.endsWith(` ${tier}`)),
  );
}

/** Distance of two chips as designs: families first, then packages. */
function distance(a: Chip, b: Chip): number {
  const families = Math.abs(familyIndex(a.family) - familyIndex(b.family));
  return TIERS.length * families + Math.abs(tierIndex(a) - tierIndex(b));
}

const PRODUCT_RATES: ReadonlySet<keyof ChipRates> = new Set(["pointwise", "spatial", "matmul"]);

/** So many of the nearest relatives are asked, and the middle answer counts: one slow machine is no rule. */
const RELATIVES = 3;

/**
 * What would be known of a chip on which nobody measured anything: each figure as its nearest relatives have it, those
 * on whom it was measured or whose rows it was fitted to; products carried over by the advertised rates where those are
 * known, streams by the width of the package's memory. Nothing that was read on the chip itself is used, nor what was
 * inferred from it for others.
 */
export function relativeRates(chip: Chip, chips: readonly Chip[]): RateValues {
  const relatives = chips
    // A phone's figures are its family's, scaled.
    .filter(({ id }) => id !== chip.id && id.startsWith("m"))
    .sort((a, b) => distance(chip, a) - distance(chip, b));
  const of = (name: keyof ChipRates): { readonly value: number } => {
    if (name === "splitSpeed") return { value: chip.family === "H18" ? TWO_ENGINES : 1 };
    const own = relatives.filter(({ rates }) => isOfItsRows(rates[name])).slice(0, RELATIVES);
    const values = own.map((donor) => carriedOver(name, donor, chip)).sort((a, b) => a - b);
    return { value: values[Math.floor(values.length / 2)] ?? chip.rates[name].value };
  };
  const names = Object.keys(chip.rates) as (keyof ChipRates)[];
  return Object.fromEntries(names.map((name) => [name, of(name)])) as RateValues;
}

/** Whether a figure was measured on its chip or fitted to the chip's own rows, and not taken over from another. */
function isOfItsRows({ kind, source }: Figure): boolean {
  return kind === "measured" || source.startsWith(SOURCES.fit);
}

/** Advertised fp16 operations of one engine; nothing where the maker does not say. */
function advertised(chip: Chip): number | undefined {
  if (chip.advertisedMeaning === "not stated") return undefined;
  return (chip.advertised.value / chip.engineCount) * (chip.advertisedMeaning === "fp16" ? 1 : 0.5);
}

/** A relative's figure as it would be on the chip. */
function carriedOver(name: keyof ChipRates, donor: Chip, chip: Chip): number {
  const { value } = donor.rates[name];
  if (name === "weightStream") {
    return value * WIDE_STREAM ** (Number(tierIndex(chip) > 0) - Number(tierIndex(donor) > 0));
  }
  if (!PRODUCT_RATES.has(name)) return value;
  const winograd =
    name === "spatial" ? WINOGRAD ** (Number(hasWinograd(chip)) - Number(hasWinograd(donor))) : 1;
  const [own, others] = [advertised(chip), advertised(donor)];
  return value * winograd * (own === undefined || others === undefined ? 1 : own / others);
}

/** The same of all chips: where the fit of a left-out source starts. */
export function priorRates(chips: readonly Chip[]): Map<string, RateValues> {
  return new Map(chips.map((chip) => [chip.id, relativeRates(chip, chips)]));
}

/** Figures that a user of a chip without any row would have to measure, from the cheapest on. */
export const MEASUREMENTS = {
  "nothing measured": [],
  "a call that does nothing": ["inMemoryFloor", "e5rtFloor", "coremlFloor"],
  "and the harness's copies": ["inMemoryFloor", "e5rtFloor", "coremlFloor", "hostCopy"],
  "and a stream of weights": [
    "inMemoryFloor",
    "e5rtFloor",
    "coremlFloor",
    "hostCopy",
    "weightStream",
  ],
  "and its products": [
    ...(["inMemoryFloor", "e5rtFloor", "coremlFloor", "hostCopy", "weightStream"] as const),
    ...(["pointwise", "spatial", "matmul"] as const),
  ],
} as const satisfies Readonly<Record<string, readonly (keyof ChipRates)[]>>;

/** A chip as its family alone tells, but for some figures that were measured. */
export function knownOnly(
  chip: Chip,
  priors: ReadonlyMap<string, RateValues>,
  names: readonly (keyof ChipRates)[],
): FittedModel {
  const prior = priors.get(chip.id) ?? chip.rates;
  const own = Object.fromEntries(names.map((name) => [name, chip.rates[name]]));
  return { rates: new Map([[chip.id, { ...prior, ...own }]]), shared: SHARED };
}

/** Splits rows by source, as far as the text before ";" or "," names one. */
export function rowSource(row: MeasuredRow): string {
  return row.source.split(/[;,]/)[0]?.trim() ?? row.source;
}
