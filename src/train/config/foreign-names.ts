import type { ForeignNames } from "../../util/foreign-names.ts";

const UPLOAD =
  "Nothing is published by itself: write the model with anecdote fuse or export, look at it, and upload the folder with Hugging Face's own program: hf upload NAME DIR.";

const RECOMPUTED = "Write --recompute full: nothing is kept that can be computed again.";
const LOADED_PACKED = "Write --method qlora, with --base-bits 4 or 8.";

/**
 * Settings of mlx-lm, PEFT, Hugging Face's trainer, nanoGPT and llama2.c that have another form here: what to write instead.
 * Names that mean the same thing are aliases in the table of options.
 */
export const FOREIGN_NAMES: ForeignNames = {
  lora_scale: "mlx-lm's scale is alpha / rank: write --lora-alpha with the scale times the rank.",
  scale: "mlx-lm's scale is alpha / rank: write --lora-alpha with the scale times the rank.",
  lora_parameters:
    "mlx-lm's lora_parameters are --lora-rank, --lora-alpha (scale times rank), --lora-dropout and --target-modules (keys).",
  use_dora: "Write --method dora.",
  load_in_4bit: LOADED_PACKED,
  load_in_8bit: LOADED_PACKED,
  bias: "Biases of a base stay as they are; --method full trains them.",
  modules_to_save:
    "Beside an adapter nothing of the base is trained; --method full trains all of it.",
  resume_adapter_file: "Write --resume: weights, optimizer and data go on where they stood.",
  adapter_path: "Write --output-dir DIR: adapters stand in the checkpoints of a run.",
  device: "The processor is chosen by --engine: cpu, ane, sim:m4, reference or auto.",
  device_type: "The processor is chosen by --engine: cpu, ane, sim:m4, reference or auto.",
  backend: "The processor is chosen by --engine: cpu, ane, sim:m4, reference or auto.",
  no_cuda: "The processor is chosen by --engine: cpu, ane, sim:m4, reference or auto.",
  use_cpu: "Write --engine cpu.",
  fp16: "The engine says the arithmetic: fp32 on --engine cpu, fp16 on ane and sim:m4.",
  bf16: "The engine says the arithmetic: fp32 on --engine cpu, fp16 on ane and sim:m4.",
  dtype: "The engine says the arithmetic: fp32 on --engine cpu, fp16 on ane and sim:m4.",
  torch_dtype: "The engine says the arithmetic: fp32 on --engine cpu, fp16 on ane and sim:m4.",
  precision: "The engine says the arithmetic: fp32 on --engine cpu, fp16 on ane and sim:m4.",
  mixed_precision: "The engine says the arithmetic: fp32 on --engine cpu, fp16 on ane and sim:m4.",
  lr_schedule: "Write --lr-scheduler-type, --warmup-steps and --min-learning-rate.",
  hf_dataset:
    "Write --data with the data set's files, and --prompt-field, --completion-field or --messages-field.",
  test: "Judge a model with anecdote eval --model MODEL --adapter DIR --data FILE.",
  warmup_ratio: "Write --warmup-steps 0.05: below 1 it is a share of --max-steps.",
  decay_lr: "Write --lr-scheduler-type cosine, or constant.",
  optim:
    "Write --optimizer adamw or muon; AdamW has --adam-beta1, --adam-beta2, --adam-epsilon, --weight-decay.",
  gradient_checkpointing: RECOMPUTED,
  grad_checkpoint: RECOMPUTED,
  compile: "Programs are always compiled, once for each repeated part.",
  dropout: "An adapter's is --lora-dropout; there is no other dropout here.",
  logging_dir: "Events and checkpoints stand in --output-dir.",
  upload_repo: UPLOAD,
  push_to_hub: UPLOAD,
  hub_model_id: UPLOAD,
  train: "The subcommand is the verb: anecdote train.",
  train_file: "Write --data FILE.",
  num_workers: "Write --threads N.",
  max_new_tokens: "Write --sample-tokens N, or --max-tokens N with generate.",
  verbose: "Write --json for all that is known.",
};
