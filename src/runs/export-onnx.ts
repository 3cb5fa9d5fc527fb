import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { requireFreeOutputs } from "../files/output-file.ts";
import {
  cachedContextLength,
  cacheNames,
  fusedWeights,
  hasDynamicTurns,
  modelOf,
  openForward,
  openModel,
  readGenerationConfig,
  readModelConfig,
  writeGenerationConfig,
} from "../model/index.ts";
import type { AdapterSource, Model, ModelConfig } from "../model/index.ts";
import { modelConfigJson, readJsonFile } from "../model/config-json.ts";
import { exportGraph } from "../onnx/export-model.ts";
import type { ModelProto } from "../onnx/generated/onnx_pb.ts";
import { withOpenSizes } from "../onnx/open-sizes.ts";
import type { OpenSize } from "../onnx/open-sizes.ts";
import { storeWeights } from "../onnx/stored-weights.ts";
import type { OnnxWeightType } from "../onnx/stored-weights.ts";
import { widenIntegerInputs } from "../onnx/wide-inputs.ts";
import { writeModel } from "../onnx/write-model.ts";
import type { WeightPlaces } from "../onnx/write-model.ts";
import { hasTokenizer, loadTokenizer, saveTokenizer, withTemplateOf } from "../text/index.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { isRecord } from "../util/is-record.ts";
import { RunError } from "./errors.ts";
import { forOtherReaders } from "./export-model.ts";
import { requireRows } from "./model-fit.ts";

/** How a folder with an ONNX decoder is written. */
export interface OnnxExportOptions {
  /** Default: fp32. */
  readonly type?: OnnxWeightType;
  /** Replaces a decoder of that type, and another model's folder. Default false. */
  readonly overwrite?: boolean;
  /** Added to the model's weights; a folder's own adapter always is. */
  readonly adapters?: readonly AdapterSource[];
  readonly places?: WeightPlaces;
}

/** What a folder with an ONNX decoder holds. */
export interface OnnxExport {
  readonly output: string;
  readonly type: OnnxWeightType;
  /** The decoder and the files of weights beside it. */
  readonly files: readonly { readonly path: string; readonly byteLength: number }[];
  readonly nodeCount: number;
  /** What readers should know, as sentences. */
  readonly notes: readonly string[];
}

/** File names by type, as `@huggingface/transformers` looks for them. */
const FILE_NAMES: Readonly<Record<OnnxWeightType, string>> = {
  fp32: "model.onnx",
  fp16: "model_fp16.onnx",
  q8: "model_quantized.onnx",
};
const FOLDER = "onnx";
const LIBRARY = "transformers.js_config";

/**
 * Values of the open sizes that the graph is found from: primes that no model has among its own sizes. B, S and P; the
 * fourth is P + S.
 */
const SAMPLES = [
  [10_007, 20_011, 40_009],
  [10_009, 20_021, 40_013],
  [10_037, 20_023, 40_031],
] as const;

/**
 * Writes a folder that `@huggingface/transformers` for JavaScript generates from, and every ONNX runtime can: the
 * configuration, the tokenizer with its chat template, and `onnx/model.onnx`, the function of `openForward` with the
 * weights in it (adapters added) and batch, new tokens and past left open. Another type written into the same folder
 * stands beside the first. Throws `RunError` where another model stands there, `FileError` where the decoder does,
 * `OnnxError` for what ONNX has no form of.
 */
export function exportOnnxFolder(
  folder: string,
  output: string,
  { type = "fp32", overwrite = false, adapters = [], places = {} }: OnnxExportOptions = {},
): OnnxExport {
  if (resolve(folder) === resolve(output)) {
    throw new RunError("runs.export", `${output} is the model that is converted`, {
      remedy: "Name another folder.",
    });
  }
  const config = readModelConfig(folder);
  const path = join(output, FOLDER, FILE_NAMES[type]);
  const described = modelConfigJson(config, "float32");
  const before = librarySettings(output, described, overwrite);
  requireFreeOutputs({ paths: [path], inputs: [folder], overwrite });
  const tokenizer = hasTokenizer(folder) ? loadTokenizer(folder) : undefined;
  requireRows(tokenizer?.tokenizer.vocabularySize ?? 0, config.vocabularySize);
  const { viewOf: numbersOf } = fusedWeights(openModel(folder, adapters));
  const model = modelOf(config);
  const decoder = onnxDecoder(model);
  const { graph } = decoder;
  const nodeCount = graph?.node.length ?? 0;
  const weights = model.parameters.weights.map(({ name, type: { shape } }) => ({
    name,
    shape: shape.map(Number),
  }));
  const stored = graph === undefined ? [] : storeWeights(graph, weights, type);
  const written = writeModel(path, decoder, stored, numbersOf, places);
  writeGenerationConfig(output, readGenerationConfig(folder, config));
  if (tokenizer !== undefined) {
    const folders = adapters.map((adapter) => adapter.folder);
    saveTokenizer(output, forOtherReaders(withTemplateOf(tokenizer, folders).described));
  }
  // Last: a folder with a configuration is a whole model.
  const settings = settingsWith(before, output, type, written.dataPaths.length);
  const text = JSON.stringify({ ...described, [LIBRARY]: settings }, null, 2);
  writeWholeFile(join(output, "config.json"), `${text}\n`);
  const paths = [written.path, ...written.dataPaths];
  return {
    ...{ output, type, nodeCount },
    files: paths.map((one) => ({ path: one, byteLength: statSync(one).size })),
    notes: notesOf(config, tokenizer !== undefined),
  };
}

/** The function of `openForward` as an ONNX model with open sizes; weights are inputs still. */
export function onnxDecoder(model: Model): ModelProto {
  const graphs = SAMPLES.map(([batchSize, rowCount, pastLength]) => {
    const exported = exportGraph(openForward(model, { batchSize, rowCount, pastLength }));
    return { ...exported, values: [batchSize, rowCount, pastLength, pastLength + rowCount] };
  });
  const [first] = graphs;
  if (first === undefined) throw new RunError("runs.export", "there are no sizes");
  withOpenSizes(graphs, openSizesOf());
  widenIntegerInputs(first.graph);
  return first.model;
}

/** Names that readers give sizes by: caches of `batch_size` sequences begin with 0 of what has any other name. */
function openSizesOf(): readonly OpenSize[] {
  return [
    { name: "batch_size", input: "input_ids", axis: 0 },
    { name: "sequence_length", input: "input_ids", axis: 1 },
    { name: "past_sequence_length", input: cacheNames(0).pastKeys, axis: 2 },
    { name: "total_sequence_length", input: "attention_mask", axis: 1 },
  ];
}

/** What the folder's configuration says to the library already. Throws `RunError` for another model's folder. */
function librarySettings(
  output: string,
  described: object,
  overwrite: boolean,
): Readonly<Record<string, unknown>> {
  const path = join(output, "config.json");
  if (!existsSync(path)) {
    if (overwrite || !existsSync(output) || readdirSync(output).length === 0) return {};
    throw notEmpty(output);
  }
  const found = readJsonFile(path, 1 << 24);
  if (!isRecord(found)) {
    if (overwrite) return {};
    throw notEmpty(output);
  }
  const { [LIBRARY]: settings, ...rest } = found;
  const isSame = JSON.stringify(rest) === JSON.stringify(described) && isRecord(settings);
  if (isSame) return settings;
  if (overwrite) return {};
  throw notEmpty(output);
}

function notEmpty(output: string): RunError {
  return new RunError("runs.export", `${output} is not empty, and holds no decoder of this model`, {
    remedy: "Name another folder, or replace its files with --overwrite.",
  });
}

/** The type that is opened unasked is fp32 where it is there; weights beside a file are counted. */
function settingsWith(
  before: Readonly<Record<string, unknown>>,
  output: string,
  type: OnnxWeightType,
  dataFileCount: number,
): object {
  const hasWide = existsSync(join(output, FOLDER, FILE_NAMES.fp32));
  const dtype = hasWide ? "fp32" : (before["dtype"] ?? type);
  const counts = isRecord(before["use_external_data_format"])
    ? before["use_external_data_format"]
    : {};
  const use_external_data_format = { ...counts, [FILE_NAMES[type]]: dataFileCount };
  return { ...before, dtype, use_external_data_format };
}

function notesOf(config: ModelConfig, hasTokenizerFiles: boolean): readonly string[] {
  const notes: string[] = [];
  if (!hasTokenizerFiles) notes.push("the model has no tokenizer, and neither has the folder");
  if (hasDynamicTurns(config))
    notes.push(
      `rope scaling is dynamic: texts end at ${cachedContextLength(config)} tokens, as turns change for all of a longer one`,
    );
  return notes;
}
