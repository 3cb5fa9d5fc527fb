import { chipByName } from "../chip/chips.ts";
import { chooseDriver } from "../chip/choose-driver.ts";
import { simulatedChip } from "../chip/simulated.ts";
import type { FrozenChoice } from "../lower/frozen-constants.ts";
import type { Model } from "../model/index.ts";
import type { Plan } from "../plan/plan.ts";
import {
  chooseBase,
  describeBase,
  describePlacements,
  placementsJson,
  pricePlacements,
} from "../train/index.ts";
import type { PlacementPrices, TrainConfig } from "../train/index.ts";
import { baseJson } from "./base-choice.ts";

/** What a plan costs on a Neural Engine, where there is something to choose. */
export interface PlanPrices {
  readonly chip: string;
  /** Where a frozen base's matrices stand. */
  readonly base?: FrozenChoice;
  readonly placements?: PlacementPrices;
}

/**
 * Prices the choices of a plan for the chip that is named, else that of the engine: `sim:<chip>`, or an M4 for `ane`. Nothing
 * for other engines without a chip. Throws `ChipError` for an unknown one.
 */
export function pricesOf(
  config: TrainConfig,
  model: Model,
  plan: Plan,
  chipName: string | undefined,
): PlanPrices | undefined {
  const simulated = simulatedChip(config.engine);
  const named = chipName ?? (config.engine === "ane" ? "m4" : undefined);
  const chip = named === undefined ? simulated : chipByName(named);
  if (chip === undefined) return undefined;
  const base = chooseBase(plan, model, config, {
    engine: { name: "ane", chip: chip.id },
    updateCount: config.max_steps,
  });
  return {
    chip: chip.name,
    ...(base !== undefined && { base }),
    ...(config.placement === "linear-only" && {
      placements: pricePlacements(config, model, chip, chooseDriver(config.ane_driver)),
    }),
  };
}

export function formatPrices({ chip, base, placements }: PlanPrices): string {
  const lines = [
    ...(base === undefined ? [] : [`a frozen base on ${chip}: ${describeBase(base)}`]),
    ...(placements === undefined ? [] : [describePlacements(placements)]),
  ];
  return lines.length === 0 ? "" : `\n${lines.join("\n")}\n`;
}

export function pricesJson({ chip, base, placements }: PlanPrices): object {
  return {
    ...(base !== undefined && { base_weights: { chip, ...baseJson(base) } }),
    ...(placements !== undefined && { placement: placementsJson(placements) }),
  };
}
