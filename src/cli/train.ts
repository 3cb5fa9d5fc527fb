import { dirname, resolve } from "node:path";
import type { Command } from "commander";
import type { RunningDashboard } from "../server/dashboard.ts";
import { launchedProcess } from "../cluster/index.ts";
import {
  PRESETS,
  RunLock,
  TRAIN_DEFAULTS,
  TRAIN_OPTIONS,
  fileLayer,
  followInWorker,
  logInterruption,
  readTrainLayer,
  resolveRun,
  trainInWorker,
} from "../train/index.ts";
import type {
  ResolvedTrainConfig,
  SessionOptions,
  TrainConfig,
  TrainEvent,
} from "../train/index.ts";
import { POWER_CHOICES, powerChoice } from "../track/power/index.ts";
import type { PowerChoice } from "../track/power/index.ts";
import { flagName } from "../util/options.ts";
import { exitAtOnce } from "../util/stuck-thread.ts";
import type { Exit } from "./exit.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import { addOptions, commandLineLayer } from "./options.ts";
import { watchPower } from "./power.ts";
import { Interruptions } from "./interruptions.ts";
import { goOnInNewProcess, lockTokenFromBefore, shareWithProcessBefore } from "./new-process.ts";
import { reportStreams } from "./report-streams.ts";
import { printNote, answer, printJson } from "./terminal.ts";
import { TrainDisplay } from "./train-display.ts";
import { asTyped } from "./typed-command.ts";

/** Flags that are no settings. */
export interface TrainFlags {
  readonly config?: string;
  readonly printConfig?: boolean;
  readonly listPresets?: boolean;
  readonly show?: string;
  readonly output?: string;
  readonly overwrite?: boolean;
  readonly json?: boolean;
  readonly power?: string;
  readonly dashboard?: boolean;
}

export function register(program: Command, exit: Exit): void {
  const command = program
    .command("train")
    .option("-c, --config <file>", "YAML file with these options; flags win over it")
    .option("--print-config", "print the merged options with their origins, and stop")
    .option("--list-presets", "list the presets, and stop")
    .option("--show <what>", "print what would run, and stop: plan or mil")
    .option("--output <dir>", "with --show mil: write one file a program into this folder")
    .option("--overwrite", "with --output: replace files that exist")
    .option(
      "--power <meter>",
      `what reads power: ${POWER_CHOICES.join(", ")} (default: ANECDOTE_POWER, or auto)`,
    )
    .option("--dashboard", "serve the page of its runs' folder while it trains")
    .option("--json", "write events as NDJSON to standard output")
    .addHelpText(
      "after",
      `
Examples:
  anecdote train --preset nanogpt-char --data input.txt --output-dir runs/shakespeare
  anecdote train --config run.yaml --learning-rate 3e-4 --resume
  anecdote train --preset stories15M --engine sim:m4 --show mil --output programs

A preset's settings stand before these defaults, and a model's own context; --print-config shows
what holds, and why.`,
    );
  addOptions(command, TRAIN_OPTIONS, TRAIN_DEFAULTS);
  command.action(async (flags: TrainFlags) => {
    refuseIdleFlags(command, flags);
    if (flags.listPresets === true) {
      listPresets(flags.json === true);
      return;
    }
    const resolved = resolveFromCommandLine(command, flags.config);
    if (flags.printConfig === true) printConfig(resolved, flags.json === true);
    else if (flags.show !== undefined) {
      const { showBeforeRun } = await import("./show-plan.ts");
      await showBeforeRun(resolved.config, flags.show, flags);
    } else
      exit(
        await runTrainCommand(resolved.config, {
          json: flags.json === true,
          power: powerChoice(flags.power),
          hasDashboard: flags.dashboard === true,
        }),
      );
  });
}

/** Throws `UsageError` for flags that would do nothing beside others. */
function refuseIdleFlags(command: Command, flags: TrainFlags): void {
  const { listPresets: lists, printConfig: prints, show: what, output, overwrite } = flags;
  if (output !== undefined && what !== "mil") {
    throw new UsageError("cli.show", "--output goes with --show mil", {
      remedy: "The folder of a run is --output-dir.",
    });
  }
  if (overwrite === true && output === undefined) {
    throw new UsageError("cli.show", "--overwrite does nothing without --show mil --output DIR", {
      remedy: "A run's folder is never overwritten: choose another --output-dir, or --resume it.",
    });
  }
  const endings = [
    lists === true && "--list-presets",
    prints === true && "--print-config",
    what !== undefined && "--show",
  ].filter((name) => name !== false);
  const [first, second] = endings;
  if (first === undefined) return;
  if (second !== undefined) {
    throw new UsageError("cli.train.flags", `${first} and ${second} exclude each other`);
  }
  if (flags.power !== undefined || flags.dashboard === true) {
    const idle = flags.power === undefined ? "--dashboard" : "--power";
    throw new UsageError("cli.train.flags", `${idle} does nothing beside ${first}: nothing runs`);
  }
  if (lists !== true) return;
  const [setting] = Object.keys(commandLineLayer(command, TRAIN_OPTIONS).values);
  const idle = setting === undefined ? flags.config && "--config" : flagName(setting);
  if (idle !== undefined) {
    throw new UsageError("cli.train.flags", `${idle} does nothing beside --list-presets`);
  }
}

/** Defaults, preset, model, file and flags of a command that has the training options. */
export function resolveFromCommandLine(
  command: Command,
  configFile: string | undefined,
  options: { readonly isGroup?: boolean } = {},
): ResolvedTrainConfig {
  const layers = [
    ...(configFile === undefined ? [] : [readTrainLayer(fileLayer(configFile))]),
    readTrainLayer(commandLineLayer(command, TRAIN_OPTIONS)),
  ];
  const resolved = resolveRun(layers, {}, options);
  for (const note of resolved.notes) printNote(note);
  return resolved;
}

function listPresets(json: boolean): void {
  const presets = [...PRESETS.values()];
  answer({ json }, presets, () =>
    presets.map(({ name, description }) => `${name.padEnd(14)} ${description}\n`).join(""),
  );
}

export function printConfig({ config, origins }: ResolvedTrainConfig, json: boolean): void {
  const rows = Object.entries(config).map(([key, value]) => ({
    key,
    value,
    origin: origins.get(key) ?? "default",
  }));
  const line = ({ key, value, origin }: (typeof rows)[number]): string =>
    `${key}: ${String(value)}`.padEnd(48) + `# ${origin}\n`;
  answer({ json }, rows, () => rows.map(line).join(""));
}

interface TrainCommandOptions {
  /** Events go to standard output. */
  readonly json: boolean;
  readonly power: PowerChoice;
  /** Whether the page is served meanwhile. */
  readonly hasDashboard: boolean;
}

/** The page of the folder that a run stands in. One process serves it, whatever others go on with the run. */
async function dashboardBeside({ output_dir: run }: TrainConfig): Promise<RunningDashboard> {
  const { startDashboard } = await import("../server/dashboard.ts");
  const dashboard = await startDashboard({ runsFolder: dirname(resolve(run)) });
  process.stderr.write(`dashboard: ${dashboard.address}\n`);
  return dashboard;
}

/** Trains as the configuration says, in this process and those that follow it, and tells of it; gives the exit code. */
export async function runTrainCommand(
  config: TrainConfig,
  { json, power: choice, hasDashboard }: TrainCommandOptions,
): Promise<number> {
  const launched = launchedProcess();
  if (launched !== undefined && launched.rank > 0) return await followRankZero(config);
  const interruptions = new Interruptions(launched === undefined ? [] : ["SIGUSR2"]);
  shareWithProcessBefore(interruptions);
  const display = new TrainDisplay({
    ...reportStreams(),
    tellsPower: choice !== "auto" && choice !== "off",
  });
  const onEvent = (event: TrainEvent): void => {
    if (json) printJson(event);
    else display.event(event);
  };
  let isFollowed = false;
  let lock: RunLock | undefined;
  let dashboard: RunningDashboard | undefined;
  try {
    const tokenBefore = lockTokenFromBefore();
    lock = RunLock.take(config.output_dir, tokenBefore);
    if (hasDashboard && tokenBefore === undefined) dashboard = await dashboardBeside(config);
    const last = await trainHere(config, choice, interruptions, {
      lock,
      onProgress: (text, at) => {
        if (!json) display.progress(text, at);
      },
      onEvent,
    });
    if (last.kind !== "interrupted") return EXIT_CODES.ok;
    if (last.reason === "compile_budget") {
      const end = await goOnInNewProcess({ step: last.step, left: last.left ?? 0 }, interruptions, {
        flags: config.resume ? [] : ["--resume"],
        lockToken: lock.token,
      });
      isFollowed = end.kind === "followed";
      if (end.kind !== "interrupted") return end.code;
      onEvent(logInterruption(config.output_dir, end.step));
    }
    if (!json && last.checkpoint !== undefined) {
      process.stderr.write(
        asTyped(
          `continue with: anecdote ${config.method === "full" ? "train" : "finetune"} --resume --output-dir ${config.output_dir}\n`,
        ),
      );
    }
    return EXIT_CODES.interrupted;
  } finally {
    display.close();
    lock?.release();
    await dashboard?.close();
    // A process that is followed listens to its end: what it hears now is for the one that follows.
    if (!isFollowed) interruptions.end();
  }
}

/** Every process of a group but the first one: it writes nothing, tells of its own troubles alone, and ends with rank 0. */
async function followRankZero(config: TrainConfig): Promise<number> {
  const interruptions = new Interruptions();
  // mpirun asks every process to save and stop; rank 0 does it for all.
  process.on("SIGUSR2", () => undefined);
  const abort = new AbortController();
  interruptions.listen(() => abort.abort());
  const isEnded = await followInWorker(config, abort.signal);
  if (!isEnded) await exitAtOnce(EXIT_CODES.interrupted);
  interruptions.end();
  return EXIT_CODES.ok;
}

/** Trains in this process, until the run's end, an interruption, or as far as this process can. */
async function trainHere(
  config: TrainConfig,
  choice: PowerChoice,
  interruptions: Interruptions,
  hear: Pick<SessionOptions, "lock" | "onEvent" | "onProgress">,
): Promise<TrainEvent> {
  const power = watchPower(choice);
  const abort = new AbortController();
  const stopListening = interruptions.listen((count) => {
    if (count === 1) {
      abort.abort();
    } else {
      power.close();
      hear.lock?.release();
      void exitAtOnce(EXIT_CODES.interrupted);
    }
  });
  try {
    return await trainInWorker(config, {
      signal: abort.signal,
      energy: power.energy,
      onStop: (how) => {
        if (how === "save")
          process.stderr.write("\nsaving after this step; Ctrl-C again to stop at once\n");
      },
      ...hear,
    });
  } finally {
    power.close();
    stopListening();
  }
}
