import type { ByteSource } from "../util/byte-source.ts";
import type { ModelConfig } from "./config.ts";
import { parseModelConfig } from "./config-json.ts";
import { ModelError } from "./errors.ts";
import { pairedRow } from "./gguf/gguf-names.ts";
import { readFloats } from "./float-conversion.ts";
import { headReader } from "./weight-source.ts";
import type { StoredWeight, WeightSource } from "./weight-source.ts";
import { withFileSource, openedFile } from "../util/byte-source.ts";

// Checkpoints of llama2.c (export.py): version 0 begins with seven int32; versions 1 (fp32) and 2 (int8 in groups) with
// "ak42", padded to 256 bytes. Rotary positions turn neighbouring channels.

const MAGIC = 0x616b3432;
const HEADER_BYTES = 256;
const LEGACY_BYTES = 28;

interface Header {
  readonly version: 0 | 1 | 2;
  readonly channelCount: number;
  readonly feedForwardSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  readonly keyValueHeadCount: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly isTied: boolean;
  /** Numbers that share a scale, of version 2. */
  readonly groupSize: number;
}

/** A tensor's place: of `count` matrices in a row, one a layer. */
interface Part {
  readonly names: readonly string[];
  readonly shape: readonly number[];
  /** Quantized in version 2. */
  readonly isMatrix: boolean;
  /** Heads whose rows stand in pairs. */
  readonly pairedHeads?: number;
}

const LARGEST = 1 << 24;

function headerOf(source: ByteSource): Header | undefined {
  if (source.byteLength < LEGACY_BYTES) return undefined;
  const bytes = Buffer.from(source.read(0, Math.min(HEADER_BYTES, source.byteLength)));
  const isNew = bytes.readUInt32LE(0) === MAGIC;
  if (isNew && bytes.length < HEADER_BYTES) return undefined;
  const at = isNew ? 8 : 0;
  const version = isNew ? bytes.readInt32LE(4) : 0;
  if (version !== 0 && version !== 1 && version !== 2) return undefined;
  const [dim = 0, hidden = 0, layers = 0, heads = 0, kvHeads = 0, vocabulary = 0, context = 0] =
    Array.from({ length: 7 }, (_, index) => bytes.readInt32LE(at + 4 * index));
  const sizes = [dim, hidden, layers, heads, kvHeads, Math.abs(vocabulary), context];
  if (sizes.some((size) => size < 1 || size > LARGEST) || layers > 10_000) return undefined;
  if (dim % heads !== 0 || heads % kvHeads !== 0) return undefined;
  const groupSize = version === 2 ? bytes.readInt32LE(37) : 0;
  if (version === 2 && (groupSize < 1 || dim % groupSize !== 0)) return undefined;
  return {
    version,
    channelCount: dim,
    feedForwardSize: hidden,
    layerCount: layers,
    headCount: heads,
    keyValueHeadCount: kvHeads,
    vocabularySize: Math.abs(vocabulary),
    contextLength: context,
    isTied: isNew ? bytes[36] === 1 : vocabulary > 0,
    groupSize,
  };
}

/** Tensors in the order of the file. */
function partsOf(header: Header): readonly Part[] {
  const { channelCount: C, feedForwardSize: F, vocabularySize: V, version, isTied } = header;
  const keyChannels = (C / header.headCount) * header.keyValueHeadCount;
  const layers = (name: string): readonly string[] =>
    Array.from({ length: header.layerCount }, (_, layer) => `model.layers.${layer}.${name}.weight`);
  const norm = (names: readonly string[]): Part => ({ names, shape: [C], isMatrix: false });
  const matrix = (names: readonly string[], rows: number, columns: number): Part => ({
    ...{ names, shape: [rows, columns], isMatrix: true },
  });
  const table = matrix(["model.embed_tokens.weight"], V, C);
  const attentionNorms = norm(layers("input_layernorm"));
  const feedNorms = norm(layers("post_attention_layernorm"));
  const finalNorm = norm(["model.norm.weight"]);
  const attention: readonly Part[] = [
    { ...matrix(layers("self_attn.q_proj"), C, C), pairedHeads: header.headCount },
    {
      ...matrix(layers("self_attn.k_proj"), keyChannels, C),
      pairedHeads: header.keyValueHeadCount,
    },
    matrix(layers("self_attn.v_proj"), keyChannels, C),
    matrix(layers("self_attn.o_proj"), C, C),
  ];
  const feed: readonly Part[] = [
    matrix(layers("mlp.gate_proj"), F, C),
    matrix(layers("mlp.down_proj"), C, F),
    matrix(layers("mlp.up_proj"), F, C),
  ];
  const head: readonly Part[] = isTied ? [] : [matrix(["lm_head.weight"], V, C)];
  if (version > 0)
    return [attentionNorms, feedNorms, finalNorm, table, ...attention, ...feed, ...head];
  const angles = (header.contextLength * C) / header.headCount / 2;
  const unused: Part = { names: ["", ""], shape: [angles], isMatrix: false };
  return [table, attentionNorms, ...attention, feedNorms, ...feed, finalNorm, unused, ...head];
}

interface Placed {
  readonly weights: ReadonlyMap<string, StoredWeight>;
  readonly byteLength: number;
}

function placed(source: ByteSource, header: Header): Placed {
  const weights = new Map<string, StoredWeight>();
  let offset = header.version === 0 ? LEGACY_BYTES : HEADER_BYTES;
  for (const { names, shape, isMatrix, pairedHeads } of partsOf(header)) {
    const isPacked = header.version === 2 && isMatrix;
    const count = shape.reduce((product, axis) => product * axis, 1);
    const byteLength = isPacked ? count + 4 * (count / header.groupSize) : 4 * count;
    for (const name of names) {
      const at = offset;
      const plain = (start: number, numbers: Float32Array): void => {
        if (!isPacked) return readFloats(source, at + 4 * start, numbers);
        return readGroups(source, { at, count, groupSize: header.groupSize }, start, numbers);
      };
      const [rows = 1, columns = 1] = shape;
      const read =
        pairedHeads === undefined
          ? plain
          : headReader(
              { columns, headRows: rows / pairedHeads },
              (row) => pairedRow(row, rows, pairedHeads),
              plain,
            );
      const type = isPacked ? `int8 in groups of ${header.groupSize}` : "F32";
      if (name !== "") weights.set(name, { name, shape, type, read });
      offset += byteLength;
    }
  }
  return { weights, byteLength: offset };
}

function readGroups(
  source: ByteSource,
  {
    at,
    count,
    groupSize,
  }: { readonly at: number; readonly count: number; readonly groupSize: number },
  start: number,
  numbers: Float32Array,
): void {
  const codes = source.read(at + start, numbers.length);
  const first = Math.floor(start / groupSize);
  const last = Math.floor((start + numbers.length - 1) / groupSize);
  const scales = new Float32Array(last - first + 1);
  readFloats(source, at + count + 4 * first, scales);
  for (let index = 0; index < numbers.length; index++) {
    const scale = scales[Math.floor((start + index) / groupSize) - first] ?? 0;
    numbers[index] = (((codes[index] ?? 0) << 24) >> 24) * scale;
  }
}

/** Whether a file is a checkpoint of llama2.c: its sizes add up to its length. */
export function isLlama2cSource(source: ByteSource): boolean {
  const header = headerOf(source);
  if (header === undefined) return false;
  return header.version > 0 || placed(source, header).byteLength === source.byteLength;
}

function opened(source: ByteSource): { readonly header: Header; readonly placed: Placed } {
  const header = headerOf(source);
  if (header === undefined) {
    throw new ModelError(
      "model.llama2c",
      `${source.name} does not begin as a checkpoint of llama2.c does, or with sizes that cannot be`,
    );
  }
  const parts = placed(source, header);
  if (parts.byteLength !== source.byteLength) {
    throw new ModelError(
      "model.llama2c",
      `${source.name}: its sizes make ${parts.byteLength} bytes, the file has ${source.byteLength}`,
      { remedy: "The file is damaged or was cut off. Fetch it again." },
    );
  }
  return { header, placed: parts };
}

/** A checkpoint's configuration. Throws `ModelError` for a damaged file. */
export function llama2cConfig(path: string): ModelConfig {
  return withFileSource(path, (source) => {
    const { header } = opened(source);
    return parseModelConfig(
      {
        model_type: "llama",
        vocab_size: header.vocabularySize,
        hidden_size: header.channelCount,
        intermediate_size: header.feedForwardSize,
        num_hidden_layers: header.layerCount,
        num_attention_heads: header.headCount,
        num_key_value_heads: header.keyValueHeadCount,
        max_position_embeddings: header.contextLength,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000,
        tie_word_embeddings: header.isTied,
        bos_token_id: 1,
        eos_token_id: 2,
      },
      path,
    );
  });
}

/** A checkpoint's weights in Hugging Face's layout. Throws `ModelError` for a damaged file. */
export function openLlama2cWeights(path: string): WeightSource {
  return openedFile(path, (source) => {
    const { placed: parts } = opened(source);
    return {
      where: path,
      weights: parts.weights,
      files: [path],
      close: () => source.close(),
    };
  });
}
