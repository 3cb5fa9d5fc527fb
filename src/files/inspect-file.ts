import { BlobFile } from "../coreml/index.ts";
import { decodeE5Analytics, decodeE5Bundle, decodeE5Manifest } from "../inspect/e5/index.ts";
import type { E5Analytics, E5Bundle, E5Manifest } from "../inspect/e5/index.ts";
import { decodeHwx } from "../inspect/hwx/index.ts";
import type { HwxFile } from "../inspect/hwx/index.ts";
import { summarizeOnnx } from "../inspect/onnx-summary.ts";
import { programKind } from "../inspect/program-kind.ts";
import { summarizeProgram } from "../inspect/program-summary.ts";
import type { Summary, SummarizedWeight } from "../inspect/summary.ts";
import { openSafetensors } from "../model/safetensors.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { FilesError } from "./errors.ts";
import { fileKindOf } from "./file-kind.ts";
import { readNpyFile } from "./npy.ts";
import type { NpyType } from "./npy.ts";
import { openOnnxFile, openProgram } from "./open-program.ts";
import type { OpenedProgram } from "./open-program.ts";
import { withFileSource } from "../util/byte-source.ts";
import { closing } from "../util/closing.ts";

/** What is in a file, by its kind. */
export type FileReport =
  | {
      /** A program of any format, a weight file, or a model's tensors. */
      readonly kind: "summary";
      readonly summary: Summary;
      /** What Apple's runtime noted beside the ops of a text of its own. */
      readonly analytics?: E5Analytics;
    }
  /** A compiled engine program. */
  | { readonly kind: "hwx"; readonly file: HwxFile }
  | { readonly kind: "e5"; readonly manifest: E5Manifest }
  | { readonly kind: "e5-bundle"; readonly bundle: E5Bundle }
  | {
      readonly kind: "npy";
      readonly type: NpyType;
      readonly shape: readonly number[];
      readonly byteLength: number;
    };

/**
 * Reads what is in a file of any format: a program, an engine's program, weights, an array.
 * Throws `FileError` for a file that nothing here reads, `FilesError` for a model folder, and the format's own error
 * (`CoreMlError`, `OnnxError`, `MilError`, `InspectError`, `ModelError`) for a damaged file.
 */
export function inspectFile(path: string): FileReport {
  const kind = fileKindOf(path);
  switch (kind) {
    case "model":
      throw new FilesError("files.inspect.model", `${path} is a model or a run, not a file`, {
        remedy: "describeModelFolder tells what is in one.",
      });
    case "onnx":
      return {
        kind: "summary",
        summary: { format: "onnx", path, ...summarizeOnnx(openOnnxFile(path)) },
      };
    case "mil":
    case "mlpackage":
    case "mlmodelc":
    case "mlmodel":
      return inspectProgram(path);
    case "hwx":
    case "ane":
      return withFileSource(path, (source) => ({ kind: "hwx", file: decodeHwx(source) }));
    case "e5":
      return withFileSource(path, (source) => ({ kind: "e5", manifest: decodeE5Manifest(source) }));
    case "e5-bundle":
      return { kind: "e5-bundle", bundle: decodeE5Bundle(path) };
    case "weights":
      return withFileSource(path, (source) => ({ kind: "summary", summary: ofWeights(source) }));
    case "safetensors":
      return withFileSource(path, (source) => ({
        kind: "summary",
        summary: ofSafetensors(source),
      }));
    case "npy": {
      const { type, shape, data } = readNpyFile(path);
      return { kind: "npy", type, shape, byteLength: data.byteLength };
    }
  }
}

/** What is in a program that is open already. */
export function summaryOf({ format, path, model, program, metadata }: OpenedProgram): Summary {
  const { userDefined, ...texts } = metadata;
  return {
    format,
    path,
    ...(model !== undefined && { specification: model.specificationVersion }),
    ...summarizeProgram(program),
    metadata: {
      ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")),
      ...Object.fromEntries(userDefined ?? []),
    },
  };
}

function inspectProgram(path: string): FileReport {
  return closing(openProgram(path), (opened) => {
    const analytics = analyticsOf(path);
    return {
      kind: "summary",
      summary: summaryOf(opened),
      ...(analytics !== undefined && { analytics }),
    };
  });
}

/** What the runtime noted beside the ops, where a text is one of its own. */
function analyticsOf(path: string): E5Analytics | undefined {
  if (fileKindOf(path) !== "mil") return undefined;
  return withFileSource(path, (source) =>
    programKind(source) === "e5-analytics" ? decodeE5Analytics(source) : undefined,
  );
}

function ofWeights(source: ByteSource): Summary {
  return summaryOfWeights(
    "weights",
    source.name,
    [...new BlobFile(source).records()].map((record) => ({
      name: String(record.offset),
      dtype: record.dataType,
      shape: [record.elementCount],
      bytes: record.byteLength,
      offset: record.offset,
    })),
  );
}

function ofSafetensors(source: ByteSource): Summary {
  const { entries, metadata } = openSafetensors(source);
  const weights = [...entries.values()].map(({ name, dataType, shape, byteLength, offset }) => ({
    name,
    dtype: dataType,
    shape,
    bytes: byteLength,
    offset,
  }));
  return { ...summaryOfWeights("safetensors", source.name, weights), metadata };
}

function summaryOfWeights(
  format: string,
  path: string,
  weights: readonly SummarizedWeight[],
): Summary {
  return {
    format,
    path,
    functions: [],
    weights,
    weight_bytes: weights.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
