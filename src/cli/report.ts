import { basename, resolve } from "node:path";
import type { Command } from "commander";
import { findRun } from "../runs/run-summary.ts";
import { requireFreeOutputs } from "../files/output-file.ts";
import { runReport } from "../server/report/run-report.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { formatBytes } from "../util/format.ts";
import type { Exit } from "./exit.ts";

interface ReportFlags {
  readonly runsDir: string;
  readonly output?: string;
  readonly chip?: string;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  program
    .command("report")
    .argument("<run>", "a run's folder, or its name in --runs-dir")
    .option("--runs-dir <dir>", "the folder of runs", "runs")
    .option("--output <file>", "the HTML file (default: the run's name and .html, here)")
    .option("--chip <name>", "what its step is priced for (default: the simulated chip, or m4)")
    .option("--overwrite", "replace a file that exists")
    .option("--json", "the file's path as one JSON object")
    .addHelpText(
      "after",
      `
The file holds everything: curves, samples, settings, hardware, what an update takes here and what
it is predicted to take on a chip. It fetches nothing and runs no script.

Examples:
  anecdote report storyteller
  anecdote report runs/shakespeare --chip m1 --output shakespeare.html`,
    )
    .action(async (name: string, flags: ReportFlags) => {
      const folder = findRun(name, flags.runsDir);
      const output = flags.output ?? `${basename(resolve(folder))}.html`;
      requireFreeOutputs({ paths: [output], inputs: [], overwrite: flags.overwrite === true });
      const html = await runReport(folder, flags.chip);
      writeWholeFile(output, html);
      const byteLength = Buffer.byteLength(html);
      process.stdout.write(
        flags.json === true
          ? `${JSON.stringify({ output, bytes: byteLength })}\n`
          : `${output}: ${formatBytes(byteLength)}\n`,
      );
    });
}
