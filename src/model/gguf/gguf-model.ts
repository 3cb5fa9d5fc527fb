import { staticShape } from "../../mil/types.ts";
import type { FusedWeights } from "../adapters/fuse.ts";
import type { GemmaConfig, ModelConfig, RopeScaling } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { Weight } from "../parameters.ts";
import { ropeFrequencies } from "../rope.ts";
import { ggmlType } from "./ggml-types.ts";
import type { GgmlType } from "./ggml-types.ts";
import { architectureOf, GEMMA3_LOCAL_BASE, GEMMA3_PATTERN, WIDE_SCALED } from "./gguf-config.ts";
import { ggufNames, pairedRow } from "./gguf-names.ts";
import type { GgufChange } from "./gguf-names.ts";
import type { GgufOutputTensor, GgufOutputValue } from "./gguf-writer.ts";
import { fp32Numbers } from "../weight-memory.ts";
import { transposed } from "../adapters/adapter-files.ts";

/** Types in which a model's matrices are written. */
export const GGUF_TYPES = ["f32", "f16", "bf16", "q8_0", "q4_0"] as const;
export type GgufTypeName = (typeof GGUF_TYPES)[number];

const TYPES = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0", q4_0: "Q4_0" } as const;
/** `general.file_type`, by llama.cpp's numbers. */
const FILE_TYPES = { f32: 0, f16: 1, q4_0: 2, q8_0: 7, bf16: 32 } as const;
const QUANTIZATION_VERSION = 2;

export type GgufMetadataEntry = readonly [key: string, value: GgufOutputValue];

function refuse(problem: string, remedy?: string): never {
  throw new ModelError("model.gguf.write", `a GGUF file cannot say that ${problem}`, {
    ...(remedy !== undefined && { remedy }),
  });
}

const number = (value: number): GgufOutputValue => ({ type: "uint32", value });
const real = (value: number): GgufOutputValue => ({ type: "float32", value });
const text = (value: string): GgufOutputValue => ({ type: "string", value });

/**
 * A configuration as metadata, and what other programs will not see of it, as sentences. Throws `ModelError`
 * `model.gguf.write` for what the format, or llama.cpp behind it, has no place for.
 */
export function ggufModelMetadata(
  config: ModelConfig,
  type: GgufTypeName,
): { readonly metadata: readonly GgufMetadataEntry[]; readonly notes: readonly string[] } {
  const architecture = architectureOf(config);
  const notes: string[] = [];
  const entries: GgufMetadataEntry[] = [
    ["general.architecture", text(architecture)],
    ["general.type", text("model")],
    ["general.file_type", number(FILE_TYPES[type])],
    ["general.quantization_version", number(QUANTIZATION_VERSION)],
  ];
  const add = (suffix: string, value: GgufOutputValue): void => {
    entries.push([`${architecture}.${suffix}`, value]);
  };
  add("vocab_size", number(config.vocabularySize));
  add("context_length", number(config.contextLength));
  add("embedding_length", number(config.channelCount));
  add("block_count", number(config.layerCount));
  add("feed_forward_length", number(config.feedForwardSize));
  add("attention.head_count", number(config.headCount));
  if (config.family === "gpt2") {
    if (config.activation !== "gelu_new") refuse(`the activation is ${config.activation}`);
    if (config.hasUnscaledScores === true || config.dividesScoresByLayer === true)
      refuse("scores are scaled otherwise than by the head size");
    add("attention.layer_norm_epsilon", real(config.normEpsilon));
    return { metadata: entries, notes };
  }
  const isGemma = "queryScalar" in config;
  const activation = config.activation ?? (isGemma ? "gelu_tanh" : "silu");
  if (activation !== (isGemma ? "gelu_tanh" : "silu")) refuse(`the gate is ${activation}`);
  add("attention.head_count_kv", number(config.keyValueHeadCount));
  add("attention.layer_norm_rms_epsilon", real(config.normEpsilon));
  add("attention.key_length", number(config.headSize));
  add("attention.value_length", number(config.headSize));
  add("rope.dimension_count", number(config.headSize));
  add("rope.freq_base", real(config.ropeTheta));
  for (const [suffix, value] of ropeEntries(config.ropeScaling, config.contextLength))
    add(`rope.scaling.${suffix}`, value);
  if (isGemma) {
    for (const [suffix, value] of gemmaEntries(config)) add(suffix, value);
    entries.push(["anecdote.embedding_scale_type", text(config.embeddingScaleType)]);
    return { metadata: entries, notes };
  }
  if (config.window !== undefined) {
    const isWhole = config.window.layerKinds.every((kind) => kind === "sliding");
    if (config.family !== "mistral" || !isWhole)
      refuse(`layers of a ${config.family} have a sliding window`);
    add("attention.sliding_window", number(config.window.length));
    notes.push(
      `the sliding window of ${config.window.length} tokens is written; llama.cpp reads texts longer than it without one`,
    );
  }
  return { metadata: entries, notes };
}

function ropeEntries(scaling: RopeScaling, contextLength: number): readonly GgufMetadataEntry[] {
  switch (scaling.kind) {
    case "none":
    case "llama3":
      return [];
    case "divided":
      return scaling.attentionFactor === 1
        ? []
        : refuse(`rotary tables are ${scaling.attentionFactor} times as large`);
    case "linear":
      return [
        ["type", text("linear")],
        ["factor", real(scaling.factor)],
      ];
    case "yarn": {
      if (!scaling.isTruncated) refuse("yarn's blend does not end at whole channels");
      const own = 0.1 * Math.log(scaling.factor) + 1;
      const isOwn = Math.abs(scaling.attentionFactor - own) < 1e-6;
      return [
        ["type", text("yarn")],
        ["factor", real(scaling.factor)],
        ["original_context_length", number(scaling.originalContextLength)],
        ...(isOwn ? [] : [["attn_factor", real(scaling.attentionFactor / own)] as const]),
        ...(scaling.betaFast === 32 ? [] : [["yarn_beta_fast", real(scaling.betaFast)] as const]),
        ...(scaling.betaSlow === 1 ? [] : [["yarn_beta_slow", real(scaling.betaSlow)] as const]),
      ];
    }
    case "dynamic":
      return refuse(
        `rotary frequencies change with the length of the text (${contextLength} tokens and more)`,
        "Texts within the model's context do not need it: remove rope_scaling from config.json.",
      );
  }
}

/** llama.cpp has most of Gemma's switches in its code: what differs from the published models has no place. */
function gemmaEntries(config: GemmaConfig): readonly GgufMetadataEntry[] {
  const { family, attentionBias, headSize, layerCount, window, localRope } = config;
  if (attentionBias) refuse("a Gemma has biases");
  if (family === "gemma") return [];
  const isThird = family === "gemma3_text";
  const wide = isThird ? WIDE_SCALED.gemma3 : WIDE_SCALED.gemma2;
  const scalar = layerCount === wide ? config.channelCount / config.headCount : headSize;
  if (config.queryScalar !== scalar)
    refuse(`query_pre_attn_scalar is ${config.queryScalar} and not ${scalar}`);
  const expected = (layer: number): boolean =>
    isThird ? (layer + 1) % GEMMA3_PATTERN !== 0 : layer % 2 === 0;
  const kinds = window?.layerKinds;
  if (kinds?.every((kind, layer) => (kind === "sliding") === expected(layer)) === false)
    refuse("sliding windows stand in other layers than the published models'");
  if (isThird && localRope !== undefined && localRope.scaling.kind !== "none")
    refuse("layers with a sliding window have a rope scaling");
  const base = localRope?.theta ?? GEMMA3_LOCAL_BASE;
  return [
    ["attention.sliding_window", number(window?.length ?? config.contextLength)],
    ...(isThird ? [["rope.freq_base_swa", real(base)] as const] : []),
    ...(config.scoreCap === undefined
      ? []
      : [["attn_logit_softcapping", real(config.scoreCap)] as const]),
    ...(config.logitCap === undefined
      ? []
      : [["final_logit_softcapping", real(config.logitCap)] as const]),
  ];
}

/**
 * A model's weights as tensors: matrices in the type that is asked for, vectors and tables of positions as F32.
 * `notes` hears of matrices whose rows are not made of whole blocks, which are written as F16.
 */
export function ggufTensors(
  config: ModelConfig,
  { weights, viewOf }: FusedWeights,
  typeName: GgufTypeName,
  note: (message: string) => void,
): readonly GgufOutputTensor[] {
  const byName = new Map(ggufNames(config).map((entry) => [entry.name, entry]));
  const wanted = ggmlType(TYPES[typeName]);
  const uneven: string[] = [];
  const tensors = weights.map((weight): GgufOutputTensor => {
    const entry = byName.get(weight.name);
    if (entry === undefined) return refuse(`there is a weight "${weight.name}"`);
    const { ggufName: name, change } = entry;
    const shape = fileShape(weight, change);
    const isKept = shape.length < 2 || name === "position_embd.weight";
    const fits = (shape.at(-1) ?? 0) % wanted.blockSize === 0;
    if (!isKept && !fits) uneven.push(name);
    const type: GgmlType = isKept ? ggmlType("F32") : fits ? wanted : ggmlType("F16");
    return {
      ...{ name, shape, type },
      numbers: () => pieces(changed(fp32Numbers(viewOf, weight.name), shape, change)),
    };
  });
  if (uneven.length > 0) {
    note(
      `${uneven.length} matrices have rows that are no multiple of ${wanted.blockSize}, and are F16: ${uneven.slice(0, 3).join(", ")}${uneven.length > 3 ? ", ..." : ""}`,
    );
  }
  const divisors = ropeDivisors(config);
  if (divisors === undefined) return tensors;
  return [
    {
      name: "rope_freqs.weight",
      shape: [divisors.length],
      type: ggmlType("F32"),
      numbers: () => [divisors],
    },
    ...tensors,
  ];
}

function ropeDivisors(config: ModelConfig): Float32Array | undefined {
  if (config.family === "gpt2") return undefined;
  const { ropeScaling, headSize, ropeTheta, contextLength } = config;
  if (ropeScaling.kind === "divided") return Float32Array.from(ropeScaling.divisors);
  if (ropeScaling.kind !== "llama3") return undefined;
  const scaled = ropeFrequencies({ headSize, ropeTheta, ropeScaling }, contextLength);
  const plain = ropeFrequencies(
    { headSize, ropeTheta, ropeScaling: { kind: "none" } },
    contextLength,
  );
  return Float32Array.from(plain, (frequency, pair) => frequency / (scaled[pair] ?? 1));
}

function fileShape(weight: Weight, change: GgufChange): readonly number[] {
  const shape = staticShape(weight.type);
  return change.kind === "transposed" ? shape.toReversed() : shape;
}

/** Numbers as the file has them; `shape` is the file's. */
function changed(
  numbers: Float32Array,
  shape: readonly number[],
  change: GgufChange,
): Float32Array {
  const [rows = 1, columns = 1] = shape;
  switch (change.kind) {
    case "none":
      return numbers;
    case "plus_one":
      return numbers.map((value) => value + 1);
    case "transposed":
      return transposed(numbers, columns, rows);
    case "paired_rows": {
      const width = shape.length === 1 ? 1 : columns;
      const moved = new Float32Array(numbers.length);
      for (let row = 0; row < rows; row++) {
        const from = numbers.subarray(row * width, (row + 1) * width);
        moved.set(from, pairedRow(row, rows, change.headCount) * width);
      }
      return moved;
    }
  }
}

/** Numbers encoded at once: whole blocks of every type. */
const PIECE = 1 << 20;

function* pieces(numbers: Float32Array): Generator<Float32Array> {
  for (let start = 0; start < numbers.length; start += PIECE)
    yield numbers.subarray(start, Math.min(numbers.length, start + PIECE));
}
