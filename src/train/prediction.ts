import { chipByName } from "../chip/chips.ts";
import { trainingRuns } from "../chip/estimate.ts";
import { estimatePlacedPlan } from "../passes/engine/place-plan.ts";
import type { Plan } from "../plan/plan.ts";

/** What a step would take on a Neural Engine, by the cost model (docs/cost-model.md). */
export interface StepPrediction {
  readonly chip: string;
  /** Milliseconds of one update with all its micro-batches. */
  readonly ms: number;
  readonly joules: number;
}

/** The chip that machines without an engine are compared with. */
const COMPARED = "m4";
const SIMULATED = /^sim:(?<chip>.+)$/;

/**
 * Through the default driver, for the chip that `engine` simulates, else for an M4. Nothing where `engine` is a
 * Neural Engine: there is nothing to predict.
 */
export function predictStep(
  plan: Plan,
  microBatches: number,
  engine: string,
): StepPrediction | undefined {
  if (engine === "ane") return undefined;
  const chip = chipByName(SIMULATED.exec(engine)?.groups?.["chip"] ?? COMPARED);
  const runs = trainingRuns(plan, microBatches);
  const { ms, joules } = estimatePlacedPlan(plan, chip, "e5rt", runs);
  return { chip: chip.name, ms, joules };
}
