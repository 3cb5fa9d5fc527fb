import type { Driver } from "../../chip/chip.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import { AnecdoteError } from "../../util/errors.ts";
import type { EnergyBlock, PowerState } from "./energy-block.ts";
import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import type { TrainEvent, UntimedEvent } from "../../runs/events.ts";
import { predictStep } from "./prediction.ts";
import type { StepPrediction } from "./prediction.ts";
import { UpdateMeter } from "./update-costs.ts";
import type { UpdateCosts } from "./update-costs.ts";
import { isSimulated } from "../../chip/simulated.ts";

interface RunCostsOptions {
  readonly loaded: LoadedPlan;
  /** `Engine.description.name`. */
  readonly engine: string;
  /** The run's setting. */
  readonly driver: Driver | undefined;
  readonly microBatches: number;
  readonly tokensPerStep: number;
  readonly energy: EnergyBlock | undefined;
  /** What the engine was told as it loaded the plan. */
  readonly expectedRuns?: ExpectedRuns;
}

/** What a run's events tell of time, energy and the engine's share, measured or predicted. */
export class RunCosts {
  readonly #options: RunCostsOptions;
  readonly #meter: UpdateMeter;
  #power: PowerState = { kind: "pending" };
  #meterName = "";
  #prediction: { readonly value: StepPrediction | undefined } | undefined;

  constructor(options: RunCostsOptions) {
    this.#options = options;
    const { loaded, engine, energy } = options;
    this.#meter = new UpdateMeter({
      // What a simulated engine tells is a prediction and stands there.
      usage: () => (engine === "ane" ? loaded.usage?.() : undefined),
      energy: () => energy?.energy,
    });
  }

  /** Updates begin, or go on. */
  resume(): void {
    this.#meter.resume();
  }

  /** What follows is no update. */
  pause(): void {
    this.#meter.pause();
  }

  count(tokens: number): void {
    this.#meter.count(tokens);
  }

  /** Of the updates since the last call. */
  stepFields() {
    const costs = this.#meter.report();
    const prediction = isSimulated(this.#options.engine) ? this.#predict() : undefined;
    return {
      ...speedFields(costs),
      iterations_per_second: costs.steps / Math.max(1e-3, costs.seconds),
      ...costFields(costs, this.#meterName),
      ...this.#predicted(prediction),
    };
  }

  /** Of all updates. */
  endFields() {
    const costs = this.#meter.total();
    // A meter that ended early knows nothing of the rest of the run.
    const energy = this.#power.kind === "reading" ? costs.energy : undefined;
    return {
      ...speedFields(costs),
      ...(costs.steps > 0 && { step_ms: (costs.seconds * 1000) / costs.steps }),
      ...costFields({ ...costs, energy }, this.#meterName),
      ...this.#predicted(this.#predict()),
    };
  }

  /** What became of the power meter since the last call. */
  powerEvent(step: number): UntimedEvent | undefined {
    const state = this.#options.energy?.state;
    if (state === undefined || state.kind === this.#power.kind) return undefined;
    this.#power = state;
    switch (state.kind) {
      case "pending":
        return undefined;
      case "reading":
        this.#meterName = state.meter;
        return { kind: "power", step, meter: state.meter };
      case "unavailable":
        return { kind: "power", step, meter: null, reason: state.reason };
    }
  }

  /** A run is not lost for a model that the cost model cannot price. */
  #predict(): StepPrediction | undefined {
    if (this.#prediction === undefined) {
      const { loaded, microBatches, engine, driver, expectedRuns } = this.#options;
      try {
        this.#prediction = {
          value: predictStep(loaded.plan, microBatches, engine, driver, expectedRuns),
        };
      } catch (error) {
        if (!(error instanceof AnecdoteError)) throw error;
        this.#prediction = { value: undefined };
      }
    }
    return this.#prediction.value;
  }

  #predicted(prediction: StepPrediction | undefined) {
    const { tokensPerStep } = this.#options;
    return prediction === undefined
      ? {}
      : { predicted: predictionFields(prediction, tokensPerStep) };
  }
}

function speedFields({ tokens, seconds }: UpdateCosts) {
  return { tokens_per_second: tokens / Math.max(1e-3, seconds) };
}

type StepEvent = Extract<TrainEvent, { kind: "step" }>;
type Metered = Pick<
  StepEvent,
  | "engine_share"
  | "tflops"
  | "tflops_per_watt"
  | "power_meter"
  | "energy_joules"
  | "energy_seconds"
  | "ane_joules"
  | "cpu_joules"
  | "gpu_joules"
  | "watts"
  | "ane_watts"
  | "joules_per_step"
  | "joules_per_token"
>;

/** Nothing of what is not known. */
function costFields({ usage, seconds, energy }: UpdateCosts, meter: string): Metered {
  return {
    ...(usage !== undefined &&
      seconds > 0 && {
        engine_share: usage.engineMs / 1000 / seconds,
        tflops: usage.flops / seconds / 1e12,
      }),
    ...(energy !== undefined && {
      power_meter: meter,
      energy_seconds: energy.seconds,
      ...known("energy_joules", energy.joules.package),
      ...known("ane_joules", energy.joules.ane),
      ...known("cpu_joules", energy.joules.cpu),
      ...known("gpu_joules", energy.joules.gpu),
      ...known("watts", energy.watts.package),
      ...known("ane_watts", energy.watts.ane),
      ...known("joules_per_step", energy.joulesPerStep),
      ...known("joules_per_token", energy.joulesPerToken),
      ...(energy.flopsPerJoule !== undefined && { tflops_per_watt: energy.flopsPerJoule / 1e12 }),
    }),
  };
}

function known<Name extends string>(
  name: Name,
  value: number | undefined,
): { readonly [Key in Name]?: number } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [Key in Name]: number });
}

/** A prediction as events tell it. */
function predictionFields(
  { chip, driver, ms, joules }: StepPrediction,
  tokensPerStep: number,
): NonNullable<StepEvent["predicted"]> {
  return {
    chip,
    driver,
    step_ms: ms,
    step_joules: joules,
    tokens_per_second: tokensPerStep / (ms * 1e-3),
    watts: joules / (ms * 1e-3),
    joules_per_token: joules / tokensPerStep,
  };
}
