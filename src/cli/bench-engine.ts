import { formatDuration, formatMs } from "../util/format.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Option } from "commander";
import type { Command } from "commander";
import {
  BESIDE_FILE,
  besideText,
  formatReport,
  runBench,
  selectCases,
  SUITE_NAMES,
  SUITES,
  writeBeside,
  writeReport,
} from "../measure/engine-bench/index.ts";
import type { CaseResult, EngineReport } from "../measure/engine-bench/index.ts";
import { ENGINE_NAMES } from "../engine/create.ts";
import { didYouMean } from "../util/nearest.ts";
import type { Exit } from "./exit.ts";
import { addDriverOption, namedDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { Interruptions } from "./interruptions.ts";
import { goOnInNewProcess, shareWithProcessBefore } from "./new-process.ts";
import { append } from "./append.ts";
import { exitAtOnce } from "../util/stuck-thread.ts";
import { StatusLine, answer, printJson } from "./terminal.ts";
import { isSimulated } from "../chip/simulated.ts";

interface EngineFlags extends DriverFlags {
  readonly engine: string;
  readonly beside?: string;
  readonly chip?: string;
  readonly threads?: string;
  readonly suite: readonly string[];
  readonly only: readonly string[];
  readonly quick?: boolean;
  readonly budget?: string;
  readonly outputDir?: string;
  readonly resume?: boolean;
  /** Where the process that this one continues left its results. */
  readonly carriedIn?: string;
  readonly overwrite?: boolean;
  readonly list?: boolean;
  readonly json?: boolean;
  /** One of several engines: what is printed comes at the end. */
  readonly isPart?: boolean;
}

export function registerBenchEngine(bench: Command, exit: Exit): void {
  const command = bench
    .command("engine")
    .description("the published measurements on this machine's engine, beside the cost model")
    .option("--engine <name>", "auto, ane, cpu; sim:m4 predicts and runs nothing", "auto")
    .option("--beside <names>", "the same cases on other engines too, side by side: gpu,cpu")
    .option("--chip <name>", "whose published rows stand beside an engine of another kind")
    .option("--threads <count>", "threads of the CPU")
    .option("--suite <name>", `${SUITE_NAMES.join(", ")} (repeatable; default all)`, append, [])
    .option("--only <text>", "only cases whose name contains it (repeatable)", append, [])
    .option("--quick", "fewer cases, shorter runs: a few minutes")
    .option("--budget <ms>", "time of the timed calls of one case")
    .option("--output-dir <dir>", "write report.json, report.html and rows.json there")
    .option("--resume", "go on with the report in --output-dir")
    .option("--overwrite", "replace the report in --output-dir")
    .addOption(new Option("--carried-in <dir>").hideHelp())
    .option("--list", "name the cases and leave")
    .option("--json", "the report as one JSON object")
    .addHelpText(
      "after",
      `
Ctrl-C keeps what is measured; --resume goes on from there.

Suites:
${SUITE_NAMES.map((name) => `  ${name.padEnd(9)} ${SUITES[name]}`).join("\n")}

Examples:
  anecdote bench engine --quick --output-dir bench-m4
  anecdote bench engine --suite latency --suite peak
  anecdote bench engine --engine sim:m4 --output-dir predicted-m4
  anecdote bench engine --quick --beside gpu,cpu --output-dir beside   # rates, and rates a watt, on one page`,
    );
  addDriverOption(command).action(async (flags: EngineFlags) => {
    const selection = {
      suites: flags.suite,
      only: flags.only.length > 0 ? flags.only : undefined,
      isQuick: flags.quick === true,
    };
    refuseIdleFlags(flags);
    if (flags.list === true) printCases(selection, flags.json === true);
    else if (flags.beside === undefined) exit((await measure(flags, selection)).code);
    else exit(await measureBeside(flags, flags.beside, selection));
  });
}

/** Throws `UsageError` for flags that would do nothing. */
function refuseIdleFlags(flags: EngineFlags): void {
  const { list, resume, overwrite, outputDir, threads, budget, chip, beside } = flags;
  if (list === true) {
    const given = { resume, overwrite, "output-dir": outputDir, threads, budget, chip, beside };
    const idle = Object.entries(given).find(([, value]) => value !== undefined);
    if (idle === undefined) return;
    throw new UsageError("cli.bench.flags", `--${idle[0]} does nothing beside --list`);
  }
  if (overwrite === true && outputDir === undefined) {
    throw new UsageError("cli.bench.flags", "--overwrite does nothing without --output-dir");
  }
  if (overwrite === true && resume === true) {
    throw new UsageError("cli.bench.flags", "--resume and --overwrite exclude each other");
  }
}

type Selection = Parameters<typeof selectCases>[0];

function printCases(selection: Selection, isJson: boolean): void {
  const cases = selectCases(selection);
  const rows = cases.map(({ id, suite, title, flops, isQuick: quick }) => {
    return { id, suite, title, flops, quick };
  });
  answer({ json: isJson }, rows, () => cases.map(({ id }) => `${id}\n`).join(""));
}

/** The chosen engine and others, one after the other, and a table of all; each report in a folder of its own. */
async function measureBeside(
  flags: EngineFlags,
  beside: string,
  selection: Selection,
): Promise<number> {
  const names = besideNames(flags.engine, beside);
  const reports: EngineReport[] = [];
  for (const [index, engine] of names.entries()) {
    const { outputDir, threads, carriedIn, aneDriver, driver, ...rest } = flags;
    const { code, report } = await measure(
      {
        ...rest,
        engine,
        ...(index === 0 && aneDriver !== undefined && { aneDriver }),
        ...(index === 0 && driver !== undefined && { driver }),
        ...(index === 0 && carriedIn !== undefined && { carriedIn }),
        ...(engine !== "gpu" && threads !== undefined && { threads }),
        ...(outputDir !== undefined && { outputDir: join(outputDir, engine) }),
        isPart: true,
      },
      selection,
    );
    if (report === undefined || code !== EXIT_CODES.ok) return code;
    // "auto" may have chosen an engine that is named, too.
    if (!reports.some(({ engine: { name } }) => name === report.engine.name)) reports.push(report);
  }
  answer(flags, reports, () => besideText(reports));
  if (flags.outputDir !== undefined) {
    writeBeside(flags.outputDir, reports);
    if (flags.json !== true)
      process.stdout.write(`\n${join(flags.outputDir, BESIDE_FILE)}: the same as a page\n`);
  }
  return EXIT_CODES.ok;
}

/** Throws `UsageError` for engines that nothing measures, and for a name that stands twice. */
function besideNames(engine: string, beside: string): readonly string[] {
  const others = beside.split(",").map((name) => name.trim());
  const known = ENGINE_NAMES.filter((name) => name !== "auto" && !name.startsWith("sim:"));
  for (const [index, name] of others.entries()) {
    if (!known.includes(name)) {
      throw new UsageError(
        "cli.bench.beside",
        `--beside takes engines that run, not "${name}".${didYouMean(name, known)}`,
        { remedy: `Engines: ${known.join(", ")}.` },
      );
    }
    if (name === engine || others.indexOf(name) < index)
      throw new UsageError("cli.bench.beside", `engine "${name}" stands beside itself`);
  }
  if (isSimulated(engine))
    throw new UsageError("cli.bench.beside", "--beside measures, and sim:<chip> predicts");
  return [engine, ...others];
}

async function measure(
  flags: EngineFlags,
  selection: Selection,
): Promise<{ readonly code: number; readonly report?: EngineReport }> {
  if (flags.resume === true && flags.outputDir === undefined)
    throw new UsageError(
      "cli.bench.resume",
      "--resume needs --output-dir: the report to go on with",
    );
  const interruptions = new Interruptions();
  shareWithProcessBefore(interruptions);
  const folder = flags.outputDir ?? flags.carriedIn;
  let temporary: string | undefined;
  let isFollowed = false;
  try {
    const { report, isBudgetSpent } = await measureHere(flags, selection, folder, interruptions);
    if (isBudgetSpent) {
      if (folder === undefined) {
        temporary = mkdtempSync(join(tmpdir(), "anecdote-bench-"));
        writeReport(temporary, report);
      }
      const end = await goOnInNewProcess({ step: report.cases.length, left: 0 }, interruptions, {
        flags: flags.carriedIn === undefined ? ["--carried-in", folder ?? temporary ?? ""] : [],
      });
      isFollowed = end.kind === "followed";
      if (end.kind !== "interrupted") return { code: end.code };
    }
    if (flags.isPart !== true) print(report, flags);
    return { code: report.complete ? EXIT_CODES.ok : EXIT_CODES.interrupted, report };
  } finally {
    if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
    // A process that is followed listens to its end: what it hears now is for the one that follows.
    if (!isFollowed) interruptions.end();
  }
}

/** Measures what this process can. */
async function measureHere(
  flags: EngineFlags,
  selection: Selection,
  folder: string | undefined,
  interruptions: Interruptions,
): Promise<{ readonly report: EngineReport; readonly isBudgetSpent: boolean }> {
  const status = new StatusLine(process.stderr);
  const started = performance.now();
  let atStart: number | undefined;
  let isBudgetSpent = false;
  const stopListening = interruptions.listen((count) => {
    if (count > 1) void exitAtOnce(EXIT_CODES.interrupted);
    else status.print("stopping after this call; press Ctrl-C again to leave at once");
  });
  try {
    const report = await runBench({
      ...selection,
      engine: flags.engine,
      driver: namedDriver(flags),
      chip: flags.chip,
      threads: numberOf("--threads", flags.threads),
      budgetMs: numberOf("--budget", flags.budget),
      outputFolder: folder,
      resume: flags.resume === true || flags.carriedIn !== undefined,
      keepsFailures: flags.carriedIn !== undefined,
      overwrite: flags.overwrite === true,
      isCancelled: () => interruptions.count > 0,
      onProgress: (done, total, text) => {
        atStart ??= done;
        const elapsed = (performance.now() - started) / 1000;
        const left = done > atStart ? (elapsed / (done - atStart)) * (total - done) : undefined;
        const eta = left === undefined ? "" : `  ETA ${formatDuration(left)}`;
        status.show(`${done} of ${total} cases${eta}  ${text}`);
      },
      onResult: (result) => {
        if (flags.json !== true && !isSimulated(flags.engine)) status.print(resultLine(result));
      },
      onBudgetSpent: () => {
        isBudgetSpent = true;
        status.print("this process may compile no more programs; a new one goes on");
      },
    });
    return { report, isBudgetSpent };
  } finally {
    status.clear();
    stopListening();
  }
}

function resultLine({ title, status, timing, reason }: CaseResult): string {
  const told = status === "measured" && timing !== undefined ? formatMs(timing.median_ms) : status;
  const why = reason === undefined ? "" : `: ${reason.split("\n")[0] ?? ""}`;
  return `${title}: ${told}${why}`;
}

function print(report: EngineReport, { json, outputDir }: EngineFlags): void {
  if (json === true) {
    printJson(report);
    return;
  }
  process.stdout.write(formatReport(report));
  if (outputDir !== undefined)
    process.stdout.write(
      `\n${outputDir}: report.html, report.json${report.rows.length > 0 ? ", rows.json" : ""}\n`,
    );
}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (text.trim() !== "" && Number.isInteger(number) && number >= 1) return number;
  throw new UsageError("cli.bench.number", `${option} takes a whole number from 1, not "${text}"`);
}
