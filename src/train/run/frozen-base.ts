import type { Driver } from "../../chip/chip.ts";
import { chipByName } from "../../chip/chips.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { trainingRuns } from "../../chip/estimate.ts";
import { isSimulated, simulatedChip } from "../../chip/simulated.ts";
import type { CompilationCost, EngineDescription } from "../../engine/engine.ts";
import { PRICED_ELEMENTS, chooseConstants, withConstants } from "../../lower/frozen-constants.ts";
import type { FrozenChoice } from "../../lower/frozen-constants.ts";
import { fillWeights } from "../../model/index.ts";
import type { Model } from "../../model/index.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { Plan } from "../../plan/plan.ts";
import { formatNumber } from "../../chip/figure.ts";
import type { FrozenBaseSettings } from "../config/part-settings.ts";

export interface BaseQuestion {
  /** `ane` with its chip, or `sim:<chip>`. */
  readonly engine: Pick<EngineDescription, "name" | "chip">;
  /** Updates that a start compiles for. */
  readonly updateCount: number;
  /** What a process may compile, for engines with such a limit. */
  readonly compilations?: CompilationCost | undefined;
}

/** Whether an engine of this name is a Neural Engine, real or simulated. */
export function isOnNeuralEngine(engine: string): boolean {
  return engine === "ane" || isSimulated(engine);
}

/**
 * Whether a frozen base's matrices become constants of programs, by the cost model (`chooseConstants`). Nothing where
 * there is no frozen base, no Neural Engine, or the settings keep it in memory or in its file.
 */
export function chooseBase(
  plan: Plan,
  model: Model,
  settings: FrozenBaseSettings,
  { engine, updateCount, compilations }: BaseQuestion,
): FrozenChoice | undefined {
  const { method, base_weights: wanted, gradient_accumulation_steps: microBatches } = settings;
  if (method === "full" || !isOnNeuralEngine(engine.name)) return undefined;
  if (wanted !== "auto" && wanted !== "constants") return undefined;
  const chip = simulatedChip(engine.name) ?? chipByName(engine.chip ?? "m4");
  const frozen = frozenNames(model);
  const driver: Driver = chooseDriver(settings.ane_driver);
  return chooseConstants(plan, {
    chip,
    driver,
    runs: trainingRuns(plan, microBatches),
    updateCount,
    wanted,
    isFrozen: (buffer) => frozen.has(buffer),
    ...(compilations !== undefined && { budget: compilations.budget }),
  });
}

function frozenNames({ parameters }: Model): ReadonlySet<string> {
  return new Set(
    parameters.weights
      .filter(({ trainable, storage }) => !trainable && storage.kind === "fp32")
      .map(({ name }) => name),
  );
}

/** The plan with the chosen matrices as constants, read from where the model's weights come from. */
export function withBaseConstants(plan: Plan, model: Model, { inputs }: FrozenChoice): Plan {
  if (inputs.size === 0) return plan;
  const wanted = new Set<string>();
  for (const dispatch of [...plan.sections.values()].flat()) {
    const chosen = inputs.get(dispatch.program) ?? [];
    for (const input of chosen) wanted.add(dispatch.inputs.get(input)?.buffer ?? "");
  }
  const weights = model.parameters.weights.filter(({ name }) => wanted.has(name));
  const numbers = new Map(
    weights.map(({ name, type }) => [name, new Float32Array(elementCount(staticShape(type)))]),
  );
  const read = (name: string): Float32Array => {
    const found = numbers.get(name);
    if (found === undefined) throw new RangeError(`"${name}" is no weight of the model`);
    return found;
  };
  fillWeights(model, read, weights);
  return withConstants(plan, inputs, read);
}

/** The choice, its price and the other way's, as a sentence. */
export function describeBase(choice: FrozenChoice): string {
  const { constantCount, weightCount, unpricedCount, inputsMs, constantsMs } = choice;
  const { programCount, reason } = choice;
  const ms = (value: number): string => `${formatNumber(value)} ms`;
  const what =
    constantCount === 0
      ? `the base's ${weightCount} uses of matrices stay inputs of programs: ${reason}`
      : `${constantCount} of the base's ${weightCount} uses of matrices are constants, ${programCount} programs (${reason})`;
  const other = constantsMs === undefined ? "not priced" : ms(constantsMs);
  const unpriced =
    unpricedCount === 0
      ? ""
      : `; ${unpricedCount} uses are of matrices of more than ${PRICED_ELEMENTS.toLocaleString("en")} numbers, which are not priced and stay inputs: --base-weights constants prices them too`;
  return `${what}; an update's gradients ${ms(inputsMs)} with inputs, ${other} with constants (predicted)${unpriced}`;
}
