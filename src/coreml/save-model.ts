import { dirname, join } from "node:path";
import { formatType } from "../mil/types.ts";
import type { Program } from "../mil/program.ts";
import { printProgram } from "../mil/text/printer.ts";
import type { PrintOptions } from "../mil/text/printer.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { CoreMlError } from "./errors.ts";
import { buildModel, serializeModel } from "./model-message.ts";
import type { ModelOptions } from "./model-message.ts";
import { writePackageFiles } from "./package.ts";
import { WEIGHT_FILE_NAME, loadWeights, moveWeights } from "./weights.ts";
import type { Weights } from "./weights.ts";

export interface SaveOptions extends ModelOptions {
  /** Where the tensors of weight files are read, when the program refers to some. */
  readonly weights?: Weights | undefined;
}

/**
 * Writes a program as `.mlpackage`: the program, one weight file with the large tensors, and a manifest. Equal programs
 * give equal bytes. Throws `CoreMlError` for what Core ML cannot express, `FileError` when the disk refuses; what
 * stood there before stays then.
 */
export function savePackage(path: string, program: Program, options: SaveOptions = {}): void {
  checkInputs(program, options);
  const { program: moved, blobs } = moveWeights(program, options.weights);
  writePackageFiles(path, serializeModel(buildModel(moved, options)), blobs);
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

export interface SaveTextOptions extends PrintOptions {
  readonly weights?: Weights | undefined;
  /** Name of the weight file in `weights/`. Default "weight.bin". */
  readonly weightFileName?: string;
}

/**
 * Writes a program as MIL text, and its large tensors into `weights/weight.bin` beside it, where the text's
 * `@model_path` finds them.
 */
export function saveText(path: string, program: Program, options: SaveTextOptions = {}): void {
  const fileName = options.weightFileName ?? WEIGHT_FILE_NAME;
  const { program: moved, blobs } = moveWeights(program, options.weights, fileName);
  const text = printProgram(moved, options);
  if (blobs.blobCount > 0) blobs.write(join(dirname(path), "weights", fileName));
  writeWholeFile(path, text);
}
