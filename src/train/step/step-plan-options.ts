import type { Derivative } from "../../grad/differentiate.ts";
import type { MilFunction } from "../../mil/program.ts";
import type { Model } from "../../model/model.ts";
import type { Plan } from "../../plan/plan.ts";
import type { AdamwSettings } from "./adamw.ts";
import type { Recompute } from "./block-derivatives.ts";
import type { MuonSettings } from "./muon.ts";
import type { PreferenceSettings } from "./preference.ts";
import type { StepPart, UpdateShard } from "./step-part.ts";

/** What a training step is planned for. */
export interface TrainingPlanOptions {
  readonly model: Model;
  /** Sequences of one micro-batch, B. */
  readonly batchSize: number;
  /** Tokens of a sequence, S. */
  readonly sequenceLength: number;
  /** Rows hold several documents: `position_ids` and `documents` are inputs beside the tokens. Default false. */
  readonly isPacked?: boolean;
  /**
   * Rows are pairs of answers, 2i the better and 2i + 1 the worse one, and the loss is that of preferences; the reference
   * is the model without its adapter.
   */
  readonly preference?: PreferenceSettings;
  /** Adds the section for the second and later micro-batches. Default true. */
  readonly accumulation?: boolean;
  /** Default "none": everything a derivative reads is kept. */
  readonly recompute?: Recompute;
  /** Bytes that what the backward pass reads of the forward one may take, all layers together. */
  readonly byteBudget?: number;
  /** Where the budget is too small, the least that is possible is kept. Default: it is an error. */
  readonly isBudgetSoft?: boolean;
  /** Rows of the batch whose logits exist at once. Default: what fits 64 MiB of logits. */
  readonly headChunkRows?: number;
  /**
   * The host looks up the rows of the head's matrix that stand for the targets, where the head allows it: what a Neural
   * Engine would otherwise compare with every column of the vocabulary. Default false.
   */
  readonly targetRows?: boolean;
  /** Rows of a sequence that attend together, to the columns that some of them see. Default: all, to all columns. */
  readonly attentionBlockRows?: number;
  /**
   * Gradients of blocks that AdamW updates stand as fp16, as a Neural Engine gives them: the norm and the update read them
   * so. Only without `accumulation`, which adds in fp32. Default false.
   */
  readonly halfGradients?: boolean;
  readonly adamw?: AdamwSettings;
  readonly muon?: MuonSettings;
  /** Of a process in a pipeline: the plan has its blocks alone, and a forward and a backward section a slot. */
  readonly part?: StepPart;
  /** Of a process that updates its part of every weight: the optimizer's state is that of the part. */
  readonly shard?: UpdateShard;
  /** Applied to every program without a host kernel. Default: the passes of passes/pipeline.ts. */
  readonly optimize?: (fn: MilFunction) => MilFunction;
}

/** The plan of a training step, with what it keeps for the backward. */
export interface TrainingPlan {
  readonly plan: Plan;
  readonly model: Model;
  readonly headChunkRows: number;
  /** Bytes of the largest logits that exist at once. */
  readonly logitsByteLength: number;
  /** What the derivative of the lowest trained layer keeps and what that costs; none where only the head is trained. */
  readonly block?: Derivative;
}
