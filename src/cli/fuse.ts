import type { Command } from "commander";
import { isAdapterFolder } from "../model/index.ts";
import { exportModel } from "../runs/export-model.ts";
import { resolveModelFolder } from "../train/index.ts";
import { textOption } from "../util/options.ts";
import { adapterOption, adapterSources } from "./adapter-option.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { addOptions, optionValues } from "./options.ts";
import { printNote } from "./terminal.ts";
import { DTYPE_OPTION, tellExported } from "./export.ts";

const FUSE_OPTIONS = {
  model: textOption("the model, or a finetune run, whose adapter needs no --adapter", {
    placeholder: "DIR",
    aliases: ["model_name_or_path"],
  }),
  output: textOption("folder to write the model into", {
    placeholder: "DIR",
    aliases: ["save_path"],
  }),
  dtype: DTYPE_OPTION,
} as const;

interface FuseFlags {
  readonly adapter: readonly string[];
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("fuse")
    .addOption(adapterOption())
    .option("--overwrite", "replace files that exist")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
Examples:
  anecdote fuse --model models/base --adapter runs/mine --output models/mine
  anecdote fuse --model runs/mine --output models/mine`,
    );
  addOptions(command, FUSE_OPTIONS);
  command.action((flags: FuseFlags) => {
    const values = optionValues(command, FUSE_OPTIONS);
    const { model, output } = values;
    if (model === undefined || output === undefined) {
      throw new UsageError("cli.fuse", "fuse needs a model and a folder: --model DIR --output DIR");
    }
    const folder = resolveModelFolder(model, printNote);
    const adapters = adapterSources(flags.adapter, folder);
    if (adapters.length === 0 && !isAdapterFolder(folder)) {
      throw new UsageError("cli.fuse", `${model} has no adapter: name one with --adapter DIR`, {
        remedy: "To write the model as it is: anecdote export.",
      });
    }
    const written = exportModel(folder, output, {
      type: values.dtype ?? "float32",
      overwrite: flags.overwrite === true,
      adapters,
    });
    tellExported(flags, output, written);
  });
}
