import { totalmem } from "node:os";
import { dirname } from "node:path";
import { constantBytes } from "../chip/legality/function-rules.ts";
import { loadWeights, openModel, weightFilesOf } from "../coreml/index.ts";
import type { Weights } from "../coreml/index.ts";
import type { MilFunction, Program } from "../mil/program.ts";
import { withInputShapes } from "../mil/specialize.ts";
import { formatType } from "../mil/types.ts";
import { importBound } from "../onnx/import/import-model.ts";
import type { ImportOptions } from "../onnx/import/import-model.ts";
import { openOnnx } from "../onnx/read-model.ts";
import type { OnnxFile } from "../onnx/read-model.ts";
import { AnecdoteError } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { FilesError } from "./errors.ts";
import { fileKindOf } from "./file-kind.ts";
import type { FileKind } from "./file-kind.ts";
import type { OpenedModel } from "../coreml/open-model.ts";

const PROGRAM_KINDS = ["mil", "mlpackage", "mlmodelc", "mlmodel", "onnx"] as const;

/** A file that holds a program, whatever its format. */
export interface OpenedProgram extends Omit<OpenedModel, "format" | "weights"> {
  readonly format: (typeof PROGRAM_KINDS)[number] | "model";
  /** Where tensors of weight files are read; absent where the program holds all of its own. */
  readonly weights: Weights | undefined;
  /** Inputs of an .onnx file that became constants. */
  readonly bound: readonly string[];
  /** How MIL spells the names of an .onnx file's inputs and results, by the file's. */
  readonly portNames: ReadonlyMap<string, string>;
}

export function isProgramKind(kind: FileKind): kind is (typeof PROGRAM_KINDS)[number] {
  return PROGRAM_KINDS.some((name) => name === kind);
}

/** Opens a file that must hold a program. Throws `FilesError` naming the format where it holds something else. */
export function openProgram(path: string, options: ImportOptions = {}): OpenedProgram {
  const kind = fileKindOf(path);
  if (kind === "model") {
    throw new FilesError("cli.file.program", `${path} is a model or a run, not a program`, {
      remedy: `Write its forward pass as one: anecdote convert ${path} model.mil`,
    });
  }
  if (!isProgramKind(kind)) {
    throw new FilesError("cli.file.program", `${path} is a ${kind} file, which holds no program`, {
      remedy: "Programs are MIL text, .mlpackage, .mlmodel, .mlmodelc and .onnx.",
    });
  }
  if (kind === "onnx") {
    return {
      format: "onnx",
      path,
      ...importBound(openOnnxFile(path), options),
      weights: undefined,
      model: undefined,
      metadata: {},
      close: () => undefined,
    };
  }
  if (options.shapes !== undefined || options.dimensions !== undefined) {
    throw new FilesError("cli.shape", `--shape is for .onnx files; ${path} is a ${kind}`);
  }
  const opened = openModel(path);
  const { format, program, weights, model, metadata } = opened;
  return {
    format,
    path,
    program,
    weights,
    model,
    metadata,
    bound: [],
    portNames: new Map(),
    close: () => opened.close(),
  };
}

export function openOnnxFile(path: string): OnnxFile {
  return openOnnx(path, dirname(path));
}

/** The program with the numbers of its weight files in it. */
export function wholeProgram(opened: OpenedProgram): Program {
  return opened.weights === undefined
    ? opened.program
    : loadWeights(opened.program, opened.weights);
}

/**
 * A program whose inputs take the sizes of `--shape`. Throws `FilesError` for a name that no function has, and for
 * sizes that the program does not leave open.
 */
export function resized(program: Program, sizes: ImportOptions): Program {
  requireOpenSizes(program.functions, sizes);
  const { shapes } = sizes;
  if (shapes === undefined) return program;
  return {
    ...program,
    functions: program.functions.map((fn) => withInputShapes(fn, shapes)),
  };
}

/**
 * Throws `FilesError` for sizes of inputs that no function has or that all of them fix: they would do nothing. Names
 * of sizes (`--dim`) are for .onnx files alone.
 */
export function requireOpenSizes(
  functions: readonly MilFunction[],
  { shapes, dimensions }: ImportOptions,
): void {
  if (dimensions !== undefined) {
    throw new FilesError("cli.dim", "--dim is for .onnx files; use --shape");
  }
  const inputs = functions.flatMap((fn) => fn.inputs);
  for (const name of shapes?.keys() ?? []) {
    const named = inputs.filter((input) => input.name === name);
    const [first] = named;
    if (first === undefined) {
      throw new FilesError(
        "cli.shape",
        `no function has an input "${name}".${didYouMean(
          name,
          inputs.map((input) => input.name),
        )}`,
      );
    }
    const isOpen = named.some(({ type }) => type.kind === "tensor" && type.shape.includes("?"));
    if (isOpen) continue;
    throw new FilesError(
      "cli.shape.fixed",
      `--shape ${name} would do nothing: "${name}" is ${formatType(first.type)}, its sizes are fixed`,
      { remedy: "Leave it out." },
    );
  }
}

/** The weight files that a program is read with. */
export function weightFilesIn({ program, weights }: OpenedProgram): readonly string[] {
  return weights === undefined ? [] : weightFilesOf(program, weights);
}

/** A program's constants take up to so many times their bytes while it is rewritten: as fp32, turned, in parts. */
const COPIES = 6;

/**
 * The program for passes that look at numbers: with those of its weight files in it, or without them and why. Rule
 * `constants` ends at 2 GiB, and so does this.
 */
export function programWithNumbers(opened: OpenedProgram): {
  readonly program: Program;
  readonly unread?: string;
} {
  const { program, weights } = opened;
  if (weights === undefined) return { program };
  const bytes = program.functions.reduce((sum, fn) => sum + constantBytes(fn), 0);
  const limit = Math.min(2 * 2 ** 30, totalmem() / COPIES);
  if (bytes > limit) {
    const gibibytes = (count: number): string => `${(count / 2 ** 30).toPrecision(3)} GiB`;
    return {
      program,
      unread: `${gibibytes(bytes)} of constants, up to ${gibibytes(limit)} are read`,
    };
  }
  try {
    return { program: loadWeights(program, weights) };
  } catch (error) {
    if (!(error instanceof AnecdoteError)) throw error;
    return { program, unread: error.message };
  }
}

/** The function that a model says runs when none is named. */
export function defaultFunctionOf({ model }: OpenedProgram): string | undefined {
  const name = model?.description?.defaultFunctionName;
  return name === "" ? undefined : name;
}

/** A function by name; without one the only function, the model's default or "main". Throws `FilesError`. */
export function functionOf(
  program: Program,
  name: string | undefined,
  fallback = "main",
): MilFunction {
  const names = program.functions.map((fn) => fn.name);
  const wanted = name ?? (names.length === 1 ? names[0] : fallback);
  const found = program.functions.find((fn) => fn.name === wanted);
  if (found !== undefined) return found;
  const message =
    name === undefined
      ? `the file has ${names.length} functions and none is "main"`
      : `there is no function "${name}".${didYouMean(name, names)}`;
  throw new FilesError("cli.function", message, {
    remedy: `Choose one with --function: ${names.join(", ")}.`,
  });
}

/** Throws `FilesError` with the flag to give where a function leaves sizes open. */
export function requireSizes(fn: MilFunction): void {
  for (const { name, type } of fn.inputs) {
    if (type.kind !== "tensor" || !type.shape.includes("?")) continue;
    const sizes = type.shape.map((size) => (size === "?" ? 1 : size)).join("x");
    throw new FilesError(
      "cli.open",
      `"${name}" of ${fn.name} has open sizes: ${formatType(type)}`,
      { remedy: `Give them with --shape ${name}=${sizes}.` },
    );
  }
}

/** `NAME=2x3x4` of `--shape` and `NAME=4` of `--dim`, each several times. Throws `FilesError`. */
export function parseShapes(
  given: readonly string[],
  givenDimensions: readonly string[] = [],
): ImportOptions {
  const shapes = new Map(given.map((text) => sized("--shape", text)));
  const dimensions = new Map(
    givenDimensions.map((text): [string, number] => {
      const [name, sizes] = sized("--dim", text);
      const [size, ...rest] = sizes;
      if (size === undefined || rest.length > 0) {
        throw new FilesError("cli.shape", `--dim takes NAME=4, not "${text}"`);
      }
      return [name, size];
    }),
  );
  return {
    ...(shapes.size > 0 && { shapes }),
    ...(dimensions.size > 0 && { dimensions }),
  };
}

function sized(flag: string, text: string): [string, readonly number[]] {
  const at = text.lastIndexOf("=");
  const sizes = text.slice(at + 1).split(/[x,]/);
  if (at < 1 || !sizes.every((size) => /^\d{1,9}$/.test(size))) {
    throw new FilesError("cli.shape", `${flag} takes NAME=2x3x4, not "${text}"`);
  }
  return [text.slice(0, at), sizes.map(Number)];
}
