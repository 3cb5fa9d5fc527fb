import { existsSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import * as z from "zod";
import { sameShape, staticShape } from "../mil/types.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { openFileSource } from "../util/byte-source.ts";
import { didYouMean } from "../util/nearest.ts";
import { readJsonFile } from "./config-json.ts";
import { ModelError } from "./errors.ts";
import { decodeFloats, encodeFloats, isStoredFloat } from "./float-conversion.ts";
import type { StoredFloat } from "./float-conversion.ts";
import type { Model } from "./model.ts";
import { WeightMemory } from "./weight-memory.ts";
import type { WeightView } from "./weight-memory.ts";
import type { Parameters, Weight } from "./parameters.ts";
import { openSafetensors, SAFETENSORS_BYTES, writeSafetensors } from "./safetensors.ts";
import type { SafetensorsEntry, SafetensorsFile, SafetensorsOutput } from "./safetensors.ts";

const SINGLE_FILE = "model.safetensors";
const INDEX_FILE = "model.safetensors.index.json";
/** Of a folder that only has the trained weights of a partly frozen model (trained-weights.ts). */
export const TRAINED_FILE = "trained.safetensors";
const INDEX_BYTE_LIMIT = 64 << 20;
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/** What was read of a model's weights. */
export interface LoadedWeights {
  /** Files read, in order. */
  readonly files: readonly string[];
  /** Element types found. */
  readonly types: readonly StoredFloat[];
}

/** Whether a folder holds weights that `readWeightFiles` would read. */
export function hasWeights(folder: string): boolean {
  return [SINGLE_FILE, INDEX_FILE, TRAINED_FILE].some((name) => existsSync(join(folder, name)));
}

interface StoredTensor {
  readonly file: SafetensorsFile;
  readonly entry: SafetensorsEntry;
}

/**
 * Reads a model folder's weights (one file, or shards with their index) into the views, converting to fp32; all of
 * the model's, or those of `weights`. Everything is checked before the first number is read. Throws `ModelError` for
 * missing, unexpected and wrongly shaped tensors, `FileError` for files that cannot be read.
 */
export function readWeightFiles(
  folder: string,
  model: Model,
  viewOf: WeightView,
  weights: readonly Weight[] = model.parameters.weights,
): LoadedWeights {
  const files = new Map<string, SafetensorsFile>();
  const openFile = (name: string): SafetensorsFile => {
    const known = files.get(name);
    if (known !== undefined) return known;
    const source = openFileSource(join(folder, name));
    try {
      const file = openSafetensors(source);
      files.set(name, file);
      return file;
    } catch (error) {
      source.close();
      throw error;
    }
  };
  try {
    const stored = storedTensors(folder, openFile);
    const matched = matchWeights(folder, model, weights, stored);
    for (const [weight, { file, entry }] of matched) {
      readTensor(file, entry, new WeightMemory(weight, viewOf));
    }
    const types = new Set([...matched.values()].map(({ entry }) => storedFloat(folder, entry)));
    return { files: [...files.keys()], types: [...types] };
  } finally {
    for (const file of files.values()) file.source.close();
  }
}

/** Every tensor of the folder by the name it has there. */
function storedTensors(
  folder: string,
  openFile: (name: string) => SafetensorsFile,
): ReadonlyMap<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>();
  const single = [TRAINED_FILE, SINGLE_FILE].find((name) => existsSync(join(folder, name)));
  if (single !== undefined) {
    const file = openFile(single);
    for (const [name, entry] of file.entries) stored.set(name, { file, entry });
    return stored;
  }
  const path = join(folder, INDEX_FILE);
  if (!existsSync(path))
    throw new ModelError(
      "model.weights.file",
      `${folder} has neither ${SINGLE_FILE} nor ${INDEX_FILE}`,
      { remedy: "Give a model folder in Hugging Face's layout." },
    );
  const parsed = indexSchema.safeParse(readJsonFile(path, INDEX_BYTE_LIMIT));
  if (!parsed.success)
    throw new ModelError(
      "model.weights.index",
      `${path}: "weight_map" must map tensor names to file names`,
    );
  for (const [name, fileName] of Object.entries(parsed.data.weight_map)) {
    if (basename(fileName) !== fileName || !fileName.endsWith(".safetensors"))
      throw new ModelError(
        "model.weights.index",
        `${path}: "${fileName}" is not the name of a .safetensors file in the same folder`,
      );
    const file = openFile(fileName);
    const entry = file.entries.get(name);
    if (entry === undefined)
      throw new ModelError(
        "model.weights.index",
        `${path} says "${name}" stands in ${fileName}, which does not have it.${didYouMean(name, file.entries.keys())}`,
      );
    stored.set(name, { file, entry });
  }
  return stored;
}

/** Buffers that older writers stored beside the weights: masks and rotary tables. */
const NOT_WEIGHTS = /(^|\.)attn\.(bias|masked_bias)$|(^|\.)rotary_emb\.inv_freq$/;

function matchWeights(
  folder: string,
  model: Model,
  weights: readonly Weight[],
  stored: ReadonlyMap<string, StoredTensor>,
): ReadonlyMap<Weight, StoredTensor> {
  const wanted = new Map(weights.map((weight) => [weight.name, weight]));
  const known = new Set(model.parameters.weights.map(({ name }) => name));
  const present = new Map<string, StoredTensor>();
  const unexpected: string[] = [];
  for (const [name, tensor] of stored) {
    // The first gpt2 checkpoints were saved without the head around them, hence without its prefix.
    const full = known.has(name) ? name : `transformer.${name}`;
    if (known.has(full)) {
      if (present.has(full))
        throw new ModelError(
          "model.weights.duplicate",
          `${folder}: "${full}" is stored twice, with and without its prefix`,
        );
      present.set(full, tensor);
    } else if (!NOT_WEIGHTS.test(name) && !(model.config.tiedHead && name === "lm_head.weight"))
      unexpected.push(name);
  }
  const missing = [...wanted.keys()].filter((name) => !present.has(name));
  const [firstMissing] = missing;
  if (firstMissing !== undefined)
    throw new ModelError(
      "model.weights.missing",
      `${folder}: ${listed(missing)} missing from the weights of this ${model.config.family} model.${didYouMean(firstMissing, unexpected)}`,
      { remedy: "config.json and the weights must be of one model." },
    );
  const [firstUnexpected] = unexpected;
  if (firstUnexpected !== undefined)
    throw new ModelError(
      "model.weights.unexpected",
      `${folder}: ${listed(unexpected)} not part of this ${model.config.family} model.${didYouMean(firstUnexpected, known)}`,
      { remedy: "config.json and the weights must be of one model." },
    );
  const matched = new Map<Weight, StoredTensor>();
  for (const [name, weight] of wanted) {
    const tensor = present.get(name);
    if (tensor === undefined) continue;
    const { entry } = tensor;
    storedFloat(folder, entry);
    if (!sameShape(entry.shape, weight.type.shape))
      throw new ModelError(
        "model.weights.shape",
        `${folder}: "${entry.name}" has shape [${entry.shape.join(", ")}], config.json asks for [${weight.type.shape.join(", ")}]`,
      );
    matched.set(weight, tensor);
  }
  return matched;
}

function listed(names: readonly string[]): string {
  const shown = names
    .slice(0, 3)
    .map((name) => `"${name}"`)
    .join(", ");
  const rest = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return `${shown}${rest} ${names.length === 1 ? "is" : "are"}`;
}

function storedFloat(folder: string, entry: SafetensorsEntry): StoredFloat {
  if (isStoredFloat(entry.dataType)) return entry.dataType;
  throw new ModelError(
    "model.weights.type",
    `${folder}: "${entry.name}" is stored as ${entry.dataType}; F32, F16 and BF16 are read`,
  );
}

function firstNotFinite(numbers: Float32Array): number {
  for (let index = 0; index < numbers.length; index++)
    if (!Number.isFinite(numbers[index])) return index;
  return -1;
}

function readTensor(file: SafetensorsFile, entry: SafetensorsEntry, memory: WeightMemory): void {
  const type = storedFloat(file.source.name, entry);
  const width = SAFETENSORS_BYTES[type];
  memory.write((start, numbers) => {
    const bytes = file.source.read(entry.offset + start * width, numbers.length * width);
    decodeFloats(bytes, type, numbers);
    const bad = firstNotFinite(numbers);
    if (bad < 0) return;
    throw new ModelError(
      "model.weights.finite",
      `${file.source.name}: weight "${entry.name}" has ${numbers[bad]} at element ${start + bad}`,
      {
        remedy:
          "The file is damaged, or training diverged before it was saved; use an earlier one.",
      },
    );
  });
}

/** How weights are written. */
export interface SaveWeightsOptions {
  /** Default F32. */
  readonly type?: StoredFloat;
  /** Splits into shards of about this many bytes, with an index. Default: one file. */
  readonly shardByteLength?: number;
}

/** Writes a model's weights into a folder, each file atomically, and removes the other layout's files. */
export function saveWeights(
  folder: string,
  { weights }: Pick<Parameters, "weights">,
  viewOf: WeightView,
  options: SaveWeightsOptions = {},
): void {
  const outputs = weightOutputs(weights, viewOf, options.type ?? "F32");
  const shards = splitShards(outputs, options.shardByteLength ?? Infinity);
  if (shards.length === 1) {
    writeSafetensors(join(folder, SINGLE_FILE), outputs);
    rmSync(join(folder, INDEX_FILE), { force: true });
    return;
  }
  const weightMap: Record<string, string> = {};
  shards.forEach((shard, index) => {
    const number = (value: number): string => String(value).padStart(5, "0");
    const name = `model-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
    writeSafetensors(join(folder, name), shard);
    for (const tensor of shard) weightMap[tensor.name] = name;
  });
  const totalSize = outputs.reduce((total, output) => total + outputByteLength(output), 0);
  const index = { metadata: { total_size: totalSize }, weight_map: weightMap };
  writeWholeFile(join(folder, INDEX_FILE), `${JSON.stringify(index, null, 2)}\n`);
  rmSync(join(folder, SINGLE_FILE), { force: true });
}

/** Weights as tensors of a safetensors file. */
export function weightOutputs(
  weights: readonly Weight[],
  viewOf: WeightView,
  type: StoredFloat,
): readonly SafetensorsOutput[] {
  return weights.map((weight) => ({
    name: weight.name,
    dataType: type,
    shape: staticShape(weight.type),
    chunks: () => encodedChunks(new WeightMemory(weight, viewOf), type),
  }));
}

function* encodedChunks(memory: WeightMemory, type: StoredFloat): Generator<Uint8Array> {
  for (const numbers of memory.read()) yield encodeFloats(numbers, type);
}

function outputByteLength({ shape, dataType }: SafetensorsOutput): number {
  return shape.reduce((count, size) => count * size, SAFETENSORS_BYTES[dataType]);
}

function splitShards(
  outputs: readonly SafetensorsOutput[],
  shardByteLength: number,
): readonly (readonly SafetensorsOutput[])[] {
  const shards: SafetensorsOutput[][] = [[]];
  let filled = 0;
  for (const output of outputs) {
    const bytes = outputByteLength(output);
    if (filled > 0 && filled + bytes > shardByteLength) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)?.push(output);
    filled += bytes;
  }
  return shards;
}
