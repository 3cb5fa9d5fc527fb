import {
  choiceOption,
  flagOption,
  numberOption,
  resolveOptions,
  textOption,
} from "../../util/options.ts";
import type { OptionLayer, OptionValues, ResolvedOptions } from "../../util/options.ts";
import { DRIVERS } from "../../chip/chip.ts";
import { SCALINGS } from "../../engine/scaling.ts";
import { NUMERICS } from "../../engine/sim/numerics.ts";
import { TrainError } from "../errors.ts";
import { SAMPLINGS } from "../../text/index.ts";
import { SCHEDULES } from "../step/schedule.ts";

const MODEL = { group: "Model" };
const DATA = { group: "Data" };
const OPTIMIZATION = { group: "Optimization" };
const REPORTING = { group: "Evaluation and saving" };
const MACHINE = { group: "Machine" };

/** Every setting of a training run. One record makes the flag, the YAML key, the help and the check. */
export const TRAIN_OPTIONS = {
  preset: textOption("a named model with settings that work (anecdote train --list-presets)", {
    ...MODEL,
    placeholder: "NAME",
  }),
  model: textOption(
    "start from the weights, configuration and tokenizer of this model or run folder",
    {
      ...MODEL,
      placeholder: "DIR",
      aliases: ["model_name_or_path", "init_from"],
    },
  ),
  model_config: textOption("a Hugging Face config.json: the shape of a new model", {
    ...MODEL,
    placeholder: "FILE",
  }),
  data: textOption(
    "text (.txt, .jsonl), token ids (.bin) or a folder of them; `stories` for the built-in corpus, `random` for random token ids",
    {
      ...DATA,
      placeholder: "FILE_OR_DIR",
      aliases: ["dataset"],
    },
  ),
  text_field: textOption("field of .jsonl rows that holds the text; default: text", {
    ...DATA,
    placeholder: "NAME",
    aliases: ["text_column", "text_column_name", "dataset_text_field", "text_feature", "text_key"],
  }),
  tokenizer: textOption(
    "`bpe` (trained on the data), `char`, `byte`, or a tokenizer.json, or the folder of a model or run",
    {
      ...DATA,
      placeholder: "KIND_OR_PATH",
    },
  ),
  vocab_size: numberOption("tokens of a tokenizer trained on the data", {
    ...DATA,
    integer: true,
    minimum: 257,
  }),
  story_count: numberOption("stories of the built-in corpus to train on", {
    ...DATA,
    integer: true,
    minimum: 100,
  }),
  max_seq_length: numberOption("tokens of context", {
    ...DATA,
    integer: true,
    minimum: 2,
    aliases: ["max_length", "block_size", "sequence_len"],
  }),
  validation_fraction: numberOption("share of the tokens, from the end, kept for evaluation", {
    ...DATA,
    minimum: 0,
    maximum: 0.9,
  }),
  sampling: choiceOption(
    "windows at random places, epochs of all windows shuffled, or windows at document starts",
    SAMPLINGS,
    DATA,
  ),
  max_steps: numberOption("optimizer updates (an update may take several micro-batches)", {
    ...OPTIMIZATION,
    integer: true,
    minimum: 1,
    aliases: ["iters", "max_iters", "num_iterations"],
  }),
  batch_size: numberOption("sequences a micro-batch", {
    ...OPTIMIZATION,
    integer: true,
    minimum: 1,
    aliases: ["per_device_train_batch_size", "micro_batch_size", "device_batch_size"],
  }),
  gradient_accumulation_steps: numberOption("micro-batches an update", {
    ...OPTIMIZATION,
    integer: true,
    minimum: 1,
    aliases: ["grad_accumulation_steps"],
  }),
  learning_rate: numberOption("peak learning rate", {
    ...OPTIMIZATION,
    minimum: 0,
    aliases: ["lr"],
  }),
  min_learning_rate: numberOption("learning rate at the last step", {
    ...OPTIMIZATION,
    minimum: 0,
    aliases: ["min_lr"],
  }),
  lr_scheduler_type: choiceOption("course of the learning rate after warm-up", SCHEDULES, {
    ...OPTIMIZATION,
    aliases: ["lr_scheduler"],
  }),
  warmup_steps: numberOption("steps of linear climb; below 1 a share of max_steps", {
    ...OPTIMIZATION,
    minimum: 0,
    aliases: ["warmup_iters", "warmup", "num_warmup_steps"],
  }),
  weight_decay: numberOption("decoupled decay of matrices (not of norms and biases)", {
    ...OPTIMIZATION,
    minimum: 0,
  }),
  adam_beta1: numberOption("AdamW's first decay", {
    ...OPTIMIZATION,
    minimum: 0,
    maximum: 0.9999999,
    aliases: ["beta1"],
  }),
  adam_beta2: numberOption("AdamW's second decay", {
    ...OPTIMIZATION,
    minimum: 0,
    maximum: 0.9999999,
    aliases: ["beta2"],
  }),
  adam_epsilon: numberOption("AdamW's epsilon", { ...OPTIMIZATION, minimum: 0 }),
  max_grad_norm: numberOption("clip gradients to this global norm; 0 = off", {
    ...OPTIMIZATION,
    minimum: 0,
    aliases: ["grad_clip"],
  }),
  loss_scale: numberOption(
    "what the loss is multiplied with for fp16 gradients; 0 = found by itself where the engine needs it",
    {
      ...OPTIMIZATION,
      minimum: 0,
      maximum: 65504,
    },
  ),
  scaling: choiceOption(
    "what is scaled to survive the Neural Engine's arithmetic: loss and operands, the loss alone, nothing",
    SCALINGS,
    OPTIMIZATION,
  ),
  seed: numberOption("seed of weights, data order and samples", {
    ...OPTIMIZATION,
    integer: true,
    minimum: 0,
  }),
  output_dir: textOption("folder of the run: configuration, events, checkpoints", {
    ...REPORTING,
    placeholder: "DIR",
    aliases: ["out_dir"],
  }),
  logging_steps: numberOption("updates between reports of the loss", {
    ...REPORTING,
    integer: true,
    minimum: 1,
    aliases: ["steps_per_report", "log_interval", "log_every_n_steps"],
  }),
  eval_steps: numberOption("updates between evaluations; 0 = only at the end", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    aliases: ["steps_per_eval", "eval_interval", "eval_every"],
  }),
  eval_batches: numberOption(
    "batches of an evaluation during training; -1 = the whole split (the last one always)",
    {
      ...REPORTING,
      integer: true,
      minimum: -1,
      aliases: ["val_batches", "eval_iters"],
    },
  ),
  save_steps: numberOption("updates between checkpoints; 0 = only at the end", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    aliases: ["save_every"],
  }),
  save_total_limit: numberOption("checkpoints kept; 0 = all", {
    ...REPORTING,
    integer: true,
    minimum: 0,
  }),
  sample_steps: numberOption("updates between samples of text; 0 = none", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    aliases: ["sample_every"],
  }),
  sample_prompt: textOption("text that samples start from", REPORTING),
  sample_tokens: numberOption("most tokens of a sample", {
    ...REPORTING,
    integer: true,
    minimum: 1,
  }),
  sample_temperature: numberOption("temperature of samples", { ...REPORTING, minimum: 0 }),
  final_samples: numberOption("samples written when training is done", {
    ...REPORTING,
    integer: true,
    minimum: 0,
    maximum: 100,
  }),
  resume: flagOption("go on from the newest whole checkpoint of the output folder", {
    ...REPORTING,
    aliases: ["resume_from_checkpoint"],
  }),
  engine: textOption("cpu, reference, sim:<chip>, ane, or auto", {
    ...MACHINE,
    placeholder: "NAME",
  }),
  threads: numberOption("threads of the CPU engine; default: the machine's cores", {
    ...MACHINE,
    integer: true,
    minimum: 1,
    maximum: 256,
  }),
  ane_driver: choiceOption("the way into the Neural Engine, for ane and sim:<chip>", DRIVERS, {
    ...MACHINE,
    aliases: ["driver"],
  }),
  numerics: choiceOption(
    "arithmetic of sim:<chip>: the engine's, or a faster approximation of it",
    NUMERICS,
    MACHINE,
  ),
  recompute: choiceOption(
    "forward values the backward keeps: all, the cheapest choice in the budget, none",
    ["none", "auto", "full"],
    MACHINE,
  ),
  tap_bytes: numberOption("byte budget of kept forward values, for --recompute auto", {
    ...MACHINE,
    integer: true,
    minimum: 0,
  }),
  head_chunk_rows: numberOption("positions whose logits exist at once", {
    ...MACHINE,
    integer: true,
    minimum: 1,
  }),
} as const;

export type TrainOptions = OptionValues<typeof TRAIN_OPTIONS>;
export type ResolvedTrainOptions = ResolvedOptions<typeof TRAIN_OPTIONS>;

/** The values a run needs and that have a default. */
const DEFAULTS = {
  data: "stories",
  text_field: "text",
  tokenizer: "bpe",
  vocab_size: 4096,
  max_seq_length: 256,
  validation_fraction: 0.1,
  sampling: "random",
  max_steps: 1000,
  batch_size: 4,
  gradient_accumulation_steps: 1,
  learning_rate: 1e-3,
  lr_scheduler_type: "cosine",
  warmup_steps: 0.05,
  weight_decay: 0.1,
  adam_beta1: 0.9,
  adam_beta2: 0.95,
  adam_epsilon: 1e-8,
  max_grad_norm: 1,
  loss_scale: 0,
  scaling: "auto",
  seed: 1,
  output_dir: "runs/default",
  logging_steps: 10,
  eval_steps: 200,
  eval_batches: 20,
  save_steps: 500,
  save_total_limit: 2,
  sample_steps: 0,
  sample_tokens: 100,
  sample_temperature: 0.8,
  final_samples: 0,
  resume: false,
  engine: "auto",
  recompute: "auto",
} as const;

/** Keys that may be absent once everything is merged. */
type OptionalKeys =
  | "preset"
  | "model"
  | "model_config"
  | "story_count"
  | "sample_prompt"
  | "threads"
  | "ane_driver"
  | "numerics"
  | "tap_bytes"
  | "head_chunk_rows";

/** A run's settings, complete. */
export type TrainConfig = {
  readonly [Key in Exclude<keyof TrainOptions, OptionalKeys>]-?: Exclude<
    TrainOptions[Key],
    undefined
  >;
} & { readonly [Key in OptionalKeys]?: Exclude<TrainOptions[Key], undefined> | undefined };

export interface ResolvedTrainConfig {
  readonly config: TrainConfig;
  readonly origins: ReadonlyMap<string, string>;
}

/**
 * Merges defaults, the preset's settings and the user's layers (file, flags; later ones win).
 * Throws `OptionError` for unknown keys and bad values, `TrainError` for settings that contradict each other.
 */
export function resolveTrainConfig(
  presetSettings: Readonly<Record<string, unknown>>,
  layers: readonly OptionLayer[],
): ResolvedTrainConfig {
  const { values, origins } = resolveOptions(TRAIN_OPTIONS, [
    { origin: "default", values: DEFAULTS },
    { origin: "preset", values: presetSettings },
    ...layers,
  ]);
  const config = {
    ...values,
    min_learning_rate: values.min_learning_rate ?? (values.learning_rate ?? 0) / 10,
  } as TrainConfig;
  if (!origins.has("min_learning_rate")) {
    (origins as Map<string, string>).set("min_learning_rate", "a tenth of learning_rate");
  }
  if (config.min_learning_rate > config.learning_rate) {
    throw new TrainError(
      "train.config.learning_rate",
      `min_learning_rate ${config.min_learning_rate} is above learning_rate ${config.learning_rate}`,
    );
  }
  if (config.warmup_steps >= 1 && !Number.isInteger(config.warmup_steps)) {
    throw new TrainError(
      "train.config.warmup_steps",
      `warmup_steps ${config.warmup_steps} is neither a whole number of steps nor a share below 1`,
    );
  }
  return { config, origins };
}
