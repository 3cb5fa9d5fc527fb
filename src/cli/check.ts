import type { Command } from "commander";
import { DRIVERS } from "../chip/chip.ts";
import type { Driver } from "../chip/chip.ts";
import { chipByName } from "../chip/chips.ts";
import { checkFunction, isLegal } from "../chip/legality/check.ts";
import { formatFindings } from "../chip/print.ts";
import { checkProgram, formatProblem } from "../mil/verify.ts";
import { didYouMean } from "../util/nearest.ts";
import type { Exit } from "./commands.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { append, openProgram, parseShapes } from "./open-program.ts";
import { styled } from "./terminal.ts";

interface CheckFlags {
  readonly chip?: string;
  readonly driver: string;
  readonly shape: readonly string[];
  readonly dim: readonly string[];
  readonly json?: boolean;
}

export function register(program: Command, exit: Exit): void {
  program
    .command("check")
    .description("hold a program against the language's rules, and a chip's")
    .argument("<file>", "MIL text, .mlpackage, .mlmodel, .mlmodelc or .onnx")
    .option("--chip <name>", "also the rules of this chip: m1 to m6, m4-max, …")
    .option("--driver <name>", "the way into the engine: e5rt or in-memory", "e5rt")
    .option("--shape <name=2x3>", "sizes that an .onnx file leaves open", append, [])
    .option("--dim <name=4>", "a size that an .onnx file leaves open, by its name", append, [])
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nThe exit code is 1 where a rule is broken.\n\nExample:\n  anecdote check model.mlpackage --chip m4",
    )
    .action((path: string, flags: CheckFlags) => {
      const chip = flags.chip === undefined ? undefined : chipByName(flags.chip);
      const driver = driverOf(flags.driver);
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

/** A driver by name. Throws `UsageError` with the nearest one. */
export function driverOf(name: string): Driver {
  const found = DRIVERS.find((driver) => driver === name);
  if (found !== undefined) return found;
  throw new UsageError("cli.driver", `there is no driver "${name}".${didYouMean(name, DRIVERS)}`, {
    remedy: `Drivers: ${DRIVERS.join(", ")}.`,
  });
}
