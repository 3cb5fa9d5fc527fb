import { statSync } from "node:fs";
import { extname } from "node:path";
import {
  readFlexibleShapes,
  saveModelFile,
  savePackage,
  saveText,
  textWeightsPath,
} from "../coreml/index.ts";
import type { MilFunction, Opset, Program } from "../mil/program.ts";
import { withInputShapes } from "../mil/specialize.ts";
import { listsAsTensors } from "../mil/lists-as-tensors.ts";
import { statesAsValues } from "../mil/states-as-values.ts";
import { verifyProgram } from "../mil/verify.ts";
import { exportOnnx } from "../onnx/export-model.ts";
import { ONNX_OPSET } from "../onnx/graph-writer.ts";
import type { ImportOptions } from "../onnx/import/import-model.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { didYouMean } from "../util/nearest.ts";
import { FilesError } from "./errors.ts";
import { fileKindOf } from "./file-kind.ts";
import { openModelFolder } from "./model-program.ts";
import {
  defaultFunctionOf,
  functionOf,
  openProgram,
  requireSizes,
  resized,
  weightFilesIn,
  wholeProgram,
} from "./open-program.ts";
import type { OpenedProgram } from "./open-program.ts";
import { requireFreeOutputs } from "./output-file.ts";
import { defined } from "../util/defined.ts";

/** Formats that are written, by the ending of a path. */
export const CONVERT_TARGETS = ["mil", "mlpackage", "mlmodel", "onnx"] as const;
/** A format that is written. */
export type ConvertTarget = (typeof CONVERT_TARGETS)[number];

/** How a file is turned into another format. */
export interface ConvertOptions extends Omit<ImportOptions, "opset" | "functionName"> {
  /** Which function becomes an `.onnx` file. Default: the only one, the model's default, or "main". */
  readonly function?: string;
  /** Opset of a program made from `.onnx`. */
  readonly opset?: Opset;
  /** Sequences of a model folder's program. Default 1. */
  readonly batchSize?: number;
  /** Tokens of its sequences. Default: the model's context, at most 256. */
  readonly sequenceLength?: number;
  /** Replace an output that exists. Default false. */
  readonly overwrite?: boolean;
  /** The model folder that a folder means, such as a run's newest checkpoint. Default: the folder itself. */
  readonly modelFolderOf?: (path: string) => string;
}

/** What was read and written. */
export interface ConvertReport {
  readonly input: string;
  readonly from: OpenedProgram["format"];
  readonly output: string;
  readonly to: ConvertTarget;
  readonly files: readonly { readonly path: string; readonly byteLength: number }[];
  /** Names. */
  readonly functions: readonly string[];
  /** Ops of all functions, constants not counted. */
  readonly ops: number;
  /** What changed on the way, as sentences. */
  readonly notes: readonly string[];
}

/**
 * Turns a program file or a model folder into another format; the ending of `to` says which. A model folder's program
 * is its forward pass in fp32 with the weights in it: tokens int32 `[B, S]` to logits fp32 `[B, S, V]`.
 * Throws `FilesError` for options that do not fit the input, `FileError` where the output exists already, `OnnxError`
 * and `CoreMlError` for what a format cannot hold, by name.
 */
export function convertProgramFile(
  from: string,
  to: string,
  options: ConvertOptions = {},
): ConvertReport {
  const target = targetOf(to);
  const sizes = sizesOf(options);
  const kind = fileKindOf(from);
  const isOnnx = kind === "onnx";
  requireFitting(options, kind, target);
  const opset = opsetOf(options.opset, isOnnx);
  const opened =
    kind === "model"
      ? openModelFolder(
          { path: from, folder: (options.modelFolderOf ?? ((path) => path))(from) },
          { batchSize: options.batchSize, sequenceLength: options.sequenceLength },
        )
      : openProgram(
          from,
          isOnnx
            ? {
                ...sizes,
                ...defined({ opset, bindable: options.bindable }),
              }
            : {},
        );
  try {
    const folders = requireFreeOutputs({
      paths: target === "mil" ? [to, textWeightsPath(to)] : [to],
      inputs: [from, ...weightFilesIn(opened)],
      overwrite: options.overwrite === true,
    });
    const program = isOnnx ? opened.program : resized(opened.program, sizes);
    const { unknownOps } = verifyProgram(program);
    const notes =
      unknownOps.length === 0
        ? []
        : [`carried over unchecked: ${unknownOps.join(", ")} (not in the op table)`];
    if (opened.bound.length > 0) notes.push(`constants of the program: ${opened.bound.join(", ")}`);
    notes.push(...folders.map((folder) => `made the folder ${folder}`));
    let paths: readonly string[] = [to];
    if (target === "onnx") {
      const whole =
        program === opened.program ? wholeProgram(opened) : resized(wholeProgram(opened), sizes);
      const open = functionOf(whole, options.function, defaultFunctionOf(opened));
      const { fn, chosen } = atDefaultSizes(open);
      notes.push(...chosen, ...writeOnnx(to, fn, whole));
    } else paths = writeCoreMl(target, to, program, opened);
    return {
      input: from,
      from: opened.format,
      output: to,
      to: target,
      files: paths.map((path) => ({ path, byteLength: statSync(path).size })),
      functions: program.functions.map(({ name }) => name),
      ops: countOps(program),
      notes,
    };
  } finally {
    opened.close();
  }
}

function sizesOf({ shapes, dimensions }: ConvertOptions): ImportOptions {
  return {
    ...defined({ shapes, dimensions }),
  };
}

/** Throws `FilesError` for options that would do nothing. */
function requireFitting(options: ConvertOptions, kind: string, target: ConvertTarget): void {
  if (options.bindable !== undefined && kind !== "onnx") {
    throw new FilesError("cli.bind", "constants are bound in programs made from .onnx alone");
  }
  if (kind !== "model" && (options.batchSize ?? options.sequenceLength) !== undefined) {
    throw new FilesError(
      "cli.convert.sizes",
      "--batch-size and --max-seq-length are for model folders; other programs take --shape",
    );
  }
  if (options.function !== undefined && target !== "onnx") {
    throw new FilesError(
      "cli.convert.function",
      `--function chooses what becomes an .onnx file; a .${target} file keeps all functions`,
      { remedy: "Leave --function out." },
    );
  }
}

function targetOf(path: string): ConvertTarget {
  const ending = extname(path.replace(/[/\\]+$/, ""))
    .slice(1)
    .toLowerCase();
  const found = CONVERT_TARGETS.find((name) => name === ending);
  if (found !== undefined) return found;
  throw new FilesError(
    "cli.convert.target",
    `"${path}" does not say a format that is written.${didYouMean(ending, CONVERT_TARGETS)}`,
    { remedy: `Endings: ${CONVERT_TARGETS.map((name) => `.${name}`).join(", ")}.` },
  );
}

function opsetOf(opset: Opset | undefined, isOnnx: boolean): Opset | undefined {
  if (opset === undefined || isOnnx) return opset;
  throw new FilesError("cli.convert.opset", "--opset is for programs made from .onnx");
}

/** Sizes that a model leaves open take the defaults it names; an .onnx file here has fixed sizes. */
function atDefaultSizes(fn: MilFunction): {
  readonly fn: MilFunction;
  readonly chosen: readonly string[];
} {
  const shapes = new Map(
    [...readFlexibleShapes(fn)].map(([name, { defaultShape }]) => [name, defaultShape]),
  );
  const sized = withInputShapes(fn, shapes);
  const chosen = fn.inputs.flatMap(({ name, type }) => {
    const shape = shapes.get(name);
    return shape === undefined || type.kind !== "tensor" || !type.shape.includes("?")
      ? []
      : [`"${name}" has its default size ${shape.join("x")} (--shape chooses another)`];
  });
  return { fn: sized, chosen };
}

function writeOnnx(path: string, original: MilFunction, program: Program): readonly string[] {
  requireSizes(original);
  const { fn: stateless, states } = statesAsValues(original);
  const fn = listsAsTensors(stateless);
  const { bytes, nodeCount, renamed } = exportOnnx(fn);
  writeWholeFile(path, bytes);
  const others = program.functions.length - 1;
  return [
    `${nodeCount} nodes of operator set ${ONNX_OPSET}${computesHalf(fn) ? "; fp16 values are computed in fp32" : ""}`,
    ...(others > 0 ? [`of the functions only "${fn.name}" was written (--function)`] : []),
    ...states.map(
      ({ input, output }) =>
        `state "${input}" is an input; its contents after the run are the output "${output}"`,
    ),
    ...[...renamed].map(([name, now]) => `"${name}" is called "${now}" in the file`),
  ];
}

function computesHalf(fn: MilFunction): boolean {
  return fn.operations.some(({ outputs }) =>
    outputs.some(({ type }) => type.kind === "tensor" && type.dataType === "fp16"),
  );
}

/** Returns the files that were written. */
function writeCoreMl(
  target: Exclude<ConvertTarget, "onnx">,
  path: string,
  program: Program,
  { weights, model }: OpenedProgram,
): readonly string[] {
  switch (target) {
    case "mil":
      return saveText(path, program, { weights });
    case "mlpackage":
      return savePackage(path, program, { weights, original: model });
    case "mlmodel":
      saveModelFile(path, program, { weights, original: model });
      return [path];
  }
}

function countOps(program: Program): number {
  return program.functions.reduce(
    (sum, { operations }) => sum + operations.filter(({ type }) => type !== "const").length,
    0,
  );
}
