import { randomInt } from "node:crypto";
import type { Command } from "commander";
import { engineOptions } from "../engine/create.ts";
import { folderSampling, withGenerator } from "../generate/index.ts";
import type { GeneratedText, Generator } from "../generate/index.ts";
import { powerChoice } from "../track/power/index.ts";
import { resolveModelFolder } from "../train/index.ts";
import { flagName, resolveOptions } from "../util/options.ts";
import type { OptionValues } from "../util/options.ts";
import { append } from "./append.ts";
import { adapterOption, adapterSources } from "./adapter-option.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { GENERATE_OPTIONS, samplingOf } from "./generate-options.ts";
import { addOptions, commandLineLayer, requiredModel } from "./options.ts";
import { WorkPower, tokenCosts, tokenCostsText } from "./power.ts";
import { readPrompts } from "./prompts.ts";
import { printNote, styled, printJson } from "./terminal.ts";
import { defined } from "../util/defined.ts";
import type { WritingFlags } from "./generate-options.ts";

/** Of the numbers that a seed is drawn from. */
const SEED_LIMIT = 2 ** 31;

/** One text to write. */
interface Task {
  readonly prompt: string;
  readonly seed: number;
}

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("generate")
    .option("--stop <text>", "end where this text appears (may be given several times)", append, [])
    .addOption(adapterOption(" beside the model"))
    .option("--json", "a JSON object for each text, one a line")
    .addHelpText(
      "after",
      `
Examples:
  anecdote generate --model runs/storyteller --prompt "Once upon a time" --max-tokens 150 --temperature 0.8
  anecdote generate --model runs/storyteller -n 5 --seed 1
  anecdote generate --model runs/storyteller --prompts beginnings.txt --json`,
    );
  addOptions(command, GENERATE_OPTIONS);
  command.option("-n <N>", "short for --num-samples");
  command.action(async (flags: WritingFlags) => {
    const layer = commandLineLayer(command, GENERATE_OPTIONS);
    const { values } = resolveOptions(GENERATE_OPTIONS, [
      { ...layer, values: withShortCount(command, layer.values) },
    ]);
    const model = requiredModel("generate", values.model);
    if (values.temperature === 0) refuseIdleSampling(values);
    const tasks = tasksOf(values);
    const folder = resolveModelFolder(model, printNote);
    const isGreedy = (values.temperature ?? folderSampling(folder).temperature) === 0;
    if (isGreedy) {
      refuseIdleSampling(values);
      if ((values.num_samples ?? 1) > 1) {
        printNote(
          "at temperature 0 every sample of a prompt is the same: draw tokens with --temperature 0.8",
        );
      }
    }
    const settings = {
      adapters: adapterSources(flags.adapter, folder),
      ...defined({ engine: values.engine, weights: values.weights }),
      ...engineOptions(values),
    };
    await withGenerator(folder, settings, async (generator) => {
      for (const task of tasks) {
        if (flags.json === true) await writeJson(generator, task, values, flags);
        else
          await writeText(generator, task, values, {
            ...flags,
            isGreedy,
            isOneOfMany: tasks.length > 1,
          });
      }
    });
  });
}

/** Settings of a draw, which the most likely token needs none of. */
const DRAW_KEYS = ["top_k", "top_p", "min_p", "seed"] as const;

/** Throws `UsageError` for settings of draws where none is made. */
function refuseIdleSampling(
  values: Readonly<Partial<Record<(typeof DRAW_KEYS)[number], unknown>>>,
): void {
  const idle = DRAW_KEYS.find((key) => values[key] !== undefined);
  if (idle === undefined) return;
  throw new UsageError(
    "cli.generate.greedy",
    `${flagName(idle)} ${String(values[idle])} would do nothing: at temperature 0 the most likely token is taken`,
    { remedy: "Draw tokens: --temperature 0.8." },
  );
}

type Values = OptionValues<typeof GENERATE_OPTIONS>;

function withShortCount(
  command: Command,
  values: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const { n } = command.opts<{ readonly n?: string }>();
  if (n === undefined) return values;
  if (values["num_samples"] !== undefined) {
    throw new UsageError("cli.samples", "-n and --num-samples are one option: give one of them");
  }
  const count = Number(n);
  if (n.trim() === "" || Number.isNaN(count)) {
    throw new UsageError("cli.samples", `-n takes a number, not "${n}"`);
  }
  return { ...values, num_samples: count };
}

/** Every sample of every prompt; without a seed, another one each time. */
function tasksOf(values: Values): readonly Task[] {
  const first = values.seed ?? randomInt(SEED_LIMIT);
  const count = values.num_samples ?? 1;
  return readPrompts(values).flatMap((prompt) =>
    Array.from({ length: count }, (_, index) => ({ prompt, seed: first + index })),
  );
}

async function write(
  generator: Generator,
  { prompt, seed }: Task,
  values: Values,
  stop: readonly string[],
  onText: (piece: string) => void,
): Promise<GeneratedText> {
  return generator.generate(prompt, {
    maxTokens: values.max_tokens ?? 100,
    contextOverflow: values.context_overflow ?? "auto",
    ...samplingOf(values),
    ...{ stop, seed, onText },
    onNote: printNote,
  });
}

async function writeJson(
  generator: Generator,
  task: Task,
  values: Values,
  { stop }: WritingFlags,
): Promise<void> {
  const power = new WorkPower(powerChoice());
  const { result, mean } = await metered(power, () =>
    write(generator, task, values, stop, () => power.mark()),
  );
  printJson({
    ...{ prompt: task.prompt, text: result.text, seed: task.seed, tokens: result.tokenCount },
    ...{ tokens_per_second: result.tokensPerSecond, stop_reason: result.stopReason },
    ...tokenCosts(mean, result.tokensPerSecond),
  });
}

async function writeText(
  generator: Generator,
  task: Task,
  values: Values,
  {
    stop,
    isGreedy,
    isOneOfMany,
  }: WritingFlags & { readonly isGreedy: boolean; readonly isOneOfMany: boolean },
): Promise<void> {
  const power = new WorkPower(powerChoice());
  let isBegun = false;
  const begin = (): void => {
    // Not before the model has begun to write: what goes wrong before leaves nothing on standard output.
    if (!isBegun) process.stdout.write(styled(process.stdout, "bold", task.prompt));
    isBegun = true;
  };
  const { result, mean } = await metered(power, () =>
    write(generator, task, values, stop, (piece) => {
      power.mark();
      begin();
      process.stdout.write(piece);
    }),
  );
  begin();
  process.stdout.write(isOneOfMany ? "\n\n" : "\n");
  const costs = tokenCostsText(mean, result.tokensPerSecond);
  const seed = isGreedy ? "" : `, seed ${task.seed}`;
  process.stderr.write(
    `${styled(process.stderr, "dim", `${result.tokenCount} tokens, ${result.tokensPerSecond.toFixed(1)} tokens/s${costs}${seed}, ended by ${result.stopReason}`)}\n`,
  );
}

async function metered<Result>(
  power: WorkPower,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly mean: ReturnType<WorkPower["end"]> }> {
  let isEnded = false;
  try {
    const result = await work();
    isEnded = true;
    return { result, mean: power.end() };
  } finally {
    if (!isEnded) power.end();
  }
}
