import type { Command } from "commander";
import { fileURLToPath } from "node:url";
import { supervise } from "../cluster/supervise.ts";
import { listCheckpoints } from "../runs/checkpoint.ts";
import { TRAIN_DEFAULTS } from "../train/index.ts";
import { numberOption, textOption, wholeOption } from "../util/options.ts";
import { packageUrl } from "../util/source-layout.ts";
import { EXIT_CODES, UsageError } from "./errors.ts";
import type { Exit } from "./exit.ts";
import { Interruptions } from "./interruptions.ts";
import { addOptions, optionValues } from "./options.ts";

const RUN_OPTIONS = {
  np: wholeOption("processes to start; default: as many as the host file has slots", 1, {
    aliases: ["n"],
  }),
  hostfile: textOption("file with a host a line, as mpirun takes it", {
    placeholder: "FILE",
    aliases: ["machinefile"],
  }),
  mpirun: textOption("further words for mpirun, by spaces", { placeholder: "WORDS" }),
  restarts: wholeOption("starts in a row that get no further before it gives up", 0),
  pause_seconds: numberOption("seconds before the first restart", { minimum: 0 }),
} as const;

const RUN_DEFAULTS = { restarts: 3, pause_seconds: 2 } as const;

/** Codes after which another start would end the same way: a wrong command line, a machine that lacks the engine. */
const FINAL_CODES: ReadonlySet<number> = new Set([
  EXIT_CODES.usage,
  EXIT_CODES.deviceUnavailable,
  EXIT_CODES.interrupted,
]);

export function register(program: Command, exit: Exit): void {
  const cluster = program.command("cluster");
  const run = cluster
    .command("run")
    .description(
      "run a training under mpirun and go on from the newest checkpoint when a process or a machine fails",
    )
    .argument("<words...>", "what to run, after --: train or finetune with its flags")
    .addHelpText(
      "after",
      `
Ctrl-C saves once and stops; again ends at once. Without it: mpirun -np 2 anecdote train …

Examples:
  anecdote cluster run --np 2 -- train --preset storyteller --output-dir runs/two
  anecdote cluster run --hostfile hosts --mpirun "--map-by node" -- train --config run.yaml`,
    );
  addOptions(run, RUN_OPTIONS, RUN_DEFAULTS);
  run.action(async (words: readonly string[]) => {
    const [command] = words;
    if (command !== "train" && command !== "finetune") {
      throw new UsageError(
        "cli.cluster",
        `cluster run takes train or finetune, not "${command ?? ""}"`,
        {
          remedy: "Write it after --: anecdote cluster run --np 2 -- train --preset storyteller",
        },
      );
    }
    const values = optionValues(run, RUN_OPTIONS, RUN_DEFAULTS);
    const interruptions = new Interruptions();
    try {
      const folder = outputFolder(words);
      exit(
        await supervise({
          words: (isAgain) => [
            ...(values.np === undefined ? [] : ["-np", String(values.np)]),
            ...(values.hostfile === undefined ? [] : ["--hostfile", values.hostfile]),
            ...(values.mpirun?.split(" ").filter((word) => word !== "") ?? []),
            process.execPath,
            fileURLToPath(packageUrl("bin/anecdote.mjs")),
            ...words,
            ...(isAgain && !words.includes("--resume") ? ["--resume"] : []),
          ],
          progress: () => listCheckpoints(folder).at(-1)?.step ?? 0,
          restarts: values.restarts ?? RUN_DEFAULTS.restarts,
          pauseSeconds: values.pause_seconds ?? RUN_DEFAULTS.pause_seconds,
          finalCodes: FINAL_CODES,
          tell: (text) => process.stderr.write(`anecdote cluster: ${text}\n`),
          stops: interruptions,
        }),
      );
    } finally {
      interruptions.end();
    }
  });
}

/** The run's folder, as the training that is started understands it. */
function outputFolder(words: readonly string[]): string {
  for (const [index, word] of words.entries()) {
    const [, inline] = /^--(?:output-dir|output_dir|out-dir|out_dir)=(.*)$/.exec(word) ?? [];
    if (inline !== undefined) return inline;
    const next = words[index + 1];
    if (/^--(?:output|out)[-_]dir$/.test(word) && next !== undefined) return next;
  }
  return TRAIN_DEFAULTS.output_dir;
}
