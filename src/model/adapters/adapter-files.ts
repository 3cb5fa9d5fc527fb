// Adapters as files, in the layouts of PEFT and of mlx-lm. PEFT: `adapter_config.json` and `adapter_model.safetensors`
// with lora_A [r, in] and lora_B [out, r]. mlx-lm: `adapter_config.json` and `adapters.safetensors` with lora_a [in, r]
// and lora_b [r, out]; its `scale` is what PEFT calls alpha / r. DoRA's lengths [out] are `lora_magnitude_vector` in PEFT's
// layout and `m` in mlx-lm's.
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { readJsonFile } from "../config-json.ts";
import { ModelError } from "../errors.ts";
import { decodeFloats, isStoredFloat, encodeFloats } from "../float-conversion.ts";
import { openSafetensors, writeSafetensors } from "../safetensors.ts";
import type { SafetensorsFile } from "../safetensors.ts";
import { adapterScale } from "./adapter.ts";
import type { Adapter, PlacedAdapter } from "./adapter.ts";
import { withFileSource } from "../../util/byte-source.ts";

export const ADAPTER_CONFIG = "adapter_config.json";
const PEFT_FILE = "adapter_model.safetensors";
const MLX_FILE = "adapters.safetensors";
const CONFIG_BYTE_LIMIT = 1 << 20;
const PEFT_PREFIX = "base_model.model.";

/** Whose file layout an adapter has: PEFT's or mlx-lm's. */
export const ADAPTER_LAYOUTS = ["peft", "mlx"] as const;
/** PEFT's or mlx-lm's. */
export type AdapterLayout = (typeof ADAPTER_LAYOUTS)[number];

/** The two matrices beside one weight. */
export interface AdapterMatrices {
  readonly rank: number;
  readonly inputSize: number;
  readonly outputSize: number;
  /** What the correction is multiplied by. */
  readonly scale: number;
  /** [rank, in], row by row. */
  readonly a: Float32Array;
  /** [out, rank], row by row. */
  readonly b: Float32Array;
  /** `[out]`: lengths of the outputs, with dora. */
  readonly magnitude?: Float32Array;
}

/** An adapter as it stands in a folder. */
export interface StoredAdapter {
  readonly folder: string;
  readonly layout: AdapterLayout;
  readonly method: Adapter["method"];
  /** The model it was trained on, where it says so. */
  readonly baseName: string | undefined;
  readonly rank: number;
  readonly alpha: number;
  readonly isRankStabilized: boolean;
  readonly dropout: number;
  /** By the name of the module in the model: `model.layers.0.self_attn.q_proj`. */
  readonly matrices: ReadonlyMap<string, AdapterMatrices>;
}

const patternSchema = z.record(z.string(), z.number()).nullish();
const peftSchema = z.looseObject({
  peft_type: z.string(),
  r: z.number().int().min(1),
  lora_alpha: z.number(),
  lora_dropout: z.number().nullish(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  bias: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  modules_to_save: z.array(z.string()).nullish(),
  alpha_pattern: patternSchema,
  rank_pattern: patternSchema,
});
const mlxSchema = z.looseObject({
  fine_tune_type: z.string().nullish(),
  model: z.string().nullish(),
  lora_parameters: z.looseObject({
    rank: z.number().int().min(1),
    scale: z.number(),
    dropout: z.number().nullish(),
  }),
});

/** Whether a folder holds an adapter of either layout. */
export function isAdapterFolder(folder: string): boolean {
  return existsSync(join(folder, ADAPTER_CONFIG));
}

/**
 * Reads an adapter. Throws `ModelError` for what is missing, of another kind than LoRA, or contradicts itself, and
 * `FileError` for files that cannot be read.
 */
export function readAdapter(folder: string): StoredAdapter {
  const path = join(folder, ADAPTER_CONFIG);
  if (!existsSync(path)) {
    throw new ModelError("model.adapter.folder", `${folder} has no ${ADAPTER_CONFIG}`, {
      remedy: "Give the folder of an adapter in PEFT's or mlx-lm's layout, or of a finetune run.",
    });
  }
  const json = readJsonFile(path, CONFIG_BYTE_LIMIT);
  const isPeft = typeof json === "object" && json !== null && "peft_type" in json;
  return isPeft ? readPeft(folder, path, json) : readMlx(folder, path, json);
}

function readPeft(folder: string, path: string, json: unknown): StoredAdapter {
  const config = checked(path, peftSchema.safeParse(json));
  const refuse = (problem: string, remedy: string): never => {
    throw new ModelError("model.adapter.kind", `${path}: ${problem}`, { remedy });
  };
  if (config.peft_type !== "LORA")
    refuse(`peft_type is ${config.peft_type}; LORA is read`, "Merge it into its model with PEFT.");
  if (config.bias !== undefined && config.bias !== null && config.bias !== "none")
    refuse(
      `bias is "${config.bias}": trained biases are not read`,
      "Merge it into its model with PEFT.",
    );
  if ((config.modules_to_save?.length ?? 0) > 0)
    refuse(
      `modules_to_save names whole modules (${(config.modules_to_save ?? []).join(", ")})`,
      "Merge it into its model with PEFT.",
    );
  const method = config.use_dora === true ? "dora" : "lora";
  const isRankStabilized = config.use_rslora === true;
  const scaleOf = (module: string, rank: number): number => {
    const alpha = patternValue(config.alpha_pattern, module) ?? config.lora_alpha;
    return adapterScale({ alpha, rank, isRankStabilized });
  };
  const rankOf = (module: string): number => patternValue(config.rank_pattern, module) ?? config.r;
  return {
    folder,
    layout: "peft",
    method,
    baseName: config.base_model_name_or_path ?? undefined,
    rank: config.r,
    alpha: config.lora_alpha,
    isRankStabilized,
    dropout: config.lora_dropout ?? 0,
    matrices: readMatrices(join(folder, PEFT_FILE), { layout: "peft", method }, scaleOf, rankOf),
  };
}

/** A pattern's key is a module's whole name, its end, or a regular expression for it. */
function patternValue(
  pattern: Readonly<Record<string, number>> | null | undefined,
  module: string,
): number | undefined {
  const entry = Object.entries(pattern ?? {}).find(
    ([key]) => key === module || module.endsWith(`.${key}`) || matches(key, module),
  );
  return entry?.[1];
}

function matches(pattern: string, module: string): boolean {
  try {
    return new RegExp(`^(?:.*\\.)?(?:${pattern.replace(/^\^/, "")})$`).test(module);
  } catch {
    return false;
  }
}

function readMlx(folder: string, path: string, json: unknown): StoredAdapter {
  const config = checked(path, mlxSchema.safeParse(json));
  const kind = config.fine_tune_type ?? "lora";
  if (kind !== "lora" && kind !== "dora") {
    throw new ModelError(
      "model.adapter.kind",
      `${path}: fine_tune_type is ${kind}; lora and dora are read`,
      { remedy: "Fuse it into its model with mlx_lm.fuse." },
    );
  }
  const { rank, scale, dropout } = config.lora_parameters;
  return {
    folder,
    layout: "mlx",
    method: kind,
    baseName: config.model ?? undefined,
    rank,
    alpha: scale * rank,
    isRankStabilized: false,
    dropout: dropout ?? 0,
    matrices: readMatrices(
      join(folder, MLX_FILE),
      { layout: "mlx", method: kind },
      () => scale,
      () => rank,
    ),
  };
}

function checked<Data>(path: string, parsed: z.ZodSafeParseResult<Data>): Data {
  if (parsed.success) return parsed.data;
  throw new ModelError("model.adapter.config", `${path}: ${z.prettifyError(parsed.error)}`);
}

const SUFFIXES: Readonly<
  Record<AdapterLayout, { readonly a: string; readonly b: string; readonly magnitude: string }>
> = {
  peft: { a: ".lora_A.weight", b: ".lora_B.weight", magnitude: ".lora_magnitude_vector" },
  mlx: { a: ".lora_a", b: ".lora_b", magnitude: ".m" },
};

function readMatrices(
  path: string,
  { layout, method }: Pick<StoredAdapter, "layout" | "method">,
  scaleOf: (module: string, rank: number) => number,
  rankOf: (module: string) => number,
): ReadonlyMap<string, AdapterMatrices> {
  return withFileSource(path, (source) => {
    const file = openSafetensors(source);
    const { a: aEnd, b: bEnd, magnitude: lengthEnd } = SUFFIXES[layout];
    const modules = new Map<string, AdapterMatrices>();
    const seen = new Set<string>();
    for (const name of file.entries.keys()) {
      if (!name.endsWith(aEnd)) continue;
      const stored = name.slice(0, -aEnd.length);
      const partner = `${stored}${bEnd}`;
      seen.add(name).add(partner);
      const module = stored.startsWith(PEFT_PREFIX) ? stored.slice(PEFT_PREFIX.length) : stored;
      const a = readMatrix(file, name, layout === "mlx");
      const b = readMatrix(file, partner, layout === "mlx");
      const rank = rankOf(module);
      if (a.rows !== rank || b.columns !== rank) {
        throw new ModelError(
          "model.adapter.rank",
          `${path}: "${module}" has matrices of ranks ${a.rows} and ${b.columns}, ${ADAPTER_CONFIG} says ${rank}`,
        );
      }
      const sizes = { rank, inputSize: a.columns, outputSize: b.rows };
      const scale = scaleOf(module, rank);
      const both = { ...sizes, scale, a: a.numbers, b: b.numbers };
      if (method === "lora") modules.set(module, both);
      else {
        const known = [`${stored}${lengthEnd}`, `${stored}${lengthEnd}.weight`];
        const length = known.find((one) => file.entries.has(one)) ?? known[0] ?? "";
        seen.add(length);
        modules.set(module, { ...both, magnitude: readVector(file, length, b.rows) });
      }
    }
    const foreign = [...file.entries.keys()].find((name) => !seen.has(name));
    if (foreign !== undefined) {
      throw new ModelError(
        "model.adapter.tensor",
        `${path}: "${foreign}" is no matrix of a LoRA adapter`,
        { remedy: "Merge the adapter into its model with the tool that made it." },
      );
    }
    if (modules.size === 0)
      throw new ModelError("model.adapter.tensor", `${path} holds no adapter matrices`);
    return modules;
  });
}

interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly numbers: Float32Array;
}

/** Lengths [out]; some write them as a matrix of one row or column. */
function readVector(file: SafetensorsFile, name: string, length: number): Float32Array {
  const entry = file.entries.get(name);
  const place = `${file.source.name}: "${name}"`;
  if (entry === undefined)
    throw new ModelError("model.adapter.tensor", `${place} is missing, its matrices are there`);
  const { dataType, shape, offset, byteLength } = entry;
  const count = shape.reduce((product, size) => product * size, 1);
  if (!isStoredFloat(dataType) || count !== length || !shape.includes(length)) {
    throw new ModelError(
      "model.adapter.tensor",
      `${place} is ${dataType} of shape [${shape.join(", ")}]; ${length} lengths are expected`,
    );
  }
  const numbers = new Float32Array(length);
  decodeFloats(file.source.read(offset, byteLength), dataType, numbers);
  return numbers;
}

function readMatrix(file: SafetensorsFile, name: string, isTransposed: boolean): Matrix {
  const entry = file.entries.get(name);
  const place = `${file.source.name}: "${name}"`;
  if (entry === undefined)
    throw new ModelError("model.adapter.tensor", `${place} is missing, its partner is there`);
  const { dataType, shape, offset, byteLength } = entry;
  if (!isStoredFloat(dataType)) {
    throw new ModelError(
      "model.adapter.tensor",
      `${place} is stored as ${dataType}; F32, F16 and BF16 are read`,
    );
  }
  const [rows, columns, ...rest] = shape;
  if (rows === undefined || columns === undefined || rest.length > 0 || rows * columns === 0) {
    throw new ModelError(
      "model.adapter.tensor",
      `${place} has shape [${shape.join(", ")}]; a matrix is expected`,
    );
  }
  const numbers = new Float32Array(rows * columns);
  decodeFloats(file.source.read(offset, byteLength), dataType, numbers);
  return isTransposed
    ? { rows: columns, columns: rows, numbers: transposed(numbers, rows, columns) }
    : { rows, columns, numbers };
}

/** [rows, columns] as [columns, rows]. */
export function transposed(numbers: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(numbers.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = numbers[row * columns + column] ?? 0;
  }
  return turned;
}

/** What an adapter is written with. */
export interface AdapterToWrite {
  readonly adapter: PlacedAdapter;
  readonly baseName: string | undefined;
  /** Layers the model has. */
  readonly layerCount: number;
  /** By the module's whole name. */
  readonly matrices: ReadonlyMap<string, AdapterMatrices>;
}

/**
 * Writes an adapter into a folder that exists, in PEFT's or mlx-lm's layout. Throws `ModelError` for layers that mlx-lm
 * cannot name: it knows the last ones only.
 */
export function writeAdapter(
  folder: string,
  { adapter, baseName, layerCount, matrices }: AdapterToWrite,
  layout: AdapterLayout = "peft",
): void {
  const { rank, alpha, isRankStabilized, modules, layers, dropout } = adapter;
  const isEveryLayer = layers.length === layerCount;
  if (layout === "peft") {
    writeTensors(join(folder, PEFT_FILE), matrices, layout);
    writeConfig(folder, {
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      base_model_name_or_path: baseName ?? null,
      r: rank,
      lora_alpha: alpha,
      lora_dropout: dropout,
      target_modules: modules,
      ...(!isEveryLayer && { layers_to_transform: [...layers].sort((x, y) => x - y) }),
      use_rslora: isRankStabilized,
      use_dora: adapter.method === "dora",
      bias: "none",
      fan_in_fan_out: adapter.isFanInFanOut,
      modules_to_save: null,
      inference_mode: true,
    });
    return;
  }
  const first = layerCount - layers.length;
  if (layers.some((layer) => layer < first)) {
    throw new ModelError(
      "model.adapter.layers",
      `mlx-lm knows adapters of the last layers only, this one stands in layers ${layers.join(", ")} of ${layerCount}`,
      { remedy: "Write it in PEFT's layout." },
    );
  }
  writeTensors(join(folder, MLX_FILE), matrices, layout);
  writeConfig(folder, {
    fine_tune_type: adapter.method,
    model: baseName ?? null,
    num_layers: layers.length,
    lora_parameters: { rank, scale: adapterScale(adapter), dropout, keys: modules },
  });
}

function writeConfig(folder: string, json: object): void {
  writeWholeFile(join(folder, ADAPTER_CONFIG), `${JSON.stringify(json, null, 2)}\n`);
}

function writeTensors(
  path: string,
  matrices: ReadonlyMap<string, AdapterMatrices>,
  layout: AdapterLayout,
): void {
  const isMlx = layout === "mlx";
  const prefix = isMlx ? "" : PEFT_PREFIX;
  const suffixes = SUFFIXES[layout];
  const tensor = (name: string, shape: readonly number[], numbers: () => Float32Array) => ({
    ...{ name, dataType: "F32" as const, shape },
    chunks: () => [encodeFloats(numbers(), "F32")],
  });
  const matrix = (name: string, numbers: Float32Array, rows: number, columns: number) =>
    isMlx
      ? tensor(name, [columns, rows], () => transposed(numbers, rows, columns))
      : tensor(name, [rows, columns], () => numbers);
  writeSafetensors(
    path,
    [...matrices].flatMap(([module, { a, b, magnitude, rank, inputSize, outputSize }]) => [
      matrix(`${prefix}${module}${suffixes.a}`, a, rank, inputSize),
      matrix(`${prefix}${module}${suffixes.b}`, b, outputSize, rank),
      ...(magnitude === undefined
        ? []
        : [tensor(`${prefix}${module}${suffixes.magnitude}`, [outputSize], () => magnitude)]),
    ]),
    isMlx ? { format: "mlx" } : { format: "pt" },
  );
}
