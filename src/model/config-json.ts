import { join } from "node:path";
import { z } from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { messageOf } from "../util/errors.ts";
import { didYouMean, nearestName } from "../util/nearest.ts";
import { plainProblem, typeWords } from "../util/plain-problem.ts";
import { FAMILY_NAMES } from "./config.ts";
import type { FamilyName, ModelConfig, RopeScaling } from "./config.ts";
import { ModelError } from "./errors.ts";
import { givenId, givenIds, tokenIdSchema, tokenIdsSchema } from "./token-ids.ts";

/** `config.json` files are a few kilobytes; anything near this is not one. */
const CONFIG_BYTE_LIMIT = 1 << 20;
const LARGEST_SIZE = 1 << 24;
const LARGEST_LAYER_COUNT = 10_000;

const size = z.int().positive().max(LARGEST_SIZE);
const layers = z.int().positive().max(LARGEST_LAYER_COUNT);
const positive = z.number().positive();

/** Keys that all families share, whichever way they name their sizes. */
const common = {
  vocab_size: size,
  initializer_range: positive.nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  bos_token_id: tokenIdSchema,
  eos_token_id: tokenIdsSchema,
  pad_token_id: tokenIdSchema,
};

const ropeParameters = z.looseObject({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: positive.nullish(),
  factor: positive.nullish(),
  low_freq_factor: positive.nullish(),
  high_freq_factor: positive.nullish(),
  original_max_position_embeddings: size.nullish(),
});

const rotary = {
  ...common,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: layers,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  hidden_act: z.string().nullish(),
  max_position_embeddings: size,
  rms_norm_eps: positive.nullish(),
  rope_theta: positive.nullish(),
  rope_scaling: ropeParameters.nullish(),
  rope_parameters: ropeParameters.nullish(),
  attention_bias: z.boolean().nullish(),
};

const llamaSchema = z.looseObject({
  ...rotary,
  mlp_bias: z.boolean().nullish(),
  attention_copy: positive.nullish(),
});

const qwen3Schema = z.looseObject({
  ...rotary,
  use_sliding_window: z.boolean().nullish(),
  layer_types: z.array(z.string()).nullish(),
});

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

/** Keys that the product writes itself; the others are carried through in `extra`. */
const OWN_KEYS = ["architectures", "model_type", "dtype", "torch_dtype"];

function parse<Schema extends z.ZodObject>(
  schema: Schema,
  json: unknown,
  where: string,
): z.infer<Schema> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => problemOf(issue, json, schema));
  throw new ModelError("model.config.invalid", `${where}: ${problems.join("; ")}`);
}

/** What is wrong with one key, in plain words. */
function problemOf(issue: z.core.$ZodIssue, json: unknown, schema: z.ZodObject): string {
  const name = issue.path.length === 0 ? "the file" : `"${issue.path.map(String).join(".")}"`;
  const value = issue.path.reduce<unknown>(
    (inside, key) =>
      typeof inside === "object" && inside !== null
        ? (inside as Readonly<Record<PropertyKey, unknown>>)[key]
        : undefined,
    json,
  );
  if (value !== undefined) return `${name} ${plainProblem(issue)}, not ${JSON.stringify(value)}`;
  const needed = issue.code === "invalid_type" ? `: ${typeWords(issue.expected)}` : "";
  const own = new Set(Object.keys(schema.shape));
  const others =
    typeof json === "object" && json !== null
      ? Object.keys(json).filter((key) => !own.has(key))
      : [];
  const meant = nearestName(String(issue.path.at(-1)), others);
  return `${name} is missing${needed}${meant === undefined ? "" : ` (the file has "${meant}")`}`;
}

function extraOf(schema: z.ZodObject, json: object): Readonly<Record<string, unknown>> {
  const known = new Set([...Object.keys(schema.shape), ...OWN_KEYS]);
  return Object.fromEntries(Object.entries(json).filter(([key]) => !known.has(key)));
}

interface CommonJson {
  readonly vocab_size: number;
  readonly initializer_range?: number | null | undefined;
  readonly tie_word_embeddings?: boolean | null | undefined;
  readonly bos_token_id?: number | null | undefined;
  readonly eos_token_id?: number | readonly number[] | null | undefined;
  readonly pad_token_id?: number | null | undefined;
}

function commonOf(json: CommonJson, tiedByDefault: boolean) {
  return {
    vocabularySize: json.vocab_size,
    initializerRange: json.initializer_range ?? 0.02,
    tiedHead: json.tie_word_embeddings ?? tiedByDefault,
    beginTokenId: givenId(json.bos_token_id),
    endTokenIds: givenIds(json.eos_token_id) ?? [],
    padTokenId: givenId(json.pad_token_id),
  };
}

function ropeScalingOf(
  parameters: z.infer<typeof ropeParameters> | null | undefined,
  contextLength: number,
  where: string,
): RopeScaling {
  const kind = parameters?.rope_type ?? parameters?.type ?? "default";
  const needed = (name: "factor" | "low_freq_factor" | "high_freq_factor"): number => {
    const value = parameters?.[name];
    if (value === null || value === undefined)
      throw new ModelError("model.config.rope", `${where}: rope scaling "${kind}" needs "${name}"`);
    return value;
  };
  switch (kind) {
    case "default":
      return { kind: "none" };
    case "linear":
      return { kind: "linear", factor: needed("factor") };
    case "llama3": {
      const scaling = {
        kind: "llama3",
        factor: needed("factor"),
        lowFrequencyFactor: needed("low_freq_factor"),
        highFrequencyFactor: needed("high_freq_factor"),
        originalContextLength: parameters?.original_max_position_embeddings ?? contextLength,
      } as const;
      if (scaling.highFrequencyFactor <= scaling.lowFrequencyFactor)
        throw new ModelError(
          "model.config.rope",
          `${where}: high_freq_factor ${scaling.highFrequencyFactor} must be above low_freq_factor ${scaling.lowFrequencyFactor}`,
        );
      return scaling;
    }
    default:
      throw new ModelError(
        "model.config.rope",
        `${where}: rope scaling "${kind}" is not supported; supported are default, linear and llama3`,
        {
          remedy:
            "Remove rope_scaling from config.json to use the model within its original context.",
        },
      );
  }
}

function rotaryOf(
  json: z.infer<typeof llamaSchema> | z.infer<typeof qwen3Schema>,
  defaults: { readonly headSize: number | undefined; readonly normEpsilon: number },
  where: string,
) {
  const activation = json.hidden_act ?? "silu";
  if (activation !== "silu" && activation !== "swish")
    throw new ModelError(
      "model.config.activation",
      `${where}: hidden_act "${activation}" is not supported; supported is silu`,
    );
  const parameters = json.rope_parameters ?? json.rope_scaling;
  const config = {
    ...commonOf(json, false),
    channelCount: json.hidden_size,
    layerCount: json.num_hidden_layers,
    headCount: json.num_attention_heads,
    keyValueHeadCount: json.num_key_value_heads ?? json.num_attention_heads,
    headSize:
      json.head_dim ??
      defaults.headSize ??
      dividing(
        json.hidden_size,
        json.num_attention_heads,
        "hidden_size",
        "num_attention_heads",
        where,
      ),
    feedForwardSize: json.intermediate_size,
    contextLength: json.max_position_embeddings,
    normEpsilon: json.rms_norm_eps ?? defaults.normEpsilon,
    ropeTheta: json.rope_theta ?? parameters?.rope_theta ?? 10_000,
    ropeScaling: ropeScalingOf(parameters, json.max_position_embeddings, where),
    attentionBias: json.attention_bias ?? false,
  };
  dividing(
    config.headCount,
    config.keyValueHeadCount,
    "num_attention_heads",
    "num_key_value_heads",
    where,
  );
  if (config.headSize % 2 !== 0)
    throw new ModelError(
      "model.config.sizes",
      `${where}: rotary positions need an even head size, not ${config.headSize}`,
    );
  return config;
}

/** `total / parts`, which must be whole. */
function dividing(
  total: number,
  parts: number,
  totalName: string,
  partsName: string,
  where: string,
): number {
  if (total % parts !== 0)
    throw new ModelError(
      "model.config.sizes",
      `${where}: ${totalName} ${total} is not a multiple of ${partsName} ${parts}`,
    );
  return total / parts;
}

function readQwen3(json: object, where: string): ModelConfig {
  const parsed = parse(qwen3Schema, json, where);
  const layers = parsed.layer_types ?? [];
  if (parsed.use_sliding_window === true || layers.some((kind) => kind !== "full_attention"))
    throw new ModelError(
      "model.config.attention",
      `${where}: sliding-window attention is not supported; only full_attention layers are`,
    );
  return {
    family: "qwen3",
    ...rotaryOf(parsed, { headSize: 128, normEpsilon: 1e-6 }, where),
    extra: extraOf(qwen3Schema, json),
  };
}

function readGpt2(json: object, where: string): ModelConfig {
  const parsed = parse(gpt2Schema, json, where);
  if (parsed.scale_attn_weights === false || parsed.scale_attn_by_inverse_layer_idx === true)
    throw new ModelError(
      "model.config.attention",
      `${where}: attention scores are divided by the square root of the head size; scale_attn_weights false and scale_attn_by_inverse_layer_idx true are not supported`,
    );
  if (parsed.add_cross_attention === true)
    throw new ModelError("model.config.attention", `${where}: cross attention is not supported`);
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
    activation: gpt2Activation(parsed.activation_function ?? "gelu_new", where),
    extra: extraOf(gpt2Schema, json),
  };
}

function gpt2Activation(name: string, where: string): "gelu_new" | "gelu" {
  switch (name) {
    case "gelu_new":
    case "gelu_pytorch_tanh":
      return "gelu_new";
    case "gelu":
      return "gelu";
    default:
      throw new ModelError(
        "model.config.activation",
        `${where}: activation_function "${name}" is not supported; supported are gelu_new, gelu_pytorch_tanh and gelu`,
      );
  }
}

function isFamilyName(name: string): name is FamilyName {
  return (FAMILY_NAMES as readonly string[]).includes(name);
}

/**
 * A model's configuration from the contents of a Hugging Face `config.json`.
 * Throws `ModelError` for another family, wrong types and sizes that cannot be.
 */
export function parseModelConfig(json: unknown, where = "config.json"): ModelConfig {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new ModelError("model.config.invalid", `${where}: a JSON object is needed`);
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
  switch (family) {
    case "llama": {
      const parsed = parse(llamaSchema, json, where);
      const rotary = rotaryOf(parsed, { headSize: undefined, normEpsilon: 1e-6 }, where);
      const attentionCopy = parsed.attention_copy ?? undefined;
      if (
        attentionCopy !== undefined &&
        rotary.keyValueHeadCount * rotary.headSize !== rotary.channelCount
      )
        throw new ModelError(
          "model.config.sizes",
          `${where}: attention_copy needs values of as many channels as hidden_size, ${rotary.channelCount}, not ${rotary.keyValueHeadCount * rotary.headSize}`,
        );
      return {
        family,
        ...rotary,
        feedForwardBias: parsed.mlp_bias ?? false,
        ...(attentionCopy !== undefined && { attentionCopy }),
        extra: extraOf(llamaSchema, json),
      };
    }
    case "gpt2":
      return readGpt2(json, where);
    case "qwen3":
      return readQwen3(json, where);
  }
}

function ropeJson(scaling: RopeScaling): Record<string, unknown> | null {
  switch (scaling.kind) {
    case "none":
      return null;
    case "linear":
      return { rope_type: "linear", factor: scaling.factor };
    case "llama3":
      return {
        rope_type: "llama3",
        factor: scaling.factor,
        low_freq_factor: scaling.lowFrequencyFactor,
        high_freq_factor: scaling.highFrequencyFactor,
        original_max_position_embeddings: scaling.originalContextLength,
      };
  }
}

const ARCHITECTURES: Readonly<Record<FamilyName, string>> = {
  llama: "LlamaForCausalLM",
  gpt2: "GPT2LMHeadModel",
  qwen3: "Qwen3ForCausalLM",
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
  switch (config.family) {
    case "gpt2":
      return {
        ...shared,
        n_embd: config.channelCount,
        n_layer: config.layerCount,
        n_head: config.headCount,
        n_positions: config.contextLength,
        n_inner: config.feedForwardSize === 4 * config.channelCount ? null : config.feedForwardSize,
        activation_function: config.activation,
        layer_norm_epsilon: config.normEpsilon,
      };
    case "llama":
    case "qwen3":
      return {
        ...shared,
        hidden_size: config.channelCount,
        intermediate_size: config.feedForwardSize,
        num_hidden_layers: config.layerCount,
        num_attention_heads: config.headCount,
        num_key_value_heads: config.keyValueHeadCount,
        head_dim: config.headSize,
        hidden_act: "silu",
        max_position_embeddings: config.contextLength,
        rms_norm_eps: config.normEpsilon,
        rope_theta: config.ropeTheta,
        rope_scaling: ropeJson(config.ropeScaling),
        attention_bias: config.attentionBias,
        ...(config.family === "llama" && { mlp_bias: config.feedForwardBias }),
        ...(config.family === "llama" &&
          config.attentionCopy !== undefined && { attention_copy: config.attentionCopy }),
      };
  }
}

/** Reads `config.json` of a model folder. Throws `ModelError` and `FileError`. */
export function readModelConfig(folder: string): ModelConfig {
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
