import { BEGIN_TOKENS, DATA_FORMATS, SAMPLINGS } from "../../text/index.ts";
import type { FieldNames } from "../../text/index.ts";
import {
  choiceOption,
  dataOption,
  flagOption,
  inGroup,
  numberOption,
  textOption,
  wholeOption,
} from "../../util/options.ts";

/** How pairs of texts are written. */
export const PAIR_STYLES = ["auto", "chat", "text"] as const;

/** How rows become examples, and what of them is learned. */
export const EXAMPLE_OPTIONS = inGroup("Examples", {
  data_format: choiceOption(
    "what rows hold; auto: what their fields say, rows of text being one stream; examples: the same, each row of text by itself; stream: text, whatever other fields there are",
    DATA_FORMATS,
  ),
  prompt_field: textOption("field of the prompt; default: prompt, or instruction", {
    placeholder: "NAME",
    aliases: ["prompt_feature", "prompt_column", "instruction_field"],
  }),
  completion_field: textOption("field of the completion; default: completion, or output", {
    placeholder: "NAME",
    aliases: ["completion_feature", "completion_column", "response_field", "output_field"],
  }),
  input_field: textOption("field of an instruction's input; default: input", {
    placeholder: "NAME",
  }),
  messages_field: textOption("field of a conversation; default: messages", {
    placeholder: "NAME",
    aliases: ["chat_feature", "messages_column", "messages_key"],
  }),
  chosen_field: textOption("field of the better answer, with --method dpo; default: chosen", {
    placeholder: "NAME",
    aliases: ["chosen_feature", "chosen_column"],
  }),
  rejected_field: textOption("field of the worse answer, with --method dpo; default: rejected", {
    placeholder: "NAME",
    aliases: ["rejected_feature", "rejected_column"],
  }),
  mask_prompt: flagOption(
    "learn completions and the assistant's messages only (mlx-lm: the last message only)",
    { aliases: ["completion_only_loss", "assistant_only_loss", "train_on_completions_only"] },
  ),
  pair_style: choiceOption(
    "prompts with completions as chat (mlx-lm's way), or as texts one behind the other (TRL's); auto: as chat where the model has a chat template",
    PAIR_STYLES,
  ),
  chat_template: textOption(
    "chat template in place of the model's: plain, chatml, or a .jinja file; it is kept with the run's tokenizer",
    { placeholder: "NAME_OR_FILE" },
  ),
  packing: flagOption(
    "put several examples into a row, none of which sees another: fewer rows, equal losses",
    { aliases: ["sample_packing", "pack"] },
  ),
});

export const EXAMPLE_DEFAULTS = {
  data_format: "auto",
  mask_prompt: false,
  pair_style: "auto",
  packing: false,
} as const;

/** What is read, how it becomes tokens, and which of it is kept for evaluation. Rows become examples by EXAMPLE_OPTIONS. */
export const DATA_OPTIONS = inGroup("Data", {
  data: dataOption(
    "text and rows (.txt, .jsonl, .json, .csv, each also .gz, .parquet), token ids (.bin): files, patterns, a folder, or `-` for standard input; `stories` for the built-in corpus, `random` for random token ids",
    { placeholder: "FILE_OR_DIR", aliases: ["dataset"] },
  ),
  text_field: textOption("field of rows, or column of .csv, that holds the text; default: text", {
    placeholder: "NAME",
    aliases: ["text_column", "text_column_name", "dataset_text_field", "text_feature", "text_key"],
  }),
  ...EXAMPLE_OPTIONS,
  tokenizer: textOption(
    "`bpe` (trained on the data), `char`, `byte`, or a tokenizer.json, or the folder of a model or run",
    { placeholder: "KIND_OR_PATH" },
  ),
  vocab_size: wholeOption("tokens of a tokenizer trained on the data", 257),
  story_count: wholeOption("stories of the built-in corpus to train on", 100),
  max_seq_length: wholeOption("tokens of context", 2, {
    aliases: ["max_length", "block_size", "sequence_len"],
  }),
  eval_data: dataOption("data to judge the run on, in the forms that --data takes", {
    placeholder: "FILE",
    aliases: ["validation_file", "eval_dataset"],
  }),
  validation_fraction: numberOption("share of the tokens, from the end, kept for evaluation", {
    minimum: 0,
    maximum: 0.9,
  }),
  sampling: choiceOption(
    "windows at random places, epochs of all windows shuffled, or windows at document starts",
    SAMPLINGS,
  ),
  begin_tokens: choiceOption(
    "what documents begin with: the tokens of the tokenizer's template, or nothing",
    BEGIN_TOKENS,
  ),
});

export const DATA_DEFAULTS = {
  data: "stories",
  text_field: "text",
  ...EXAMPLE_DEFAULTS,
  tokenizer: "bpe",
  vocab_size: 4096,
  max_seq_length: 256,
  validation_fraction: 0.1,
  sampling: "random",
  begin_tokens: "template",
} as const;

/** Names of rows' fields, as a run's settings give them. */
export function fieldNames(config: {
  readonly [Name in keyof FieldNames as `${Name}_field`]?: string | undefined;
}): FieldNames {
  return {
    text: config.text_field,
    prompt: config.prompt_field,
    completion: config.completion_field,
    input: config.input_field,
    messages: config.messages_field,
    chosen: config.chosen_field,
    rejected: config.rejected_field,
  };
}
