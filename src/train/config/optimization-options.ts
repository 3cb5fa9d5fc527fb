import { SCALINGS } from "../../engine/scaling.ts";
import { MOMENT_TYPES } from "../../plan/plan.ts";
import { choiceOption, inGroup, numberOption, wholeOption } from "../../util/options.ts";
import { SCHEDULES } from "../step/schedule.ts";

/** How long a run trains, how much an update reads, and how far it moves. */
export const OPTIMIZATION_OPTIONS = inGroup("Optimization", {
  epochs: numberOption("times that all training data are read, instead of max_steps", {
    minimum: 0.000001,
    aliases: ["num_train_epochs", "num_epochs"],
  }),
  max_steps: wholeOption(
    "optimizer updates, each of --gradient-accumulation-steps micro-batches (mlx-lm's --iters counts micro-batches)",
    1,
    { aliases: ["iters", "max_iters", "num_iterations"] },
  ),
  batch_size: wholeOption("sequences a micro-batch", 1, {
    aliases: ["per_device_train_batch_size", "micro_batch_size", "device_batch_size"],
  }),
  gradient_accumulation_steps: wholeOption("micro-batches an update", 1, {
    aliases: ["grad_accumulation_steps"],
  }),
  learning_rate: numberOption("peak learning rate", { minimum: 0, aliases: ["lr"] }),
  min_learning_rate: numberOption("learning rate at the last step", {
    minimum: 0,
    aliases: ["min_lr"],
  }),
  lr_scheduler_type: choiceOption("course of the learning rate after warm-up", SCHEDULES, {
    aliases: ["lr_scheduler"],
  }),
  lr_decay_steps: wholeOption(
    "update at which the learning rate reaches its minimum; default: the last one",
    1,
    { aliases: ["lr_decay_iters"] },
  ),
  warmup_steps: numberOption("steps of linear climb; below 1 a share of max_steps", {
    minimum: 0,
    aliases: ["warmup_iters", "warmup", "num_warmup_steps"],
  }),
  weight_decay: numberOption("decoupled decay of matrices (not of norms and biases)", {
    minimum: 0,
  }),
  adam_beta1: numberOption("AdamW's first decay", {
    minimum: 0,
    maximum: 0.9999999,
    aliases: ["beta1"],
  }),
  adam_beta2: numberOption("AdamW's second decay", {
    minimum: 0,
    maximum: 0.9999999,
    aliases: ["beta2"],
  }),
  adam_epsilon: numberOption("AdamW's epsilon", { minimum: 0 }),
  moment_dtype: choiceOption(
    "what AdamW's moments are kept in between updates: bf16 takes half the memory and time of fp32, and is rounded so that means stay right",
    MOMENT_TYPES,
    { aliases: ["exp_avg_dtype"] },
  ),
  max_grad_norm: numberOption("clip gradients to this global norm; 0 = off", {
    minimum: 0,
    aliases: ["grad_clip"],
  }),
  loss_scale: numberOption(
    "what the loss is multiplied with for fp16 gradients; 0 = found by itself where the engine needs it",
    { minimum: 0, maximum: 65504 },
  ),
  scaling: choiceOption(
    "what is scaled to survive the Neural Engine's arithmetic: loss and operands, the loss alone, nothing",
    SCALINGS,
  ),
  seed: wholeOption("seed of weights, data order and samples", 0),
});

export const OPTIMIZATION_DEFAULTS = {
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
  moment_dtype: "fp32",
  max_grad_norm: 1,
  loss_scale: 0,
  scaling: "auto",
  seed: 1,
} as const;
