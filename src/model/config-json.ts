import { join } from "node:path";
import * as z from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { messageOf } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import {
  common,
  commonOf,
  dividing,
  extraOf,
  layers,
  parse,
  positive,
  size,
} from "./common-json.ts";
import { FAMILY_NAMES } from "./config.ts";
import type { FamilyName, ModelConfig } from "./config.ts";
import { ModelError } from "./errors.ts";
import { textConfigOf } from "./multimodal.ts";
import { refuseForeignQuantization } from "./mlx-quantization.ts";
import { activationNamed, readRotary, rotaryJson } from "./rotary-json.ts";

/** `config.json` files are a few kilobytes; anything near this is not one. */
const CONFIG_BYTE_LIMIT = 1 << 20;

const gpt2Schema = z.looseObject({
  ...common,
  n_embd: size,
  n_layer: layers,
  n_head: size,
  n_positions: size,
  n_inner: size.nullish(),
  activation_function: z.string().nullish(),
  layer_norm_epsilon: positive.nullish(),
  scale_attn_weights: z.boolean().nullish(),
  scale_attn_by_inverse_layer_idx: z.boolean().nullish(),
  add_cross_attention: z.boolean().nullish(),
});

function readGpt2(json: object, where: string): ModelConfig {
  const parsed = parse(gpt2Schema, json, where);
  if (parsed.add_cross_attention === true)
    throw new ModelError("model.config.attention", `${where}: cross attention is not supported`);
  const activation = activationNamed(
    parsed.activation_function ?? "gelu_new",
    "activation_function",
    where,
  );
  return {
    family: "gpt2",
    ...commonOf(parsed, true),
    channelCount: parsed.n_embd,
    layerCount: parsed.n_layer,
    headCount: parsed.n_head,
    keyValueHeadCount: parsed.n_head,
    headSize: dividing(parsed.n_embd, parsed.n_head, "n_embd", "n_head", where),
    feedForwardSize: parsed.n_inner ?? 4 * parsed.n_embd,
    contextLength: parsed.n_positions,
    normEpsilon: parsed.layer_norm_epsilon ?? 1e-5,
    activation: activation === "gelu_tanh" ? "gelu_new" : activation,
    ...(parsed.scale_attn_weights === false && { hasUnscaledScores: true }),
    ...(parsed.scale_attn_by_inverse_layer_idx === true && { dividesScoresByLayer: true }),
    extra: extraOf(gpt2Schema, json),
  };
}

function isFamilyName(name: string): name is FamilyName {
  return (FAMILY_NAMES as readonly string[]).includes(name);
}

/**
 * A model's configuration from the contents of a Hugging Face `config.json`.
 * Throws `ModelError` for another family, wrong types and sizes that cannot be.
 */
export function parseModelConfig(given: unknown, where = "config.json"): ModelConfig {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new ModelError("model.config.invalid", `${where}: a JSON object is needed`);
  refuseForeignQuantization(given, where);
  const json = textConfigOf(given);
  const family: unknown = "model_type" in json ? json.model_type : undefined;
  const supported = FAMILY_NAMES.join(", ");
  if (typeof family !== "string")
    throw new ModelError(
      "model.config.family",
      `${where}: "model_type" is missing; it names the model's family, one of ${supported}`,
    );
  if (!isFamilyName(family))
    throw new ModelError(
      "model.config.family",
      `${where}: models of family "${family}" are not supported; supported are ${supported}.${didYouMean(family, FAMILY_NAMES)}`,
    );
  return family === "gpt2" ? readGpt2(json, where) : readRotary(family, json, where);
}

const ARCHITECTURES: Readonly<Record<FamilyName, string>> = {
  llama: "LlamaForCausalLM",
  gpt2: "GPT2LMHeadModel",
  qwen3: "Qwen3ForCausalLM",
  mistral: "MistralForCausalLM",
  qwen2: "Qwen2ForCausalLM",
  gemma: "GemmaForCausalLM",
  gemma2: "Gemma2ForCausalLM",
  gemma3_text: "Gemma3ForCausalLM",
};

/** The contents of a `config.json`, keys that were read but not used included. */
export function modelConfigJson(
  config: ModelConfig,
  weightType: "float32" | "bfloat16" | "float16" = "float32",
): Record<string, unknown> {
  const [firstEnd, ...otherEnds] = config.endTokenIds;
  const shared = {
    ...config.extra,
    architectures: [ARCHITECTURES[config.family]],
    model_type: config.family,
    torch_dtype: weightType,
    vocab_size: config.vocabularySize,
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tiedHead,
    ...(config.beginTokenId !== undefined && { bos_token_id: config.beginTokenId }),
    ...(firstEnd !== undefined && {
      eos_token_id: otherEnds.length === 0 ? firstEnd : config.endTokenIds,
    }),
    ...(config.padTokenId !== undefined && { pad_token_id: config.padTokenId }),
  };
  if (config.family !== "gpt2") return { ...shared, ...rotaryJson(config) };
  return {
    ...shared,
    n_embd: config.channelCount,
    n_layer: config.layerCount,
    n_head: config.headCount,
    n_positions: config.contextLength,
    n_inner: config.feedForwardSize === 4 * config.channelCount ? null : config.feedForwardSize,
    activation_function: config.activation,
    layer_norm_epsilon: config.normEpsilon,
    scale_attn_weights: config.hasUnscaledScores !== true,
    scale_attn_by_inverse_layer_idx: config.dividesScoresByLayer === true,
  };
}

/** Reads `config.json` of a model folder. Throws `ModelError` and `FileError`. */
export function readFolderConfig(folder: string): ModelConfig {
  const path = join(folder, "config.json");
  return parseModelConfig(readJsonFile(path, CONFIG_BYTE_LIMIT), path);
}

/** Writes `config.json` into a model folder, atomically. */
export function writeModelConfig(
  folder: string,
  config: ModelConfig,
  weightType: "float32" | "bfloat16" | "float16" = "float32",
): void {
  const text = JSON.stringify(modelConfigJson(config, weightType), null, 2);
  writeWholeFile(join(folder, "config.json"), `${text}\n`);
}

/** A JSON file's contents. Throws `ModelError` naming the file where it is not JSON. */
export function readJsonFile(path: string, byteLimit: number): unknown {
  const text = new TextDecoder().decode(readSmallFile(path, byteLimit));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ModelError("model.json", `${path} is not JSON: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
