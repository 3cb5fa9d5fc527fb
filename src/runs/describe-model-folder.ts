import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { Summary } from "../inspect/summary.ts";
import {
  cachedContextLength,
  hasDynamicTurns,
  hasWeights,
  modelConfigJson,
  modelLayout,
  modelOf,
  parameterCount,
  readModelConfig,
} from "../model/index.ts";
import type { ModelConfig } from "../model/index.ts";
import { withGguf } from "../model/gguf/gguf-file.ts";
import { openSafetensors } from "../model/safetensors.ts";
import { hasTokenizer, loadTokenizer } from "../text/index.ts";
import { AnecdoteError } from "../util/errors.ts";
import { formatCount } from "../util/format.ts";
import { checkpointProblem, listCheckpoints } from "./checkpoint.ts";
import { resolveModelFolder } from "./model-path.ts";
import { withFileSource } from "../util/byte-source.ts";

/** What is in a model folder in Hugging Face's layout, or in a run's folder. */
export interface ModelFolderReport {
  readonly format: "run" | "model";
  readonly path: string;
  /** Oldest first; none for a model folder. */
  readonly checkpoints: readonly {
    readonly folder: string;
    readonly step: number;
    readonly byteLength: number;
    /** What is wrong with it. */
    readonly problem: string | undefined;
  }[];
  /** Absent for a run that has saved no checkpoint yet. */
  readonly model?: {
    /** Where it stands: the folder, or the run's newest whole checkpoint. */
    readonly folder: string;
    readonly config: ModelConfig;
    /** Trained numbers. */
    readonly parameterCount: number;
    readonly tokenizer:
      | { readonly vocabularySize: number }
      | { readonly problem: string }
      | undefined;
    readonly summary: Summary;
  };
}

/**
 * Reads what is in a model folder or a run's folder: configuration, tokenizer, tensors, checkpoints. `note` hears of
 * newer checkpoints that are damaged. Throws `RunError` or `ModelError` for a folder that is neither.
 */
export function describeModelFolder(
  path: string,
  note?: (message: string) => void,
): ModelFolderReport {
  const layout = modelLayout(path);
  const isFile = layout === "gguf" || layout === "llama2.c";
  const checkpoints = (isFile ? [] : listCheckpoints(path)).map(({ folder, step }) => ({
    folder,
    step,
    byteLength: byteLengthOfFolder(folder),
    problem: checkpointProblem(folder),
  }));
  const isRun = !isFile && !existsSync(join(path, "config.json"));
  if (isRun && checkpoints.length === 0) return { format: "run", path, checkpoints };
  const format = isRun ? "run" : "model";
  const folder = resolveModelFolder(path, note);
  const config = readModelConfig(folder);
  const count = parameterCount(modelOf(config).parameters.weights);
  const tensors = layout === "gguf" ? ggufTensors(folder) : isFile ? [] : tensorsOf(folder);
  const tokenizer = tokenizerOf(folder);
  const summary: Summary = {
    format,
    path: folder,
    functions: [],
    weights: tensors,
    weight_bytes: isFile ? statSync(path).size : tensors.reduce((sum, { bytes }) => sum + bytes, 0),
    metadata: {
      family: config.family,
      parameters: `${count} (${formatCount(count)})`,
      layers: String(config.layerCount),
      channels: String(config.channelCount),
      heads: String(config.headCount),
      context: `${config.contextLength} tokens${hasDynamicTurns(config) ? `, texts end at ${cachedContextLength(config)} (dynamic rope scaling)` : ""}`,
      vocabulary: `${config.vocabularySize} tokens`,
      tokenizer:
        tokenizer === undefined
          ? "none"
          : "problem" in tokenizer
            ? tokenizer.problem
            : `${tokenizer.vocabularySize} tokens`,
      weights: !hasWeights(folder) ? "none" : isFile ? layout : "safetensors",
    },
  };
  const model = { folder, config, parameterCount: count, tokenizer, summary };
  return { format, path, checkpoints, model };
}

/** The report as `anecdote inspect --json` prints it. */
export function modelFolderJson({ format, path, checkpoints, model }: ModelFolderReport): object {
  const listed = checkpoints.map(({ folder, step, byteLength, problem }) => ({
    folder,
    step,
    byte_length: byteLength,
    problem,
  }));
  if (model === undefined) return { format, path, checkpoints: listed };
  const { tokenizer } = model;
  return {
    ...model.summary,
    metadata: undefined,
    path,
    folder: model.folder,
    config: modelConfigJson(model.config),
    parameters: model.parameterCount,
    tokenizer:
      tokenizer !== undefined && "vocabularySize" in tokenizer
        ? { vocabulary_size: tokenizer.vocabularySize }
        : (tokenizer ?? null),
    checkpoints: listed,
  };
}

function byteLengthOfFolder(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

function ggufTensors(path: string): Summary["weights"] {
  return withGguf(path, ({ tensors }) =>
    [...tensors.values()].map(({ name, type, shape, byteLength, offset }) => ({
      ...{ name, dtype: type.name, shape, bytes: byteLength, file: basename(path), offset },
    })),
  );
}

function tensorsOf(folder: string): Summary["weights"] {
  return readdirSync(folder)
    .filter((name) => /^model.*\.safetensors$/.test(name))
    .sort()
    .flatMap((file) => {
      return withFileSource(join(folder, file), (source) => {
        const { entries } = openSafetensors(source);
        return [...entries.values()].map(({ name, dataType, shape, byteLength, offset }) => ({
          name,
          dtype: dataType,
          shape,
          bytes: byteLength,
          file,
          offset,
        }));
      });
    });
}

function tokenizerOf(
  folder: string,
): { readonly vocabularySize: number } | { readonly problem: string } | undefined {
  if (!hasTokenizer(folder)) return undefined;
  try {
    return { vocabularySize: loadTokenizer(folder).tokenizer.vocabularySize };
  } catch (error) {
    if (!(error instanceof AnecdoteError)) throw error;
    return { problem: error.message };
  }
}
