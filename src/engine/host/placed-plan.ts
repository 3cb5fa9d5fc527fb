import type { Chip, Driver } from "../../chip/chip.ts";
import { formatFindings } from "../../chip/print.ts";
import type { ScalingOptions } from "../../lower/lower-function.ts";
import { checkPlacedPlan, placePlan } from "../../lower/place-plan.ts";
import { splitHostParts } from "../../lower/host-parts.ts";
import type { SplitPlan } from "../../lower/host-parts.ts";
import { joinDispatches } from "../../lower/join-dispatches.ts";
import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import type { PlacedProgram } from "../../lower/ports.ts";
import type { Plan } from "../../plan/plan.ts";
import { EngineError } from "../errors.ts";

export interface PlacingOptions extends ScalingOptions {
  /** Sections of which neighbouring dispatches may become one program. Default: none. */
  readonly expectedRuns?: ExpectedRuns | undefined;
}

/**
 * Where every program of a plan runs, and as what, and the plan as it runs then. Throws `EngineError` `engine.refused` for a plan the chip
 * refuses, with op, rule, source and remedy.
 */
export function placeOrRefuse(
  plan: Plan,
  chip: Chip,
  driver: Driver,
  options: PlacingOptions,
): SplitPlan {
  const placed = placePlan(plan, chip, driver, options);
  const broken = checkPlacedPlan(plan, placed, chip, driver).filter(
    ({ severity }) => severity === "error",
  );
  if (broken.length === 0)
    return joinDispatches(splitHostParts(plan, placed), chip, driver, options.expectedRuns ?? {});
  throw new EngineError(
    "engine.refused",
    `${chip.name} refuses plan "${plan.name}":\n${formatFindings(broken)}`,
  );
}

/** Programs that stay on the host, and why. */
export function programsOnHost(
  placed: ReadonlyMap<string, PlacedProgram>,
): readonly { readonly program: string; readonly reason: string }[] {
  return [...placed].flatMap(([program, one]) =>
    one.place === "host" ? [{ program, reason: one.reason }] : [],
  );
}
