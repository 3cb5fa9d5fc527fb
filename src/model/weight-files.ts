import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sameShape, staticShape } from "../mil/types.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { isSameStorage } from "../plan/storage.ts";
import { didYouMean } from "../util/nearest.ts";
import { ModelError } from "./errors.ts";
import { encodeFloats } from "./float-conversion.ts";
import type { StoredFloat } from "./float-conversion.ts";
import type { Model } from "./model.ts";
import { modelLayout, openWeightSource } from "./model-files.ts";
import { textTensorName } from "./multimodal.ts";
import type { Parameters, Weight } from "./parameters.ts";
import { INDEX_FILE, SINGLE_FILE, TRAINED_FILE } from "./safetensors-source.ts";
import { SAFETENSORS_BYTES, writeSafetensors } from "./safetensors.ts";
import type { SafetensorsOutput } from "./safetensors.ts";
import { WeightMemory } from "./weight-memory.ts";
import type { WeightView } from "./weight-memory.ts";
import type { StoredWeight, WeightSource } from "./weight-source.ts";
import { closing } from "../util/closing.ts";

/** What was read of a model's weights. */
export interface LoadedWeights {
  /** Files read, in order. */
  readonly files: readonly string[];
  /** Types found, as the files call them. */
  readonly types: readonly string[];
}

/** Whether a folder, or a file, holds weights that `readWeightFiles` would read. */
export function hasWeights(folder: string): boolean {
  const layout = modelLayout(folder);
  if (layout === "gguf" || layout === "llama2.c") return true;
  return [SINGLE_FILE, INDEX_FILE, TRAINED_FILE].some((name) => existsSync(join(folder, name)));
}

/**
 * Reads a model's weights, of a folder or a file, into the views, converting to fp32; all of the model's, or those of
 * `weights`. Everything is checked before the first number is read. Throws `ModelError` for missing, unexpected and
 * wrongly shaped tensors, `FileError` for files that cannot be read.
 */
export function readWeightFiles(
  folder: string,
  model: Model,
  viewOf: WeightView,
  weights: readonly Weight[] = model.parameters.weights,
): LoadedWeights {
  return closing(openWeightSource(folder, model.config), (source) => {
    const matched = matchWeights(source, model, weights);
    for (const [weight, stored] of matched)
      readWeight(source, stored, weight, new WeightMemory(weight, viewOf));
    const types = new Set([...matched.values()].map(({ type }) => type));
    return { files: source.files, types: [...types] };
  });
}

/** Buffers that older writers stored beside the weights: masks and rotary tables. */
const NOT_WEIGHTS = /(^|\.)attn\.(bias|masked_bias)$|(^|\.)rotary_emb\.inv_freq$/;

/** The tensors of a source that are a model's weights, or those of `weights`. Throws `ModelError` as `readWeightFiles`. */
export function matchWeights(
  { where: folder, weights: stored }: WeightSource,
  model: Model,
  weights: readonly Weight[],
): ReadonlyMap<Weight, StoredWeight> {
  const wanted = new Map(weights.map((weight) => [weight.name, weight]));
  const known = new Set(model.parameters.weights.map(({ name }) => name));
  const present = new Map<string, StoredWeight>();
  const unexpected: string[] = [];
  const arePictures = model.config.family === "gemma3_text";
  for (const [storedName, tensor] of stored) {
    const name = arePictures ? textTensorName(storedName) : storedName;
    if (name === undefined) continue;
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
  const matched = new Map<Weight, StoredWeight>();
  for (const [name, weight] of wanted) {
    const tensor = present.get(name);
    if (tensor === undefined) continue;
    if (!sameShape(tensor.shape, weight.type.shape))
      throw new ModelError(
        "model.weights.shape",
        `${folder}: "${tensor.name}" has shape [${tensor.shape.join(", ")}], config.json asks for [${weight.type.shape.join(", ")}]`,
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

const NOTHING = 0;

/** The first number that is infinite or none, or -1. */
function firstNotFinite(numbers: Float32Array): number {
  // Times zero a finite number is zero and another is none: four sums a number each, twice as quick as asking each one.
  let [first, second, third, fourth] = [0, 0, 0, 0];
  const whole = numbers.length - (numbers.length % 4);
  for (let index = 0; index < whole; index += 4) {
    first += (numbers[index] ?? 0) * NOTHING;
    second += (numbers[index + 1] ?? 0) * NOTHING;
    third += (numbers[index + 2] ?? 0) * NOTHING;
    fourth += (numbers[index + 3] ?? 0) * NOTHING;
  }
  const isFinite = first + second + third + fourth === 0;
  for (let index = isFinite ? whole : 0; index < numbers.length; index++)
    if (!Number.isFinite(numbers[index])) return index;
  return -1;
}

function readWeight(
  { where }: WeightSource,
  { name, read, packed }: StoredWeight,
  { storage }: Weight,
  memory: WeightMemory,
): void {
  if (packed !== undefined && isSameStorage(packed.storage, storage)) {
    memory.writePacked(packed.read, (start, numbers) => requireFinite(where, name, start, numbers));
    return;
  }
  memory.write((start, numbers) => {
    read(start, numbers);
    requireFinite(where, name, start, numbers);
  });
}

/** Throws `ModelError` for a number of a weight, from element `start` on, that is none. */
export function requireFinite(
  where: string,
  name: string,
  start: number,
  numbers: Float32Array,
): void {
  const bad = firstNotFinite(numbers);
  if (bad < 0) return;
  throw new ModelError(
    "model.weights.finite",
    `${where}: weight "${name}" has ${numbers[bad]} at element ${start + bad}`,
    {
      remedy: "The file is damaged, or training diverged before it was saved; use an earlier one.",
    },
  );
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
