import { CONTEXT_OVERFLOWS, WEIGHT_FORMATS } from "../generate/index.ts";
import { TRAIN_OPTIONS } from "../train/index.ts";
import {
  choiceOption,
  dataOption,
  flagOption,
  numberOption,
  OPTIONS_GROUP,
  textOption,
  wholeOption,
} from "../util/options.ts";
import type { OptionValues } from "../util/options.ts";
import type { SamplingOptions } from "../generate/index.ts";
import { defined } from "../util/defined.ts";

const SAMPLING = { group: "Sampling" };
const MACHINE = { group: "Machine" };

/** What runs a model. Words as those of a training, but that threads have no default here. */
export const ENGINE_OPTIONS = {
  engine: TRAIN_OPTIONS.engine,
  threads: { ...TRAIN_OPTIONS.threads, description: "threads of the CPU engine" },
  ane_driver: TRAIN_OPTIONS.ane_driver,
  arithmetic: TRAIN_OPTIONS.arithmetic,
  numerics: TRAIN_OPTIONS.numerics,
} as const;

/** Flags of commands that write, beside their options. */
export interface WritingFlags {
  readonly stop: readonly string[];
  readonly adapter: readonly string[];
  readonly json?: boolean;
}

/** How tokens are chosen. */
export const SAMPLING_OPTIONS = {
  max_tokens: wholeOption("most tokens to write", 1, {
    ...SAMPLING,
    aliases: ["max_new_tokens", "num_predict"],
  }),
  temperature: numberOption("0 takes the most likely token", {
    ...SAMPLING,
    minimum: 0,
    aliases: ["temp"],
  }),
  top_k: wholeOption("keep the K most likely tokens; 0 = all", 0, { ...SAMPLING }),
  top_p: numberOption("keep the most likely tokens up to this probability", {
    ...SAMPLING,
    minimum: 0,
    maximum: 1,
  }),
  min_p: numberOption("keep tokens at least this share as likely as the most likely", {
    ...SAMPLING,
    minimum: 0,
    maximum: 1,
  }),
  repetition_penalty: numberOption("make tokens seen before less likely; 1 = off", {
    ...SAMPLING,
    minimum: 0,
  }),
} as const;

/** The same for a generator, as far as it was said. */
export function samplingOf(
  values: OptionValues<typeof SAMPLING_OPTIONS>,
): Partial<SamplingOptions> {
  const { temperature, top_k: topK, top_p: topP, min_p: minP } = values;
  return defined({ temperature, topK, topP, minP, repetitionPenalty: values.repetition_penalty });
}

/** How rows of examples are read. */
export const ROW_OPTIONS = {
  data_format: TRAIN_OPTIONS.data_format,
  prompt_field: TRAIN_OPTIONS.prompt_field,
  completion_field: TRAIN_OPTIONS.completion_field,
  input_field: TRAIN_OPTIONS.input_field,
  messages_field: TRAIN_OPTIONS.messages_field,
} as const;

/** Settings of `anecdote generate`; names follow mlx-lm and Hugging Face. */
export const GENERATE_OPTIONS = {
  model: textOption("a model folder, or a run's folder (its newest checkpoint)", {
    placeholder: "DIR",
    aliases: ["model_name_or_path"],
  }),
  prompt: textOption(
    "text to continue, `-` for standard input; without it the model begins a document",
    { placeholder: "TEXT", mayBeEmpty: true },
  ),
  prompt_file: textOption("a file that is continued, all of it; `-` for standard input", {
    placeholder: "FILE",
  }),
  prompts: textOption(
    "a file of prompts, one a line (.jsonl: a field `prompt`); `-` for standard input",
    { placeholder: "FILE" },
  ),
  num_samples: wholeOption("texts for each prompt", 1, { ...SAMPLING, maximum: 100_000 }),
  ...SAMPLING_OPTIONS,
  context_overflow: choiceOption(
    "what follows where the model's context is full: a window that slides token by token, half of the context read again, or the end; auto: slide for gpt2, reread for rotary models",
    CONTEXT_OVERFLOWS,
    SAMPLING,
  ),
  seed: wholeOption("seed of the draws; default: another one each time", 0, { ...SAMPLING }),
  weights: choiceOption(
    "how matrices and tables stand in memory: 16-bit floats, or whole numbers in groups; default: as the model's files say",
    WEIGHT_FORMATS,
    MACHINE,
  ),
  ...ENGINE_OPTIONS,
} as const;

/** Settings of `anecdote eval`. */
export const EVAL_OPTIONS = {
  model: GENERATE_OPTIONS.model,
  data: dataOption(
    "text and rows (.txt, .jsonl, .json, .csv, each also .gz, .parquet) or token ids (.bin): files, patterns, a folder, or `-` for standard input",
    { placeholder: "FILE_OR_DIR" },
  ),
  text_field: { ...TRAIN_OPTIONS.text_field, group: OPTIONS_GROUP },
  ...ROW_OPTIONS,
  mask_prompt: TRAIN_OPTIONS.mask_prompt,
  pair_style: TRAIN_OPTIONS.pair_style,
  batch_size: wholeOption("windows at once", 1),
  max_seq_length: wholeOption("tokens of context; default: the model's, at most 1,024", 2, {
    aliases: ["max_length", "block_size"],
  }),
  by_document: flagOption("judge each document with nothing but itself as context"),
  engine: GENERATE_OPTIONS.engine,
  threads: GENERATE_OPTIONS.threads,
  ane_driver: GENERATE_OPTIONS.ane_driver,
  numerics: GENERATE_OPTIONS.numerics,
  arithmetic: GENERATE_OPTIONS.arithmetic,
} as const;
