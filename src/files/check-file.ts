import { extname } from "node:path";
import type { Chip, Driver } from "../chip/chip.ts";
import { chipByName } from "../chip/chips.ts";
import { chooseDriver } from "../chip/choose-driver.ts";
import { isLegal } from "../chip/legality/check.ts";
import type { Finding } from "../chip/legality/check.ts";
import { checkSystem } from "../chip/legality/system-rules.ts";
import { macosVersion } from "../chip/system.ts";
import type { MacosVersion } from "../chip/system.ts";
import { saveText, textWeightsPath, weightProblems } from "../coreml/index.ts";
import { applyRemedies } from "../lower/index.ts";
import type { RemediedFinding, RemediedFunction } from "../lower/index.ts";
import type { Operation, Program } from "../mil/program.ts";
import type { MilProblem } from "../mil/verify.ts";
import { checkProgram, placeOf } from "../mil/verify.ts";
import type { ImportOptions } from "../onnx/import/import-model.ts";
import { FilesError } from "./errors.ts";
import { fileKindOf } from "./file-kind.ts";
import { openProgram, programWithNumbers, resized, weightFilesIn } from "./open-program.ts";
import type { OpenedProgram } from "./open-program.ts";
import { requireFreeOutputs } from "./output-file.ts";
import { defined } from "../util/defined.ts";
import { closing } from "../util/closing.ts";

/** What a program is held against, and what is written of it. */
export interface CheckOptions extends ImportOptions {
  /** Also the rules of this chip: "m1" to "m6", "m4-max", ... */
  readonly chip?: string;
  /** A version of macOS whose rules are checked as well: "27". */
  readonly macos?: string;
  /** The way into the Neural Engine. Default: that of `ANECDOTE_ANE_DRIVER`, or e5rt. */
  readonly driver?: Driver;
  /** Write the program as the passes rewrite it for the chip: a path that ends with `.mil`. */
  readonly rewritten?: string;
  /** Replace the file of `rewritten`. Default false. */
  readonly overwrite?: boolean;
}

/** A program held against the language's rules, and a chip's. */
export interface CheckReport {
  readonly path: string;
  readonly format: OpenedProgram["format"];
  /** Neither the language's rules nor the chip's are broken by the program as it stands. */
  readonly ok: boolean;
  /** Broken rules of the language. */
  readonly problems: readonly MilProblem[];
  /** Tensors that are not in the weight files where the program says. */
  readonly weightProblems: readonly MilProblem[];
  readonly weightFiles: readonly string[];
  /** Ops outside the op table, which were not checked. */
  readonly unknownOps: readonly string[];
  /** With `chip`. */
  readonly onChip?: ChipReport;
  readonly onSystem?: SystemReport;
}

/** What a chip makes of a program's functions. */
export interface ChipReport {
  readonly chip: Chip;
  readonly driver: Driver;
  readonly ok: boolean;
  /** Rules that the program breaks as it stands, with what the passes make of each. */
  readonly findings: readonly RemediedFinding[];
  /** Each function as the passes write it for the chip, or why it stays on the host. */
  readonly functions: readonly RemediedFunction[];
  /** Ops of each function as the file has them, constants not counted. */
  readonly opCounts: ReadonlyMap<string, number>;
  /** Why numbers of weight files were not read. */
  readonly unread?: string;
  /** Files that were written, with `rewritten`. */
  readonly written: readonly string[];
}

/** What a version of macOS says of a program as it is written. */
export interface SystemReport {
  readonly version: MacosVersion;
  readonly driver: Driver;
  readonly findings: readonly Finding[];
}

/**
 * Holds a program file (MIL text, `.mlpackage`, `.mlmodel`, `.mlmodelc` or `.onnx`) against the rules of MIL and,
 * with `chip`, of that chip. Broken rules are findings, not errors.
 * Throws `FilesError` for a file that holds no program and for options that do not fit it, `ChipError` for an unknown
 * chip, `FileError` where `rewritten` exists already.
 */
export function checkFile(path: string, options: CheckOptions = {}): CheckReport {
  const chip = options.chip === undefined ? undefined : chipByName(options.chip);
  const driver = chooseDriver(options.driver);
  const system = options.macos === undefined ? undefined : macosVersion(options.macos);
  requireTarget(options);
  const sizes = sizesOf(options);
  const isOnnx = fileKindOf(path) === "onnx";
  return closing(openProgram(path, isOnnx ? sizes : {}), (opened) => {
    const asWritten = isOnnx ? opened.program : resized(opened.program, sizes);
    requireFree(path, options, opened);
    const { problems, unknownOps } = checkProgram(asWritten);
    const ofWeights = problemsOfWeights(opened);
    const onSystem =
      system === undefined
        ? undefined
        : asWritten.functions.flatMap((fn) => checkSystem(fn, system, driver));
    const isRefused = onSystem?.some(({ severity }) => severity === "error") === true;
    const onChip =
      chip === undefined
        ? undefined
        : checkOnChip(opened, isOnnx ? {} : sizes, { chip, driver, to: options.rewritten });
    return {
      path,
      format: opened.format,
      ok: problems.length === 0 && ofWeights.length === 0 && onChip?.ok !== false && !isRefused,
      problems,
      weightProblems: ofWeights,
      weightFiles: weightFilesIn(opened),
      unknownOps,
      ...(onChip !== undefined && { onChip }),
      ...(system !== undefined &&
        onSystem !== undefined && {
          onSystem: { version: system, driver, findings: onSystem },
        }),
    };
  });
}

/** Ops of a function or block, constants not counted. */
export function opCount(operations: readonly Operation[]): number {
  return operations.filter(({ type }) => type !== "const").length;
}

function sizesOf({ shapes, dimensions, opset }: CheckOptions): ImportOptions {
  return {
    ...defined({ shapes, dimensions, opset }),
  };
}

/** Throws `FilesError` for a `rewritten` that says no chip, or is no text, and for an `overwrite` of nothing. */
function requireTarget({ chip, rewritten, overwrite }: CheckOptions): void {
  if (rewritten === undefined) {
    if (overwrite !== true) return;
    throw new FilesError("cli.check.rewritten", "--overwrite does nothing without --rewritten");
  }
  if (chip === undefined) {
    throw new FilesError("cli.check.rewritten", "--rewritten needs a chip to rewrite for", {
      remedy: "Name it with --chip, as in --chip m4.",
    });
  }
  if (extname(rewritten).toLowerCase() !== ".mil") {
    throw new FilesError(
      "cli.check.rewritten",
      `--rewritten writes MIL text: "${rewritten}" does not end with .mil`,
    );
  }
}

/** Throws where `rewritten` would write over what is read, or over what is there already. */
function requireFree(path: string, options: CheckOptions, opened: OpenedProgram): void {
  if (options.rewritten === undefined) return;
  requireFreeOutputs({
    paths: [options.rewritten, textWeightsPath(options.rewritten)],
    inputs: [path, ...weightFilesIn(opened)],
    overwrite: options.overwrite === true,
  });
}

function problemsOfWeights({ program, weights }: OpenedProgram): readonly MilProblem[] {
  if (weights === undefined) return [];
  return weightProblems(program, weights).map(({ code, place, message }) => ({
    code,
    functionName: place.function.name,
    operation: placeOf(place.operation),
    message,
  }));
}

interface Target {
  readonly chip: Chip;
  readonly driver: Driver;
  /** Where the rewritten program is written. */
  readonly to: string | undefined;
}

function checkOnChip(
  opened: OpenedProgram,
  sizes: ImportOptions,
  { chip, driver, to }: Target,
): ChipReport {
  const { program: whole, unread } = programWithNumbers(opened);
  const program = resized(whole, sizes);
  const functions = program.functions.map((fn) => applyRemedies(fn, chip, driver));
  const findings = functions.flatMap((fn) => fn.findings);
  return {
    chip,
    driver,
    ok: isLegal(findings),
    findings,
    functions,
    opCounts: new Map(
      opened.program.functions.map(({ name, operations }) => [name, opCount(operations)]),
    ),
    ...(unread !== undefined && { unread }),
    written: to === undefined ? [] : write(to, program, functions, opened),
  };
}

/** Writes the rewritten functions; those that stay on the host are as the file has them. Returns the files. */
function write(
  path: string,
  program: Program,
  functions: readonly RemediedFunction[],
  opened: OpenedProgram,
): readonly string[] {
  if (!functions.some(({ placed }) => placed.place === "engine")) {
    const reasons = functions.map(({ name, placed }) =>
      placed.place === "host" ? `"${name}" stays on the host: ${placed.reason}` : "",
    );
    throw new FilesError(
      "cli.check.host",
      `nothing is rewritten, ${path} is not written: ${reasons.join("; ")}`,
    );
  }
  const rewritten = {
    ...program,
    functions: program.functions.map((fn, index) => {
      const placed = functions[index]?.placed;
      return placed?.place === "engine" ? placed.program.function : fn;
    }),
  };
  return saveText(path, rewritten, { weights: opened.weights });
}
