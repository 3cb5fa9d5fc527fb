import type { Command } from "commander";
import { powerChoice } from "../track/power/index.ts";
import {
  SIZE_KEYS,
  TRAIN_DEFAULTS,
  TRAIN_OPTIONS,
  FOREIGN_NAMES,
  fileLayer,
  readTrainLayer,
  resolveRun,
} from "../train/index.ts";
import type { TrainSettings } from "../train/index.ts";
import { checkedLayer } from "../util/options.ts";
import type { OptionLayer } from "../util/options.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { addOptions, commandLineLayer, requiredModel } from "./options.ts";
import { printNote } from "./terminal.ts";
import { printConfig, runTrainCommand } from "./train.ts";
import type { TrainFlags } from "./train.ts";

/** Options of a new model's shape and tokenizer have no place here, so `--num-layers` is free for mlx-lm's meaning. */
const OF_NEW_MODELS = ["preset", "model_config", "story_count", "tokenizer", "vocab_size"] as const;
const LEFT_OUT: ReadonlySet<string> = new Set([...SIZE_KEYS, ...OF_NEW_MODELS]);
type FinetuneKey = Exclude<
  keyof typeof TRAIN_OPTIONS,
  (typeof SIZE_KEYS)[number] | (typeof OF_NEW_MODELS)[number] | "trained_layers"
>;

const FINETUNE_OPTIONS = {
  ...(Object.fromEntries(
    Object.entries(TRAIN_OPTIONS).filter(([key]) => !LEFT_OUT.has(key)),
  ) as Pick<typeof TRAIN_OPTIONS, FinetuneKey>),
  trained_layers: {
    ...TRAIN_OPTIONS.trained_layers,
    aliases: [...TRAIN_OPTIONS.trained_layers.aliases, "num_layers"],
  },
} as const;

/** What differs from training a new model. */
const FINETUNE_DEFAULTS: TrainSettings = {
  method: "lora",
  learning_rate: 1e-4,
  weight_decay: 0,
  adam_beta2: 0.999,
  sampling: "epochs",
  data_format: "examples",
  eval_on_start: true,
  output_dir: "runs/finetune",
};

type FinetuneFlags = Pick<TrainFlags, "config" | "printConfig" | "json" | "power" | "dashboard">;

export function register(program: Command, exit: Exit): void {
  const command = program
    .command("finetune")
    .option("-c, --config <file>", "YAML file with these options; flags win over it")
    .option("--print-config", "print the merged options with their origins, and stop")
    .option("--power <meter>", "what reads power; default: ANECDOTE_POWER, or auto")
    .option("--dashboard", "serve the page of its runs' folder while it trains")
    .option("--json", "write events as NDJSON to standard output")
    .addHelpText(
      "after",
      `
Examples:
  anecdote finetune --model runs/storyteller --data mine.txt --output-dir runs/mine
  anecdote finetune --model models/tiny --data mine --method qlora --lora-rank 16 --num-layers 8

Spellings of mlx-lm and PEFT are taken. Told apart: --max-steps (--iters), --logging-steps, --eval-steps
and --save-steps count optimizer updates; mlx-lm's iters and what it counts in them are micro-batches.
mlx-lm's scale is --lora-alpha divided by --lora-rank, its --num-layers is 16 where nobody says, and its
--mask-prompt learns the last message alone. Without --target-modules PEFT adapts some of attention, and
its lora_alpha is 8. Checkpoints are adapters in PEFT's layout: use them with
anecdote generate --model MODEL --adapter runs/mine, or make one model of both with anecdote fuse.`,
    );
  addOptions(command, FINETUNE_OPTIONS, { ...TRAIN_DEFAULTS, ...FINETUNE_DEFAULTS });
  command.action(async (flags: FinetuneFlags) => {
    const layer = (given: OptionLayer) =>
      readTrainLayer({
        origin: given.origin,
        values: { ...checkedLayer(FINETUNE_OPTIONS, given, FOREIGN_NAMES) },
      });
    const resolved = resolveRun(
      [
        ...(flags.config === undefined ? [] : [layer(fileLayer(flags.config))]),
        layer(commandLineLayer(command, FINETUNE_OPTIONS)),
      ],
      FINETUNE_DEFAULTS,
    );
    for (const note of resolved.notes) printNote(note);
    const { config } = resolved;
    requiredModel("finetune", config.model);
    if (config.data === "stories") {
      throw new UsageError("cli.data", "finetune needs data: --data FILE_OR_DIR");
    }
    if (flags.printConfig === true) {
      if (flags.dashboard === true)
        throw new UsageError(
          "cli.train.flags",
          "--dashboard does nothing beside --print-config: nothing runs",
        );
      printConfig(resolved, flags.json === true);
      return;
    }
    exit(
      await runTrainCommand(config, {
        json: flags.json === true,
        power: powerChoice(flags.power),
        hasDashboard: flags.dashboard === true,
      }),
    );
  });
}
