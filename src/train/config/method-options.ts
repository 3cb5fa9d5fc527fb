import { choiceOption, flagOption, numberOption, textOption } from "../../util/options.ts";

const METHOD = { group: "Method" };

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
export const METHOD_OPTIONS = {
  method: choiceOption(
    "train all weights, an adapter (lora; dora: with lengths of its own), an adapter on a base of 4 or 8 bits (qlora), or an adapter by pairs of answers (dpo)",
    METHODS,
    { ...METHOD, aliases: ["fine_tune_type", "finetuning_type"] },
  ),
  lora_rank: numberOption("rank of the adapter", {
    ...METHOD,
    integer: true,
    minimum: 1,
    maximum: 4096,
    aliases: ["rank", "lora_r"],
  }),
  lora_alpha: numberOption(
    "the adapter counts alpha / rank times; default: twice the rank (mlx-lm's scale is alpha / rank, PEFT's default alpha 8)",
    { ...METHOD, minimum: 0, aliases: ["alpha"] },
  ),
  lora_dropout: numberOption(
    "share of an adapter's inputs that it does not see while it learns; another one every micro-batch",
    { ...METHOD, minimum: 0, maximum: 0.99 },
  ),
  rslora: flagOption("rank-stabilized: the adapter counts alpha / sqrt(rank) times", {
    ...METHOD,
    aliases: ["use_rslora"],
  }),
  target_modules: textOption(
    "linear layers with an adapter, by comma: q_proj,v_proj; default: all-linear, those of the blocks (PEFT's default: some of attention)",
    { ...METHOD, placeholder: "NAMES", aliases: ["lora_target_modules", "lora_target", "keys"] },
  ),
  trained_layers: numberOption("train the last N blocks only; -1 = all (mlx-lm's default: 16)", {
    ...METHOD,
    integer: true,
    minimum: -1,
    aliases: ["lora_layers"],
  }),
  dpo_beta: numberOption(
    "with --method dpo: how much a pair's log-probabilities count; larger stays closer to the base",
    { ...METHOD, minimum: 0, aliases: ["beta"] },
  ),
  dpo_adapter: choiceOption("with --method dpo: the adapter", PREFERENCE_ADAPTERS, METHOD),
  quantize_base: flagOption(
    "hold the base in --base-bits beside dora and dpo as well; lora with it is qlora",
    METHOD,
  ),
  base_bits: choiceOption("bits of the base's matrices where it is quantized", QUANTIZED_BITS, {
    ...METHOD,
    aliases: ["q_bits"],
  }),
  base_group_size: numberOption("numbers that share a scale where the base is quantized", {
    ...METHOD,
    integer: true,
    minimum: 2,
    aliases: ["q_group_size"],
  }),
  base_weights: choiceOption(
    "where a frozen base's matrices are: memory; its file, read layer by layer before each use; or constants of a Neural Engine's programs, one a layer; auto: the file where memory does not do, constants where they are cheaper",
    BASE_WEIGHTS,
    METHOD,
  ),
  optimizer: choiceOption(
    "what updates weights: adamw, or muon for the matrices of blocks and adamw for the rest",
    OPTIMIZERS,
    METHOD,
  ),
  muon_learning_rate: numberOption(
    "peak learning rate of what muon updates; default: learning_rate",
    { ...METHOD, minimum: 0, aliases: ["muon_lr"] },
  ),
  muon_momentum: numberOption("muon's share of the gradients before", {
    ...METHOD,
    minimum: 0,
    maximum: 0.9999999,
  }),
  muon_iterations: numberOption("products that make an update orthogonal: more are closer to it", {
    ...METHOD,
    integer: true,
    minimum: 1,
    maximum: 8,
  }),
} as const;

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

/** What of a model a run trains, complete. */
export interface MethodSettings {
  /** Of the adapter's first numbers, and of a model that is drawn. */
  readonly seed: number;
  readonly method: Method;
  readonly lora_rank: number;
  readonly lora_alpha?: number | undefined;
  readonly lora_dropout: number;
  readonly rslora: boolean;
  readonly target_modules: string;
  readonly trained_layers: number;
  readonly dpo_beta: number;
  readonly dpo_adapter: (typeof PREFERENCE_ADAPTERS)[number];
  readonly quantize_base: boolean;
  readonly base_bits: (typeof QUANTIZED_BITS)[number];
  readonly base_group_size: number;
  readonly base_weights: (typeof BASE_WEIGHTS)[number];
  readonly optimizer: (typeof OPTIMIZERS)[number];
  readonly muon_learning_rate?: number | undefined;
  readonly muon_momentum: number;
  readonly muon_iterations: number;
}

/** Whether the base's matrices stand in a few bits. */
export function hasQuantizedBase({
  method,
  quantize_base,
}: Pick<MethodSettings, "method" | "quantize_base">): boolean {
  return method === "qlora" || (method !== "full" && quantize_base);
}
