import { convertProgramFile } from "../files/convert-file.ts";
import type { ConvertOptions, ConvertReport } from "../files/convert-file.ts";
import { resolveModelFolder } from "./model-path.ts";

/**
 * Turns a program file, a model folder or a run's newest checkpoint into another format: `.mil`, `.mlpackage`,
 * `.mlmodel` or `.onnx`, as the ending of `to` says. A model's program is its forward pass in fp32 with the weights
 * in it: tokens int32 `[B, S]` to logits fp32 `[B, S, V]`.
 * Throws `FilesError` for options that do not fit the input, `FileError` where the output exists already, `RunError`
 * for a folder without a model, `OnnxError` and `CoreMlError` for what a format cannot hold, by name.
 */
export function convertFile(from: string, to: string, options: ConvertOptions = {}): ConvertReport {
  return convertProgramFile(from, to, {
    modelFolderOf: (path) => resolveModelFolder(path),
    ...options,
  });
}
