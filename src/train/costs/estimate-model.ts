import { chipWith } from "../../chip/calibration.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { trainingRuns } from "../../chip/estimate.ts";
import type { PlanEstimate } from "../../chip/estimate.ts";
import { bucketFor, buildDecodePlan } from "../../generate/decode-plan.ts";
import { cachedContextLength } from "../../model/index.ts";
import { estimatePlacedPlan, placedPrices } from "../../lower/index.ts";
import type { ExpectedRuns } from "../../lower/index.ts";
import type { PlanSettings, PricedSettings } from "../config/part-settings.ts";
import { updateTypesOf } from "../../plan/update-types.ts";
import type { UpdateTypes } from "../../plan/update-types.ts";
import { plannedTraining } from "../run/planned-model.ts";
import { expectedRuns, planOf } from "../run/plan-of.ts";
import { pricePlacements } from "./placement-prices.ts";
import type { PlacementPrices } from "./placement-prices.ts";
import { chooseBase } from "../run/frozen-base.ts";
import type { FrozenChoice } from "../../lower/frozen-constants.ts";
import type { EstimateFileOptions } from "../../files/estimate-file.ts";

/** Micro-batches between two updates of the published trainers. */
export const PUBLISHED_MICRO_BATCHES = 10;

/** The chip that a model is priced for. */
export type EstimateModelOptions = Pick<EstimateFileOptions, "chip" | "calibrated" | "driver">;

/** The predicted price of one optimizer update. */
export interface StepEstimate {
  readonly estimate: PlanEstimate;
  /** Tokens of an update: batch times sequence times micro-batches. */
  readonly tokenCount: number;
  /** Milliseconds of one micro-batch where `PUBLISHED_MICRO_BATCHES` make an update, as published trainers count. */
  readonly published: {
    readonly microBatches: number;
    readonly ms: number;
    readonly overlappedMs: number;
  };
  /** In which types the update's numbers stand: what it moves was counted by them. Nothing without AdamW. */
  readonly update?: UpdateTypes;
  /** Whether a frozen base's matrices are constants of programs, and the price of both ways; nothing where none is frozen. */
  readonly base?: FrozenChoice;
  /** The step with and without nonlinear ops on the host, where that is asked for. */
  readonly placements?: PlacementPrices;
  /** The run that programs are joined for, and what compiling them takes at every start of it: a guess (`compileMs`). */
  readonly longRun: {
    readonly updateCount: number;
    readonly programCount: number;
    readonly ms: number;
  };
}

/**
 * Updates of the run whose step is priced; an engine joins programs where that pays for
 * compiling them.
 */
const LONG_RUN = 10_000;

/** The predicted price of one generated token. */
export interface TokenEstimate {
  readonly estimate: PlanEstimate;
  /** Positions of the cache it is written with. */
  readonly cacheLength: number;
}

/**
 * Predicts time and energy of a training step of a run on a chip. Nothing is measured.
 * Throws `ChipError` for an unknown chip.
 */
export function estimateStep(
  config: PricedSettings,
  options: EstimateModelOptions = {},
): StepEstimate {
  const chip = chipWith(options.chip ?? "m4", options.calibrated);
  const driver = chooseDriver(options.driver);
  const model = plannedTraining(config);
  const microBatches = config.gradient_accumulation_steps;
  const planned = {
    ...config,
    engine: "ane",
    gradient_accumulation_steps: PUBLISHED_MICRO_BATCHES,
  };
  const published = planOf(planned, model).plan;
  const pricesOfMany = placedPrices(published, chip, driver);
  const { ms, overlappedMs } = pricesOfMany(expectedRuns(planned, LONG_RUN)).priceOf({
    runs: trainingRuns(published, PUBLISHED_MICRO_BATCHES),
  });
  // Gradients of one micro-batch may stand as the engine gives them; plans of many differ in how often sections run.
  const isOne = microBatches === 1;
  const plan = isOne ? planOf({ ...config, engine: "ane" }, model).plan : published;
  const pricesFor = isOne ? placedPrices(plan, chip, driver) : pricesOfMany;
  const runs = expectedRuns(config, LONG_RUN);
  const own = pricesFor(runs);
  const base = chooseBase(
    plan,
    model,
    { ...config, base_weights: "auto" },
    { engine: { name: "ane", chip: chip.id }, updateCount: LONG_RUN },
  );
  const update = updateTypesOf(plan);
  return {
    ...(base !== undefined && { base }),
    ...(update !== undefined && { update }),
    ...(config.placement === "linear-only" && {
      placements: pricePlacements(config, model, chip, driver),
    }),
    estimate: own.priceOf({ runs: trainingRuns(plan, microBatches) }),
    tokenCount: config.batch_size * config.max_seq_length * microBatches,
    published: {
      microBatches: PUBLISHED_MICRO_BATCHES,
      ms: ms / PUBLISHED_MICRO_BATCHES,
      overlappedMs: overlappedMs / PUBLISHED_MICRO_BATCHES,
    },
    longRun: { updateCount: LONG_RUN, ...own.compilationOf(trainedSections(runs)) },
  };
}

/** Predicts time and energy of one generated token of a run's model on a chip. Throws `ChipError`. */
export function estimateToken(
  config: PlanSettings,
  options: EstimateModelOptions = {},
): TokenEstimate {
  const chip = chipWith(options.chip ?? "m4", options.calibrated);
  const driver = chooseDriver(options.driver);
  const model = plannedTraining(config);
  const contextLength = cachedContextLength(model.config);
  const bucket = bucketFor(Math.min(config.max_seq_length, contextLength), contextLength);
  const plan = buildDecodePlan({ model, bucket, prefillRowCount: 1 });
  return {
    estimate: estimatePlacedPlan(plan, chip, driver, { decode: 1 }),
    cacheLength: bucket,
  };
}

function trainedSections(runs: ExpectedRuns): readonly string[] {
  return Object.entries(runs).flatMap(([section, { count }]) => (count > 0 ? [section] : []));
}
