import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Command } from "commander";
import { findRun, isRun } from "../runs/run-summary.ts";
import { requireFreeOutputs } from "../files/output-file.ts";
import { fileReport } from "../server/files/file-look.ts";
import type { FileLookOptions } from "../server/files/look.ts";
import { runReport } from "../server/report/run-report.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { formatBytes } from "../util/format.ts";
import { append } from "./append.ts";
import { UsageError } from "./errors.ts";
import type { Exit } from "./exit.ts";
import { answer } from "./terminal.ts";
import type { ProgramFlags } from "./named-file.ts";

interface ReportFlags extends ProgramFlags {
  readonly runsDir: string;
  readonly output?: string;
  readonly chip?: string;
  readonly overwrite?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  program
    .command("report")
    .argument("<run>", "a run's folder, its name in --runs-dir, or a file to check and price")
    .option("--runs-dir <dir>", "the folder of runs", "runs")
    .option("--output <file>", "the HTML file (default: the name and .html, here)")
    .option("--chip <name>", "what its step is priced for (default: the simulated chip, or m4)")
    .option("--function <name>", "of a file: which function is priced, where it has several")
    .option("--shape <name=2x3>", "of a file: sizes of an input that it leaves open", append, [])
    .option(
      "--dim <name=4>",
      "of an .onnx file: a size that it leaves open, by its name",
      append,
      [],
    )
    .option("--overwrite", "replace a file that exists")
    .option("--json", "the file's path as one JSON object")
    .addHelpText(
      "after",
      `
The file holds everything: curves, samples, settings, hardware, what an update takes here and what
it is predicted to take on a chip. It fetches nothing and runs no script.

Of a program, model, weight file or compiled program: what is in it, the rules of the chip that it
breaks and what becomes of them, and what it is predicted to take there and on other chips.

Examples:
  anecdote report storyteller
  anecdote report runs/shakespeare --chip m1 --output shakespeare.html
  anecdote report model.mlpackage --chip m4`,
    )
    .action(async (name: string, flags: ReportFlags) => {
      const file = fileOf(name, flags.runsDir);
      const path = file ?? findRun(name, flags.runsDir);
      const output = flags.output ?? `${basename(resolve(path))}.html`;
      requireFreeOutputs({ paths: [output], inputs: [], overwrite: flags.overwrite === true });
      const html =
        file === undefined
          ? await runReport(path, runChip(flags))
          : fileReport(file, options(flags, name));
      writeWholeFile(output, html);
      const byteLength = Buffer.byteLength(html);
      answer(flags, { output, bytes: byteLength }, () => `${output}: ${formatBytes(byteLength)}\n`);
    });
}

/** The path of what is no run: a file, or a folder of another kind. */
function fileOf(name: string, runsFolder: string): string | undefined {
  const isARun = isRun(name) || isRun(join(runsFolder, name));
  return existsSync(name) && !isARun ? name : undefined;
}

/** Throws `UsageError` for flags that say nothing of a run. */
function runChip({ chip, function: name, shape, dim }: ReportFlags): string | undefined {
  if (name === undefined && shape.length + dim.length === 0) return chip;
  throw new UsageError(
    "cli.report.flag",
    "--function, --shape and --dim are for files; a run's sizes are in its settings",
  );
}

function options({ chip, function: name, shape, dim }: ReportFlags, file: string): FileLookOptions {
  return { name: basename(resolve(file)), chip, function: name, shapes: shape, dimensions: dim };
}
