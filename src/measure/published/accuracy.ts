import { predictForwards, SMOLLM2_360M } from "./published-forwards.ts";
import { predictPipeline, QWEN3_600M, STORIES_110M } from "./published-pipeline.ts";
import type { PipelineModel } from "./published-pipeline.ts";
import { callJoules } from "../../chip/cost/energy.ts";
import { priceCall, pricingRates } from "../../chip/cost/model.ts";
import type { CallPrice, PricingRates, SharedConstants } from "../../chip/cost/model.ts";
import { describeRow, rowCase } from "./row-case.ts";
import type { MeasuredRow } from "./measured-row.ts";
import type { RowCase } from "./row-case.ts";

export interface PricedRow {
  readonly chip: string;
  readonly what: string;
  readonly driver: string;
  readonly source: string;
  readonly measuredMs: number;
  readonly predictedMs: number;
  /** |predicted - measured| / measured */
  readonly relativeError: number;
  readonly boundBy: CallPrice["boundBy"];
  readonly measuredWatts?: number;
  /** The engine's rail, averaged over the predicted time. */
  readonly predictedWatts?: number;
}

export interface AccuracyReport {
  readonly rows: readonly PricedRow[];
  readonly medianRelativeError: number;
  readonly p90RelativeError: number;
  readonly medianWattError?: number;
}

export type RatesFor = (row: RowCase) => PricingRates;

/** Prices every row and compares. `ratesFor` lets the fit try other figures. */
export function checkAccuracy(
  rows: readonly MeasuredRow[],
  ratesFor: RatesFor = (row) => pricingRates(row.chip, row.driver),
  shared?: SharedConstants,
): AccuracyReport {
  const priced = rows.map((row) => priceRow(rowCase(row), ratesFor, shared));
  const errors = priced.map((row) => row.relativeError);
  const wattErrors = priced.flatMap((row) =>
    row.measuredWatts === undefined || row.predictedWatts === undefined
      ? []
      : [Math.abs(row.predictedWatts / row.measuredWatts - 1)],
  );
  return {
    rows: priced,
    medianRelativeError: quantile(errors, 0.5),
    p90RelativeError: quantile(errors, 0.9),
    ...(wattErrors.length > 0 && { medianWattError: quantile(wattErrors, 0.5) }),
  };
}

function priceRow(
  row: RowCase,
  ratesFor: RatesFor,
  shared: SharedConstants | undefined,
): PricedRow {
  const price = priceCall(row.work, ratesFor(row), {
    hostBytes: row.hostBytes,
    edgeBytes: row.edgeBytes,
    ...(shared !== undefined && { shared }),
  });
  const predictedMs = rowMs(row, price, ratesFor(row));
  const measuredWatts =
    row.row.ane_w ?? (row.row.ane_mw === undefined ? undefined : row.row.ane_mw / 1000);
  return {
    chip: row.chip.name,
    what: describeRow(row.row),
    driver: row.driver,
    source: row.row.source,
    measuredMs: row.row.ms,
    predictedMs,
    relativeError: Math.abs(predictedMs / row.row.ms - 1),
    boundBy: row.row.kind === "training-step" ? "host" : price.boundBy,
    ...(measuredWatts !== undefined && {
      measuredWatts,
      predictedWatts: callJoules(price, row.chip) / (price.ms * 1e-3),
    }),
  };
}

const TRAINED: Readonly<Record<"stories110M" | "qwen3-0.6b" | "smollm2-360m", PipelineModel>> = {
  stories110M: STORIES_110M,
  "qwen3-0.6b": QWEN3_600M,
  "smollm2-360m": SMOLLM2_360M,
};

/** A row's milliseconds: one call's, those of several calls, or those of a published trainer's step. */
export function rowMs({ row, chip }: RowCase, price: CallPrice, rates: PricingRates): number {
  if (row.kind !== "training-step") {
    const programs = row.kind === "lora-gradient" ? row.programs : 1;
    return price.ms + ((row.calls ?? 1) * programs - 1) * rates.floorMs;
  }
  const model = TRAINED[row.model];
  const sizes = {
    ...model,
    layers: row.layers ?? model.layers,
    sequence: row.seq ?? model.sequence,
    vocabulary: row.vocab ?? (row.layers === undefined ? model.vocabulary : 0),
  };
  return row.pipeline === "forwards"
    ? predictForwards(sizes, chip, rates).ms
    : predictPipeline(sizes, chip, row.pipeline, rates).ms;
}

/** Linear interpolation between order statistics; 0 for no numbers. */
export function quantile(numbers: readonly number[], fraction: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const position = (sorted.length - 1) * fraction;
  const low = sorted[Math.floor(position)] ?? 0;
  const high = sorted[Math.ceil(position)] ?? low;
  return low + (high - low) * (position - Math.floor(position));
}
