import { CLUSTER_OPTIONS } from "./cluster-options.ts";
import type { TrainConfig } from "./config.ts";
import { EXAMPLE_OPTIONS } from "./data-options.ts";
import { MACHINE_OPTIONS } from "./machine-options.ts";
import { METHOD_OPTIONS } from "./method-options.ts";
import { MODEL_OPTIONS } from "./model-options.ts";
import { REPORTING_OPTIONS } from "./reporting-options.ts";

function each<Key extends string>(
  options: Readonly<Record<Key, unknown>>,
  changes: boolean,
): Readonly<Record<Key, boolean>> {
  const keys = Object.keys(options) as Key[];
  return Object.fromEntries(keys.map((key) => [key, changes])) as Readonly<Record<Key, boolean>>;
}

/**
 * Whether a setting changes the plan of a training step or how an engine runs it: programs, buffers, dispatches. What
 * only says which data come, how fast the weights move, how long and what is reported does not.
 * A group whose settings agree has one line; a setting that differs stands below it.
 */
export const CHANGES_PLAN = {
  ...each(MODEL_OPTIONS, true),
  ...each(MACHINE_OPTIONS, true),
  ...each(METHOD_OPTIONS, true),
  muon_learning_rate: false,
  ...each(EXAMPLE_OPTIONS, false),
  ...each(REPORTING_OPTIONS, false),
  ...each(CLUSTER_OPTIONS, false),
  data: false,
  text_field: false,
  packing: true,
  tokenizer: true,
  vocab_size: true,
  story_count: false,
  max_seq_length: true,
  eval_data: false,
  validation_fraction: false,
  sampling: false,
  begin_tokens: false,
  epochs: false,
  max_steps: false,
  batch_size: true,
  gradient_accumulation_steps: true,
  learning_rate: false,
  min_learning_rate: false,
  lr_scheduler_type: false,
  lr_decay_steps: false,
  warmup_steps: false,
  weight_decay: false,
  adam_beta1: true,
  adam_beta2: true,
  adam_epsilon: true,
  moment_dtype: true,
  max_grad_norm: false,
  loss_scale: false,
  scaling: true,
  seed: false,
} as const satisfies Readonly<Record<keyof TrainConfig, boolean>>;
