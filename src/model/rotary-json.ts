import * as z from "zod";
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
import type {
  Activation,
  FamilyName,
  GemmaConfig,
  LayerKind,
  ModelConfig,
  RotaryConfig,
  SlidingWindow,
} from "./config.ts";
import { ModelError } from "./errors.ts";
import { ropeByLayerSchema, ropeJson, ropeScalingOf, ropeSchema } from "./rope-json.ts";
import type { RopeJson } from "./rope-json.ts";

/** Families whose positions are rotary. */
export type RotaryFamily = Exclude<FamilyName, "gpt2">;

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
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeByLayerSchema.nullish(),
  attention_bias: z.boolean().nullish(),
  partial_rotary_factor: positive.nullish(),
};

/** Layers with a sliding window. */
const windowed = {
  ...rotary,
  sliding_window: size.nullish(),
  layer_types: z.array(z.string()).nullish(),
};

const llamaSchema = z.looseObject({
  ...rotary,
  mlp_bias: z.boolean().nullish(),
  attention_copy: positive.nullish(),
});

const mistralSchema = z.looseObject(windowed);

const qwenSchema = z.looseObject({
  ...windowed,
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.int().nonnegative().nullish(),
});

const EMBEDDING_SCALE_TYPES = ["float32", "bfloat16", "float16"] as const;

const gemmaSchema = z.looseObject({
  ...windowed,
  hidden_activation: z.string().nullish(),
  query_pre_attn_scalar: positive.nullish(),
  attn_logit_softcapping: positive.nullish(),
  final_logit_softcapping: positive.nullish(),
  rope_local_base_freq: positive.nullish(),
  sliding_window_pattern: z.int().positive().nullish(),
  _sliding_window_pattern: z.int().positive().nullish(),
  use_bidirectional_attention: z.boolean().nullish(),
  embedding_scale_type: z.enum(EMBEDDING_SCALE_TYPES).nullish(),
});

type RotaryFields = z.infer<z.ZodObject<typeof rotary>>;
type WindowFields = z.infer<z.ZodObject<typeof windowed>>;

/** What a family has where its file leaves it out. */
interface Defaults {
  readonly headSize?: number;
  readonly tiedHead?: boolean;
  readonly ropeTheta?: number;
}

/** Hugging Face's names of activations, and ours. */
const ACTIVATION_NAMES: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  relu: "relu",
};

/** The activation that a name means. Throws `ModelError` for another. */
export function activationNamed(name: string, key: string, where: string): Activation {
  const found = Object.hasOwn(ACTIVATION_NAMES, name) ? ACTIVATION_NAMES[name] : undefined;
  if (found !== undefined) return found;
  throw new ModelError(
    "model.config.activation",
    `${where}: ${key} "${name}" is not supported; supported are ${Object.keys(ACTIVATION_NAMES).join(", ")}`,
  );
}

function rotaryOf(
  json: RotaryFields,
  defaults: Defaults,
  where: string,
): Omit<RotaryConfig, "extra"> {
  const parameters = json.rope_parameters?.full_attention ?? json.rope_parameters;
  const scaling: RopeJson | null | undefined = parameters ?? json.rope_scaling;
  const config = {
    ...commonOf(json, defaults.tiedHead ?? false),
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
    normEpsilon: json.rms_norm_eps ?? 1e-6,
    ropeTheta: json.rope_theta ?? scaling?.rope_theta ?? defaults.ropeTheta ?? 10_000,
    ropeScaling: ropeScalingOf(scaling, json.max_position_embeddings, where),
    attentionBias: json.attention_bias ?? false,
  };
  const { partial_rotary_factor: rotated } = json;
  if (rotated !== null && rotated !== undefined && rotated !== 1)
    throw new ModelError(
      "model.config.rope",
      `${where}: only part of a head is rotated (partial_rotary_factor ${rotated}), which is not supported`,
    );
  dividing(
    config.headCount,
    config.keyValueHeadCount,
    "num_attention_heads",
    "num_key_value_heads",
    where,
  );
  const { ropeScaling, headSize } = config;
  if (ropeScaling.kind === "divided" && ropeScaling.divisors.length !== headSize / 2)
    throw new ModelError(
      "model.config.rope",
      `${where}: ${ropeScaling.divisors.length} divisors of frequencies are given, heads of ${headSize} channels need ${headSize / 2}`,
    );
  if (config.headSize % 2 !== 0)
    throw new ModelError(
      "model.config.sizes",
      `${where}: rotary positions need an even head size, not ${config.headSize}`,
    );
  return config;
}

/** silu is left out: it is what a configuration without an activation means. */
function gateOf(name: string, where: string): { readonly activation?: Activation } {
  const activation = activationNamed(name, "hidden_act", where);
  return activation === "silu" ? {} : { activation };
}

/**
 * Layers with a window: those that `layer_types` names, or else those that the family's rule does. None where no
 * layer has one, or where it is as long as the context and means nothing else.
 */
function windowOf(
  json: WindowFields,
  length: number | null | undefined,
  isWindowed: (layer: number) => boolean,
  where: string,
  hasLocalRope = false,
): { readonly window?: SlidingWindow } {
  const count = json.num_hidden_layers;
  const names = json.layer_types ?? undefined;
  if (names !== undefined && names.length !== count)
    throw new ModelError(
      "model.config.attention",
      `${where}: layer_types names ${names.length} layers, num_hidden_layers is ${count}`,
    );
  const layerKinds = Array.from({ length: count }, (_, layer): LayerKind => {
    const name = names?.[layer];
    if (name === undefined) return isWindowed(layer) ? "sliding" : "full";
    if (name === "full_attention") return "full";
    if (name === "sliding_attention") return "sliding";
    throw new ModelError(
      "model.config.attention",
      `${where}: layer ${layer} is of the type "${name}"; supported are full_attention and sliding_attention`,
    );
  });
  if (!layerKinds.includes("sliding")) return {};
  if (length === null || length === undefined)
    throw new ModelError(
      "model.config.attention",
      `${where}: layer_types asks for sliding_attention, and there is no sliding_window in use`,
    );
  if (length >= json.max_position_embeddings && !hasLocalRope) return {};
  return { window: { length, layerKinds } };
}

function readLlama(json: object, where: string): ModelConfig {
  const parsed = parse(llamaSchema, json, where);
  const read = rotaryOf(parsed, {}, where);
  const attentionCopy = parsed.attention_copy ?? undefined;
  const valueChannels = read.keyValueHeadCount * read.headSize;
  if (attentionCopy !== undefined && valueChannels !== read.channelCount)
    throw new ModelError(
      "model.config.sizes",
      `${where}: attention_copy needs values of as many channels as hidden_size, ${read.channelCount}, not ${valueChannels}`,
    );
  return {
    family: "llama",
    ...read,
    ...gateOf(parsed.hidden_act ?? "silu", where),
    feedForwardBias: parsed.mlp_bias ?? false,
    ...(attentionCopy !== undefined && { attentionCopy }),
    extra: extraOf(llamaSchema, json),
  };
}

/** The window that a mistral has where its file does not speak of one; null in the file is none. */
const MISTRAL_WINDOW = 4_096;

function readMistral(json: object, where: string): ModelConfig {
  const parsed = parse(mistralSchema, json, where);
  const length = parsed.sliding_window === undefined ? MISTRAL_WINDOW : parsed.sliding_window;
  return {
    family: "mistral",
    ...rotaryOf(parsed, {}, where),
    ...gateOf(parsed.hidden_act ?? "silu", where),
    ...windowOf(parsed, length, () => length !== null, where),
    attentionBias: false,
    extra: extraOf(mistralSchema, json),
  };
}

function readQwen(family: "qwen2" | "qwen3", json: object, where: string): ModelConfig {
  const parsed = parse(qwenSchema, json, where);
  const read = rotaryOf(parsed, family === "qwen3" ? { headSize: 128 } : {}, where);
  const first = parsed.max_window_layers ?? 28;
  const length = parsed.use_sliding_window === true ? (parsed.sliding_window ?? 4_096) : undefined;
  return {
    family,
    ...read,
    ...gateOf(parsed.hidden_act ?? "silu", where),
    ...windowOf(parsed, length, (layer) => length !== undefined && layer >= first, where),
    attentionBias: family === "qwen2" ? true : read.attentionBias,
    extra: extraOf(qwenSchema, json),
  };
}

function readGemma(family: GemmaConfig["family"], json: object, where: string): ModelConfig {
  const parsed = parse(gemmaSchema, json, where);
  if (parsed.use_bidirectional_attention === true)
    throw new ModelError(
      "model.config.attention",
      `${where}: use_bidirectional_attention makes a model that embeds texts; those are not supported`,
    );
  const isThird = family === "gemma3_text";
  const read = rotaryOf(
    parsed,
    { headSize: 256, tiedHead: true, ropeTheta: isThird ? 1e6 : 10_000 },
    where,
  );
  const pattern = parsed.sliding_window_pattern ?? parsed._sliding_window_pattern ?? 6;
  const isWindowed = (layer: number): boolean =>
    isThird ? (layer + 1) % pattern !== 0 : layer % 2 === 0;
  const gate = activationNamed(
    parsed.hidden_activation ?? "gelu_pytorch_tanh",
    "hidden_activation",
    where,
  );
  const scaleType = parsed.embedding_scale_type ?? weightTypeOf(json);
  const scoreCap = capOf(parsed.attn_logit_softcapping, family === "gemma2" ? 50 : undefined);
  const logitCap = capOf(parsed.final_logit_softcapping, family === "gemma2" ? 30 : undefined);
  const local = parsed.rope_parameters?.sliding_attention;
  return {
    family,
    ...read,
    ...(gate !== "gelu_tanh" && { activation: gate }),
    ...(family !== "gemma" &&
      windowOf(parsed, parsed.sliding_window ?? 4_096, isWindowed, where, isThird)),
    embeddingScaleType: scaleType,
    queryScalar: family === "gemma" ? read.headSize : (parsed.query_pre_attn_scalar ?? 256),
    ...(family !== "gemma" && scoreCap !== undefined && { scoreCap }),
    ...(family !== "gemma" && logitCap !== undefined && { logitCap }),
    ...(isThird && {
      localRope: {
        theta: local?.rope_theta ?? parsed.rope_local_base_freq ?? 10_000,
        scaling: ropeScalingOf(local, read.contextLength, where),
      },
    }),
    extra: extraOf(gemmaSchema, json),
  };
}

/** A cap that a file leaves out is the family's; null is none. */
function capOf(
  given: number | null | undefined,
  byDefault: number | undefined,
): number | undefined {
  return given === undefined ? byDefault : (given ?? undefined);
}

/** The type that a model's weights were published in, as its `dtype` or `torch_dtype` says. */
function weightTypeOf(json: object): GemmaConfig["embeddingScaleType"] {
  const given: unknown =
    "dtype" in json ? json.dtype : "torch_dtype" in json ? json.torch_dtype : undefined;
  return EMBEDDING_SCALE_TYPES.find((type) => type === given) ?? "float32";
}

/** A configuration of a family with rotary positions. Throws `ModelError` for what is wrong or not supported. */
export function readRotary(family: RotaryFamily, json: object, where: string): ModelConfig {
  switch (family) {
    case "llama":
      return readLlama(json, where);
    case "mistral":
      return readMistral(json, where);
    case "qwen2":
    case "qwen3":
      return readQwen(family, json, where);
    case "gemma":
    case "gemma2":
    case "gemma3_text":
      return readGemma(family, json, where);
  }
}

const WRITTEN_ACTIVATIONS: Readonly<Record<Activation, string>> = {
  silu: "silu",
  gelu: "gelu",
  gelu_tanh: "gelu_pytorch_tanh",
  relu: "relu",
};

/** The keys of a `config.json` that only families with rotary positions have. */
export function rotaryJson(
  config: Exclude<ModelConfig, { family: "gpt2" }>,
): Record<string, unknown> {
  const isGemma = "queryScalar" in config;
  const activation = WRITTEN_ACTIVATIONS[config.activation ?? (isGemma ? "gelu_tanh" : "silu")];
  return {
    hidden_size: config.channelCount,
    intermediate_size: config.feedForwardSize,
    num_hidden_layers: config.layerCount,
    num_attention_heads: config.headCount,
    num_key_value_heads: config.keyValueHeadCount,
    head_dim: config.headSize,
    hidden_act: activation,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: config.normEpsilon,
    rope_theta: config.ropeTheta,
    rope_scaling: ropeJson(config.ropeScaling),
    ...(config.family !== "qwen2" &&
      config.family !== "mistral" && {
        attention_bias: config.attentionBias,
      }),
    ...windowJson(config),
    ...(config.family === "llama" && { mlp_bias: config.feedForwardBias }),
    ...(config.family === "llama" &&
      config.attentionCopy !== undefined && { attention_copy: config.attentionCopy }),
    ...(isGemma && gemmaJson(config, activation)),
  };
}

function windowJson({
  family,
  window,
  layerCount,
}: RotaryConfig & { readonly family: RotaryFamily }) {
  if (family === "llama" || family === "gemma") return {};
  const isQwen = family === "qwen2" || family === "qwen3";
  const kinds = window?.layerKinds ?? Array.from({ length: layerCount }, (): LayerKind => "full");
  return {
    sliding_window: window?.length ?? null,
    ...(isQwen && { use_sliding_window: window !== undefined }),
    ...(family !== "mistral" && {
      layer_types: kinds.map((kind) => `${kind}_attention`),
    }),
  };
}

function gemmaJson(config: GemmaConfig, activation: string): Record<string, unknown> {
  const { localRope } = config;
  return {
    hidden_activation: activation,
    embedding_scale_type: config.embeddingScaleType,
    ...(config.family !== "gemma" && {
      query_pre_attn_scalar: config.queryScalar,
      attn_logit_softcapping: config.scoreCap ?? null,
      final_logit_softcapping: config.logitCap ?? null,
    }),
    ...(localRope !== undefined && {
      rope_local_base_freq: localRope.theta,
      ...(localRope.scaling.kind !== "none" && {
        rope_parameters: {
          full_attention: {
            rope_type: "default",
            ...ropeJson(config.ropeScaling),
            rope_theta: config.ropeTheta,
          },
          sliding_attention: { ...ropeJson(localRope.scaling), rope_theta: localRope.theta },
        },
      }),
    }),
  };
}
