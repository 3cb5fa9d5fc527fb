import type { Driver } from "../../chip/chip.ts";
import { chipByName } from "../../chip/chips.ts";
import { trainingRuns } from "../../chip/estimate.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import { placedPrices } from "../../lower/place-plan.ts";
import type { Plan } from "../../plan/plan.ts";
import { simulatedChip } from "../../chip/simulated.ts";

/** What a step would take on a Neural Engine, by the cost model (docs/cost-model.md). */
export interface StepPrediction {
  readonly chip: string;
  readonly driver: Driver;
  /** Milliseconds of one update with all its micro-batches. */
  readonly ms: number;
  readonly joules: number;
}

/** The chip that machines without an engine are compared with. */
const COMPARED = "m4";

/**
 * For the chip that `engine` simulates, else for an M4, through `driver`: that of the run, the one that
 * `ANECDOTE_ANE_DRIVER` names, or e5rt. `expectedRuns`: what the engine was told as it loaded the plan. Nothing where `engine` is a Neural Engine: there is nothing to predict.
 * Throws `EngineError` for an unknown driver, `ChipError` for an unknown chip.
 */
export function predictStep(
  plan: Plan,
  microBatches: number,
  engine: string,
  driver?: Driver,
  expectedRuns: ExpectedRuns = {},
): StepPrediction | undefined {
  if (engine === "ane") return undefined;
  const chip = simulatedChip(engine) ?? chipByName(COMPARED);
  const runs = trainingRuns(plan, microBatches);
  const through = chooseDriver(driver);
  const { ms, joules } = placedPrices(plan, chip, through)(expectedRuns).priceOf({ runs });
  return { chip: chip.name, driver: through, ms, joules };
}
