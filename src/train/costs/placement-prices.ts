import type { Chip, Driver } from "../../chip/chip.ts";
import { formatNumber } from "../../chip/figure.ts";
import { trainingRuns } from "../../chip/estimate.ts";
import type { PlanEstimate } from "../../chip/estimate.ts";
import { placedPrices } from "../../lower/index.ts";
import type { Model } from "../../model/index.ts";
import type { RunCounts, StepSettings } from "../config/part-settings.ts";
import { planOf } from "../run/plan-of.ts";

/** What an update takes in one placement. */
export interface PlacementPrice {
  /** One dispatch after the other, and with engine and host beside each other. */
  readonly ms: number;
  readonly overlappedMs: number;
  readonly hostMs: number;
  readonly joules: number;
  /** How often work goes from the engine to the host or back in an update. */
  readonly crossingCount: number;
}

/** An update by both placements. */
export interface PlacementPrices {
  readonly chip: string;
  readonly engine: PlacementPrice;
  readonly linearOnly: PlacementPrice;
}

/** Prices an update with all that the engine can on the engine, and with its nonlinear ops on the host. */
export function pricePlacements(
  config: StepSettings & RunCounts,
  model: Model,
  chip: Chip,
  driver: Driver,
): PlacementPrices {
  const priced = (placement: StepSettings["placement"]): PlacementPrice => {
    const { plan } = planOf({ ...config, engine: "ane", placement }, model);
    const runs = trainingRuns(plan, config.gradient_accumulation_steps);
    return priceOf(placedPrices(plan, chip, driver)({}).priceOf({ runs }));
  };
  return { chip: chip.name, engine: priced("engine"), linearOnly: priced("linear-only") };
}

function priceOf({
  ms,
  overlappedMs,
  joules,
  breakdown,
  dispatches,
}: PlanEstimate): PlacementPrice {
  let crossingCount = 0;
  for (const [index, { place, count }] of dispatches.entries()) {
    const before = dispatches[index - 1];
    if (before !== undefined && before.place !== place) crossingCount += count;
  }
  return { ms, overlappedMs, joules, hostMs: breakdown.host, crossingCount };
}

/** Both prices as a sentence. */
export function describePlacements({ chip, engine, linearOnly }: PlacementPrices): string {
  const told = ({ ms, overlappedMs, hostMs, crossingCount }: PlacementPrice): string =>
    `${formatNumber(ms)} ms (${formatNumber(overlappedMs)} ms with engine and host beside each other, ${formatNumber(hostMs)} ms of the host's), ${crossingCount} crossings`;
  return `linear-only placement on ${chip}, predicted for an update: ${told(linearOnly)}; with all that the engine can on the engine: ${told(engine)}`;
}

/** Both prices as commands print them with `--json`. */
export function placementsJson({ chip, engine, linearOnly }: PlacementPrices): object {
  const json = ({ ms, overlappedMs, hostMs, joules, crossingCount }: PlacementPrice) => ({
    ...{ ms, overlapped_ms: overlappedMs, host_ms: hostMs, joules, crossings: crossingCount },
  });
  return { chip, engine: json(engine), linear_only: json(linearOnly) };
}
