import type { Chip, Driver } from "../chip/chip.ts";
import { estimatePlan } from "../chip/estimate.ts";
import type { Placement, PlanEstimate } from "../chip/estimate.ts";
import { compileMs } from "../chip/cost/compile.ts";
import { checkFunction, checkPlan } from "../chip/legality/check.ts";
import type { Finding } from "../chip/legality/check.ts";
import type { Plan, PlanProgram } from "../plan/plan.ts";
import { lowerFunction } from "./lower-function.ts";
import type { ScalingOptions } from "./lower-function.ts";
import { splitHostParts } from "./host-parts.ts";
import { joinDispatches } from "./join-dispatches.ts";
import type { ExpectedRuns } from "./join-dispatches.ts";
import { NotLowered } from "./lowering.ts";
import { applyScales, chooseScales } from "./operand-scaling.ts";
import { planProductRanges } from "./plan-magnitudes.ts";
import { factorsAtPorts, hostsResults } from "./port-factors.ts";
import type { PlacedProgram } from "./ports.ts";

/** Every program of a plan for a chip: rewritten for the engine where that is possible. */
export function placePlan(
  plan: Plan,
  chip: Chip,
  driver: Driver,
  options: ScalingOptions = {},
): ReadonlyMap<string, PlacedProgram> {
  const placed = new Map<string, PlacedProgram>();
  for (const program of plan.programs.values()) {
    placed.set(program.name, placeProgram(program, chip, driver, options));
  }
  return options.operandScaling === "off" ? placed : scalePlaced(plan, placed);
}

/** Scales the operands of products whose numbers would be lost, by what the plan tells of weights and loss scale. */
function scalePlaced(
  plan: Plan,
  placed: ReadonlyMap<string, PlacedProgram>,
): ReadonlyMap<string, PlacedProgram> {
  const ranges = planProductRanges(plan, (name) => {
    const found = placed.get(name);
    return found?.place === "engine" ? found.program : undefined;
  });
  const scaled = new Map(placed);
  for (const [name, found] of placed) {
    if (found.place !== "engine" || plan.programs.get(name)?.asWritten === true) continue;
    const scales = chooseScales(found.program.function, ranges.get(name) ?? new Map());
    const fn = applyScales(found.program.function, scales);
    const program =
      scales.length === 0
        ? found.program
        : Object.freeze({ ...found.program, function: fn, scales });
    const written = factorsAtPorts(program, hostsResults(plan, name));
    if (written !== found.program) scaled.set(name, { place: "engine", program: written });
  }
  return scaled;
}

function placeProgram(
  program: PlanProgram,
  chip: Chip,
  driver: Driver,
  options: ScalingOptions,
): PlacedProgram {
  if (program.hostKernel !== undefined) {
    return { place: "host", reason: `host kernel ${program.hostKernel.kind}` };
  }
  if (program.onHost !== undefined) return { place: "host", reason: program.onHost };
  try {
    const { asWritten = false } = program;
    const lowered = lowerFunction(program.function, chip, driver, { ...options, asWritten });
    return { place: "engine", program: lowered };
  } catch (error) {
    if (error instanceof NotLowered) return { place: "host", reason: error.message };
    throw error;
  }
}

/** The rules that the programs of a placed plan still break. */
export function checkPlacedPlan(
  plan: Plan,
  placed: ReadonlyMap<string, PlacedProgram>,
  chip: Chip,
  driver: Driver,
): readonly Finding[] {
  const onEngine = [...placed].flatMap(([name, program]) =>
    program.place === "engine" ? checkFunction(program.program.function, chip, driver, name) : [],
  );
  const whole = checkPlan({ ...plan, programs: new Map() }, chip, driver);
  return [...whole, ...onEngine];
}

/** How often each section of a plan runs. */
type SectionRuns = Readonly<Record<string, number>>;

/** Time and energy of a plan as the engine would run it: rewritten, with the rest on the host. */
export function estimatePlacedPlan(
  plan: Plan,
  chip: Chip,
  driver: Driver,
  runs?: SectionRuns,
): PlanEstimate {
  return placedPrices(plan, chip, driver)({}).priceOf({ ...(runs !== undefined && { runs }) });
}

/** Prices of a plan that was placed once. */
export interface PlacedPrices {
  /** For any counts of its sections. */
  readonly priceOf: (what: { readonly runs?: SectionRuns }) => PlanEstimate;
  /** The engine's programs of some sections, and how long a start compiles them. */
  readonly compilationOf: (sections: readonly string[]) => {
    readonly programCount: number;
    readonly ms: number;
  };
}

/** Places a plan; its prices are those of the programs that an engine makes of it for runs it expects. */
export function placedPrices(
  plan: Plan,
  chip: Chip,
  driver: Driver,
): (expectedRuns: ExpectedRuns) => PlacedPrices {
  const split = splitHostParts(plan, placePlan(plan, chip, driver));
  return (expectedRuns) => {
    const { plan: running, placed } = joinDispatches(split, chip, driver, expectedRuns);
    const place = (program: PlanProgram): Placement => {
      const found = placed.get(program.name);
      return found?.place === "engine"
        ? { place: "engine", function: found.program.function }
        : { place: "host", reason: found?.reason ?? "unknown" };
    };
    return {
      priceOf: (what) => estimatePlan(running, chip, driver, { ...what, place }),
      compilationOf: (sections) => {
        const names = new Set(
          sections.flatMap((section) =>
            (running.sections.get(section) ?? []).map(({ program }) => program),
          ),
        );
        const times = [...names].flatMap((name) => {
          const found = placed.get(name);
          if (found?.place !== "engine") return [];
          const { operations } = found.program.function;
          return [compileMs(operations.filter(({ type }) => type !== "const").length)];
        });
        return { programCount: times.length, ms: times.reduce((sum, ms) => sum + ms, 0) };
      },
    };
  };
}
