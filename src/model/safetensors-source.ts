import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { didYouMean } from "../util/nearest.ts";
import { readJsonFile } from "./config-json.ts";
import { ModelError } from "./errors.ts";
import { decodeFloats, isStoredFloat, readFloats } from "./float-conversion.ts";
import { mlxQuantization, mlxWeight } from "./mlx-quantization.ts";
import { openSafetensors, SAFETENSORS_BYTES } from "./safetensors.ts";
import type { SafetensorsEntry, SafetensorsFile } from "./safetensors.ts";
import { closeAll } from "./weight-source.ts";
import type { StoredWeight, WeightSource } from "./weight-source.ts";
import { openedFile } from "../util/byte-source.ts";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";
/** Of a folder that only has the trained weights of a partly frozen model (trained-weights.ts). */
export const TRAINED_FILE = "trained.safetensors";
const INDEX_BYTE_LIMIT = 64 << 20;
const CONFIG_BYTE_LIMIT = 1 << 20;
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

interface StoredTensor {
  readonly file: SafetensorsFile;
  readonly entry: SafetensorsEntry;
}

/**
 * The weights of a folder in Hugging Face's layout, one file or shards with their index, as they are or as MLX
 * quantized them. Throws `ModelError` for files that are missing or damaged, and an index that lies.
 */
export function openSafetensorsWeights(folder: string): WeightSource {
  const files = new Map<string, SafetensorsFile>();
  const openFile = (name: string): SafetensorsFile => {
    const known = files.get(name);
    if (known !== undefined) return known;
    return openedFile(join(folder, name), (source) => {
      const file = openSafetensors(source);
      files.set(name, file);
      return file;
    });
  };
  const close = (): void => closeAll([...files.values()].map(({ source }) => source));
  try {
    const weights = weightsOf(folder, storedTensors(folder, openFile));
    return { where: folder, weights, files: [...files.keys()], close };
  } catch (error) {
    close();
    throw error;
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
      { remedy: "Give a model folder in Hugging Face's layout, or a .gguf file." },
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
    if (!existsSync(join(folder, fileName)))
      throw new ModelError(
        "model.weights.shard",
        `${folder}: the shard ${fileName} is missing, in which "${name}" and others stand`,
        { remedy: "Fetch the missing file; the others can stay." },
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

/** Tensors as weights; the scales and biases of a quantized one belong to it. */
function weightsOf(
  folder: string,
  tensors: ReadonlyMap<string, StoredTensor>,
): ReadonlyMap<string, StoredWeight> {
  const weights = new Map<string, StoredWeight>();
  const quantized = [...tensors.keys()].filter((name) => name.endsWith(".scales"));
  const parts = new Set<string>();
  if (quantized.length > 0) {
    const path = join(folder, "config.json");
    const json: unknown = existsSync(path) ? readJsonFile(path, CONFIG_BYTE_LIMIT) : {};
    const groupsOf = mlxQuantization(json ?? {}, path);
    for (const scalesName of quantized) {
      const layer = scalesName.slice(0, -".scales".length);
      const [weight, scales, biases] = ["weight", "scales", "biases"].map((part) =>
        tensors.get(`${layer}.${part}`),
      );
      if (weight?.entry.dataType !== "U32" || scales === undefined || biases === undefined) {
        throw new ModelError(
          "model.quantization",
          `${folder}: "${scalesName}" belongs to no weight that MLX quantized: "${layer}.weight" must be U32, and "${layer}.biases" must be there`,
        );
      }
      if (groupsOf === undefined) {
        throw new ModelError(
          "model.quantization",
          `${folder}: "${layer}.weight" is quantized, and config.json has no "quantization" that says how`,
        );
      }
      const name = `${layer}.weight`;
      for (const part of ["weight", "scales", "biases"]) parts.add(`${layer}.${part}`);
      const whole = { file: weight.file, weight: weight.entry, scales, biases };
      weights.set(name, mlxWeight(name, whole, groupsOf(layer)));
    }
  }
  for (const [name, tensor] of tensors)
    if (!parts.has(name)) weights.set(name, plainWeight(folder, tensor));
  return weights;
}

/** Bytes that were read last, for the next tensor to be read into: a layer that is read every step makes no garbage. */
let window = new Uint8Array(0);

function windowOf(byteLength: number): Uint8Array {
  if (window.byteLength < byteLength) window = new Uint8Array(byteLength);
  return window.subarray(0, byteLength);
}

function plainWeight(folder: string, { file, entry }: StoredTensor): StoredWeight {
  const { name, shape, dataType } = entry;
  return {
    name,
    shape,
    type: dataType,
    read: (start, numbers) => {
      if (!isStoredFloat(dataType)) {
        throw new ModelError(
          "model.weights.type",
          `${folder}: "${name}" is stored as ${dataType}; F32, F16 and BF16 are read`,
        );
      }
      const width = SAFETENSORS_BYTES[dataType];
      const offset = entry.offset + start * width;
      if (dataType === "F32") {
        readFloats(file.source, offset, numbers);
        return;
      }
      const bytes = windowOf(numbers.length * width);
      file.source.readInto(offset, bytes);
      decodeFloats(bytes, dataType, numbers);
    },
  };
}
