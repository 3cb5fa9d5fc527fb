import type { Command } from "commander";
import { isLegal } from "../chip/legality/check.ts";
import { SYSTEM_NOTES } from "../chip/legality/system-rules.ts";
import { formatFindings } from "../chip/print.ts";
import { formatProblem } from "../mil/verify.ts";
import type { MilProblem } from "../mil/verify.ts";
import { describeOutcome } from "../lower/index.ts";
import type { EngineProgram } from "../lower/index.ts";
import { checkFile, opCount } from "../files/check-file.ts";
import type { CheckReport, ChipReport, SystemReport } from "../files/check-file.ts";
import { parseShapes } from "../files/open-program.ts";
import { append } from "./append.ts";
import type { Exit } from "./exit.ts";
import { addDriverOption, namedDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { styled, answer } from "./terminal.ts";
import { printable } from "../util/printable.ts";
import { defined } from "../util/defined.ts";
import type { ProgramFlags } from "./named-file.ts";

interface CheckFlags extends DriverFlags, Omit<ProgramFlags, "function"> {
  readonly chip?: string;
  readonly rewritten?: string;
  readonly overwrite?: boolean;
  readonly macos?: string;
}

export function register(program: Command, exit: Exit): void {
  const command = program
    .command("check")
    .argument("<file>", "MIL text, .mlpackage, .mlmodel, .mlmodelc or .onnx")
    .option("--chip <name>", "also the rules of this chip: m1 to m6, m4-max, …")
    .option("--macos <version>", "also what this version of macOS refuses or changes: 14 to 27")
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
  anecdote check model.mlpackage --chip m4 --macos 27
  anecdote check model.mil --chip m1 --ane-driver in-memory --rewritten model-m1.mil`,
    );
  addDriverOption(command).action((path: string, flags: CheckFlags) => {
    check(path, flags, exit);
  });
}

function check(path: string, flags: CheckFlags, exit: Exit): void {
  const driver = namedDriver(flags);
  if (driver !== undefined && flags.chip === undefined && flags.macos === undefined) {
    throw new UsageError("cli.check.driver", "--ane-driver does nothing without --chip or --macos");
  }
  const { chip, rewritten, overwrite } = flags;
  const report = checkFile(path, {
    ...parseShapes(flags.shape, flags.dim),
    ...defined({ chip, macos: flags.macos, driver, rewritten, overwrite }),
  });
  exit(report.ok ? EXIT_CODES.ok : EXIT_CODES.failure);
  answer(flags, checkJson(report, rewritten), () => printed(report));
}

function checkJson(report: CheckReport, rewritten: string | undefined): object {
  const { onChip } = report;
  return {
    file: report.path,
    format: report.format,
    ok: report.ok,
    problems: allProblems(report).map(({ code, functionName, operation, message }) => ({
      code,
      function: functionName,
      operation: operation ?? null,
      message,
    })),
    unknown_ops: report.unknownOps,
    ...(report.onSystem !== undefined && {
      macos: { ...report.onSystem, notes: SYSTEM_NOTES },
    }),
    ...(onChip !== undefined && {
      chip: onChip.chip.name,
      driver: onChip.driver,
      findings: onChip.findings,
      rewritten: rewrittenJson(onChip, rewritten),
    }),
  };
}

function allProblems({ problems, weightProblems }: CheckReport): readonly MilProblem[] {
  return [...problems, ...weightProblems];
}

function printed(report: CheckReport): string {
  const { problems, unknownOps, weightFiles, weightProblems, onChip } = report;
  const lines = [
    `language: ${mark(problems.length === 0)}`,
    ...problems.map((problem) => `  ${printable(formatProblem(problem))}`),
    ...(unknownOps.length === 0
      ? []
      : [
          `  ${styled(process.stdout, "yellow", "not checked")}: ops outside the op table: ${printable(unknownOps.join(", "))}`,
        ]),
    ...(weightFiles.length === 0
      ? []
      : [`weights in ${printable(weightFiles.join(", "))}: ${mark(weightProblems.length === 0)}`]),
    ...weightProblems.map((problem) => `  ${printable(formatProblem(problem))}`),
  ];
  const { onSystem } = report;
  const system = onSystem === undefined ? "" : printedSystem(onSystem);
  return `${lines.join("\n")}\n${onChip === undefined ? "" : printedChip(onChip)}${system}`;
}

function printedSystem({ version, driver, findings }: SystemReport): string {
  return [
    `macOS ${version} through ${driver}, the program as written: ${mark(isLegal(findings))}\n`,
    ...(findings.length === 0 ? [] : [`\n${printable(formatFindings(findings))}\n`]),
    ...SYSTEM_NOTES.map((note) => `  note: ${note}\n`),
  ].join("");
}

function printedChip(report: ChipReport): string {
  const { chip, driver, ok, findings, written } = report;
  return [
    `${chip.name} through ${driver}: ${mark(ok)}\n`,
    ...(findings.length === 0
      ? []
      : [`\n${printable(formatFindings(findings, describeOutcome))}\n`]),
    describeRewritten(report),
    ...(written.length === 0 ? [] : [`written to ${written.join(", ")}\n`]),
  ].join("");
}

function mark(good: boolean): string {
  return good ? styled(process.stdout, "green", "ok") : styled(process.stdout, "red", "broken");
}

function describeRewritten(report: ChipReport): string {
  const { chip, functions, unread, opCounts } = report;
  const lines = functions.map(({ name, placed, remaining }): string => {
    const what =
      functions.length === 1 ? "rewritten by the passes" : `${printable(name)}, rewritten`;
    if (placed.place === "host") return `${what}: stays on the host: ${printable(placed.reason)}\n`;
    const after = opCount(placed.program.function.operations);
    const before = opCounts.get(name) ?? 0;
    const broken = remaining.length > 0 ? `\n${printable(formatFindings(remaining))}` : "";
    const ports = hostPorts(placed.program)
      .map((line) => `  ${printable(line)}\n`)
      .join("");
    return `${what} (ops: ${before} as written, ${after} now) for ${chip.name}: ${mark(isLegal(remaining))}\n${ports}${broken}`;
  });
  const note = unread === undefined ? "" : `weight files were not read: ${unread}\n`;
  return `${lines.join("")}${note}`;
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
    ...defined({ file, weights_not_read: unread }),
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
