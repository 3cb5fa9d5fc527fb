import { DATA_FORMATS } from "../../text/index.ts";
import type { FieldNames } from "../../text/index.ts";
import { choiceOption, flagOption, textOption } from "../../util/options.ts";

const EXAMPLES = { group: "Examples" };

/** How pairs of texts are written. */
export const PAIR_STYLES = ["auto", "chat", "text"] as const;
export type PairStyle = (typeof PAIR_STYLES)[number];

/** How rows become examples, and what of them is learned. */
export const EXAMPLE_OPTIONS = {
  data_format: choiceOption(
    "what rows hold; auto: what their fields say, rows of text being one stream; examples: the same, each row of text by itself; stream: text, whatever other fields there are",
    DATA_FORMATS,
    EXAMPLES,
  ),
  prompt_field: textOption("field of the prompt; default: prompt, or instruction", {
    ...EXAMPLES,
    placeholder: "NAME",
    aliases: ["prompt_feature", "prompt_column", "instruction_field"],
  }),
  completion_field: textOption("field of the completion; default: completion, or output", {
    ...EXAMPLES,
    placeholder: "NAME",
    aliases: ["completion_feature", "completion_column", "response_field", "output_field"],
  }),
  input_field: textOption("field of an instruction's input; default: input", {
    ...EXAMPLES,
    placeholder: "NAME",
  }),
  messages_field: textOption("field of a conversation; default: messages", {
    ...EXAMPLES,
    placeholder: "NAME",
    aliases: ["chat_feature", "messages_column", "messages_key"],
  }),
  chosen_field: textOption("field of the better answer, with --method dpo; default: chosen", {
    ...EXAMPLES,
    placeholder: "NAME",
    aliases: ["chosen_feature", "chosen_column"],
  }),
  rejected_field: textOption("field of the worse answer, with --method dpo; default: rejected", {
    ...EXAMPLES,
    placeholder: "NAME",
    aliases: ["rejected_feature", "rejected_column"],
  }),
  mask_prompt: flagOption(
    "learn completions and the assistant's messages only (mlx-lm: the last message only)",
    {
      ...EXAMPLES,
      aliases: ["completion_only_loss", "assistant_only_loss", "train_on_completions_only"],
    },
  ),
  pair_style: choiceOption(
    "prompts with completions as chat (mlx-lm's way), or as texts one behind the other (TRL's); auto: as chat where the model has a chat template",
    PAIR_STYLES,
    EXAMPLES,
  ),
  chat_template: textOption(
    "chat template in place of the model's: plain, chatml, or a .jinja file; it is kept with the run's tokenizer",
    { ...EXAMPLES, placeholder: "NAME_OR_FILE" },
  ),
  packing: flagOption(
    "put several examples into a row, none of which sees another: fewer rows, equal losses",
    { ...EXAMPLES, aliases: ["sample_packing", "pack"] },
  ),
} as const;

export const EXAMPLE_DEFAULTS = {
  data_format: "auto",
  mask_prompt: false,
  pair_style: "auto",
  packing: false,
} as const;

/** Names of rows' fields, as a run's settings give them. */
export function fieldNames(config: {
  readonly text_field?: string | undefined;
  readonly prompt_field?: string | undefined;
  readonly completion_field?: string | undefined;
  readonly input_field?: string | undefined;
  readonly messages_field?: string | undefined;
  readonly chosen_field?: string | undefined;
  readonly rejected_field?: string | undefined;
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
