import type { Command } from "commander";
import { checkData, TRAIN_OPTIONS } from "../train/index.ts";
import type { DataCheckReport } from "../train/index.ts";
import { OPTIONS_GROUP, textOption, wholeOption } from "../util/options.ts";
import type { Exit } from "./exit.ts";
import { EXIT_CODES } from "./errors.ts";
import { rowsOf } from "./eval.ts";
import { addOptions, optionValues, requiredModel } from "./options.ts";
import { printNote, StatusLine, styled, wantsColor, answer } from "./terminal.ts";
import { defined } from "../util/defined.ts";
import { ROW_OPTIONS } from "./generate-options.ts";
import { DROP_REASONS } from "../text/examples/open-examples.ts";

const CHECK_OPTIONS = {
  model: textOption("the model it is for: its folder, or a run's", {
    placeholder: "DIR",
    aliases: ["model_name_or_path"],
  }),
  max_seq_length: wholeOption("tokens of a row; default: the model's context, at most 1,024", 2, {
    aliases: ["max_length", "block_size"],
  }),
  show: wholeOption("examples to show; default: 3", 0),
  text_field: { ...TRAIN_OPTIONS.text_field, group: OPTIONS_GROUP },
  ...ROW_OPTIONS,
  chosen_field: TRAIN_OPTIONS.chosen_field,
  rejected_field: TRAIN_OPTIONS.rejected_field,
  mask_prompt: TRAIN_OPTIONS.mask_prompt,
  pair_style: TRAIN_OPTIONS.pair_style,
  chat_template: TRAIN_OPTIONS.chat_template,
} as const;

/** Rows of a kind that are named one by one. */
const MOST_NAMED = 5;
const BAR_COLUMNS = 40;

export function register(data: Command, exit: Exit): void {
  const command = data
    .command("check")
    .description("show what a model will see of data: rendered, counted, what is cut and left out")
    .argument("<data...>", "files or a folder, in the forms that finetune takes")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
What is not learned is dimmed, or stands in ⟨ ⟩ where there are no colours. Rows that cannot be read end it with
exit code 1; all of them are told.

Examples:
  anecdote data check mine.jsonl --model runs/storyteller --mask-prompt
  anecdote data check chats/ --model models/smol --chat-template chatml --show 10`,
    );
  addOptions(command, CHECK_OPTIONS);
  command.action((paths: readonly string[], flags: { readonly json?: boolean }) => {
    const values = optionValues(command, CHECK_OPTIONS);
    const model = requiredModel("data check", values.model);
    const status = new StatusLine();
    const report = checkData({
      data: paths,
      model,
      rows: rowsOf(values),
      ...defined({ textField: values.text_field, sequenceLength: values.max_seq_length }),
      ...defined({ chatTemplate: values.chat_template, showCount: values.show }),
      onNote: printNote,
      onProgress: (path, done, total) =>
        status.show(`${path}: ${Math.round((100 * done) / Math.max(1, total))} %`),
    });
    status.clear();
    answer(flags, report, () => textOf(report));
    const isBad = report.splits.some(({ errors, examples }) => errors.length > 0 || examples === 0);
    exit(isBad ? EXIT_CODES.failure : EXIT_CODES.ok);
  });
}

function textOf(report: DataCheckReport): string {
  const out = process.stdout;
  const lines: string[] = [];
  for (const { where, tokens, truncated, pieces } of report.shown) {
    lines.push(
      styled(out, "bold", `${where}: ${tokens} tokens${truncated ? ", cut" : ""}`),
      pieces
        .map(({ text, learned }) =>
          learned ? text : wantsColor(out) ? styled(out, "dim", text) : `⟨${text}⟩`,
        )
        .join(""),
      "",
    );
  }
  const form = report.isStream ? "text, one stream to a run" : report.form;
  lines.push(`${form}; rows of ${report.sequenceLength} tokens`);
  for (const split of report.splits) lines.push("", ...splitLines(split, report));
  return `${lines.join("\n")}\n`;
}

function splitLines(
  split: DataCheckReport["splits"][number],
  { sequenceLength, isStream }: DataCheckReport,
): readonly string[] {
  const { lengths, truncated, dropped, duplicates, errors } = split;
  const most = Math.max(1, ...lengths.map(({ count }) => count));
  const width = String(lengths.at(-1)?.to ?? 0).length;
  return [
    styled(process.stdout, "bold", split.split),
    `  ${split.rows} rows, ${split.examples} examples, ${split.tokens} tokens, ${split.learned} of them learned, the longest ${split.longest}`,
    ...lengths.map(
      ({ from, to, count }) =>
        `  ${String(from).padStart(width)} to ${String(to).padStart(width)} ${"█".repeat(Math.ceil((BAR_COLUMNS * count) / most))} ${count}`,
    ),
    ...(isStream
      ? []
      : named(
          `longer than ${sequenceLength} tokens, cut there`,
          truncated.map((where) => where),
        )),
    ...DROP_REASONS.flatMap((reason) =>
      named(
        DROPPED[reason],
        dropped.filter((row) => row.reason === reason).map(({ where }) => where),
      ),
    ),
    ...named(
      "duplicates",
      duplicates.map(({ where, of }) => `${where} of ${of}`),
    ),
    ...named(
      "cannot be read",
      errors.map(({ where, problem }) => `${where}: ${problem.split("\n")[0] ?? ""}`),
    ),
  ];
}

const DROPPED = {
  empty: "left out, fewer than two tokens",
  masked: "left out, nothing to learn",
  "cut off": "left out, all that is to be learned is cut off",
  same: "left out, two answers that are the same",
} as const;

function named(what: string, places: readonly string[]): readonly string[] {
  if (places.length === 0) return [];
  const rest = places.length - MOST_NAMED;
  return [
    `  ${what}: ${places.length}`,
    ...places.slice(0, MOST_NAMED).map((place) => `    ${place}`),
    ...(rest > 0 ? [`    and ${rest} more`] : []),
  ];
}
