import { formatBytes, formatCount } from "../util/format.ts";
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import {
  hasWeights,
  modelConfigJson,
  modelOf,
  parameterCount,
  readModelConfig,
} from "../model/index.ts";
import { openSafetensors } from "../model/safetensors.ts";
import { loadTokenizer } from "../text/index.ts";
import { checkpointProblem, listCheckpoints, resolveModelFolder } from "../train/index.ts";
import { openFileSource } from "../util/byte-source.ts";
import { AnecdoteError } from "../util/errors.ts";
import { formatSummary } from "./format-summary.ts";
import type { Summary } from "./format-summary.ts";
import { printNote } from "./terminal.ts";

/** What `inspect` tells of a model folder or a run's folder: configuration, tokenizer, tensors, checkpoints. */
export function describeModelFolder(path: string): {
  readonly json: object;
  readonly text: string;
} {
  const checkpoints = listCheckpoints(path).map(({ folder, step }) => ({
    folder,
    step,
    byte_length: byteLengthOfFolder(folder),
    problem: checkpointProblem(folder),
  }));
  const isRun = !existsSync(join(path, "config.json"));
  if (isRun && checkpoints.length === 0) {
    const text = `${path}: the folder of a run that has saved no checkpoint yet\n`;
    return { json: { format: "run", path, checkpoints }, text };
  }
  const folder = resolveModelFolder(path, printNote);
  const config = readModelConfig(folder);
  const parameters = parameterCount(modelOf(config).parameters.weights);
  const tensors = tensorsOf(folder);
  const tokenizer = tokenizerOf(folder);
  const summary: Summary = {
    format: isRun ? "run" : "model",
    path: folder,
    functions: [],
    weights: tensors,
    weight_bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
    metadata: {
      family: config.family,
      parameters: `${parameters} (${formatCount(parameters)})`,
      layers: String(config.layerCount),
      channels: String(config.channelCount),
      heads: String(config.headCount),
      context: `${config.contextLength} tokens`,
      vocabulary: `${config.vocabularySize} tokens`,
      tokenizer:
        tokenizer === undefined
          ? "none"
          : "problem" in tokenizer
            ? tokenizer.problem
            : `${tokenizer.vocabulary_size} tokens`,
      weights: hasWeights(folder) ? "safetensors" : "none",
    },
  };
  const lines = checkpoints.map(
    ({ folder: at, step, byte_length: byteLength, problem }) =>
      `  ${basename(at)}  step ${step}  ${formatBytes(byteLength)}${problem === undefined ? "" : `  damaged: ${problem}`}`,
  );
  const ofRun =
    lines.length === 0
      ? ""
      : `${path}: a run with ${lines.length} checkpoint${lines.length === 1 ? "" : "s"}\n${lines.join("\n")}\n\n`;
  const hint = `\nanecdote convert ${path} model.mlpackage writes its forward pass as a program (.mil, .onnx too)\n`;
  return {
    json: {
      ...summary,
      metadata: undefined,
      path,
      folder,
      config: modelConfigJson(config),
      parameters,
      tokenizer: tokenizer ?? null,
      checkpoints,
    },
    text: `${ofRun}${formatSummary(summary)}${hint}`,
  };
}

function byteLengthOfFolder(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

function tensorsOf(folder: string): Summary["weights"] {
  return readdirSync(folder)
    .filter((name) => /^model.*\.safetensors$/.test(name))
    .sort()
    .flatMap((file) => {
      const source = openFileSource(join(folder, file));
      try {
        const { entries } = openSafetensors(source);
        return [...entries.values()].map(({ name, dataType, shape, byteLength, offset }) => ({
          name,
          dtype: dataType,
          shape,
          bytes: byteLength,
          file,
          offset,
        }));
      } finally {
        source.close();
      }
    });
}

function tokenizerOf(
  folder: string,
): { readonly vocabulary_size: number } | { readonly problem: string } | undefined {
  if (!existsSync(join(folder, "tokenizer.json"))) return undefined;
  try {
    return { vocabulary_size: loadTokenizer(folder).tokenizer.vocabularySize };
  } catch (error) {
    if (!(error instanceof AnecdoteError)) throw error;
    return { problem: error.message };
  }
}
