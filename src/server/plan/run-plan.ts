import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Chip, Driver } from "../../chip/chip.ts";
import { chipByName } from "../../chip/chips.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { trainingRuns } from "../../chip/estimate.ts";
import type { PlanEstimate } from "../../chip/estimate.ts";
import { checkFunction } from "../../chip/legality/check.ts";
import type { Finding } from "../../chip/legality/check.ts";
import { simulatedChip } from "../../chip/simulated.ts";
import { estimatePlacedPlan, placedPrices, placePlan } from "../../lower/index.ts";
import type { PlacedProgram } from "../../lower/index.ts";
import { programOf } from "../../mil/builder.ts";
import { printProgram } from "../../mil/text/index.ts";
import { byteLengthOf } from "../../mil/types.ts";
import { rooflineSvg } from "../../measure/published/roofline.ts";
import { functionCost } from "../../plan/function-cost.ts";
import { planMemory } from "../../plan/memory.ts";
import type { Binding, Dispatch, Plan, PlanProgram } from "../../plan/plan.ts";
import { listCheckpoints } from "../../runs/checkpoint.ts";
import { RunError } from "../../runs/errors.ts";
import {
  fileLayer,
  expectedRuns,
  planOf,
  plannedModel,
  readTrainLayer,
  resolveRun,
  trainedModel,
} from "../../train/index.ts";
import type { PricedSettings, TrainConfig } from "../../train/index.ts";
import type {
  DispatchView,
  PlanView,
  PortView,
  ProgramText,
  ProgramView,
  RuleView,
  SectionView,
} from "./views.ts";
import { CONFIG_FILE } from "../../runs/config-file.ts";

/** The chip that a run's step is shown for where nobody names one: that of its engine, or an M4. */
const COMPARED = "m4";

/** What a run's step and its price follow from. */
export type RunPlanSettings = PricedSettings & Pick<TrainConfig, "max_steps">;

/** A run's step for a chip, with the texts of its programs. */
export interface RunPlan {
  readonly view: PlanView;
  readonly texts: ReadonlyMap<string, ProgramText>;
}

/**
 * Makes a run's training step anew from its settings, and places and prices it for a chip. Throws `RunError`
 * `run.config.none` without settings, `ChipError` for an unknown chip, and what `resolveRun` throws for settings that this
 * version cannot read.
 */
export function runPlan(folder: string, chipName?: string): RunPlan {
  return planOfSettings(runSettings(folder), chipName);
}

/** The same of settings that no run has yet. */
export function planOfSettings(config: RunPlanSettings, chipName?: string): RunPlan {
  const own = simulatedChip(config.engine);
  const chip = chipName === undefined ? (own ?? chipByName(COMPARED)) : chipByName(chipName);
  const driver = chooseDriver(config.ane_driver);
  const model = trainedModel(config, plannedModel(config));
  const { plan } = planOf({ ...config, engine: "ane" }, model);
  const runs = trainingRuns(plan, config.gradient_accumulation_steps);
  const placed = placePlan(plan, chip, driver);
  const estimate = estimatePlacedPlan(plan, chip, driver, runs);
  const prices = dispatchPrices(plan, estimate, runs);
  // As the engine runs it that knows how long the run is.
  const expected = expectedRuns(config, config.max_steps);
  const asRun = placedPrices(plan, chip, driver)(expected).priceOf({ runs });
  const isJoined = asRun.dispatches.length < estimate.dispatches.length;
  const sections = [...plan.sections].map(([name, dispatches]): SectionView => {
    const views = dispatches.map((dispatch, index) =>
      dispatchView(plan, dispatch, prices.get(`${name} ${index}`), placed.get(dispatch.program)),
    );
    return {
      name,
      runs: runs[name] ?? 0,
      predictedMs: views.reduce((sum, { predictedMs }) => sum + predictedMs, 0),
      dispatches: views,
    };
  });
  const view: PlanView = {
    chip: chip.name,
    driver,
    isRunsOwn: config.engine === "ane" || own?.name === chip.name,
    engine: config.engine,
    sections,
    programs: [...plan.programs.values()].map((program) =>
      programView(program, placed.get(program.name), { chip, driver }, sections),
    ),
    predictedMs: estimate.ms,
    asRun: { ms: asRun.ms, overlappedMs: asRun.overlappedMs, joules: asRun.joules, isJoined },
    breakdown: { ...estimate.breakdown },
    roofline: rooflineSvg(chip, estimate.ops, { isInPage: true }),
    ops: estimate.ops.slice(0, 16).map(({ op, count, ms }) => ({ op, count, ms })),
    memory: memoryOf(plan),
  };
  const texts = new Map(
    [...plan.programs.values()].map(({ name, function: fn }) => {
      const found = placed.get(name);
      const engine =
        found?.place === "engine" ? printProgram(programOf(found.program.function)) : null;
      return [name, { name, plan: printProgram(programOf(fn)), engine }] as const;
    }),
  );
  return { view, texts };
}

/** A run's settings as its next process would take them. */
export function runSettings(folder: string): RunPlanSettings {
  const path = join(folder, CONFIG_FILE);
  if (!existsSync(path))
    throw new RunError("run.config.none", `${folder} has no config.yaml to make its step from`);
  // A run that has checkpoints has its model's sizes there, whatever has become of a preset since.
  const values = { output_dir: folder, resume: listCheckpoints(folder).length > 0 };
  return resolveRun([readTrainLayer(fileLayer(path)), readTrainLayer({ origin: "page", values })])
    .config;
}

interface DispatchPrice {
  readonly ms: number;
  readonly boundBy: string;
}

/**
 * Prices of a plan's dispatches by section and place. The estimate's stand in the same order; before one that the host
 * begins stands the host's part of it.
 */
function dispatchPrices(
  plan: Plan,
  estimate: PlanEstimate,
  runs: Readonly<Record<string, number>>,
): ReadonlyMap<string, DispatchPrice> {
  const prices = new Map<string, DispatchPrice>();
  const priced = [...estimate.dispatches];
  for (const [section, count] of Object.entries(runs)) {
    if (count === 0) continue;
    for (const [index, { label }] of (plan.sections.get(section) ?? []).entries()) {
      let ms = 0;
      let boundBy = "";
      for (let next = priced.shift(); next !== undefined; next = priced.shift()) {
        ms += next.ms / count;
        ({ boundBy } = next);
        if (next.label === label) break;
      }
      prices.set(`${section} ${index}`, { ms, boundBy });
    }
  }
  return prices;
}

function dispatchView(
  plan: Plan,
  dispatch: Dispatch,
  price: DispatchPrice | undefined,
  placed: PlacedProgram | undefined,
): DispatchView {
  const ports = (bindings: ReadonlyMap<string, Binding>): readonly PortView[] =>
    [...bindings].flatMap(([port, { buffer }]) => {
      const spec = plan.buffers.get(buffer);
      if (spec === undefined) return [];
      return [{ port, buffer, role: spec.role, byteLength: byteLengthOf(spec.type) }];
    });
  return {
    label: dispatch.label,
    program: dispatch.program,
    place: placed?.place ?? "host",
    predictedMs: price?.ms ?? 0,
    boundBy: price?.boundBy ?? "",
    inputs: ports(dispatch.inputs),
    outputs: ports(dispatch.outputs),
  };
}

function programView(
  program: PlanProgram,
  placed: PlacedProgram | undefined,
  { chip, driver }: { readonly chip: Chip; readonly driver: Driver },
  sections: readonly SectionView[],
): ProgramView {
  const { name, function: fn, hostKernel } = program;
  const onEngine = placed?.place === "engine" ? placed.program : undefined;
  const found =
    hostKernel !== undefined
      ? []
      : checkFunction(onEngine?.function ?? fn, chip, driver, name).map(ruleView);
  const cost = functionCost(fn);
  const used = sections.flatMap(({ runs, dispatches }) =>
    dispatches
      .filter((dispatch) => dispatch.program === name)
      .map(({ predictedMs }) => ({ runs, ms: predictedMs * runs })),
  );
  const isRefused = onEngine !== undefined && found.some(({ severity }) => severity === "error");
  return {
    name,
    place: isRefused
      ? "refused"
      : onEngine === undefined
        ? "host"
        : onEngine.hostPart === undefined
          ? "engine"
          : "split",
    reason: placed?.place === "host" ? placed.reason : null,
    rules: distinct(found),
    operationCount: cost.operationCount,
    flops: cost.flops,
    dispatchCount: used.reduce((sum, { runs }) => sum + runs, 0),
    predictedMs: used.reduce((sum, { ms }) => sum + ms, 0),
  };
}

function ruleView(finding: Finding): RuleView {
  const { rule, severity, op, says, detail, source, remedy } = finding;
  return { rule, severity, op: op ?? null, says, detail, source, remedy };
}

/** One of each rule: many ops break one alike. */
function distinct(rules: readonly RuleView[]): readonly RuleView[] {
  const seen = new Map<string, RuleView>();
  for (const rule of rules) if (!seen.has(rule.rule)) seen.set(rule.rule, rule);
  return [...seen.values()];
}

function memoryOf(plan: Plan): Readonly<Record<string, number>> {
  const memory = planMemory(plan);
  return { ...memory.persistent, transient: memory.transientByteLength };
}
