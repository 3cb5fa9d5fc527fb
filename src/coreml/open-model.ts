import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseProgram } from "../mil/text/parser.ts";
import type { Program } from "../mil/program.ts";
import { readMetadata } from "./description.ts";
import type { ModelMetadata } from "./description.ts";
import { CoreMlError } from "./errors.ts";
import { withFlexibleShapes } from "./flexible-shapes.ts";
import type { Model } from "./generated/model_pb.ts";
import { parseModel } from "./model-message.ts";
import { findPackageModel } from "./package.ts";
import { Weights } from "./weights.ts";
import { withFileSource } from "../util/byte-source.ts";

/** Formats of models with a MIL program. */
export type ModelFormat = "mlpackage" | "mlmodel" | "mlmodelc" | "mil";

/** A model file that is open: its program at hand, its weights read when they are asked for. */
export interface OpenedModel {
  readonly format: ModelFormat;
  readonly path: string;
  /** Tensors of weight files stay references; `weights` turns them into numbers. */
  readonly program: Program;
  readonly weights: Weights;
  /** The message around the program, where the file has one: description, version, parts that are not understood. */
  readonly model: Model | undefined;
  readonly metadata: ModelMetadata;
  /** Closes the file behind the weights. */
  close(): void;
}

/** Bytes of a program or text that are read; weights do not count. */
const PROGRAM_BYTE_LIMIT = 2 ** 31 - 1;

/**
 * Opens a `.mlpackage`, a `.mlmodel` with an ML program, a compiled `.mlmodelc`, or MIL text, by what is in it and not
 * by its name. Throws `CoreMlError` or `MilSyntaxError` saying what is wrong, `FileError` when it cannot be read.
 */
export function openModel(path: string): OpenedModel {
  if (!existsSync(path)) {
    throw new CoreMlError("coreml.open.missing", `${path} does not exist`);
  }
  if (statSync(path).isDirectory()) {
    const text = join(path, "model.mil");
    if (existsSync(join(path, "Manifest.json")) || !existsSync(text)) {
      return openModelFile(path, "mlpackage", findPackageModel(path));
    }
    return openText(path, "mlmodelc", text);
  }
  return startsAsText(path) ? openText(path, "mil", path) : openModelFile(path, "mlmodel", path);
}

function openModelFile(path: string, format: ModelFormat, modelPath: string): OpenedModel {
  const { model, program } = parseModel(readProgramBytes(modelPath), modelPath);
  const flexible =
    model.description === undefined ? program : withFlexibleShapes(program, model.description);
  return opened(path, format, flexible, dirname(modelPath), model);
}

function openText(path: string, format: ModelFormat, textPath: string): OpenedModel {
  const program = parseProgram(readProgramBytes(textPath), { fileName: textPath });
  return opened(path, format, program, dirname(textPath), undefined);
}

function opened(
  path: string,
  format: ModelFormat,
  program: Program,
  folder: string,
  model: Model | undefined,
): OpenedModel {
  const weights = new Weights(folder);
  return Object.freeze({
    format,
    path,
    program,
    weights,
    model,
    metadata: readMetadata(model?.description),
    close: () => weights.close(),
  });
}

/** Whether a file begins with the word that all MIL text begins with, after blanks and comments. */
function startsAsText(path: string): boolean {
  return withFileSource(path, (source) => {
    const start = new TextDecoder("utf-8").decode(
      source.read(0, Math.min(source.byteLength, 4096)),
    );
    return /^\uFEFF?(?:\s|\/\/[^\n]*(?:\n|$))*program\s*\(/.test(start);
  });
}

function readProgramBytes(path: string): Uint8Array {
  return withFileSource(path, (source) => {
    if (source.byteLength > PROGRAM_BYTE_LIMIT) {
      throw new CoreMlError(
        "coreml.open.size",
        `${path} has ${source.byteLength} bytes; programs of up to ${PROGRAM_BYTE_LIMIT} are read`,
      );
    }
    return source.read(0, source.byteLength);
  });
}
