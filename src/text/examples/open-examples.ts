import { corpusName, findCorpusFiles } from "../corpus-files.ts";
import type { CorpusFile, CorpusFiles, CorpusPaths } from "../corpus-files.ts";
import { firstRow, openCorpus, readRows } from "../corpus-source.ts";
import { TextError } from "../errors.ts";
import { encodeExample } from "./example-encoder.ts";
import type { EncodedExample, ExampleEncoderOptions } from "./example-encoder.ts";
import { EXAMPLE_FORMS, exampleOfRow, formOfRow, noForm, textsOfExample } from "./example.ts";
import type { DataFormat, Example, ExampleForm, FieldNames } from "./example.ts";
import { ExampleStore, sliceExamples } from "./example-set.ts";
import type { ExampleSet } from "./example-set.ts";
import type { DataRow } from "../text-reader.ts";

/** A row of a file as an example. */
export interface ReadExample {
  /** Counted from 1. */
  readonly row: number;
  /** File and row, for messages. */
  readonly where: string;
  readonly example: Example;
}

/** Examples of a file, row by row. Throws `TextError` for rows that are none of the form. */
export function* readExamples(
  file: CorpusFile,
  form: ExampleForm,
  names: FieldNames,
  onProgress?: (byteCount: number, byteTotal: number) => void,
): Generator<ReadExample> {
  for (const { number, where, value } of placedRows(file, onProgress))
    yield { row: number, where, example: exampleOfRow(value, form, names, where) };
}

/** Rows of a file, each with its place for messages. */
export function* placedRows(
  file: CorpusFile,
  onProgress?: (byteCount: number, byteTotal: number) => void,
): Generator<DataRow & { readonly where: string }> {
  const source = openCorpus(file);
  try {
    const rows = readRows(file, source, (done) => onProgress?.(done, source.byteLength));
    for (const row of rows) yield { ...row, where: `${file.path}, row ${row.number}` };
  } finally {
    source.close();
  }
}

/**
 * The form of data whose rows are examples, or nothing for data that are a stream of text or token ids. Throws
 * `TextError` for a first row that says neither.
 */
export function exampleFormOf(
  paths: CorpusPaths,
  format: DataFormat,
  names: FieldNames,
): ExampleForm | undefined {
  if (format === "stream") return undefined;
  const [file] = findCorpusFiles(paths).train;
  const chosen = EXAMPLE_FORMS.find((form) => form === format);
  if (file === undefined) return chosen;
  if (file.format === "tokens") {
    if (chosen === undefined) return undefined;
    throw new TextError("text.format", `${file.path} holds token ids, not rows of ${chosen}`, {
      remedy: "Leave --data-format out.",
    });
  }
  if (chosen !== undefined) return chosen;
  if (file.format === "text") return undefined;
  const { number, value } = firstRow(file);
  const form = formOfRow(value, names);
  // Whoever reads a stream says what is wrong with its rows.
  if (format === "auto") return form === "text" ? undefined : form;
  if (form === undefined) throw noForm(value, names, `${file.path}, row ${number}`);
  return form;
}

/** Why a row gives nothing to learn, in the order of reports. */
export const DROP_REASONS = ["empty", "masked", "cut off", "same"] as const;
/** Why a row gives nothing to learn. */
export type DropReason = (typeof DROP_REASONS)[number];

const WHY: Readonly<Record<DropReason, string>> = {
  empty: "has fewer than two tokens",
  masked: "has nothing that is to be learned",
  "cut off": "is so long that all that is to be learned is cut off",
  same: "has two answers that are the same",
};

/** A row that was left out. */
export interface DroppedRow {
  readonly where: string;
  readonly reason: DropReason;
}

/** What became of the rows of a split. */
export interface ExampleReport {
  readonly split: keyof CorpusFiles;
  readonly rowCount: number;
  /** Two answers are one. More than rows where conversations are learned answer by answer. */
  readonly exampleCount: number;
  /** Examples that were longer than a row of the plan. */
  readonly truncatedCount: number;
  readonly dropped: readonly DroppedRow[];
  /** Conversations that became one example for each answer. */
  readonly dividedCount: number;
}

/** How examples are opened. */
export interface ExampleDataOptions extends ExampleEncoderOptions {
  readonly form: ExampleForm;
  readonly names: FieldNames;
  /** S: an example has one token more at most. */
  readonly contextLength: number;
  /** Last part of the training examples that is set aside where there is no validation file. */
  readonly validationFraction: number;
  /** Hears how far a file is read, in bytes. */
  readonly onProgress?: (path: string, byteCount: number, byteTotal: number) => void;
}

/** Examples to train on and to judge by. */
export interface ExampleData {
  readonly train: ExampleSet;
  readonly validation: ExampleSet | undefined;
  readonly test: ExampleSet | undefined;
  readonly reports: readonly ExampleReport[];
}

/** What becomes of an example: tokens as they will be learned, or why nothing is. */
export type Fate =
  | { readonly kind: "learned"; readonly isTruncated: boolean }
  | { readonly kind: "dropped"; readonly reason: DropReason };

/** As `fateOf`, of a row's two answers: a pair is learned as a whole or not at all. */
export function fateOfPair(pair: readonly EncodedExample[], contextLength: number): Fate {
  const fates = pair.map((one) => fateOf(one, contextLength));
  const dropped = fates.find(({ kind }) => kind === "dropped");
  if (dropped !== undefined) return dropped;
  const [chosen, rejected] = pair.map(({ ids }) => ids.slice(0, contextLength + 1).join());
  if (chosen === rejected) return { kind: "dropped", reason: "same" };
  return {
    kind: "learned",
    isTruncated: fates.some((fate) => fate.kind === "learned" && fate.isTruncated),
  };
}

/** What the plan's rows of `contextLength` tokens do to an example. */
export function fateOf({ ids, isLearned }: EncodedExample, contextLength: number): Fate {
  const dropped = (reason: DropReason): Fate => ({ kind: "dropped", reason });
  if (ids.length < 2) return dropped("empty");
  const first = isLearned.indexOf(true, 1);
  if (first < 0) return dropped("masked");
  if (first > contextLength) return dropped("cut off");
  return { kind: "learned", isTruncated: ids.length > contextLength + 1 };
}

/**
 * Reads data whose rows are examples, all of them into memory, four bytes a token. Rows that give nothing to learn are
 * left out and reported. Throws `TextError` for what is wrong in a row, and `text.examples.none` for a split that has
 * rows and none to learn from.
 */
export function openExamples(paths: CorpusPaths, options: ExampleDataOptions): ExampleData {
  const found = findCorpusFiles(paths);
  const reports: ExampleReport[] = [];
  const read = (split: keyof CorpusFiles): ExampleSet | undefined => {
    if (found[split].length === 0) return undefined;
    const { set, report } = readSplit(split, found[split], corpusName(paths), options);
    reports.push(report);
    return set;
  };
  const train = read("train");
  const validation = read("validation");
  const test = read("test");
  if (train === undefined)
    throw new TextError("text.folder", `${corpusName(paths)} has no training data`);
  const { validationFraction } = options;
  if (validation !== undefined || validationFraction === 0)
    return { train, validation, test, reports };
  const unit = options.form === "preferences" ? 2 : 1;
  const heldCount = unit * Math.max(1, Math.round((train.count / unit) * validationFraction));
  const kept = train.count - heldCount;
  if (kept < unit) {
    throw new TextError(
      "text.short",
      `${train.name} has ${train.count / unit} example, and ${heldCount / unit} would be held out for evaluation`,
      { remedy: "Give more rows, data to judge by (--eval-data), or --validation-fraction 0." },
    );
  }
  return {
    train: sliceExamples(train, 0, kept),
    validation: sliceExamples(
      train,
      kept,
      train.count,
      `the last ${validationFraction * 100} % of ${corpusName(paths)}`,
    ),
    test,
    reports,
  };
}

function readSplit(
  split: keyof CorpusFiles,
  files: readonly CorpusFile[],
  name: string,
  options: ExampleDataOptions,
): { readonly set: ExampleSet; readonly report: ExampleReport } {
  const store = new ExampleStore(`${split} data of ${name}`);
  const dropped: DroppedRow[] = [];
  const arePairs = options.form === "preferences";
  let rowCount = 0;
  let truncatedCount = 0;
  let dividedCount = 0;
  for (const file of files) {
    const rows = readExamples(file, options.form, options.names, (done, total) =>
      options.onProgress?.(file.path, done, total),
    );
    for (const { where, example } of rows) {
      rowCount++;
      const encoded = encodeExample(example, options, where);
      if (arePairs) {
        const fate = fateOfPair(encoded, options.contextLength);
        if (fate.kind === "dropped") dropped.push({ where, reason: fate.reason });
        else for (const one of encoded) store.add(one, options.contextLength + 1);
        if (fate.kind === "learned" && fate.isTruncated) truncatedCount++;
        continue;
      }
      if (encoded.length > 1) dividedCount++;
      for (const one of encoded) {
        const fate = fateOf(one, options.contextLength);
        if (fate.kind === "dropped") {
          dropped.push({ where, reason: fate.reason });
          continue;
        }
        if (fate.isTruncated) truncatedCount++;
        store.add(one, options.contextLength + 1);
      }
    }
  }
  const [first] = dropped;
  if (store.count === 0) {
    throw new TextError(
      "text.examples.none",
      first === undefined
        ? `${store.name}: there is no row in it`
        : `${store.name}: none of ${rowCount} rows gives anything to learn; ${first.where} ${WHY[first.reason]}`,
      {
        remedy:
          first?.reason === "cut off"
            ? "Raise --max-seq-length, or shorten the prompts."
            : "anecdote data check shows what becomes of the rows.",
      },
    );
  }
  const exampleCount = arePairs ? store.count / 2 : store.count;
  const report = { split, rowCount, exampleCount, truncatedCount, dropped, dividedCount };
  return { set: store, report };
}

/** What a user should know of the rows, a sentence each. */
export function exampleNotes(
  reports: readonly ExampleReport[],
  contextLength: number,
): readonly string[] {
  return reports.flatMap(({ split, exampleCount, truncatedCount, dropped, dividedCount }) => [
    ...(truncatedCount === 0
      ? []
      : [
          `${truncatedCount} of ${exampleCount} ${split} examples are longer than ${contextLength} tokens and were cut there`,
        ]),
    ...DROP_REASONS.flatMap((reason) => {
      const rows = dropped.filter((row) => row.reason === reason);
      const [first] = rows;
      if (first === undefined) return [];
      const others = rows.length === 1 ? "" : `, and so are ${rows.length - 1} more`;
      return [`${first.where} was left out: it ${WHY[reason]}${others}`];
    }),
    ...(dividedCount === 0
      ? []
      : [
          `${dividedCount} ${split} conversations became an example for each answer: the chat template writes earlier answers otherwise than the last`,
        ]),
  ]);
}

/** Texts of a data set's training examples, for a tokenizer that is trained on them. */
export function* exampleTexts(
  paths: CorpusPaths,
  form: ExampleForm,
  names: FieldNames,
): Generator<string> {
  for (const file of findCorpusFiles(paths).train) {
    for (const { example } of readExamples(file, form, names)) {
      for (const text of textsOfExample(example)) if (text !== "") yield text;
    }
  }
}
