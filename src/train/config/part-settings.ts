import type { TrainConfig } from "./config.ts";
import type { EXAMPLE_OPTIONS } from "./data-options.ts";
import type { METHOD_OPTIONS } from "./method-options.ts";
import type { SIZE_KEYS } from "./size-keys.ts";

// What parts of a run read of its settings. A whole `TrainConfig` is each of these.

/** Where the shape of a run's model comes from, and what changes it. */
export type ShapeSettings = Partial<
  Pick<TrainConfig, "preset" | "model" | "model_config" | (typeof SIZE_KEYS)[number]>
>;

/** What the shape of a run's model follows from before its data are read. */
export type ModelSettings = ShapeSettings &
  Pick<TrainConfig, "output_dir" | "resume" | "tokenizer" | "vocab_size" | "max_seq_length">;

/** What of a model a run trains; the seed is of the adapter's first numbers, and of a model that is drawn. */
export type MethodSettings = Pick<TrainConfig, "seed" | keyof typeof METHOD_OPTIONS>;

/** What the plan of a training step follows from, beside its model. */
export type StepSettings = MethodSettings &
  Pick<
    TrainConfig,
    | "max_seq_length"
    | "packing"
    | "batch_size"
    | "gradient_accumulation_steps"
    | "sum_order"
    | "adam_beta1"
    | "adam_beta2"
    | "adam_epsilon"
    | "moment_dtype"
    | "engine"
    | "arithmetic"
    | "placement"
    | "recompute"
    | "tap_bytes"
    | "head_chunk_rows"
  >;

/** What a run's model and the plan of its step follow from: all that costs without data need. */
export type PlanSettings = ModelSettings & StepSettings;

/** How many gradients an update computes, and how they are added. */
export type RunCounts = Pick<TrainConfig, "gradient_accumulation_steps" | "sum_order">;

/** What a step is priced by, for one machine and for several. */
export type PricedSettings = PlanSettings & RunCounts & Pick<TrainConfig, "wire" | "ane_driver">;

/** What decides where a frozen base's matrices stand on a Neural Engine. */
export type FrozenBaseSettings = Pick<
  TrainConfig,
  "method" | "base_weights" | "gradient_accumulation_steps" | "ane_driver"
>;

/** What a step is timed by on an engine of this machine. */
export type TimedSettings = PlanSettings &
  Pick<TrainConfig, "threads" | "blas" | "ane_driver" | "numerics">;

/** What says how data are read. */
export type DataSettings = Pick<
  TrainConfig,
  | Exclude<keyof typeof EXAMPLE_OPTIONS, "chat_template">
  | "text_field"
  | "max_seq_length"
  | "begin_tokens"
  | "sampling"
> & { readonly method?: TrainConfig["method"] };

/** What a run's data, tokenizer and model are made of. */
export type PreparationSettings = ModelSettings &
  DataSettings &
  Pick<
    TrainConfig,
    "data" | "eval_data" | "validation_fraction" | "story_count" | "chat_template" | "batch_size"
  >;

/** What a run judges itself on: its data, with the meaning that they had when it began. */
export type HeldOutSettings = PreparationSettings &
  Pick<TrainConfig, "max_steps" | "lr_decay_steps">;

/** The base of a run, and where it would be written with more rows. */
export type BaseSettings = Pick<
  TrainConfig,
  "model" | "resize_embeddings" | "resume" | "output_dir"
>;

/** How the updates of a run move its weights. */
export type TrainerSettings = RunCounts &
  Pick<
    TrainConfig,
    | "seed"
    | "method"
    | "lora_dropout"
    | "muon_learning_rate"
    | "max_steps"
    | "learning_rate"
    | "min_learning_rate"
    | "lr_scheduler_type"
    | "lr_decay_steps"
    | "warmup_steps"
    | "weight_decay"
    | "adam_beta1"
    | "adam_beta2"
    | "max_grad_norm"
    | "loss_scale"
    | "scaling"
  >;
