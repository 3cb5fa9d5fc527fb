import {
  checkedLayer,
  choiceOption,
  dataOption,
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
import { CLUSTER_DEFAULTS, CLUSTER_OPTIONS } from "./cluster-options.ts";
import { EXAMPLE_DEFAULTS, EXAMPLE_OPTIONS } from "./data-options.ts";
import { FOREIGN_NAMES } from "./foreign-names.ts";
import { METHOD_DEFAULTS, METHOD_OPTIONS } from "./method-options.ts";
import type { SIZE_KEYS } from "./size-keys.ts";
import { FAMILY_NAMES } from "../../model/config.ts";
import { BEGIN_TOKENS, SAMPLINGS } from "../../text/index.ts";
import { SCHEDULES } from "../step/schedule.ts";

/** As in `config.json`. */
const LARGEST_SIZE = 1 << 24;

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
  resize_embeddings: flagOption(
    "add rows to the model's embedding for tokens of its tokenizer that have none, the mean of the others; the model is written into the run's folder",
    MODEL,
  ),
  model_config: textOption("a Hugging Face config.json: the shape of a new model", {
    ...MODEL,
    placeholder: "FILE",
  }),
  family: choiceOption(
    "family of a new model; default: llama, or the preset's",
    FAMILY_NAMES,
    MODEL,
  ),
  layers: numberOption("layers of a new model, or of the preset changed; other sizes follow", {
    ...MODEL,
    integer: true,
    minimum: 1,
    maximum: 10_000,
    aliases: ["num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth"],
  }),
  hidden_size: numberOption("channels of the hidden state; default: 64 a layer", {
    ...MODEL,
    integer: true,
    minimum: 2,
    maximum: LARGEST_SIZE,
    aliases: ["n_embd", "hidden_dim", "d_model", "channels"],
  }),
  heads: numberOption("attention heads; default: of about 64 channels each", {
    ...MODEL,
    integer: true,
    minimum: 1,
    maximum: LARGEST_SIZE,
    aliases: ["num_attention_heads", "num_heads", "n_head", "n_heads"],
  }),
  kv_heads: numberOption("heads of keys and values; default: as many as --heads", {
    ...MODEL,
    integer: true,
    minimum: 1,
    maximum: LARGEST_SIZE,
    aliases: ["num_key_value_heads", "num_kv_heads", "n_kv_heads"],
  }),
  ffn_size: numberOption(
    "channels of the feed-forward part; default: 4 (gpt2) or 8/3 times --hidden-size",
    {
      ...MODEL,
      integer: true,
      minimum: 1,
      maximum: LARGEST_SIZE,
      aliases: ["intermediate_size", "n_inner", "ffn_dim", "d_ff"],
    },
  ),
  data: dataOption(
    "text and rows (.txt, .jsonl, .json, .csv, each also .gz, .parquet), token ids (.bin): files, patterns, a folder, or `-` for standard input; `stories` for the built-in corpus, `random` for random token ids",
    {
      ...DATA,
      placeholder: "FILE_OR_DIR",
      aliases: ["dataset"],
    },
  ),
  text_field: textOption("field of rows, or column of .csv, that holds the text; default: text", {
    ...DATA,
    placeholder: "NAME",
    aliases: ["text_column", "text_column_name", "dataset_text_field", "text_feature", "text_key"],
  }),
  ...EXAMPLE_OPTIONS,
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
  eval_data: dataOption("data to judge the run on, in the forms that --data takes", {
    ...DATA,
    placeholder: "FILE",
    aliases: ["validation_file", "eval_dataset"],
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
  begin_tokens: choiceOption(
    "what documents begin with: the tokens of the tokenizer's template, or nothing",
    BEGIN_TOKENS,
    DATA,
  ),
  epochs: numberOption("times that all training data are read, instead of max_steps", {
    ...OPTIMIZATION,
    minimum: 0.000001,
    aliases: ["num_train_epochs", "num_epochs"],
  }),
  ...METHOD_OPTIONS,
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
  lr_decay_steps: numberOption(
    "update at which the learning rate reaches its minimum; default: the last one",
    { ...OPTIMIZATION, integer: true, minimum: 1, aliases: ["lr_decay_iters"] },
  ),
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
    "batches of an evaluation, -1 = the whole split; default: 20 during training, the whole at the end",
    {
      ...REPORTING,
      integer: true,
      minimum: -1,
      aliases: ["val_batches", "eval_iters"],
    },
  ),
  eval_on_start: flagOption("evaluate before the first step, too", REPORTING),
  patience: numberOption(
    "end where so many evaluations in a row are no better than the best; the best checkpoint is kept",
    { ...REPORTING, integer: true, minimum: 1, aliases: ["early_stopping_patience"] },
  ),
  keep_best: flagOption(
    "keep the checkpoint with the lowest eval_loss beside the newest ones, as adapters' runs do",
    { ...REPORTING, aliases: ["load_best_model_at_end"] },
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
  report_to: textOption("also write numbers for tensorboard, csv, or both with a comma", {
    ...REPORTING,
    placeholder: "NAMES",
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
  engine: textOption("cpu, gpu, reference, sim:<chip>, ane, or auto", {
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
  arithmetic: textOption(
    "rules of sim:<chip>'s arithmetic: 2026-11, 2026-08, or rule=variant of anecdote chips --arithmetic",
    { ...MACHINE, placeholder: "SET" },
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
  ...CLUSTER_OPTIONS,
} as const;

/** Values of all settings by name, none of which need be given. */
export type TrainOptions = OptionValues<typeof TRAIN_OPTIONS>;
export type ResolvedTrainOptions = ResolvedOptions<typeof TRAIN_OPTIONS>;

/** The values a run needs and that have a default. */
export const TRAIN_DEFAULTS = {
  resize_embeddings: false,
  data: "stories",
  text_field: "text",
  ...EXAMPLE_DEFAULTS,
  tokenizer: "bpe",
  vocab_size: 4096,
  max_seq_length: 256,
  validation_fraction: 0.1,
  sampling: "random",
  begin_tokens: "template",
  ...METHOD_DEFAULTS,
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
  eval_on_start: false,
  save_steps: 500,
  save_total_limit: 2,
  sample_steps: 0,
  sample_tokens: 100,
  sample_temperature: 0.8,
  final_samples: 0,
  resume: false,
  engine: "auto",
  recompute: "auto",
  ...CLUSTER_DEFAULTS,
} as const;

/** Keys that may be absent once everything is merged. */
type OptionalKeys =
  | "preset"
  | "model"
  | "model_config"
  | (typeof SIZE_KEYS)[number]
  | "story_count"
  | "eval_batches"
  | "patience"
  | "keep_best"
  | "eval_data"
  | "prompt_field"
  | "completion_field"
  | "input_field"
  | "messages_field"
  | "chosen_field"
  | "rejected_field"
  | "chat_template"
  | "epochs"
  | "lora_alpha"
  | "lr_decay_steps"
  | "report_to"
  | "sample_prompt"
  | "threads"
  | "ane_driver"
  | "numerics"
  | "arithmetic"
  | "tap_bytes"
  | "head_chunk_rows";

/** A run's settings, complete. */
export type TrainConfig = {
  readonly [Key in Exclude<keyof TrainOptions, OptionalKeys>]-?: Exclude<
    TrainOptions[Key],
    undefined
  >;
} & { readonly [Key in OptionalKeys]?: Exclude<TrainOptions[Key], undefined> | undefined };

/** Settings of a run by their own names; all may be left out. The same names are keys of a file and, with dashes, flags. */
export type TrainSettings = { readonly [Key in keyof TrainOptions]?: TrainOptions[Key] };

/** Settings from one place: a preset, a file, the command line, a program. */
export interface TrainLayer {
  /** Told in messages: "run.yaml", "command line". */
  readonly origin: string;
  readonly values: TrainSettings;
}

/** All settings of a run, and where each came from. */
export interface ResolvedTrainConfig {
  readonly config: TrainConfig;
  /** By name: "default", "preset", "model", a layer's origin, or how the value follows from another. */
  readonly origins: ReadonlyMap<string, string>;
}

/**
 * Settings as a file or a command line spells them, under their own names. Throws `OptionError` for an unknown name,
 * for one setting under two spellings, and for a value out of bounds.
 */
export function readTrainLayer(layer: OptionLayer): TrainLayer {
  return {
    origin: layer.origin,
    values: checkedLayer(TRAIN_OPTIONS, layer, FOREIGN_NAMES),
  };
}

/** Origin of a preset's settings. */
export const PRESET_ORIGIN = "preset";

/**
 * Merges defaults, the preset's settings and layers (later ones win). `modelDefaults`: what the model of the run says
 * of itself, over defaults and preset.
 * Throws `OptionError` for unknown names and bad values, `TrainError` for settings that contradict each other.
 */
export function resolveTrainConfig(
  presetSettings: TrainSettings,
  layers: readonly TrainLayer[],
  modelDefaults: TrainSettings = {},
): ResolvedTrainConfig {
  const { values, origins: found } = resolveOptions(
    TRAIN_OPTIONS,
    [
      { origin: "default", values: TRAIN_DEFAULTS },
      { origin: PRESET_ORIGIN, values: presetSettings },
      { origin: "model", values: modelDefaults },
      ...layers,
    ],
    FOREIGN_NAMES,
  );
  const origins = new Map(found);
  const config = { ...values } as TrainConfig;
  const minimum = minimumRate(config, origins, presetSettings);
  if (minimum !== undefined) origins.set("min_learning_rate", minimum.origin);
  const whole = minimum === undefined ? config : { ...config, min_learning_rate: minimum.rate };
  if (whole.min_learning_rate > whole.learning_rate) {
    throw new TrainError(
      "train.config.learning_rate",
      `min_learning_rate ${whole.min_learning_rate} is above learning_rate ${whole.learning_rate}`,
      { remedy: "Give --min-learning-rate too." },
    );
  }
  if (whole.warmup_steps >= 1 && !Number.isInteger(whole.warmup_steps)) {
    throw new TrainError(
      "train.config.warmup_steps",
      `warmup_steps ${whole.warmup_steps} is neither a whole number of steps nor a share below 1`,
    );
  }
  return { config: whole, origins };
}

/** The learning rate at the last step where nobody gave it for this peak: a tenth, or the preset's proportion. */
function minimumRate(
  config: TrainConfig,
  origins: ReadonlyMap<string, string>,
  { learning_rate: presetRate, min_learning_rate: presetMinimum }: TrainSettings,
): { readonly rate: number; readonly origin: string } | undefined {
  const { learning_rate: rate } = config;
  const origin = origins.get("min_learning_rate");
  if (origin === undefined) return { rate: rate / 10, origin: "a tenth of learning_rate" };
  if (origin !== PRESET_ORIGIN || presetRate === undefined || presetMinimum === undefined) {
    return undefined;
  }
  if (rate >= presetRate) return undefined;
  return {
    rate: (presetMinimum * rate) / presetRate,
    origin: "the preset's, smaller as learning_rate is",
  };
}
