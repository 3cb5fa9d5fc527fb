import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { launchedProcess } from "../../cluster/index.ts";
import { OptionError } from "../../util/option-error.ts";
import { COMMAND_LINE, flagName } from "../../util/options.ts";
import type { ResolvedTrainConfig, TrainConfig, TrainLayer } from "./config.ts";
import { hasQuantizedBase } from "./method-options.ts";
import { SIZE_KEYS } from "./size-keys.ts";
import { corpusName } from "../../text/index.ts";
import { TOKENIZER_KINDS } from "../../runs/model-path.ts";

type Key = keyof TrainConfig;

interface Rule {
  readonly keys: readonly Key[];
  /** Why the setting would do nothing here, as a sentence without its subject; nothing where it does. */
  readonly reason: (config: TrainConfig, isGroup: boolean) => string | undefined;
  /** What to do, with `{flag}` for the setting's own. */
  readonly remedy: string;
}

const RULES: readonly Rule[] = [
  {
    keys: ["max_steps"],
    reason: ({ epochs }) =>
      epochs === undefined ? undefined : `the run is as long as ${epochs} epochs of its data`,
    remedy: "Give --max-steps or --epochs.",
  },
  {
    keys: ["validation_fraction"],
    reason: ({ eval_data: evalData }) =>
      evalData === undefined ? undefined : "the run is judged on data of their own",
    remedy: "Give --validation-fraction or --eval-data.",
  },
  {
    keys: ["tokenizer"],
    reason: ({ model, tokenizer }) =>
      model !== undefined && model !== tokenizer && hasTokenizer(model)
        ? `the model ${model} has a tokenizer of its own, and no other one fits it`
        : undefined,
    remedy: "Leave --tokenizer out, or train a new model with --model-config.",
  },
  {
    keys: ["vocab_size"],
    reason: ({ model, tokenizer }) => {
      if (model !== undefined && hasTokenizer(model)) {
        return `the model ${model} has a tokenizer of its own`;
      }
      if (tokenizer === "bpe") return undefined;
      return TOKENIZER_KINDS.some((kind) => kind === tokenizer)
        ? `a tokenizer by ${tokenizer === "char" ? "characters" : "bytes"} has the size it has`
        : `the tokenizer ${tokenizer} has a vocabulary of its own`;
    },
    remedy: "Leave --vocab-size out, or train a tokenizer of that size with --tokenizer bpe.",
  },
  {
    keys: ["story_count"],
    reason: ({ data }) =>
      data === "stories"
        ? undefined
        : `it counts built-in stories, and the data are ${corpusName(data)}`,
    remedy: "Leave --story-count out, or --data.",
  },
  {
    keys: ["tokenizer", "vocab_size"],
    reason: ({ data }) => (data === "random" ? "random token ids need no tokenizer" : undefined),
    remedy: "Leave {flag} out, or name data to train on.",
  },
  {
    keys: SIZE_KEYS,
    reason: ({ model, model_config: file }) =>
      (model ?? file) === undefined
        ? undefined
        : `the model ${model ?? file ?? ""} has the sizes it has`,
    remedy: "Leave {flag} out, or train a new model without --model and --model-config.",
  },
  {
    keys: ["model_config"],
    reason: ({ model }) =>
      model === undefined ? undefined : `the model ${model} has a configuration of its own`,
    remedy: "Leave --model-config out, or train a new model without --model.",
  },
  {
    keys: ["resize_embeddings"],
    reason: ({ model, resize_embeddings: isWanted }) =>
      isWanted && model === undefined ? "a new model has a row for each token" : undefined,
    remedy: "Leave --resize-embeddings out, or begin from a model: --model DIR.",
  },
  {
    keys: ["text_field"],
    reason: ({ data }) =>
      (typeof data === "string" ? [data] : data).every((path) =>
        /^(?:stories|random)$|\.(?:txt|bin)(?:\.gz)?$/.test(path),
      )
        ? `it names a field of rows, and the data are ${corpusName(data)}`
        : undefined,
    remedy: "Leave --text-field out, or name data in rows, such as .jsonl.",
  },
  {
    keys: ["lora_rank", "lora_alpha", "lora_dropout", "rslora", "target_modules"],
    reason: ({ method }) =>
      method === "full" ? "there is no adapter: all weights are trained" : undefined,
    remedy: "Leave {flag} out, or train an adapter: --method lora.",
  },
  {
    keys: ["muon_learning_rate", "muon_momentum", "muon_iterations"],
    reason: ({ optimizer }) =>
      optimizer === "muon" ? undefined : `all weights are updated by ${optimizer}`,
    remedy: "Leave {flag} out, or take --optimizer muon.",
  },
  {
    keys: ["base_bits", "base_group_size"],
    reason: (config) =>
      hasQuantizedBase(config)
        ? undefined
        : `with --method ${config.method} the base stands in fp32`,
    remedy: "Leave {flag} out, or take --method qlora, or --quantize-base beside dora and dpo.",
  },
  {
    keys: ["quantize_base"],
    reason: ({ method, quantize_base: isQuantized }) =>
      method === "full" && isQuantized ? "all weights are trained, in fp32" : undefined,
    remedy: "Leave --quantize-base out, or train an adapter: --method lora, dora or dpo.",
  },
  {
    keys: ["base_weights"],
    reason: ({ method }) => (method === "full" ? "all weights are trained, in memory" : undefined),
    remedy: "Leave --base-weights out, or train an adapter: --method lora.",
  },
  {
    keys: ["dpo_beta", "dpo_adapter", "chosen_field", "rejected_field"],
    reason: ({ method }) =>
      method === "dpo" ? undefined : `with --method ${method} there are no pairs of answers`,
    remedy: "Leave {flag} out, or take --method dpo.",
  },
  {
    keys: ["mask_prompt"],
    reason: ({ method, mask_prompt: isWanted }) =>
      method === "dpo" && isWanted ? "of pairs of answers, prompts are never learned" : undefined,
    remedy: "Leave --mask-prompt out.",
  },
  {
    keys: ["packing"],
    reason: ({ method, packing }) =>
      method === "dpo" && packing ? "each answer of a pair stands in a row of its own" : undefined,
    remedy: "Leave --packing out.",
  },
  {
    keys: ["patience"],
    reason: ({ eval_steps: every, eval_data: data, validation_fraction: share }) =>
      every === 0
        ? "nothing is evaluated before the end"
        : data === undefined && share === 0
          ? "no data are held out to be judged on"
          : undefined,
    remedy:
      "Leave --patience out, or evaluate: --eval-steps 50, and --validation-fraction or --eval-data.",
  },
  {
    keys: ["min_learning_rate"],
    reason: ({ lr_scheduler_type: kind }) =>
      kind === "constant" ? "the learning rate stays as it is" : undefined,
    remedy: "Leave --min-learning-rate out, or take --lr-scheduler-type cosine or linear.",
  },
  {
    keys: ["sample_prompt", "sample_tokens", "sample_temperature"],
    reason: ({ sample_steps: every, final_samples: last }) =>
      every === 0 && last === 0 ? "no samples are written" : undefined,
    remedy: "Ask for samples: --sample-steps N, or --final-samples N.",
  },
  {
    keys: ["numerics"],
    reason: ({ engine }) =>
      engine === "auto" || engine.startsWith("sim:")
        ? undefined
        : `it chooses the arithmetic of sim:<chip>, and the engine is ${engine}`,
    remedy: "Leave --numerics out, or take --engine sim:m4.",
  },
  {
    keys: ["scaling"],
    reason: ({ engine }) =>
      engine === "cpu" || engine === "gpu" || engine === "reference"
        ? `the engine ${engine} computes in fp32, where nothing needs it`
        : undefined,
    remedy: "Leave --scaling out, or take --engine sim:m4 or ane.",
  },
  {
    keys: ["placement"],
    reason: ({ engine }) =>
      engine === "cpu" || engine === "gpu" || engine === "reference"
        ? `the engine ${engine} computes all of a step`
        : undefined,
    remedy: "Leave --placement out, or take --engine sim:m4 or ane.",
  },
  {
    keys: ["threads"],
    reason: ({ engine }) =>
      engine === "reference"
        ? "the engine reference has one thread"
        : engine === "gpu"
          ? "the engine gpu has the device's threads"
          : undefined,
    remedy: "Leave --threads out, or take --engine cpu.",
  },
  {
    keys: ["blas"],
    reason: ({ engine }) =>
      engine === "cpu" || engine === "auto"
        ? undefined
        : `the engine ${engine} multiplies matrices itself`,
    remedy: "Leave --blas out, or take --engine cpu.",
  },
  {
    keys: ["pipeline_stages", "shard_optimizer", "wire", "shares", "check_steps", "stall_seconds"],
    reason: (_, isGroup) => (isGroup ? undefined : "this process trains on its own"),
    remedy: "Leave {flag} out, or start several: mpirun -np 2 anecdote train …",
  },
  {
    keys: ["tap_bytes"],
    reason: ({ recompute }) =>
      recompute === "auto" ? undefined : `it is the budget of --recompute auto, not ${recompute}`,
    remedy: "Leave --tap-bytes out, or take --recompute auto.",
  },
];

/** What a run was begun with and keeps. */
const KEPT: readonly Key[] = [
  "model",
  "model_config",
  ...SIZE_KEYS,
  "tokenizer",
  "vocab_size",
  "chat_template",
  "story_count",
  "method",
  "lora_rank",
  "lora_alpha",
  "lora_dropout",
  "rslora",
  "target_modules",
  "trained_layers",
  "moment_dtype",
  "dpo_beta",
  "dpo_adapter",
  "quantize_base",
  "base_bits",
  "base_group_size",
];

/**
 * Settings that a user gave and that would do nothing. Throws `OptionError` for one of the command line; returns a
 * sentence for each one of a file. `saved`: the settings of the run that is resumed. `isGroup`: whether several
 * processes train, or are planned for; default: whether this one is one of several.
 */
export function checkIgnoredOptions(
  { config, origins }: ResolvedTrainConfig,
  saved: TrainLayer | undefined,
  isGroup = launchedProcess() !== undefined,
): readonly string[] {
  const notes: string[] = [];
  const tell = (key: Key, reason: string, remedy: string): void => {
    const origin = origins.get(key);
    const value = String(config[key]);
    if (origin === COMMAND_LINE) {
      throw new OptionError(
        "option.ignored",
        `${flagName(key)} ${value} would do nothing: ${reason}`,
        { remedy },
      );
    }
    notes.push(`${origin ?? ""}: ${key} ${value} does nothing: ${reason}`);
  };
  const isGiven = (key: Key): boolean =>
    !["default", "preset", "model", saved?.origin].includes(origins.get(key) ?? "default");
  if (saved !== undefined) {
    for (const key of KEPT) {
      const before = saved.values[key];
      if (!isGiven(key) || isSame(config[key], before)) continue;
      tell(
        key,
        `the run was begun ${before === undefined ? `without ${flagName(key)}` : `with ${JSON.stringify(before)}`} and keeps that`,
        "Leave it out, or begin another run with another --output-dir.",
      );
    }
    return notes;
  }
  for (const { keys, reason, remedy } of RULES) {
    for (const key of keys.filter(isGiven)) {
      const why = reason(config, isGroup);
      if (why !== undefined) tell(key, why, remedy.replace("{flag}", flagName(key)));
    }
  }
  return notes;
}

/** A run keeps paths absolute, whatever was typed. */
function isSame(now: unknown, before: unknown): boolean {
  if (now === before) return true;
  return typeof now === "string" && typeof before === "string" && resolve(now) === resolve(before);
}

/** A model folder, or a run's, that brings a tokenizer. */
function hasTokenizer(folder: string): boolean {
  return ["tokenizer.json", join("tokenizer", "tokenizer.json")].some((name) =>
    existsSync(join(folder, name)),
  );
}
