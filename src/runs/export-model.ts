import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  fusedWeights,
  openModel,
  parameterCount,
  readGenerationConfig,
  readModelConfig,
  saveWeights,
  writeGenerationConfig,
  writeModelConfig,
} from "../model/index.ts";
import type { AdapterSource, StoredFloat, WeightView } from "../model/index.ts";
import { hasTokenizer, loadTokenizer, saveTokenizer, withTemplateOf } from "../text/index.ts";
import { RunError } from "./errors.ts";

/** How an exported model stores its weights, as `torch_dtype` spells it. */
export const WEIGHT_TYPES = ["float32", "bfloat16", "float16"] as const;
export type WeightType = (typeof WEIGHT_TYPES)[number];

const STORED: Readonly<Record<WeightType, StoredFloat>> = {
  float32: "F32",
  bfloat16: "BF16",
  float16: "F16",
};
const LARGEST_FLOAT16 = 65504;

export interface ExportOptions {
  readonly type: WeightType;
  /** Replaces files that exist. Default false. */
  readonly overwrite?: boolean;
  /** Added to the model's weights; a folder's own adapter always is. */
  readonly adapters?: readonly AdapterSource[];
}

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
  { type, overwrite = false, adapters = [] }: ExportOptions,
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
  const fused = fusedWeights(openModel(folder, adapters));
  const config = readModelConfig(folder);
  const generation = readGenerationConfig(folder, config);
  const tokenizer = hasTokenizer(folder) ? loadTokenizer(folder) : undefined;
  saveWeights(output, fused, checkedFor(type, fused.viewOf), {
    type: STORED[type],
  });
  writeGenerationConfig(output, generation);
  if (tokenizer !== undefined) {
    const folders = adapters.map((adapter) => adapter.folder);
    saveTokenizer(output, withTemplateOf(tokenizer, folders).described);
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
