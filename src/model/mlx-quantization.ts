import { z } from "zod";
import { unpackNumbers } from "../plan/stored-numbers.ts";
import type { GroupedStorage, ScaleType } from "../plan/storage.ts";
import { ModelError } from "./errors.ts";
import { SAFETENSORS_BYTES } from "./safetensors.ts";
import type { SafetensorsEntry, SafetensorsFile } from "./safetensors.ts";
import type { StoredWeight } from "./weight-source.ts";

// MLX's affine quantization: a weight [out, in] stands as `weight` U32 [out, in * bits / 32] (codes from the low bits
// up), `scales` and `biases` [out, in / group]; a number is code * scale + bias.

const layerSchema = z.looseObject({
  group_size: z.int().positive().nullish(),
  bits: z.int().positive().nullish(),
  mode: z.string().nullish(),
});
const quantizationSchema = z.looseObject({
  group_size: z.int().positive(),
  bits: z.int().positive(),
  mode: z.string().nullish(),
});

/** How a layer's weight is quantized. */
export interface MlxGroups {
  readonly bits: 4 | 8;
  readonly groupSize: number;
}

/** What `config.json` says of quantized layers, by the layer's name. */
export type MlxQuantization = (layer: string) => MlxGroups;

/** How unquantized models and those of other programs are had, for refusals. */
const REMEDY =
  "Take the model without quantization, as GGUF, or as an MLX folder of 4 or 8 bits (names that end with -4bit).";

/** Quantizations of other programs by what `quant_method` calls them. */
const METHODS: Readonly<Record<string, string>> = {
  awq: "AWQ",
  gptq: "GPTQ",
  bitsandbytes: "bitsandbytes",
  fp8: "FP8",
  mxfp4: "MXFP4",
  hqq: "HQQ",
  aqlm: "AQLM",
  quanto: "Quanto",
  eetq: "EETQ",
  torchao: "torchao",
  "compressed-tensors": "compressed-tensors",
};

/** Throws `ModelError` for a model that another program quantized, by name. */
export function refuseForeignQuantization(json: object, where: string): void {
  const given: unknown = "quantization_config" in json ? json.quantization_config : undefined;
  if (typeof given !== "object" || given === null) return;
  const method: unknown = "quant_method" in given ? given.quant_method : undefined;
  const isBitsAndBytes = "load_in_4bit" in given || "load_in_8bit" in given;
  const name = typeof method === "string" ? method : isBitsAndBytes ? "bitsandbytes" : undefined;
  if (name === undefined) return;
  const known = Object.hasOwn(METHODS, name.toLowerCase()) ? METHODS[name.toLowerCase()] : name;
  throw new ModelError(
    "model.quantization",
    `${where}: the model is quantized by ${known}, which is not read`,
    { remedy: REMEDY },
  );
}

/** What a `config.json` says of MLX's quantization; nothing for a model that has none. Throws `ModelError`. */
export function mlxQuantization(json: object, where: string): MlxQuantization | undefined {
  const given: unknown =
    "quantization" in json
      ? json.quantization
      : "quantization_config" in json
        ? json.quantization_config
        : undefined;
  if (given === undefined || given === null) return undefined;
  const parsed = quantizationSchema.safeParse(given);
  if (!parsed.success) {
    throw new ModelError(
      "model.quantization",
      `${where}: "quantization" needs group_size and bits, whole numbers`,
      { remedy: REMEDY },
    );
  }
  const whole = parsed.data;
  return (layer) => {
    const own = layerSchema.safeParse(whole[layer]);
    const { group_size: groupSize, bits, mode } = own.success ? { ...whole, ...own.data } : whole;
    const refuse = (problem: string): never => {
      throw new ModelError("model.quantization", `${where}: "${layer}" ${problem}`, {
        remedy: REMEDY,
      });
    };
    if (mode !== undefined && mode !== null && mode !== "affine")
      return refuse(`is quantized as ${mode}; affine is read`);
    if (bits !== 4 && bits !== 8)
      return refuse(`is quantized to ${String(bits)} bits; 4 and 8 are read`);
    if (groupSize !== 32 && groupSize !== 64 && groupSize !== 128)
      return refuse(`has groups of ${String(groupSize)}; 32, 64 and 128 are read`);
    return { bits, groupSize };
  };
}

/** The tensors of one quantized layer. */
export interface MlxTensors {
  readonly file: SafetensorsFile;
  readonly weight: SafetensorsEntry;
  readonly scales: MlxPart;
  readonly biases: MlxPart;
}

interface MlxPart {
  readonly file: SafetensorsFile;
  readonly entry: SafetensorsEntry;
}

const SCALE_TYPES: Readonly<Record<string, ScaleType>> = { F32: "fp32", F16: "fp16", BF16: "bf16" };

/** A quantized layer as a weight. Throws `ModelError` where its tensors do not fit each other. */
export function mlxWeight(
  name: string,
  { file, weight, scales, biases }: MlxTensors,
  { bits, groupSize }: MlxGroups,
): StoredWeight {
  const where = file.source.name;
  const [rows = 0, wordCount = 0] = weight.shape;
  const columns = (wordCount * 32) / bits;
  const expected = [rows, columns / groupSize];
  const scaleType = SCALE_TYPES[scales.entry.dataType];
  for (const { entry } of [scales, biases]) {
    const fits = entry.shape.length === 2 && entry.shape.every((n, axis) => n === expected[axis]);
    if (weight.shape.length !== 2 || !fits || entry.dataType !== scales.entry.dataType) {
      throw new ModelError(
        "model.quantization",
        `${where}: "${entry.name}" is ${entry.dataType} [${entry.shape.join(", ")}], and ${bits} bits in groups of ${groupSize} need [${expected.join(", ")}] for "${name}" [${weight.shape.join(", ")}]`,
        { remedy: "config.json and the weights must be of one model." },
      );
    }
  }
  if (scaleType === undefined) {
    throw new ModelError(
      "model.quantization",
      `${where}: "${scales.entry.name}" is ${scales.entry.dataType}; F32, F16 and BF16 are read`,
    );
  }
  const storage: GroupedStorage = {
    ...{ kind: bits === 4 ? "int4" : "int8", groupSize, scaleType, zeroPoint: 0, hasBiases: true },
  };
  const perByte = 8 / bits;
  const width = SAFETENSORS_BYTES[scales.entry.dataType];
  const part = ({ file: of, entry }: MlxPart, first: number, count: number) => {
    const bytes = of.source.read(entry.offset + first * width, count * width);
    return scaleType === "fp32" ? new Float32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
  };
  return {
    name,
    shape: [rows, columns],
    type: `${bits} bits in groups of ${groupSize}`,
    packed: {
      storage,
      read: (start, count, target) => {
        const codes = file.source.read(weight.offset + start / perByte, count / perByte);
        target.codes.set(codes);
        const first = start / groupSize;
        target.scales?.set(part(scales, first, count / groupSize));
        target.biases?.set(part(biases, first, count / groupSize));
      },
    },
    read: (start, numbers) => {
      const groups = numbers.length / groupSize;
      const codes = file.source.read(weight.offset + start / perByte, numbers.length / perByte);
      const first = start / groupSize;
      const stored = {
        codes,
        scales: part(scales, first, groups),
        biases: part(biases, first, groups),
      };
      unpackNumbers(storage, stored, numbers);
    },
  };
}
