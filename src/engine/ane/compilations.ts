import type { Chip } from "../../chip/chip.ts";
import type { ScalingOptions } from "../../lower/lower-function.ts";
import { placePlan } from "../../lower/place-plan.ts";
import type { PlacedProgram } from "../../lower/ports.ts";
import type { Plan } from "../../plan/plan.ts";
import type { CompilationCost, SectionsOfPlan } from "../engine.ts";
import { overCompileBudget } from "../host/compile-budget.ts";
import type { AneDriver, DriverCompilations, EngineSource } from "./driver.ts";
import { canonicalSource } from "./program-text.ts";

/** Sources of the programs of some sections that run on the engine, by the plan's names. */
export function sourcesOf(
  plan: Plan,
  placed: ReadonlyMap<string, PlacedProgram>,
  sections: readonly string[],
): ReadonlyMap<string, EngineSource> {
  const sources = new Map<string, EngineSource>();
  for (const section of sections) {
    for (const { program } of plan.sections.get(section) ?? []) {
      const place = placed.get(program);
      if (place?.place === "engine" && !sources.has(program))
        sources.set(program, canonicalSource(program, place.program.function));
    }
  }
  return sources;
}

/** What sections of several plans need together. Nothing for a driver that compiles without a limit. */
export function compilationCostOf(
  driver: AneDriver,
  chip: Chip,
  options: ScalingOptions,
  needs: readonly SectionsOfPlan[],
): CompilationCost | undefined {
  const { compilations } = driver;
  if (compilations === undefined) return undefined;
  const sources = needs.flatMap(({ plan, sections }) => [
    ...sourcesOf(plan, placePlan(plan, chip, driver.name, options), sections).values(),
  ]);
  return costOf(compilations, sources);
}

/**
 * Throws `EngineError` `engine.ane.budget` before anything is compiled where this process may not compile all of
 * these programs.
 */
export function checkCompilations(
  compilations: DriverCompilations | undefined,
  sources: readonly EngineSource[],
  what: string,
): void {
  // Hashes cost time, and mostly there is room.
  if (compilations === undefined || sources.length <= compilations.left) return;
  const cost = costOf(compilations, sources);
  if (cost.missing > cost.left) throw overCompileBudget(cost, what);
}

function costOf(
  { budget, left, keyOf, isCompiled }: DriverCompilations,
  sources: readonly EngineSource[],
): CompilationCost {
  const distinct = new Map(sources.map((source) => [keyOf(source), source]));
  const missing = [...distinct.values()].filter((source) => !isCompiled(source)).length;
  return { programs: distinct.size, missing, left, budget };
}
