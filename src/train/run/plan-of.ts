import type { Model } from "../../model/index.ts";
import { optimize } from "../../passes/pipeline.ts";
import type { TrainConfig } from "../config/config.ts";
import { buildTrainingPlan } from "../step/step-plan.ts";
import type { TrainingPlan, TrainingPlanOptions } from "../step/step-plan.ts";

interface HeldParts {
  readonly part?: TrainingPlanOptions["part"] | undefined;
  readonly shard?: TrainingPlanOptions["shard"] | undefined;
}

/** The plan of a run's steps, as `--show plan` prints it and the engine runs it. `held`: in a group, what this
 * process holds. */
export function planOf(
  config: TrainConfig,
  model: Model,
  { part, shard }: HeldParts = {},
): TrainingPlan {
  return buildTrainingPlan({
    model,
    ...(part !== undefined && { part }),
    ...(shard !== undefined && { shard }),
    batchSize: config.batch_size,
    sequenceLength: config.max_seq_length,
    isPacked: config.packing,
    accumulation: config.gradient_accumulation_steps > 1,
    recompute: config.recompute,
    optimize: (fn) => optimize(fn),
    adamw: { beta1: config.adam_beta1, beta2: config.adam_beta2, epsilon: config.adam_epsilon },
    muon: { momentum: config.muon_momentum, iterations: config.muon_iterations },
    ...(config.tap_bytes !== undefined && { byteBudget: config.tap_bytes }),
    ...(config.head_chunk_rows !== undefined && { headChunkRows: config.head_chunk_rows }),
  });
}
