import type { Command } from "commander";
import { chipByName } from "../chip/chips.ts";
import { checkFunction, isLegal } from "../chip/legality/check.ts";
import { formatFindings } from "../chip/print.ts";
import { checkProgram, formatProblem } from "../mil/verify.ts";
import type { Exit } from "./commands.ts";
import { addDriverOption, namedDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import { EXIT_CODES } from "./errors.ts";
import { append, openProgram, parseShapes } from "./open-program.ts";
import { styled } from "./terminal.ts";

interface CheckFlags extends DriverFlags {
  readonly chip?: string;
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
    .option("--shape <name=2x3>", "sizes that an .onnx file leaves open", append, [])
    .option("--dim <name=4>", "a size that an .onnx file leaves open, by its name", append, [])
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nThe exit code is 1 where a rule is broken.\n\nExample:\n  anecdote check model.mlpackage --chip m4",
    );
  addDriverOption(command).action((path: string, flags: CheckFlags) => {
    const chip = flags.chip === undefined ? undefined : chipByName(flags.chip);
    const driver = namedDriver(flags) ?? "e5rt";
    const opened = openProgram(path, parseShapes(flags.shape, flags.dim));
    try {
      const { problems, unknownOps } = checkProgram(opened.program);
      const findings =
        chip === undefined
          ? []
          : opened.program.functions.flatMap((fn) => checkFunction(fn, chip, driver));
      const isGood = problems.length === 0 && isLegal(findings);
      exit(isGood ? EXIT_CODES.ok : EXIT_CODES.failure);
      if (flags.json === true) {
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
          ...(chip !== undefined && { chip: chip.name, driver, findings }),
        };
        process.stdout.write(`${JSON.stringify(report)}\n`);
        return;
      }
      const mark = (good: boolean): string =>
        good ? styled(process.stdout, "green", "ok") : styled(process.stdout, "red", "broken");
      process.stdout.write(`language: ${mark(problems.length === 0)}\n`);
      for (const problem of problems) process.stdout.write(`  ${formatProblem(problem)}\n`);
      if (unknownOps.length > 0) {
        process.stdout.write(
          `  ${styled(process.stdout, "yellow", "not checked")}: ops outside the op table: ${unknownOps.join(", ")}\n`,
        );
      }
      if (chip === undefined) return;
      process.stdout.write(`${chip.name} through ${driver}: ${mark(isLegal(findings))}\n`);
      if (findings.length > 0) process.stdout.write(`\n${formatFindings(findings)}`);
    } finally {
      opened.close();
    }
  });
}
