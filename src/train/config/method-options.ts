import {
  choiceOption,
  flagOption,
  inGroup,
  numberOption,
  textOption,
  wholeOption,
} from "../../util/options.ts";

/**
 * dpo: an adapter, by pairs of answers. full: every weight is trained. lora: an adapter beside a frozen model. dora: one that trains lengths and directions of
 * matrices apart. qlora: as lora, the model in 4 or 8 bits.
 */
export const METHODS = ["full", "lora", "dora", "qlora", "dpo"] as const;
export type Method = (typeof METHODS)[number];

/** Adapters that learn from pairs of answers. */
export const PREFERENCE_ADAPTERS = ["lora", "dora"] as const;

/** constants: of the Neural Engine's programs, one a layer. */
export const BASE_WEIGHTS = ["auto", "memory", "file", "constants"] as const;

export const QUANTIZED_BITS = ["4", "8"] as const;

/** adamw for all weights, or muon for matrices of blocks and adamw for the rest. */
export const OPTIMIZERS = ["adamw", "muon"] as const;

/** What of a model is trained, and how. */
export const METHOD_OPTIONS = inGroup("Method", {
  method: choiceOption(
    "train all weights, an adapter (lora; dora: with lengths of its own), an adapter on a base of 4 or 8 bits (qlora), or an adapter by pairs of answers (dpo)",
    METHODS,
    { aliases: ["fine_tune_type", "finetuning_type"] },
  ),
  lora_rank: wholeOption("rank of the adapter", 1, { maximum: 4096, aliases: ["rank", "lora_r"] }),
  lora_alpha: numberOption(
    "the adapter counts alpha / rank times; default: twice the rank (mlx-lm's scale is alpha / rank, PEFT's default alpha 8)",
    { minimum: 0, aliases: ["alpha"] },
  ),
  lora_dropout: numberOption(
    "share of an adapter's inputs that it does not see while it learns; another one every micro-batch",
    { minimum: 0, maximum: 0.99 },
  ),
  rslora: flagOption("rank-stabilized: the adapter counts alpha / sqrt(rank) times", {
    aliases: ["use_rslora"],
  }),
  target_modules: textOption(
    "linear layers with an adapter, by comma: q_proj,v_proj; default: all-linear, those of the blocks (PEFT's default: some of attention)",
    { placeholder: "NAMES", aliases: ["lora_target_modules", "lora_target", "keys"] },
  ),
  trained_layers: wholeOption("train the last N blocks only; -1 = all (mlx-lm's default: 16)", -1, {
    aliases: ["lora_layers"],
  }),
  dpo_beta: numberOption(
    "with --method dpo: how much a pair's log-probabilities count; larger stays closer to the base",
    { minimum: 0, aliases: ["beta"] },
  ),
  dpo_adapter: choiceOption("with --method dpo: the adapter", PREFERENCE_ADAPTERS),
  quantize_base: flagOption(
    "hold the base in --base-bits beside dora and dpo as well; lora with it is qlora",
  ),
  base_bits: choiceOption("bits of the base's matrices where it is quantized", QUANTIZED_BITS, {
    aliases: ["q_bits"],
  }),
  base_group_size: wholeOption("numbers that share a scale where the base is quantized", 2, {
    aliases: ["q_group_size"],
  }),
  base_weights: choiceOption(
    "where a frozen base's matrices are: memory; its file, read layer by layer before each use; or constants of a Neural Engine's programs, one a layer; auto: the file where memory does not do, constants where they are cheaper",
    BASE_WEIGHTS,
  ),
  optimizer: choiceOption(
    "what updates weights: adamw, or muon for the matrices of blocks and adamw for the rest",
    OPTIMIZERS,
  ),
  muon_learning_rate: numberOption(
    "peak learning rate of what muon updates; default: learning_rate",
    { minimum: 0, aliases: ["muon_lr"] },
  ),
  muon_momentum: numberOption("muon's share of the gradients before", {
    minimum: 0,
    maximum: 0.9999999,
  }),
  muon_iterations: wholeOption(
    "products that make an update orthogonal: more are closer to it",
    1,
    { maximum: 8 },
  ),
});

export const METHOD_DEFAULTS = {
  method: "full",
  lora_rank: 8,
  lora_dropout: 0,
  rslora: false,
  target_modules: "all-linear",
  trained_layers: -1,
  dpo_beta: 0.1,
  dpo_adapter: "lora",
  quantize_base: false,
  base_bits: "4",
  base_group_size: 64,
  base_weights: "auto",
  optimizer: "adamw",
  muon_momentum: 0.95,
  muon_iterations: 5,
} as const;

/** Whether the base's matrices stand in a few bits. */
export function hasQuantizedBase({
  method,
  quantize_base,
}: {
  readonly method: Method;
  readonly quantize_base: boolean;
}): boolean {
  return method === "qlora" || (method !== "full" && quantize_base);
}
