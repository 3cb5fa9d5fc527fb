import { decodeHwx, diffHwx } from "../inspect/hwx/index.ts";
import type { HwxDiff, HwxFile } from "../inspect/hwx/index.ts";
import { diffPrograms } from "../inspect/program-diff.ts";
import type { ProgramDiff } from "../inspect/program-diff.ts";
import type { ImportOptions } from "../onnx/import/import-model.ts";
import { FilesError } from "./errors.ts";
import { fileKindOf } from "./file-kind.ts";
import type { FileKind } from "./file-kind.ts";
import { openProgram } from "./open-program.ts";
import type { OpenedProgram } from "./open-program.ts";
import { withFileSource } from "../util/byte-source.ts";
import { closing } from "../util/closing.ts";

/** What two files differ in: programs by structure, compiled engine programs by meaning. */
export type FileDiff =
  | {
      readonly format: "program";
      readonly equal: boolean;
      readonly formats: readonly [OpenedProgram["format"], OpenedProgram["format"]];
      readonly diff: ProgramDiff;
    }
  | { readonly format: "hwx"; readonly equal: boolean; readonly diff: HwxDiff };

/**
 * Compares two program files of any format, or two compiled engine programs (`.hwx`, `.ane`). `sizes` fill what
 * `.onnx` files leave open. Throws `FilesError` where the two cannot be compared, or where nothing takes the sizes.
 */
export function diffFiles(a: string, b: string, sizes: ImportOptions = {}): FileDiff {
  const kinds = [fileKindOf(a), fileKindOf(b)] as const;
  const [isEngine, isOther] = kinds.map(isEngineProgram);
  if (isEngine !== isOther) {
    throw new FilesError(
      "cli.diff.kinds",
      `${a} is a ${kinds[0]} and ${b} a ${kinds[1]}: they cannot be compared`,
    );
  }
  if (sizes.shapes !== undefined && !kinds.includes("onnx")) {
    throw new FilesError(
      "cli.shape",
      `--shape is for .onnx files; ${a} is a ${kinds[0]} and ${b} a ${kinds[1]}`,
      { remedy: "Leave --shape out." },
    );
  }
  return isEngine === true ? diffEngine(a, b) : diffSource(a, b, sizes);
}

function isEngineProgram(kind: FileKind): boolean {
  return kind === "hwx" || kind === "ane";
}

function diffEngine(a: string, b: string): FileDiff {
  const diff = diffHwx(decode(a), decode(b));
  const isAlike = diff.tasks.every(
    ({ a: left, b: right, meaning, registers }) =>
      left !== null && right !== null && meaning.length === 0 && registers.length === 0,
  );
  return { format: "hwx", equal: isAlike && diff.file.length === 0, diff };
}

function decode(path: string): HwxFile {
  return withFileSource(path, decodeHwx);
}

function diffSource(a: string, b: string, sizes: ImportOptions): FileDiff {
  return closing(openProgram(a, fileKindOf(a) === "onnx" ? sizes : {}), (left) =>
    closing(openProgram(b, fileKindOf(b) === "onnx" ? sizes : {}), (right) => {
      const diff = diffPrograms(left, right);
      return { format: "program", equal: diff.equal, formats: [left.format, right.format], diff };
    }),
  );
}
