import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  fusedWeights,
  modelOf,
  openModel,
  parameterCount,
  readGenerationConfig,
  readModelConfig,
  saveWeights,
  writeGenerationConfig,
  writeModelConfig,
} from "../model/index.ts";
import type {
  AdapterSource,
  FusedWeights,
  ModelConfig,
  StoredFloat,
  WeightView,
} from "../model/index.ts";
import { hasTokenizer, loadTokenizer, saveTokenizer, withTemplateOf } from "../text/index.ts";
import type { DescribedTokenizer } from "../text/index.ts";
import { staticShape } from "../mil/types.ts";
import { RunError } from "./errors.ts";
import { requireRows } from "./model-fit.ts";
import { LARGEST_FLOAT16 } from "../util/float16.ts";

/** How an exported model stores its weights, as `torch_dtype` spells it. */
export const WEIGHT_TYPES = ["float32", "bfloat16", "float16"] as const;
export type WeightType = (typeof WEIGHT_TYPES)[number];

const STORED: Readonly<Record<WeightType, StoredFloat>> = {
  float32: "F32",
  bfloat16: "BF16",
  float16: "F16",
};

/** How a model's folder is written. */
export interface ExportOptions {
  readonly type: WeightType;
  /** Replaces files that exist. Default false. */
  readonly overwrite?: boolean;
  /** Added to the model's weights; a folder's own adapter always is. */
  readonly adapters?: readonly AdapterSource[];
  /**
   * The token table, and a head of its own, get a row for each token of the folder's tokenizer that has none: the mean
   * of the others. Default false: such a tokenizer is refused.
   */
  readonly resizeEmbeddings?: boolean;
}

/** What was written. */
export interface ExportedModel {
  readonly type: WeightType;
  readonly parameterCount: number;
  /** Of all files. */
  readonly byteLength: number;
}

/**
 * Writes a model folder without a run's training state: configuration, weights (with an adapter added to them), tokenizer and what
 * belongs to it.
 * Weights are read and written one after the other, so that memory holds one. Throws `RunError` where files stand in
 * the way, and for numbers that float16 does not have.
 */
export function exportModel(
  folder: string,
  output: string,
  { type, overwrite = false, adapters = [], resizeEmbeddings = false }: ExportOptions,
): ExportedModel {
  if (resolve(folder) === resolve(output)) {
    throw new RunError("runs.export", `${output} is the model that is exported`, {
      remedy: "Name another folder.",
    });
  }
  if (!overwrite && existsSync(output) && readdirSync(output).length > 0) {
    throw new RunError("runs.export", `${output} is not empty`, {
      remedy: "Name another folder, or replace its files with --overwrite.",
    });
  }
  const read = readModelConfig(folder);
  const tokenizer = hasTokenizer(folder) ? loadTokenizer(folder) : undefined;
  const tokenCount = tokenizer?.tokenizer.vocabularySize ?? 0;
  if (!resizeEmbeddings) requireRows(tokenCount, read.vocabularySize);
  const config = { ...read, vocabularySize: Math.max(read.vocabularySize, tokenCount) };
  const fused = resized(fusedWeights(openModel(folder, adapters)), config);
  const generation = readGenerationConfig(folder, config);
  saveWeights(output, fused, checkedFor(type, fused.viewOf), {
    type: STORED[type],
  });
  writeGenerationConfig(output, generation);
  if (tokenizer !== undefined) {
    const folders = adapters.map((adapter) => adapter.folder);
    saveTokenizer(output, forOtherReaders(withTemplateOf(tokenizer, folders).described));
  }
  // Last: a folder with a configuration is a whole model.
  writeModelConfig(output, config, type);
  return {
    type,
    parameterCount: parameterCount(fused.weights),
    byteLength: readdirSync(output).reduce(
      (sum, name) => sum + statSync(join(output, name)).size,
      0,
    ),
  };
}

/**
 * Readers in JavaScript look for the chat template in tokenizer_config.json alone, and their text generation puts a begin
 * token before a prompt only where it is said there, whatever tokenizer.json does.
 */
export function forOtherReaders(described: DescribedTokenizer): DescribedTokenizer {
  const template = described.companions?.["chat_template.jinja"];
  const isBegun = described.tokenizer.template.before.length > 0;
  const config = {
    ...(isBegun && { add_bos_token: true }),
    ...described.config,
    ...(template !== undefined && { chat_template: template }),
  };
  return { ...described, config };
}

/** Weights with rows added to tables that have fewer than the configuration says. */
function resized({ weights, viewOf }: FusedWeights, config: ModelConfig): FusedWeights {
  const wanted = new Map(
    modelOf(config).parameters.weights.map(({ name, type }) => [name, type] as const),
  );
  return {
    weights: weights.map((weight) => ({ ...weight, type: wanted.get(weight.name) ?? weight.type })),
    viewOf: (name) => {
      const numbers = viewOf(name);
      const type = wanted.get(name);
      if (type === undefined) return numbers;
      const [rows = 0, columns = 0] = staticShape(type);
      if (type.shape.length !== 2 || rows * columns === numbers.length) return numbers;
      return withMeanRows(numbers, rows, columns);
    },
  };
}

function withMeanRows(numbers: Float32Array, rows: number, columns: number): Float32Array {
  const count = numbers.length / columns;
  const mean = new Float64Array(columns);
  numbers.forEach((number, index) => {
    mean[index % columns] = (mean[index % columns] ?? 0) + number / count;
  });
  const grown = new Float32Array(rows * columns);
  grown.set(numbers);
  for (let row = count; row < rows; row++) grown.set(mean, row * columns);
  return grown;
}

/** Throws `RunError` for numbers that the type does not have. */
function checkedFor(type: WeightType, viewOf: WeightView): WeightView {
  if (type !== "float16") return viewOf;
  return (name) => {
    const numbers = viewOf(name);
    const large = numbers.find((number) => Math.abs(number) > LARGEST_FLOAT16);
    if (large !== undefined) {
      throw new RunError(
        "runs.export",
        `weight ${name} has ${large}, float16 ends at ${LARGEST_FLOAT16}`,
        { remedy: "Use --dtype bfloat16 or float32." },
      );
    }
    return numbers;
  };
}
