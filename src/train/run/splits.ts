// A run's data as splits: a stream of tokens in windows, or examples in rows.
import {
  ChatTemplate,
  corpusName,
  dataNotes,
  exampleFormOf,
  exampleNotes,
  examplesDigest,
  exampleSplit,
  hasChatTemplate,
  marksOf,
  openExamples,
  pairSplit,
  trainingDigest,
  trainingFrame,
  windowSplit,
} from "../../text/index.ts";
import type {
  CorpusPaths,
  Dataset,
  DataSplit,
  DescribedTokenizer,
  ExampleEncoderOptions,
  ExampleForm,
  Tokenizer,
} from "../../text/index.ts";
import { fieldNames } from "../config/data-options.ts";
import type { DataSettings } from "../config/part-settings.ts";
import { TrainError } from "../errors.ts";

/** The form of data whose rows are examples; nothing for a stream. Throws `TrainError` for a stream to be packed. */
export function formOf(path: CorpusPaths, settings: DataSettings): ExampleForm | undefined {
  const form = exampleFormOf(path, settings.data_format, fieldNames(settings));
  const wantsPairs = settings.method === "dpo";
  if (wantsPairs && form !== "preferences") {
    throw new TrainError(
      "train.preference.data",
      `--method dpo learns from pairs of answers, and ${corpusName(path)} holds ${form ?? "one stream of text"}`,
      { remedy: 'Give rows with "chosen" and "rejected" (--chosen-field, --rejected-field).' },
    );
  }
  if (!wantsPairs && form === "preferences") {
    throw new TrainError(
      "train.preference.method",
      `${corpusName(path)} holds pairs of answers, and nothing but --method dpo learns from both`,
      {
        remedy:
          "Take --method dpo; or learn the better answers alone: --data-format completions --completion-field chosen.",
      },
    );
  }
  if (form === undefined && settings.packing) {
    throw new TrainError(
      "train.packing",
      "--packing puts examples into rows, and the data are one stream of text",
      {
        remedy:
          "Leave --packing out; or make every row an example: --data-format examples (of a .txt: text).",
      },
    );
  }
  return form;
}

/** Data in splits. */
export interface Splits {
  readonly train: DataSplit;
  readonly validation: DataSplit | undefined;
  readonly notes: readonly string[];
  /** Tells the training data from others. */
  readonly digest: string;
  readonly close: () => void;
}

export interface SplitOptions {
  readonly validationFraction: number;
  readonly onProgress: (path: string, byteCount: number, byteTotal: number) => void;
}

/** How a run writes examples as tokens. `where`: what has the tokenizer, for messages of its chat template. */
export function encoderOptions(
  settings: Pick<DataSettings, "begin_tokens" | "mask_prompt" | "pair_style">,
  described: DescribedTokenizer,
  where: string,
): ExampleEncoderOptions {
  const { tokenizer } = described;
  const chat = hasChatTemplate(described) ? new ChatTemplate(described, where) : undefined;
  const style = settings.pair_style;
  return {
    ...{ tokenizer, chat },
    frame: trainingFrame(tokenizer, settings.begin_tokens),
    masksPrompt: settings.mask_prompt,
    writesPairsAsChat: style === "chat" || (style === "auto" && chat !== undefined),
  };
}

/** Examples in rows. Throws what `openExamples` throws. */
export function exampleSplits(
  path: CorpusPaths,
  form: ExampleForm,
  settings: DataSettings,
  encoder: ExampleEncoderOptions,
  { validationFraction, onProgress }: SplitOptions,
): Splits {
  const contextLength = settings.max_seq_length;
  const { train, validation, reports } = openExamples(path, {
    ...encoder,
    ...{ form, names: fieldNames(settings), contextLength, validationFraction, onProgress },
  });
  const { padding } = encoder.tokenizer.special;
  const rows = { contextLength, isPacked: settings.packing, padding };
  const split = (set: typeof train): DataSplit =>
    form === "preferences" ? pairSplit(set, { contextLength, padding }) : exampleSplit(set, rows);
  return {
    train: split(train),
    validation: validation && split(validation),
    notes: [...pairNotes(form, settings, encoder), ...exampleNotes(reports, contextLength)],
    digest: examplesDigest(train),
    close: () => undefined,
  };
}

/** Which of two ways was taken, where nobody chose one. */
function pairNotes(
  form: ExampleForm,
  { pair_style: style }: DataSettings,
  { chat }: ExampleEncoderOptions,
): readonly string[] {
  const arePairs = form === "completions" || form === "alpaca";
  return arePairs && style === "auto" && chat !== undefined
    ? [
        "prompts and completions are written by the model's chat template; --pair-style text puts one behind the other",
      ]
    : [];
}

/** A data set that is open already, in windows. */
export function windowSplits(
  dataset: Dataset,
  settings: DataSettings,
  tokenizer: Tokenizer,
): Splits {
  const frame = trainingFrame(tokenizer, settings.begin_tokens);
  const cut = {
    contextLength: settings.max_seq_length,
    sampling: settings.sampling,
    marks: marksOf(frame),
  };
  return {
    train: windowSplit(dataset.train, cut),
    validation: dataset.validation && windowSplit(dataset.validation, cut),
    notes: dataNotes(dataset, frame),
    digest: trainingDigest(dataset),
    close: () => {
      dataset.close();
    },
  };
}
