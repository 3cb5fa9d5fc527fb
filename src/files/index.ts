/** Files of any format: what they are, programs in them, arrays, and what can be done with a whole file. */
export { checkFile } from "./check-file.ts";
export type { CheckOptions, CheckReport, ChipReport, SystemReport } from "./check-file.ts";
export { CONVERT_TARGETS, convertProgramFile } from "./convert-file.ts";
export type { ConvertOptions, ConvertReport, ConvertTarget } from "./convert-file.ts";
export { FilesError } from "./errors.ts";
export { estimateFile } from "./estimate-file.ts";
export type { EstimateFileOptions, FileEstimate } from "./estimate-file.ts";
export { fileKindOf } from "./file-kind.ts";
export type { FileKind } from "./file-kind.ts";
export { openModelFolder } from "./model-program.ts";
export type { ForwardSizes } from "./model-program.ts";
export { NpyError, readNpyFile, writeNpyFile } from "./npy.ts";
export type { NpyArray, NpyData, NpyType } from "./npy.ts";
export { defaultFunctionOf, functionOf, openProgram, wholeProgram } from "./open-program.ts";
export type { OpenedProgram } from "./open-program.ts";
export { prepareRun } from "./prepare-run.ts";
export type { PreparedRun, RunRequest } from "./prepare-run.ts";
