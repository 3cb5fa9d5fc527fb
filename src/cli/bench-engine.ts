import type { Command } from "commander";
import {
  formatReport,
  runBench,
  selectCases,
  SUITE_NAMES,
  SUITES,
} from "../measure/engine-bench/index.ts";
import type { CaseResult, EngineReport } from "../measure/engine-bench/index.ts";
import type { Exit } from "./commands.ts";
import { addDriverOption, namedDriver } from "./driver-option.ts";
import type { DriverFlags } from "./driver-option.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { append } from "./open-program.ts";
import { formatDuration, formatMs, StatusLine } from "./terminal.ts";

interface EngineFlags extends DriverFlags {
  readonly engine: string;
  readonly chip?: string;
  readonly threads?: string;
  readonly suite: readonly string[];
  readonly only: readonly string[];
  readonly quick?: boolean;
  readonly budget?: string;
  readonly outputDir?: string;
  readonly resume?: boolean;
  readonly overwrite?: boolean;
  readonly list?: boolean;
  readonly json?: boolean;
}

export function registerBenchEngine(bench: Command, exit: Exit): void {
  const command = bench
    .command("engine")
    .description("the published measurements on this machine's engine, beside the cost model")
    .option("--engine <name>", "auto, ane, cpu; sim:m4 predicts and runs nothing", "auto")
    .option("--chip <name>", "whose published rows stand beside an engine of another kind")
    .option("--threads <count>", "threads of the CPU")
    .option("--suite <name>", `${SUITE_NAMES.join(", ")} (repeatable; default all)`, append, [])
    .option("--only <text>", "only cases whose name contains it (repeatable)", append, [])
    .option("--quick", "fewer cases, shorter runs: a few minutes")
    .option("--budget <ms>", "time of the timed calls of one case")
    .option("--output-dir <dir>", "write report.json, report.html and rows.json there")
    .option("--resume", "go on with the report in --output-dir")
    .option("--overwrite", "replace the report in --output-dir")
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
  anecdote bench engine --engine sim:m4 --output-dir predicted-m4`,
    );
  addDriverOption(command).action(async (flags: EngineFlags) => {
    const selection = {
      suites: flags.suite,
      only: flags.only.length > 0 ? flags.only : undefined,
      isQuick: flags.quick === true,
    };
    if (flags.list === true) printCases(selection, flags.json === true);
    else exit(await measure(flags, selection));
  });
}

type Selection = Parameters<typeof selectCases>[0];

function printCases(selection: Selection, isJson: boolean): void {
  const cases = selectCases(selection);
  process.stdout.write(
    isJson
      ? `${JSON.stringify(cases.map(({ id, suite, title, flops, isQuick }) => ({ id, suite, title, flops, quick: isQuick })))}\n`
      : cases.map(({ id }) => `${id}\n`).join(""),
  );
}

async function measure(flags: EngineFlags, selection: Selection): Promise<number> {
  if (flags.resume === true && flags.outputDir === undefined)
    throw new UsageError(
      "cli.bench.resume",
      "--resume needs --output-dir: the report to go on with",
    );
  const status = new StatusLine(process.stderr);
  const started = performance.now();
  let atStart: number | undefined;
  let isCancelled = false;
  const onInterrupt = (): void => {
    // A second one ends at once.
    isCancelled = true;
    status.print("stopping after this call; press Ctrl-C again to leave at once");
  };
  process.once("SIGINT", onInterrupt);
  try {
    const report = await runBench({
      ...selection,
      engine: flags.engine,
      driver: namedDriver(flags),
      chip: flags.chip,
      threads: numberOf("--threads", flags.threads),
      budgetMs: numberOf("--budget", flags.budget),
      outputFolder: flags.outputDir,
      resume: flags.resume === true,
      overwrite: flags.overwrite === true,
      isCancelled: () => isCancelled,
      onProgress: (done, total, text) => {
        atStart ??= done;
        const elapsed = (performance.now() - started) / 1000;
        const left = done > atStart ? (elapsed / (done - atStart)) * (total - done) : undefined;
        const eta = left === undefined ? "" : `, ${formatDuration(left)} left`;
        status.show(`${done} of ${total} cases${eta}: ${text}`);
      },
      onResult: (result) => {
        if (flags.json !== true && !flags.engine.startsWith("sim:"))
          status.print(resultLine(result));
      },
    });
    status.clear();
    print(report, flags);
    return isCancelled && !report.complete ? EXIT_CODES.interrupted : EXIT_CODES.ok;
  } finally {
    status.clear();
    process.off("SIGINT", onInterrupt);
  }
}

function resultLine({ title, status, timing, reason }: CaseResult): string {
  const told = status === "measured" && timing !== undefined ? formatMs(timing.median_ms) : status;
  const why = reason === undefined ? "" : `: ${reason.split("\n")[0] ?? ""}`;
  return `${title}: ${told}${why}`;
}

function print(report: EngineReport, { json, outputDir }: EngineFlags): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(report)}\n`);
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
