import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { eventsPath, readEvents } from "../runs/event-log.ts";
import { RunError } from "../runs/errors.ts";
import { runRow } from "../runs/run-row.ts";
import { findRun, isRunning, listRuns, readRun } from "../runs/run-summary.ts";
import type { RunSummary } from "../runs/run-summary.ts";
import { CsvTracker } from "../track/csv.ts";
import { TensorBoardTracker } from "../track/tensorboard.ts";
import type { Tracker } from "../track/tracker.ts";
import { formatBytes } from "../util/format.ts";
import { printable } from "../util/printable.ts";
import type { Exit } from "./exit.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { comparisonText, listText, showText } from "./runs-text.ts";
import { answer, printJson } from "./terminal.ts";

/** A terminal that is narrower gets lines that it breaks. */
const LEAST_COLUMNS = 36;
const FORMATS = ["csv", "tensorboard", "json"] as const;

interface RunsFlags {
  readonly runsDir: string;
  readonly json?: boolean;
}

interface ExportFlags extends RunsFlags {
  readonly format: string;
  readonly output?: string;
  readonly overwrite?: boolean;
}

interface RemoveFlags extends RunsFlags {
  readonly yes?: boolean;
}

export function register(program: Command, exit: Exit): void {
  const runs = program.command("runs").addHelpText(
    "after",
    `
A run is its folder, or its name in --runs-dir.

Examples:
  anecdote runs list
  anecdote runs show storyteller
  anecdote runs compare storyteller runs/wider
  anecdote runs export storyteller --format csv --output storyteller.csv
  anecdote runs rm first-try second-try`,
  );
  const command = (usage: string, description: string): Command =>
    runs
      .command(usage)
      .description(description)
      .option("--runs-dir <dir>", "the folder of runs", "runs")
      .option("--json", "JSON instead of text");
  command("list", "every run of the folder, the newest last").action((flags: RunsFlags) => {
    const folders = listRuns(flags.runsDir);
    if (flags.json === true) printJson(oldestFirst(folders.map(readable)));
    else
      print(flags, undefined, () => {
        const rows = oldestFirst(folders.map((folder) => runRow(folder)));
        return listText(rows, flags.runsDir, columns());
      });
  });
  command("show <run>", "one run: model, losses, checkpoints, settings").action(
    (name: string, flags: RunsFlags) => {
      const run = readRun(findRun(name, flags.runsDir));
      print(flags, run, () => showText(run, columns()));
      exit(tellProblems([run]));
    },
  );
  command("compare <runs...>", "what differs in settings, and how the losses go").action(
    (names: readonly string[], flags: RunsFlags) => {
      if (names.length < 2)
        throw new UsageError("cli.runs.compare", "compare takes two runs or more");
      const found = names.map((name) => readRun(findRun(name, flags.runsDir)));
      print(flags, found, () => comparisonText(found, columns()));
      exit(tellProblems(found));
    },
  );
  command("export <run>", "a run's numbers as csv, TensorBoard's files, or JSON events")
    .requiredOption("--format <name>", FORMATS.join(", "))
    .option("--output <path>", "the file; for tensorboard the folder of the run's copy")
    .option("--overwrite", "replace a file that exists")
    .action((name: string, flags: ExportFlags) => exportRun(findRun(name, flags.runsDir), flags));
  command("rm <runs...>", "remove runs with their checkpoints")
    .option("--yes", "without asking")
    .action(async (names: readonly string[], flags: RemoveFlags) => {
      exit(await remove(names, flags));
    });
}

function oldestFirst<Run extends { readonly updatedAt?: number | null | undefined }>(
  runs: readonly Run[],
): readonly Run[] {
  return runs.toSorted((a, b) => (a.updatedAt ?? 0) - (b.updatedAt ?? 0));
}

/** A run whole; of one that cannot be read what is wrong, since the others of the folder can be. */
function readable(folder: string): Partial<RunSummary> & { readonly problem?: string } {
  try {
    return readRun(folder);
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    return { name: basename(folder), folder, state: "unreadable", problem: error.message };
  }
}

/** Settings that cannot be read are missing above: that is an error, though all else was told. */
function tellProblems(runs: readonly RunSummary[]): number {
  const problems = runs.flatMap(({ configProblem }) => configProblem ?? []);
  for (const problem of problems) process.stderr.write(`error: ${printable(problem)}\n`);
  return problems.length > 0 ? EXIT_CODES.failure : EXIT_CODES.ok;
}

function columns(): number {
  return process.stdout.isTTY ? Math.max(LEAST_COLUMNS, process.stdout.columns) : 80;
}

function print(flags: RunsFlags, value: unknown, text: () => string): void {
  answer(flags, value, () => printable(text()));
}

function exportRun(folder: string, flags: ExportFlags): void {
  const format = FORMATS.find((name) => name === flags.format);
  if (format === undefined)
    throw new UsageError(
      "cli.runs.format",
      `--format takes ${FORMATS.join(", ")}, not "${flags.format}"`,
    );
  const events = readEvents(eventsPath(folder));
  if (format === "json") {
    if (flags.output !== undefined)
      throw new UsageError("cli.runs.output", "--format json goes to standard output");
    for (const event of events) printJson(event);
    return;
  }
  let tracker: Tracker & { readonly path: string };
  if (format === "csv") {
    const path = flags.output ?? join(folder, "metrics.csv");
    if (existsSync(path) && flags.overwrite !== true)
      throw new UsageError("cli.runs.exists", `${path} exists`, {
        remedy: "Add --overwrite, or choose another file with --output.",
      });
    tracker = new CsvTracker({ runFolder: folder, before: [], step: 0 }, path);
  } else {
    const runFolder = flags.output ?? folder;
    clearEventFiles(join(runFolder, "tensorboard"), flags.overwrite === true);
    tracker = new TensorBoardTracker({ runFolder, before: [], step: 0 });
  }
  try {
    for (const event of events) tracker.add(event);
  } finally {
    tracker.close();
  }
  answer(flags, { path: tracker.path }, () => `${tracker.path}\n`);
}

/** TensorBoard draws every file of a folder: a second one would draw each number twice. */
function clearEventFiles(folder: string, overwrites: boolean): void {
  const files = (existsSync(folder) ? readdirSync(folder) : []).filter((name) =>
    name.startsWith("events.out.tfevents."),
  );
  if (files.length === 0) return;
  if (!overwrites)
    throw new UsageError("cli.runs.exists", `${folder} has files of TensorBoard already`, {
      remedy: "Add --overwrite to replace them, or choose another folder with --output.",
    });
  for (const name of files) rmSync(join(folder, name));
}

async function remove(names: readonly string[], flags: RemoveFlags): Promise<number> {
  const runs = [...new Set(names.map((name) => findRun(name, flags.runsDir)))].map(readRun);
  for (const run of runs) refuseRunning(run);
  if (flags.yes !== true && !(await confirms(runs))) {
    process.stderr.write("nothing was removed\n");
    return EXIT_CODES.failure;
  }
  for (const run of runs) {
    refuseRunning(run);
    rmSync(run.folder, { recursive: true, force: true });
    if (flags.json !== true)
      process.stdout.write(`removed ${run.folder} (${formatBytes(run.byteLength)})\n`);
  }
  if (flags.json === true) printJson({ removed: runs.map(({ folder }) => folder) });
  return EXIT_CODES.ok;
}

function refuseRunning({ folder }: RunSummary): void {
  if (!isRunning(folder)) return;
  throw new UsageError("cli.runs.busy", `${folder} is being trained now`, {
    remedy: "Stop it first (Ctrl-C in its terminal).",
  });
}

async function confirms(runs: readonly RunSummary[]): Promise<boolean> {
  if (!process.stdin.isTTY)
    throw new UsageError("cli.runs.confirm", "there is no terminal to ask on", {
      remedy: "Add --yes to remove without being asked.",
    });
  for (const { folder, byteLength, checkpoints } of runs)
    process.stderr.write(
      `${folder}: ${formatBytes(byteLength)}, ${checkpoints.length} checkpoints\n`,
    );
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`Remove ${runs.length === 1 ? "it" : "them"}? [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    prompt.close();
  }
}
