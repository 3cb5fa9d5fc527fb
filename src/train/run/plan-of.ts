import { FIRST_SET } from "../../chip/arithmetic/arithmetic.ts";
import { mayBeNeuralEngine } from "../../engine/auto.ts";
import type { Model } from "../../model/index.ts";
import { optimize } from "../../passes/pipeline.ts";
import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import { linearOnly } from "../../lower/linear-placement.ts";
import { hasQuantizedBase } from "../config/method-options.ts";
import type { RunCounts, StepSettings } from "../config/part-settings.ts";
import { processorOptions } from "../step/processor-options.ts";
import { buildTrainingPlan } from "../step/step-plan.ts";
import { isOnNeuralEngine } from "./frozen-base.ts";
import type { TrainingPlan, TrainingPlanOptions, TrainingSection } from "../step/step-plan.ts";

/**
 * How often a run's gradients are computed in `updateCount` updates, by section: an engine compiles what runs often
 * into larger programs.
 */
export function expectedRuns(
  { gradient_accumulation_steps: microBatches, sum_order: sumOrder }: RunCounts,
  updateCount: number,
): ExpectedRuns {
  const writing = sumOrder === "tree" ? microBatches : 1;
  const adding = microBatches - writing;
  return {
    ["forward_backward" satisfies TrainingSection]: {
      count: updateCount * writing,
      behindUpdate: 1 / writing,
    },
    ["forward_backward_accumulate" satisfies TrainingSection]: { count: updateCount * adding },
  };
}

/**
 * What a quantized base's backward pass may read of the forward one where nobody says: whoever packs the base wants memory
 * more than time. Of a billion numbers, 512 tokens, it is two thirds of what `--recompute auto` would keep.
 */
const QUANTIZED_TAP_BYTES = 2 ** 30;

interface HeldParts {
  readonly part?: TrainingPlanOptions["part"] | undefined;
  readonly shard?: TrainingPlanOptions["shard"] | undefined;
}

function runsOnProcessor(engine: string): boolean {
  return engine === "cpu" || (engine === "auto" && !mayBeNeuralEngine());
}

/** Where a Neural Engine trains; but a run of the first rules of its arithmetic goes on with the bits it would have had. */
function looksUpTargets({ engine, arithmetic }: StepSettings): boolean {
  return !runsOnProcessor(engine) && engine !== "reference" && arithmetic !== FIRST_SET;
}

/**
 * Where a Neural Engine gives gradients of one micro-batch to this process alone, in the first order of sums: adding them
 * up, and exchanging them, needs fp32. An adapter's are small, and products of theirs may be scaled back by the host.
 */
function hasHalfGradients(config: StepSettings): boolean {
  const { method, sum_order: order, engine, arithmetic } = config;
  const isNeural = isOnNeuralEngine(engine) || (engine === "auto" && mayBeNeuralEngine());
  return isNeural && method === "full" && order !== "tree" && arithmetic !== FIRST_SET;
}

/** Whether a model's layers can be split over machines: pairs of answers, and dropout's masks, are for one that has all. */
export function canBeSplit({ method }: Pick<StepSettings, "method">, model: Model): boolean {
  return method !== "dpo" && (model.parameters.adapter?.dropout ?? 0) === 0;
}

/**
 * The plan of a run's steps, as `--show plan` prints it and the engine runs it. `held`: in a group, what this process
 * holds; nothing where it trains alone.
 */
export function planOf(config: StepSettings, model: Model, held?: HeldParts): TrainingPlan {
  const { part, shard } = held ?? {};
  const built = buildTrainingPlan({
    model,
    halfGradients: held === undefined && hasHalfGradients(config),
    ...(part !== undefined && { part }),
    ...(shard !== undefined && { shard }),
    // Of pairs of answers, each answer has a row.
    batchSize: config.method === "dpo" ? 2 * config.batch_size : config.batch_size,
    ...(config.method === "dpo" && { preference: { beta: config.dpo_beta } }),
    sequenceLength: config.max_seq_length,
    isPacked: config.packing,
    accumulation: config.gradient_accumulation_steps > 1,
    recompute: config.recompute,
    ...(runsOnProcessor(config.engine)
      ? processorOptions(config.max_seq_length)
      : { optimize: (fn) => optimize(fn) }),
    adamw: {
      beta1: config.adam_beta1,
      beta2: config.adam_beta2,
      epsilon: config.adam_epsilon,
      momentType: config.moment_dtype,
    },
    targetRows: looksUpTargets(config),
    muon: { momentum: config.muon_momentum, iterations: config.muon_iterations },
    ...(config.tap_bytes !== undefined
      ? { byteBudget: config.tap_bytes }
      : hasQuantizedBase(config) &&
        config.recompute === "auto" && { byteBudget: QUANTIZED_TAP_BYTES, isBudgetSoft: true }),
    ...(config.head_chunk_rows !== undefined && { headChunkRows: config.head_chunk_rows }),
  });
  return config.placement === "linear-only" ? { ...built, plan: linearOnly(built.plan) } : built;
}
