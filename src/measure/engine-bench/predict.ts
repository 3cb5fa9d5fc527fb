import type { Chip, Driver } from "../../chip/chip.ts";
import { callJoules } from "../../chip/cost/energy.ts";
import { priceCall, pricingRates } from "../../chip/cost/model.ts";
import type { Bound } from "../../chip/cost/model.ts";
import { rowCase } from "../published/row-case.ts";
import type { Finding } from "../../chip/legality/check.ts";
import { checkPlacedPlan, estimatePlacedPlan, placePlan } from "../../lower/place-plan.ts";
import type { Plan } from "../../plan/plan.ts";
import type { BenchCase, CasePlan } from "./case.ts";
import { asRow } from "./suites.ts";

/** What the cost model says of one timed call. */
export interface Prediction {
  readonly chip: string;
  readonly driver: Driver;
  readonly ms: number;
  readonly joules: number;
  readonly watts: number;
  readonly boundBy: Bound;
}

/**
 * Cases that are rows are priced as `npm run bench:cost-model` prices rows; whole plans as `anecdote estimate`
 * prices them, rewritten for the engine.
 */
export function predict(
  benchCase: BenchCase,
  chip: Chip,
  driver: Driver,
  planOf: () => CasePlan = () => buildPlaceholder(benchCase),
): Prediction {
  const { shape, dispatches, hostCopies } = benchCase;
  if (shape === undefined) {
    const { plan, time } = planOf();
    const runs = Object.fromEntries(time.map((section) => [section, 1]));
    const { ms, joules, boundBy } = estimatePlacedPlan(plan, chip, driver, runs);
    return prediction(chip, driver, ms, joules, boundBy);
  }
  const { work, hostBytes } = rowCase({
    ...asRow(shape, chip.id),
    driver,
    host_copies: hostCopies,
  });
  const price = priceCall(work, pricingRates(chip, driver), { hostBytes });
  return prediction(
    chip,
    driver,
    price.ms * dispatches,
    callJoules(price, chip) * dispatches,
    price.boundBy,
  );
}

function prediction(
  chip: Chip,
  driver: Driver,
  ms: number,
  joules: number,
  boundBy: Bound,
): Prediction {
  return { chip: chip.name, driver, ms, joules, watts: joules / (ms * 1e-3), boundBy };
}

/** The case's plan with types in place of numbers: enough to check and to price. */
export function buildPlaceholder(benchCase: BenchCase): CasePlan {
  return benchCase.build({ dataType: "fp16", constants: "placeholder", readsResults: false });
}

/** Why a chip does not run a case, with the rule. */
export interface Refusal {
  readonly rule: string;
  readonly reason: string;
  readonly source: string;
}

/** The first rule that keeps a program of the plan off the engine, or a program that stays on the host. */
export function refusalOf(
  { plan }: CasePlan,
  chip: Chip,
  driver: Driver,
  { hostIsFine }: { readonly hostIsFine: boolean },
): Refusal | undefined {
  const placed = placePlan(plan, chip, driver);
  if (!hostIsFine) {
    for (const program of placed.values()) {
      if (program.place === "host")
        return { rule: "stays-on-host", reason: program.reason, source: "passes/engine" };
    }
  }
  const broken = errorsOf(plan, placed, chip, driver)[0];
  return broken === undefined
    ? undefined
    : {
        rule: broken.rule,
        reason: `${broken.says} ${broken.detail}`,
        source: broken.source,
      };
}

function errorsOf(
  plan: Plan,
  placed: ReturnType<typeof placePlan>,
  chip: Chip,
  driver: Driver,
): readonly Finding[] {
  return checkPlacedPlan(plan, placed, chip, driver).filter(({ severity }) => severity === "error");
}
