import type { Command } from "commander";
import { exportModel, WEIGHT_TYPES } from "../runs/export-model.ts";
import type { ExportedModel } from "../runs/export-model.ts";
import { resolveModelFolder } from "../train/index.ts";
import { formatBytes } from "../util/format.ts";
import { choiceOption, textOption } from "../util/options.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { addOptions, optionValues } from "./options.ts";
import { printNote, answer } from "./terminal.ts";

export const DTYPE_OPTION = choiceOption("how weights are stored; default: float32", WEIGHT_TYPES, {
  aliases: ["torch_dtype"],
});

const EXPORT_OPTIONS = {
  model: textOption("a model folder, or a run's folder (its newest checkpoint)", {
    placeholder: "DIR",
    aliases: ["model_name_or_path"],
  }),
  output: textOption("folder to write the model into", { placeholder: "DIR" }),
  dtype: DTYPE_OPTION,
} as const;

interface ExportFlags {
  readonly resizeEmbeddings?: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  const command = program
    .command("export")
    .option(
      "--resize-embeddings",
      "add rows to the embedding for tokens of the tokenizer that have none, the mean of the others",
    )
    .option("--overwrite", "replace files that exist")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  anecdote export --model runs/storyteller --output storyteller --dtype bfloat16",
    );
  addOptions(command, EXPORT_OPTIONS);
  command.action((flags: ExportFlags) => {
    const values = optionValues(command, EXPORT_OPTIONS);
    const { model, output } = values;
    if (model === undefined || output === undefined) {
      throw new UsageError(
        "cli.export",
        "export needs a model and a folder: --model DIR --output DIR",
      );
    }
    const folder = resolveModelFolder(model, printNote);
    const written = exportModel(folder, output, {
      type: values.dtype ?? "float32",
      overwrite: flags.overwrite === true,
      resizeEmbeddings: flags.resizeEmbeddings === true,
    });
    tellExported(flags, output, written);
  });
}

/** Tells of a model that was written as a folder. */
export function tellExported(
  flags: { readonly json?: boolean },
  output: string,
  { type, parameterCount, byteLength }: ExportedModel,
): void {
  answer(
    flags,
    { output, dtype: type, parameters: parameterCount, bytes: byteLength },
    () => `${output}: ${parameterCount} parameters as ${type}, ${formatBytes(byteLength)}\n`,
  );
}
