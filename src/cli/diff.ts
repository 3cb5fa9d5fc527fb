import type { Command } from "commander";
import { decodeHwx, diffHwx, hwxDiffText } from "../inspect/hwx/index.ts";
import type { HwxFile } from "../inspect/hwx/index.ts";
import { diffPrograms, programDiffText } from "../inspect/program-diff.ts";
import { openFileSource } from "../util/byte-source.ts";
import type { Exit } from "./exit.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { fileKindOf } from "../files/file-kind.ts";
import type { FileKind } from "../files/file-kind.ts";
import { append, openProgram, parseShapes } from "../files/open-program.ts";

interface DiffFlags {
  readonly registers?: boolean;
  readonly shape: readonly string[];
  readonly json?: boolean;
}

export function register(program: Command, exit: Exit): void {
  program
    .command("diff")
    .description("compare two programs by structure, or two engine programs by meaning")
    .argument("<a>", "a program of any format, or an .hwx file")
    .argument("<b>", "the other one")
    .option("--registers", "register by register (.hwx)")
    .option("--shape <name=2x3>", "sizes that .onnx files leave open", append, [])
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nThe exit code is 1 where the two differ.\n\nExample:\n  anecdote diff before.mlpackage after.mlpackage",
    )
    .action((a: string, b: string, flags: DiffFlags) => {
      const kinds = [fileKindOf(a), fileKindOf(b)].map(isEngineProgram);
      if (kinds[0] !== kinds[1]) {
        throw new UsageError(
          "cli.diff.kinds",
          `${a} is a ${fileKindOf(a)} and ${b} a ${fileKindOf(b)}: they cannot be compared`,
        );
      }
      const equal = kinds[0] === true ? diffEngine(a, b, flags) : diffSource(a, b, flags);
      exit(equal ? EXIT_CODES.ok : EXIT_CODES.failure);
    });
}

function isEngineProgram(kind: FileKind): boolean {
  return kind === "hwx" || kind === "ane";
}

function diffEngine(a: string, b: string, flags: DiffFlags): boolean {
  const diff = diffHwx(decode(a), decode(b));
  process.stdout.write(
    flags.json === true
      ? `${JSON.stringify({ format: "hwx", ...diff })}\n`
      : hwxDiffText(diff, { registers: flags.registers === true }),
  );
  const isAlike = diff.tasks.every(
    ({ a: left, b: right, meaning, registers }) =>
      left !== null && right !== null && meaning.length === 0 && registers.length === 0,
  );
  return isAlike && diff.file.length === 0;
}

function decode(path: string): HwxFile {
  const source = openFileSource(path);
  try {
    return decodeHwx(source);
  } finally {
    source.close();
  }
}

function diffSource(a: string, b: string, flags: DiffFlags): boolean {
  const optionsFor = (path: string) =>
    fileKindOf(path) === "onnx" ? parseShapes(flags.shape) : {};
  const left = openProgram(a, optionsFor(a));
  try {
    const right = openProgram(b, optionsFor(b));
    try {
      const diff = diffPrograms(left, right);
      process.stdout.write(
        flags.json === true
          ? `${JSON.stringify({ format: "program", a, b, ...diff })}\n`
          : `a: ${a} (${left.format})\nb: ${b} (${right.format})\n${programDiffText(diff)}`,
      );
      return diff.equal;
    } finally {
      right.close();
    }
  } finally {
    left.close();
  }
}
