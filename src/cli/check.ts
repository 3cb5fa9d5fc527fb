import { extname } from "node:path";
import type { Command } from "commander";
import type { Chip, Driver } from "../chip/chip.ts";
import { chipByName } from "../chip/chips.ts";
import { isLegal } from "../chip/legality/check.ts";
import { formatFindings } from "../chip/print.ts";
import { saveText, textWeightsPath, weightProblems } from "../coreml/index.ts";
import type { Operation, Program } from "../mil/program.ts";
import { checkProgram, formatProblem, placeOf } from "../mil/verify.ts";
import type { MilProblem } from "../mil/verify.ts";
import { applyRemedies } from "../lower/index.ts";
import type { EngineProgram, RemediedFinding, RemediedFunction } from "../lower/index.ts";
import { AnecdoteError } from "../util/errors.ts";
import type { Exit } from "./exit.ts";
import { addDriverOption, chosenDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { fileKindOf } from "../files/file-kind.ts";
import {
  append,
  openProgram,
  parseShapes,
  programWithNumbers,
  resized,
  weightFilesIn,
} from "../files/open-program.ts";
import type { OpenedProgram } from "../files/open-program.ts";
import { requireFreeOutputs } from "./output-file.ts";
import { styled } from "./terminal.ts";

/** What was asked for cannot be written. */
class CheckError extends AnecdoteError {}

interface CheckFlags extends DriverFlags {
  readonly chip?: string;
  readonly rewritten?: string;
  readonly overwrite?: boolean;
  readonly shape: readonly string[];
  readonly dim: readonly string[];
  readonly json?: boolean;
}

export function register(program: Command, exit: Exit): void {
  const command = program
    .command("check")
    .description("hold a program against the language's rules, and a chip's")
    .argument("<file>", "MIL text, .mlpackage, .mlmodel, .mlmodelc or .onnx")
    .option("--chip <name>", "also the rules of this chip: m1 to m6, m4-max, …")
    .option("--rewritten <file.mil>", "write the program as the passes rewrite it for the chip")
    .option("--overwrite", "replace the file of --rewritten")
    .option("--shape <name=2x3>", "sizes of an input that the file leaves open", append, [])
    .option("--dim <name=4>", "a size that an .onnx file leaves open, by its name", append, [])
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
With --chip, each broken rule comes with what the passes make of it: they rewrite the place, or it
stays, and why. What the rewritten program still breaks follows. \`run\` and plans give an engine
the rewritten program. Its ports are fp16, a result "y" is "result_y"; the host converts, and makes
one-hot rows of indices. --rewritten puts large constants into NAME.weights.bin beside NAME.mil.
Weight files are looked into: each tensor must be where the program says, of its type and size.

The exit code is 1 where the program as it stands breaks a rule.

Examples:
  anecdote check model.mlpackage --chip m4
  anecdote check model.mil --chip m1 --ane-driver in-memory --rewritten model-m1.mil`,
    );
  addDriverOption(command).action((path: string, flags: CheckFlags) => {
    check(path, flags, exit);
  });
}

function check(path: string, flags: CheckFlags, exit: Exit): void {
  const chip = flags.chip === undefined ? undefined : chipByName(flags.chip);
  const driver = chosenDriver(flags);
  requireTarget(flags);
  const sizes = parseShapes(flags.shape, flags.dim);
  const isOnnx = fileKindOf(path) === "onnx";
  const opened = openProgram(path, isOnnx ? sizes : {});
  try {
    const asWritten = isOnnx ? opened.program : resized(opened.program, sizes);
    requireFree(path, flags, opened);
    const { problems: ofLanguage, unknownOps } = checkProgram(asWritten);
    const ofWeights = problemsOfWeights(opened);
    const problems = [...ofLanguage, ...ofWeights];
    const onChip =
      chip === undefined ? undefined : checkOnChip(opened, isOnnx ? {} : sizes, chip, driver);
    const findings = onChip?.functions.flatMap((fn) => fn.findings) ?? [];
    const isGood = problems.length === 0 && isLegal(findings);
    exit(isGood ? EXIT_CODES.ok : EXIT_CODES.failure);
    if (flags.json === true) {
      if (onChip !== undefined && flags.rewritten !== undefined) write(flags.rewritten, onChip);
      const report = {
        file: path,
        format: opened.format,
        ok: isGood,
        problems: problems.map(({ code, functionName, operation, message }) => ({
          code,
          function: functionName,
          operation: operation ?? null,
          message,
        })),
        unknown_ops: unknownOps,
        ...(onChip !== undefined && {
          chip: onChip.chip.name,
          driver,
          findings,
          rewritten: rewrittenJson(onChip, flags.rewritten),
        }),
      };
      process.stdout.write(`${JSON.stringify(report)}\n`);
      return;
    }
    process.stdout.write(`language: ${mark(ofLanguage.length === 0)}\n`);
    for (const problem of ofLanguage) process.stdout.write(`  ${formatProblem(problem)}\n`);
    if (unknownOps.length > 0) {
      process.stdout.write(
        `  ${styled(process.stdout, "yellow", "not checked")}: ops outside the op table: ${unknownOps.join(", ")}\n`,
      );
    }
    const files = weightFilesIn(opened);
    if (files.length > 0) {
      process.stdout.write(`weights in ${files.join(", ")}: ${mark(ofWeights.length === 0)}\n`);
    }
    for (const problem of ofWeights) process.stdout.write(`  ${formatProblem(problem)}\n`);
    if (onChip === undefined) return;
    process.stdout.write(`${onChip.chip.name} through ${driver}: ${mark(isLegal(findings))}\n`);
    if (findings.length > 0) {
      process.stdout.write(`\n${formatFindings(findings, describeOutcome)}\n`);
    }
    process.stdout.write(describeRewritten(onChip));
    if (flags.rewritten === undefined) return;
    process.stdout.write(`written to ${write(flags.rewritten, onChip).join(", ")}\n`);
  } finally {
    opened.close();
  }
}

function mark(good: boolean): string {
  return good ? styled(process.stdout, "green", "ok") : styled(process.stdout, "red", "broken");
}

/** Throws `UsageError` for a `--rewritten` that says no chip, or is no text. */
function requireTarget({ chip, rewritten }: CheckFlags): void {
  if (rewritten === undefined) return;
  if (chip === undefined) {
    throw new UsageError("cli.check.rewritten", "--rewritten needs a chip to rewrite for", {
      remedy: "Name it with --chip, as in --chip m4.",
    });
  }
  if (extname(rewritten).toLowerCase() !== ".mil") {
    throw new UsageError(
      "cli.check.rewritten",
      `--rewritten writes MIL text: "${rewritten}" does not end with .mil`,
    );
  }
}

/** Throws where `--rewritten` would write over what is read, or over what is there already. */
function requireFree(path: string, flags: CheckFlags, opened: OpenedProgram): void {
  if (flags.rewritten === undefined) return;
  requireFreeOutputs({
    paths: [flags.rewritten, textWeightsPath(flags.rewritten)],
    inputs: [path, ...weightFilesIn(opened)],
    overwrite: flags.overwrite === true,
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

interface ChipReport {
  readonly chip: Chip;
  readonly functions: readonly RemediedFunction[];
  /** Why numbers of weight files were not read. */
  readonly unread: string | undefined;
  /** The rewritten functions; those that stay on the host are as the file has them. */
  readonly rewritten: Program;
  readonly opened: OpenedProgram;
}

function checkOnChip(
  opened: OpenedProgram,
  sizes: ReturnType<typeof parseShapes>,
  chip: Chip,
  driver: Driver,
): ChipReport {
  const { program: whole, unread } = programWithNumbers(opened);
  const program = resized(whole, sizes);
  const functions = program.functions.map((fn) => applyRemedies(fn, chip, driver));
  const rewritten = {
    ...program,
    functions: program.functions.map((fn, index) => {
      const placed = functions[index]?.placed;
      return placed?.place === "engine" ? placed.program.function : fn;
    }),
  };
  return { chip, functions, unread, rewritten, opened };
}

/** Returns the files that were written. */
function write(path: string, { functions, rewritten, opened }: ChipReport): readonly string[] {
  if (!functions.some(({ placed }) => placed.place === "engine")) {
    const reasons = functions.map(({ name, placed }) =>
      placed.place === "host" ? `"${name}" stays on the host: ${placed.reason}` : "",
    );
    throw new CheckError(
      "cli.check.host",
      `nothing is rewritten, ${path} is not written: ${reasons.join("; ")}`,
    );
  }
  return saveText(path, rewritten, { weights: opened.weights });
}

function describeOutcome({ outcome, because }: RemediedFinding): string {
  switch (outcome) {
    case "rewritten":
      return `the passes rewrite it: ${because}`;
    case "stays":
      return `stays: ${because}`;
    case "host":
      return "stays: the function is not rewritten";
    case "engine":
      return "the driver does it when the program runs";
  }
}

function describeRewritten(report: ChipReport): string {
  const { chip, functions, unread, opened } = report;
  const lines = functions.map(({ name, placed, remaining }): string => {
    const what = functions.length === 1 ? "rewritten by the passes" : `${name}, rewritten`;
    if (placed.place === "host") return `${what}: stays on the host: ${placed.reason}\n`;
    const after = opCount(placed.program.function.operations);
    const before = opCount(
      opened.program.functions.find((fn) => fn.name === name)?.operations ?? [],
    );
    const broken = remaining.length > 0 ? `\n${formatFindings(remaining)}` : "";
    const ports = hostPorts(placed.program)
      .map((line) => `  ${line}\n`)
      .join("");
    return `${what} (ops: ${before} as written, ${after} now) for ${chip.name}: ${mark(isLegal(remaining))}\n${ports}${broken}`;
  });
  const note = unread === undefined ? "" : `weight files were not read: ${unread}\n`;
  return `${lines.join("")}${note}`;
}

function opCount(operations: readonly Operation[]): number {
  return operations.filter(({ type }) => type !== "const").length;
}

/** What the host does beyond converting a whole array. */
function hostPorts({ inputs, outputs }: EngineProgram): readonly string[] {
  const made = inputs.flatMap(({ name, from, conversion }) => {
    switch (conversion.kind) {
      case "half":
        return name === from
          ? []
          : [
              `${name}: elements ${conversion.start} to ${conversion.start + conversion.count - 1} of ${from}`,
            ];
      case "one-hot":
        return [
          `${name}: one-hot rows of ${from}, ${conversion.depth} wide from ${conversion.first} on`,
        ];
      case "valid":
        return [`${name}: 1 where ${from} is not negative`];
    }
  });
  const summed = outputs.flatMap(({ name, to, conversion }) =>
    conversion.kind === "sum" ? [`${to}: the sum of ${name}`] : [],
  );
  return [...made, ...summed];
}

function rewrittenJson({ functions, unread }: ChipReport, file: string | undefined): object {
  return {
    ok: functions.every(({ placed, remaining }) => placed.place === "engine" && isLegal(remaining)),
    ...(file !== undefined && { file }),
    ...(unread !== undefined && { weights_not_read: unread }),
    functions: functions.map(({ name, placed, remaining }) =>
      placed.place === "host"
        ? { function: name, place: "host", reason: placed.reason }
        : {
            function: name,
            place: "engine",
            ops: opCount(placed.program.function.operations),
            inputs: placed.program.inputs,
            outputs: placed.program.outputs,
            findings: remaining,
          },
    ),
  };
}
