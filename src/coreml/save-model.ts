import { basename, dirname, extname, join } from "node:path";
import { formatType } from "../mil/types.ts";
import type { Program } from "../mil/program.ts";
import { printProgram } from "../mil/text/printer.ts";
import type { PrintOptions } from "../mil/text/printer.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { CoreMlError } from "./errors.ts";
import { buildModel, serializeModel } from "./model-message.ts";
import type { ModelOptions } from "./model-message.ts";
import { writePackageFiles } from "./package.ts";
import { loadWeights, modelPath, moveWeights } from "./weights.ts";
import type { Weights } from "./weights.ts";

/** How a model is written. */
export interface SaveOptions extends ModelOptions {
  /** Where the tensors of weight files are read, when the program refers to some. */
  readonly weights?: Weights | undefined;
}

/**
 * Writes a program as `.mlpackage`: the program, one weight file with the large tensors, and a manifest. Equal programs
 * give equal bytes. Throws `CoreMlError` for what Core ML cannot express, `FileError` when the disk refuses; what
 * stood there before stays then. Returns the paths of the files it wrote.
 */
export function savePackage(
  path: string,
  program: Program,
  options: SaveOptions = {},
): readonly string[] {
  checkInputs(program, options);
  const { program: moved, blobs } = moveWeights(program, options.weights);
  return writePackageFiles(path, serializeModel(buildModel(moved, options)), blobs);
}

/** Writes a program as one `.mlmodel` file, all tensors inside. Throws as `savePackage` does. */
export function saveModelFile(path: string, program: Program, options: SaveOptions = {}): void {
  checkInputs(program, options);
  const whole = options.weights === undefined ? program : loadWeights(program, options.weights);
  writeWholeFile(path, serializeModel(buildModel(whole, options)));
}

/** Apple's tools refuse a model whose inputs have no dimensions; one that is rewritten stays as it was. */
function checkInputs(program: Program, { original }: SaveOptions): void {
  if (original !== undefined) return;
  for (const milFunction of program.functions) {
    for (const { name, type } of milFunction.inputs) {
      if (type.kind !== "tensor" || type.shape.length > 0) continue;
      throw new CoreMlError(
        "coreml.feature.rank",
        `input "${name}" of "${milFunction.name}" is ${formatType(type)}; models take tensors with at least one dimension`,
        { remedy: "Give it the shape [1] and put a squeeze behind it." },
      );
    }
  }
}

/** How a program's text is written. */
export interface SaveTextOptions extends PrintOptions {
  readonly weights?: Weights | undefined;
}

/** The weight file of a program that is text: "net.weights.bin" beside "net.mil". */
export function textWeightsPath(path: string): string {
  return join(dirname(path), `${basename(path, extname(path))}.weights.bin`);
}

/**
 * Writes a program as MIL text, and its large tensors into a file of the same name beside it, which the text calls
 * "@model_path/NAME.weights.bin". Returns the paths it wrote, the text first. Throws as `savePackage` does.
 */
export function saveText(
  path: string,
  program: Program,
  options: SaveTextOptions = {},
): readonly string[] {
  const weightsPath = textWeightsPath(path);
  const { program: moved, blobs } = moveWeights(
    program,
    options.weights,
    modelPath(basename(weightsPath)),
  );
  const text = printProgram(moved, options);
  if (blobs.blobCount > 0) blobs.write(weightsPath);
  writeWholeFile(path, text);
  return blobs.blobCount > 0 ? [path, weightsPath] : [path];
}
