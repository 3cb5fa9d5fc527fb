import { familyIndex } from "../../chip/chip.ts";
import type { Chip } from "../../chip/chip.ts";
import type { ChipRates } from "../../chip/rates.ts";
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

/**
 * What would be known of every chip with no row at all: its family's ratio to M4 by advertised rate and
 * clock, and one floor, one host rate and one stream for everybody. The fit of a left-out source starts here.
 */
export function priorRates(chips: readonly Chip[], reference: Chip): Map<string, RateValues> {
  const fp16 = (chip: Chip): number =>
    (chip.advertised.value / chip.engineCount) * (chip.advertisedMeaning === "fp16" ? 1 : 0.5);
  return new Map(
    chips.map((chip) => {
      const speed = fp16(chip) / fp16(reference);
      const products = (value: number) => ({ value: value * speed });
      const { rates } = reference;
      return [
        chip.id,
        {
          ...rates,
          pointwise: products(rates.pointwise.value),
          // What the families' own designs say: Winograd from H17 on, and how many engines a package has.
          spatial: products(rates.pointwise.value * (hasWinograd(chip) ? WINOGRAD : 1)),
          splitSpeed: { value: chip.family === "H18" ? TWO_ENGINES : 1 },
          matmul: products(rates.matmul.value),
          inMemoryFloor: { value: 0.12 },
          e5rtFloor: { value: 0.12 },
          weightStream: { value: / (Max|Ultra|Pro)$/.test(chip.name) ? 110 : 60 },
          hostCopy: { value: / (Max|Ultra|Pro)$/.test(chip.name) ? 20 : 10 },
        },
      ];
    }),
  );
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
