import { existsSync } from "node:fs";
import { isAbsolute, join, normalize } from "node:path";
import type { BlobReference, Literal, NumericData, Program } from "../mil/program.ts";
import { formatType } from "../mil/types.ts";
import { AnecdoteError } from "../util/errors.ts";
import { BlobBuilder } from "./blob-builder.ts";
import { BlobFile, isBlobDataType } from "./blob-file.ts";
import type { BlobRecord } from "./blob-file.ts";
import { carryOver } from "./carried.ts";
import { CoreMlError } from "./errors.ts";
import { mapLiterals } from "./map-literals.ts";
import type { LiteralPlace } from "./map-literals.ts";
import { openedFile } from "../util/byte-source.ts";

/** What a weight's path starts with: the folder of the model. */
const MODEL_PATH = "@model_path";

/** What a program calls a file that stands so below its folder. */
export function modelPath(relative: string): string {
  return `${MODEL_PATH}/${relative}`;
}

/** The path that exporters give the weight file of a package. */
export const WEIGHT_FILE_PATH = modelPath("weights/weight.bin");

/** A tensor in an open weight file. */
export interface WeightLocation {
  readonly file: BlobFile;
  readonly record: BlobRecord;
}

/**
 * The weight files of one model, opened when a tensor of theirs is first asked for and read tensor by tensor.
 * `folder` is what `@model_path` stands for. Close it when the model is done with.
 */
export class Weights {
  readonly folder: string;
  readonly #files = new Map<string, BlobFile>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Where a literal's tensor stands. Throws `CoreMlError` when it is not there, or not of the literal's type. */
  locate(literal: Literal): WeightLocation {
    const { data, type } = literal;
    if (data.kind !== "blob" || type.kind !== "tensor") {
      throw new CoreMlError(
        "coreml.weights.kind",
        `this ${formatType(type)} literal is not a tensor in a weight file`,
      );
    }
    const file = this.#file(data);
    const record = file.record(data.offset);
    if (record.dataType !== type.dataType) {
      throw new CoreMlError(
        "coreml.weights.type",
        `${file.source.name}: the blob at offset ${data.offset} holds ${record.dataType}, the program says ${formatType(type)}`,
      );
    }
    let count = 1;
    for (const size of type.shape) count *= size === "?" ? NaN : size;
    if (record.elementCount !== count) {
      throw new CoreMlError(
        "coreml.weights.count",
        `${file.source.name}: the blob at offset ${data.offset} holds ${record.elementCount} elements, ${formatType(type)} needs ${count}`,
      );
    }
    return { file, record };
  }

  /** The numbers of a tensor in a weight file; fp16 and smaller floats as fp32. */
  numbers(literal: Literal): NumericData {
    const { file, record } = this.locate(literal);
    return file.readNumbers(record);
  }

  /** The literal with its numbers in it; one that has them already is returned as it is. */
  load(literal: Literal): Literal {
    if (literal.data.kind !== "blob") return literal;
    const loaded: Literal = Object.freeze({
      kind: "literal",
      type: literal.type,
      data: Object.freeze({ kind: "numbers", numbers: this.numbers(literal) }),
    });
    carryOver(literal, loaded);
    return loaded;
  }

  /** Closes the weight files. */
  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  /** The file that a program calls so; undefined where that is outside the model's folder. */
  pathOf(reference: Pick<BlobReference, "path">): string | undefined {
    const relative = normalize(
      reference.path.startsWith(`${MODEL_PATH}/`)
        ? reference.path.slice(MODEL_PATH.length + 1)
        : reference.path,
    );
    const isOutside =
      isAbsolute(relative) || relative.split(/[/\\]/).includes("..") || relative.includes("\0");
    return isOutside ? undefined : join(this.folder, relative);
  }

  #file(reference: BlobReference): BlobFile {
    const known = this.#files.get(reference.path);
    if (known !== undefined) return known;
    const path = this.pathOf(reference);
    if (path === undefined) {
      throw new CoreMlError(
        "coreml.weights.path",
        `the weight file "${reference.path}" is outside the model's folder`,
      );
    }
    if (!existsSync(path)) {
      throw new CoreMlError("coreml.weights.missing", `the weight file ${path} does not exist`, {
        remedy: `The program names it "${reference.path}"; put it there.`,
      });
    }
    return openedFile(path, (source) => {
      const file = new BlobFile(source);
      this.#files.set(reference.path, file);
      return file;
    });
  }
}

/** A tensor that a weight file does not hold as the program says. */
export interface WeightProblem {
  readonly code: string;
  readonly place: LiteralPlace;
  readonly message: string;
}

/** Every reference to a weight file whose blob is not there, or is of another type or size. No tensor is read. */
export function weightProblems(program: Program, weights: Weights): readonly WeightProblem[] {
  const problems: WeightProblem[] = [];
  mapLiterals(program, (literal, place) => {
    if (literal.data.kind !== "blob") return literal;
    try {
      weights.locate(literal);
    } catch (error) {
      if (!(error instanceof AnecdoteError)) throw error;
      problems.push({ code: error.code, place, message: error.message });
    }
    return literal;
  });
  return problems;
}

/** The weight files that a program names inside its folder, each once. */
export function weightFilesOf(program: Program, weights: Weights): readonly string[] {
  const paths = new Set<string>();
  mapLiterals(program, (literal) => {
    const path = literal.data.kind === "blob" ? weights.pathOf(literal.data) : undefined;
    if (path !== undefined) paths.add(path);
    return literal;
  });
  return [...paths];
}

/** The program with every tensor of its weight files read into memory. Throws `CoreMlError`. */
export function loadWeights(program: Program, weights: Weights): Program {
  // A tensor that several functions share is read once.
  const loaded = new Map<string, Literal>();
  return mapLiterals(program, (literal) => {
    if (literal.data.kind !== "blob") return literal;
    const key = `${literal.data.path}\n${literal.data.offset}\n${formatType(literal.type)}`;
    let result = loaded.get(key);
    if (result === undefined) {
      result = weights.load(literal);
      loaded.set(key, result);
    }
    return result;
  });
}

/** A program whose large constants stand in a weight file. */
export interface MovedWeights {
  /** The program with references where the large tensors were. */
  readonly program: Program;
  readonly blobs: BlobBuilder;
}

/** Types that exporters put into weight files in every opset; the others only from ios18 on. */
const EARLY_BLOB_TYPES: ReadonlySet<string> = new Set(["fp16", "fp32", "int8", "uint8"]);

/** Tensors of so many elements go to the weight file (facts: formats, section 6.1, "Conventions"). */
export const BLOB_MINIMUM_ELEMENTS = 10;

/**
 * Moves the large tensors of a program into one weight file that is still to be written and is called `path` in it:
 * those written in place, and those that other files hold, for which `weights` is needed. Throws `CoreMlError`.
 */
export function moveWeights(
  program: Program,
  weights: Weights | undefined,
  path = WEIGHT_FILE_PATH,
): MovedWeights {
  const blobs = new BlobBuilder();
  const moved = mapLiterals(program, (literal, place) => {
    const { data, type } = literal;
    let offset: number | undefined;
    if (data.kind === "blob") {
      if (weights === undefined) {
        throw new CoreMlError(
          "coreml.weights.needed",
          `${place.operation.type} takes "${place.parameter}" from ${data.path}, and no weights were given`,
          { remedy: "Pass the weights of the model that the program comes from." },
        );
      }
      const { file, record } = weights.locate(literal);
      offset = blobs.addRecord(file, record);
      if (data.path === path && data.offset === offset) return literal;
    } else if (
      data.kind === "numbers" &&
      type.kind === "tensor" &&
      data.numbers.length >= BLOB_MINIMUM_ELEMENTS &&
      isBlobDataType(type.dataType) &&
      (EARLY_BLOB_TYPES.has(type.dataType) || !isBeforeIos18(place.function.opset))
    ) {
      offset = blobs.addNumbers(type.dataType, data.numbers);
    }
    if (offset === undefined) return literal;
    const reference: Literal = Object.freeze({
      kind: "literal",
      type,
      data: Object.freeze({ kind: "blob", path, offset }),
    });
    carryOver(literal, reference);
    return reference;
  });
  return { program: moved, blobs };
}

function isBeforeIos18(opset: string): boolean {
  const year = Number(/^ios(\d+)$/.exec(opset)?.[1] ?? "18");
  return year < 18;
}
