import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { engineOptions } from "../engine/create.ts";
import { powerChoice } from "../track/power/index.ts";
import {
  evaluateModel,
  fileLayer,
  heldOutOf,
  readTrainLayer,
  resolveModelFolder,
  resolveTrainConfig,
} from "../train/index.ts";
import type { CorpusPaths } from "../text/index.ts";
import type { HeldOutSettings, RowReading } from "../train/index.ts";
import type { OptionValues } from "../util/options.ts";
import { adapterOption, adapterSources } from "./adapter-option.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { EVAL_OPTIONS } from "./generate-options.ts";
import type { ROW_OPTIONS } from "./generate-options.ts";
import { addOptions, optionValues } from "./options.ts";
import { WorkPower, tokenCosts, tokenCostsText } from "./power.ts";
import type { MeanPower } from "./power.ts";
import { StatusLine, printNote, answer } from "./terminal.ts";
import { CONFIG_FILE } from "../runs/config-file.ts";
import { defined } from "../util/defined.ts";
import { isSamePath } from "../util/same-path.ts";

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("eval")
    .addOption(adapterOption(" beside the model"))
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nWithout --data a run is judged on what it held out, as it judges itself.\n\nExamples:\n  anecdote eval --model runs/shakespeare\n  anecdote eval --model runs/shakespeare --data other.txt",
    );
  addOptions(command, EVAL_OPTIONS);
  command.action(async (flags: EvalFlags) => {
    const values = optionValues(command, EVAL_OPTIONS);
    const { model } = values;
    if (model === undefined) throw new UsageError("cli.eval", "eval needs a model: --model DIR");
    const config = configOfRun(model);
    if (config === undefined && values.data === undefined) {
      resolveModelFolder(model);
      throw new UsageError(
        "cli.eval",
        `${model} is no folder of a run that held data out: eval needs --data FILE`,
      );
    }
    const status = new StatusLine();
    const held =
      config !== undefined && values.data === undefined
        ? heldOutOf(config, (text) => {
            status.show(text);
          })
        : undefined;
    if (config !== undefined && values.data !== undefined && isSameFile(config.data, values.data))
      printNote(
        "the run was trained on most of these data; without --data it is judged on the rest",
      );
    const power = new WorkPower(powerChoice());
    let mean: MeanPower | undefined;
    let first: Progress | undefined;
    let last: Progress | undefined;
    const report = await evaluateModel({
      model,
      adapters: adapterSources(flags.adapter, model),
      ...(held ?? { data: values.data ?? "" }),
      ...(values.text_field !== undefined && { textField: values.text_field }),
      rows: rowsOf(values),
      ...defined({ batchSize: values.batch_size, sequenceLength: values.max_seq_length }),
      ...defined({ byDocument: values.by_document, engine: values.engine }),
      ...engineOptions(values),
      onNote: printNote,
      onProgress: (done, total) => {
        power.mark();
        last = { done, ms: performance.now() };
        first ??= last;
        status.show(`${done} of ${total} tokens`);
      },
    }).finally(() => {
      mean = power.end();
      held?.close();
    });
    status.clear();
    const speed = speedBetween(first, last);
    const costs = { ...(speed > 0 && { tokens_per_second: speed }), ...tokenCosts(mean, speed) };
    answer(
      flags,
      { ...report, ...costs },
      () =>
        `loss ${report.loss.toFixed(4)} nats/token  perplexity ${report.perplexity.toFixed(3)}  over ${report.tokens} tokens${speed > 0 ? `, ${speed.toFixed(1)} tokens/s` : ""}${tokenCostsText(mean, speed)}\n`,
    );
  });
}

type RowValues = Pick<
  OptionValues<typeof EVAL_OPTIONS>,
  keyof typeof ROW_OPTIONS | "mask_prompt" | "pair_style"
>;

/** How rows are read, as far as somebody said. */
export function rowsOf(values: RowValues): RowReading {
  const { data_format, prompt_field, completion_field, input_field, messages_field } = values;
  const { mask_prompt, pair_style } = values;
  return {
    ...defined({ data_format, mask_prompt, pair_style }),
    ...{ prompt_field, completion_field, input_field, messages_field },
  };
}

interface EvalFlags {
  readonly adapter: readonly string[];
  readonly json?: boolean;
}

/** What a run's folder, or a checkpoint in it, was trained with. */
function configOfRun(model: string): HeldOutSettings | undefined {
  const folder = [model, dirname(model)].find((path) => existsSync(join(path, CONFIG_FILE)));
  if (folder === undefined) return undefined;
  const { config } = resolveTrainConfig({}, [readTrainLayer(fileLayer(join(folder, CONFIG_FILE)))]);
  return { ...config, output_dir: folder };
}

function isSameFile(a: CorpusPaths, b: CorpusPaths): boolean {
  return typeof a === "string" && typeof b === "string" && isSamePath(a, b);
}

interface Progress {
  readonly done: number;
  readonly ms: number;
}

/** Tokens a second after the first batch, which compiles; 0 where there was no second. */
function speedBetween(first: Progress | undefined, last: Progress | undefined): number {
  if (first === undefined || last === undefined || last.ms <= first.ms) return 0;
  return ((last.done - first.done) * 1000) / (last.ms - first.ms);
}
