import { mayBeNeuralEngine } from "../../engine/auto.ts";
import type { Model } from "../../model/index.ts";
import { optimize } from "../../passes/pipeline.ts";
import type { ExpectedRuns } from "../../lower/join-dispatches.ts";
import type { TrainConfig } from "../config/config.ts";
import { hasQuantizedBase } from "../config/method-options.ts";
import { buildTrainingPlan } from "../step/step-plan.ts";
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

type RunCounts = Pick<TrainConfig, "gradient_accumulation_steps" | "sum_order">;

/**
 * What a quantized base's backward pass may read of the forward one where nobody says: whoever packs the base wants memory
 * more than time. Of a billion numbers, 512 tokens, it is two thirds of what `--recompute auto` would keep.
 */
const QUANTIZED_TAP_BYTES = 2 ** 30;

interface HeldParts {
  readonly part?: TrainingPlanOptions["part"] | undefined;
  readonly shard?: TrainingPlanOptions["shard"] | undefined;
}

/** Below this many rows a block's copies and extra ops cost what it saves. */
const SHORTEST_CUT_ROWS = 256;
const CUT_BLOCKS = 8;
const BLOCK_MULTIPLE = 64;

/**
 * Rows of a block of causal attention on a processor, which then leaves out most of what the mask hides: 0.94 of the time
 * and 0.82 of the memory of a llama of 3 x 768 at 1,024 tokens. A Neural Engine and what stands for one take whole
 * squares: there more ops cost more than they save, by the cost model.
 */
function attentionBlockRows({ engine, max_seq_length: rows }: TrainConfig): number | undefined {
  const isProcessor = engine === "cpu" || (engine === "auto" && !mayBeNeuralEngine());
  if (!isProcessor || rows < SHORTEST_CUT_ROWS) return undefined;
  return BLOCK_MULTIPLE * Math.ceil(rows / CUT_BLOCKS / BLOCK_MULTIPLE);
}

/**
 * The plan of a run's steps, as `--show plan` prints it and the engine runs it. `held`: in a group, what this process
 * holds.
 */
export function planOf(
  config: TrainConfig,
  model: Model,
  { part, shard }: HeldParts = {},
): TrainingPlan {
  const blockRows = attentionBlockRows(config);
  return buildTrainingPlan({
    model,
    ...(part !== undefined && { part }),
    ...(shard !== undefined && { shard }),
    // Of pairs of answers, each answer has a row.
    batchSize: config.method === "dpo" ? 2 * config.batch_size : config.batch_size,
    ...(config.method === "dpo" && { preference: { beta: config.dpo_beta } }),
    sequenceLength: config.max_seq_length,
    isPacked: config.packing,
    accumulation: config.gradient_accumulation_steps > 1,
    recompute: config.recompute,
    optimize: (fn) => optimize(fn),
    adamw: { beta1: config.adam_beta1, beta2: config.adam_beta2, epsilon: config.adam_epsilon },
    ...(blockRows !== undefined && { attentionBlockRows: blockRows }),
    muon: { momentum: config.muon_momentum, iterations: config.muon_iterations },
    ...(config.tap_bytes !== undefined
      ? { byteBudget: config.tap_bytes }
      : hasQuantizedBase(config) &&
        config.recompute === "auto" && { byteBudget: QUANTIZED_TAP_BYTES, isBudgetSoft: true }),
    ...(config.head_chunk_rows !== undefined && { headChunkRows: config.head_chunk_rows }),
  });
}
