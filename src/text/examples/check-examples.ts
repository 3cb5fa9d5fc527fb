// What a model will see of data: every row encoded, counted and held against the others.
import { createHash } from "node:crypto";
import { findCorpusFiles } from "../corpus-files.ts";
import type { CorpusFile, CorpusFiles, CorpusPaths } from "../corpus-files.ts";
import { TextError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { encodeExample } from "./example-encoder.ts";
import type { EncodedExample } from "./example-encoder.ts";
import { exampleOfRow } from "./example.ts";
import type { ExampleForm } from "./example.ts";
import { fateOf, fateOfPair, placedRows } from "./open-examples.ts";
import type { DroppedRow, ExampleDataOptions } from "./open-examples.ts";

/** A stretch of an example, all of it learned or none. */
export interface ShownPiece {
  readonly text: string;
  readonly learned: boolean;
}

/** An example as the model reads it. */
export interface ShownExample {
  readonly where: string;
  readonly tokens: number;
  /** What stands behind the row's end is not among the pieces. */
  readonly truncated: boolean;
  readonly pieces: readonly ShownPiece[];
}

/** Something wrong with a row. */
export interface RowProblem {
  readonly where: string;
  readonly problem: string;
}

/** Examples with so many tokens: from `from` up to `to`. */
export interface LengthBucket {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** What was found in a split. */
export interface SplitCheck {
  readonly split: keyof CorpusFiles;
  readonly files: readonly string[];
  readonly rows: number;
  readonly examples: number;
  /** Of all examples, before any is cut. */
  readonly tokens: number;
  /** Targets that count, after the cut. */
  readonly learned: number;
  readonly longest: number;
  /** Of examples that are longer than a row of the plan. */
  readonly truncated: readonly string[];
  readonly dropped: readonly DroppedRow[];
  /** Rows that say the same as an earlier one, of this split or of one before it. */
  readonly duplicates: readonly { readonly where: string; readonly of: string }[];
  /** Rows that cannot be read; the first ends its file where the file itself is damaged. */
  readonly errors: readonly RowProblem[];
  readonly lengths: readonly LengthBucket[];
}

/** What a model would see of data. */
export interface DataCheck {
  readonly form: ExampleForm;
  readonly splits: readonly SplitCheck[];
  readonly shown: readonly ShownExample[];
}

/** How data are checked. */
export interface CheckOptions extends Omit<ExampleDataOptions, "validationFraction"> {
  /** Examples to show, the first ones. */
  readonly showCount: number;
}

const BUCKETS = 10;

/**
 * Reads all splits of the data, and every row of them, whatever is wrong with others. Memory holds a number for each
 * example and a digest for each row. Throws `TextError` where there are no files.
 */
export function checkExamples(paths: CorpusPaths, options: CheckOptions): DataCheck {
  const found = findCorpusFiles(paths);
  const seen = new Map<string, string>();
  const shown: ShownExample[] = [];
  const splits = (["train", "validation", "test"] as const)
    .filter((split) => found[split].length > 0)
    .map((split) => checkSplit(split, found[split], options, seen, shown));
  return { form: options.form, splits, shown };
}

function checkSplit(
  split: keyof CorpusFiles,
  files: readonly CorpusFile[],
  options: CheckOptions,
  seen: Map<string, string>,
  shown: ShownExample[],
): SplitCheck {
  const { contextLength, showCount, tokenizer } = options;
  const lengths: number[] = [];
  const truncated: string[] = [];
  const dropped: DroppedRow[] = [];
  const duplicates: { readonly where: string; readonly of: string }[] = [];
  const errors: RowProblem[] = [];
  let rows = 0;
  let learned = 0;
  for (const row of encodedRows(files, options)) {
    rows++;
    if ("problem" in row) {
      errors.push(row);
      continue;
    }
    const { where, encoded } = row;
    const digest = digestOf(encoded);
    const first = seen.get(digest);
    if (first === undefined) seen.set(digest, where);
    else duplicates.push({ where, of: first });
    const arePairs = options.form === "preferences";
    const pairFate = arePairs ? fateOfPair(encoded, contextLength) : undefined;
    if (pairFate?.kind === "dropped") {
      dropped.push({ where, reason: pairFate.reason });
      continue;
    }
    for (const [place, one] of encoded.entries()) {
      const answer = arePairs ? `, ${place === 0 ? "chosen" : "rejected"}` : "";
      const fate = fateOf(one, contextLength);
      if (fate.kind === "dropped") {
        dropped.push({ where, reason: fate.reason });
        continue;
      }
      if (fate.isTruncated) truncated.push(`${where}${answer}`);
      lengths.push(one.ids.length);
      const kept = one.isLearned.slice(0, contextLength + 1);
      learned += kept.filter(Boolean).length;
      if (shown.length < showCount * (arePairs ? 2 : 1))
        shown.push({ where: `${where}${answer}`, ...shownExample(one, contextLength, tokenizer) });
    }
  }
  return {
    ...{ split, files: files.map(({ path }) => path), rows, learned },
    examples: options.form === "preferences" ? lengths.length / 2 : lengths.length,
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    longest: lengths.reduce((most, length) => Math.max(most, length), 0),
    ...{ truncated, dropped, duplicates, errors, lengths: bucketsOf(lengths) },
  };
}

interface EncodedRow {
  readonly where: string;
  readonly encoded: readonly EncodedExample[];
}

function* encodedRows(
  files: readonly CorpusFile[],
  options: CheckOptions,
): Generator<EncodedRow | RowProblem> {
  for (const file of files) {
    try {
      const rows = placedRows(file, (done, total) => options.onProgress?.(file.path, done, total));
      for (const { where, value } of rows) {
        try {
          const example = exampleOfRow(value, options.form, options.names, where);
          yield { where, encoded: encodeExample(example, options, where) };
        } catch (error) {
          yield problemOf(error, where);
        }
      }
    } catch (error) {
      yield problemOf(error, file.path);
    }
  }
}

function problemOf(error: unknown, where: string): RowProblem {
  if (!(error instanceof TextError)) throw error;
  const problem = error.message.startsWith(`${where}: `)
    ? error.message.slice(where.length + 2)
    : error.message;
  return { where, problem };
}

function digestOf(encoded: readonly EncodedExample[]): string {
  const hash = createHash("sha256");
  for (const { ids } of encoded) hash.update(new Uint8Array(Int32Array.from([-1, ...ids]).buffer));
  return hash.digest("base64");
}

function shownExample(
  { ids, isLearned }: EncodedExample,
  contextLength: number,
  tokenizer: Tokenizer,
): Omit<ShownExample, "where"> {
  const end = Math.min(ids.length, contextLength + 1);
  const pieces: ShownPiece[] = [];
  const decoder = tokenizer.streamDecoder();
  let text = "";
  for (let place = 0; place < end; place++) {
    text += decoder.push(ids[place] ?? 0);
    const learned = isLearned[place] === true;
    if (place + 1 < end && isLearned[place + 1] === learned) continue;
    const whole = place + 1 === end ? text + decoder.end() : text;
    if (whole !== "") pieces.push({ text: whole, learned });
    text = "";
  }
  return { tokens: ids.length, truncated: end < ids.length, pieces };
}

/** Ten buckets of one width, a round number of tokens. */
function bucketsOf(lengths: readonly number[]): readonly LengthBucket[] {
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  if (longest === 0) return [];
  const least = Math.ceil(longest / BUCKETS);
  const round = 10 ** Math.floor(Math.log10(least));
  const width =
    [1, 2, 5, 10].map((factor) => factor * round).find((size) => size >= least) ?? least;
  const counts = Array.from({ length: Math.ceil((longest + 1) / width) }, () => 0);
  for (const length of lengths) {
    const place = Math.floor(length / width);
    counts[place] = (counts[place] ?? 0) + 1;
  }
  return counts.map((count, place) => ({
    from: place * width,
    to: (place + 1) * width - 1,
    count,
  }));
}
