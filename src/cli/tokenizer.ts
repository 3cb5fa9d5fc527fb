import type { Command } from "commander";
import {
  byteTokenizer,
  characterTokenizer,
  loadTokenizer,
  saveTokenizer,
  trainBpe,
  trainingTexts,
} from "../text/index.ts";
import type { DescribedTokenizer } from "../text/index.ts";
import { TRAIN_OPTIONS, resolveTokenizer } from "../train/index.ts";
import { OPTIONS_GROUP } from "../util/options.ts";
import type { Exit } from "./exit.ts";
import { UsageError } from "./errors.ts";
import { addOptions, optionValues } from "./options.ts";
import { StatusLine, printNote, answer } from "./terminal.ts";
import { printable } from "../util/printable.ts";

const DATA_OPTIONS = { text_field: { ...TRAIN_OPTIONS.text_field, group: OPTIONS_GROUP } } as const;

interface TrainFlags {
  readonly data: string;
  readonly kind: string;
  readonly vocabSize?: string;
  readonly output: string;
  readonly json?: boolean;
}

export function register(program: Command, _exit: Exit): void {
  const tokenizer = program.command("tokenizer");
  const train = tokenizer
    .command("train")
    .description("train a tokenizer and write tokenizer.json")
    .requiredOption("--data <file_or_dir>", "text, jsonl or a folder of them")
    .requiredOption("--output <dir>", "folder to write into")
    .option("--kind <kind>", "bpe, char or byte", "bpe")
    .option("--vocab-size <n>", `tokens, for bpe (default: ${DEFAULT_VOCABULARY})`)
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  anecdote tokenizer train --data corpus/ --vocab-size 8192 --output my-tokenizer",
    )
    .action((flags: TrainFlags, command: Command) => {
      const values = optionValues(command, DATA_OPTIONS);
      const described = make(flags, values.text_field);
      saveTokenizer(flags.output, described);
      const { vocabularySize } = described.tokenizer;
      const { kind, output } = flags;
      const text = (): string => `${output}/tokenizer.json: ${vocabularySize} tokens\n`;
      answer(flags, { kind, vocabulary_size: vocabularySize, output }, text);
    });
  addOptions(train, DATA_OPTIONS);
  tokenizer
    .command("encode")
    .description("show the tokens of a text")
    .requiredOption(
      "--tokenizer <path>",
      "tokenizer.json, or the folder of one, of a model or of a run",
    )
    .argument("<text>", "the text")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      '\nExample:\n  anecdote tokenizer encode --tokenizer my-tokenizer "Once upon a time"',
    )
    .action((text: string, flags: { readonly tokenizer: string; readonly json?: boolean }) => {
      const { tokenizer: runner } = loadTokenizer(resolveTokenizer(flags.tokenizer, printNote));
      const ids = Array.from(runner.encode(text));
      const tokens = ids.map((id) => runner.tokenOf(id) ?? null);
      const row = (token: string | null, index: number): string =>
        `${String(ids[index]).padStart(8)}  ${printable(token ?? "")}\n`;
      answer(flags, { ids, tokens }, () => tokens.map(row).join(""));
    });
}

const DEFAULT_VOCABULARY = 4096;

function make(flags: TrainFlags, textField = "text"): DescribedTokenizer {
  if (flags.kind !== "bpe" && flags.vocabSize !== undefined) {
    throw new UsageError(
      "cli.tokenizer.flags",
      `--vocab-size does nothing for --kind ${flags.kind}, which has the size it has`,
      { remedy: "Leave it out, or take --kind bpe." },
    );
  }
  switch (flags.kind) {
    case "byte":
      return byteTokenizer();
    case "char":
      return characterTokenizer(trainingTexts(flags.data, { textField }));
    case "bpe": {
      const vocabularySize = Number(flags.vocabSize ?? DEFAULT_VOCABULARY);
      if (!Number.isInteger(vocabularySize) || vocabularySize < 257) {
        throw new UsageError(
          "cli.vocab_size",
          `--vocab-size takes a whole number of at least 257, not "${flags.vocabSize ?? ""}"`,
        );
      }
      const status = new StatusLine();
      const described = trainBpe(trainingTexts(flags.data, { textField }), {
        vocabularySize,
        onProgress: (done, total) => status.show(`${done} of ${total} merges`),
      });
      status.clear();
      return described;
    }
    default:
      throw new UsageError(
        "cli.tokenizer.kind",
        `--kind takes bpe, char or byte, not "${flags.kind}"`,
      );
  }
}
