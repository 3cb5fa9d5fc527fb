import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { openFileSource } from "../util/byte-source.ts";
import { TextError } from "./errors.ts";
import { expandPattern, isPattern } from "./glob.ts";

/**
 * text: UTF-8; jsonl: one object a line; json: an array of rows; csv: rows under names; parquet: rows in columns;
 * tokens: ids of 2 or 4 bytes.
 */
export type CorpusFormat = "text" | "jsonl" | "json" | "csv" | "parquet" | "tokens";

/** A file of a corpus. */
export interface CorpusFile {
  readonly path: string;
  readonly format: CorpusFormat;
  /** Packed with gzip. */
  readonly isCompressed?: boolean;
}

/** A file, a folder or a pattern, or several of them. */
export type CorpusPaths = string | readonly string[];

/** The files of a data set by split; only `train` is sure to have some. */
export interface CorpusFiles {
  readonly train: readonly CorpusFile[];
  readonly validation: readonly CorpusFile[];
  readonly test: readonly CorpusFile[];
}

type Split = keyof CorpusFiles;

const FORMATS: ReadonlyMap<string, CorpusFormat> = new Map([
  [".txt", "text"],
  [".text", "text"],
  [".jsonl", "jsonl"],
  [".ndjson", "jsonl"],
  [".json", "json"],
  [".csv", "csv"],
  [".tsv", "csv"],
  [".parquet", "parquet"],
  [".bin", "tokens"],
  [".u16", "tokens"],
  [".u32", "tokens"],
  [".uint16", "tokens"],
  [".uint32", "tokens"],
]);

const SPLIT_NAMES: ReadonlyMap<string, Split> = new Map([
  ["train", "train"],
  ["training", "train"],
  ["valid", "validation"],
  ["validation", "validation"],
  ["val", "validation"],
  ["dev", "validation"],
  ["test", "test"],
]);

const EXPECTED =
  'Known are .txt, .jsonl, .json and .csv (a field or column "text"), each also as .gz, .parquet, and .bin (token ids of 2 or 4 bytes).';

/** The format a file's name promises; a name that promises none is text. */
function formatOf(path: string): CorpusFormat {
  const extension = extname(path).toLowerCase();
  const known = FORMATS.get(extension);
  if (known !== undefined) return known;
  const refused: Record<string, string> = {
    ".xlsx": "Save it as .csv first.",
    ".zst": "Unpack it first.",
    ".zip": "Unpack it first.",
  };
  const remedy = refused[extension];
  if (remedy === undefined) return "text";
  throw new TextError("text.format", `${path}: ${extension} files are not read. ${EXPECTED}`, {
    remedy,
  });
}

const GZIP = /\.gz$/i;

function corpusFile(path: string): CorpusFile {
  const isCompressed = GZIP.test(path);
  const format = formatOf(path.replace(GZIP, ""));
  if (isCompressed && (format === "tokens" || format === "parquet")) {
    const what = format === "tokens" ? "token ids are" : "parquet is";
    throw new TextError("text.format", `${path}: ${what} read by position, not unpacked`, {
      remedy: "Unpack it first: gunzip.",
    });
  }
  return { path, format, ...(isCompressed && { isCompressed }) };
}

/** Whether a folder's file is data; a `.json` of a folder is more often a configuration. */
function isData(name: string): boolean {
  const extension = extname(name.replace(GZIP, "")).toLowerCase();
  return FORMATS.has(extension) && (extension !== ".json" || splitOf(name) !== undefined);
}

function splitOf(name: string): Split | undefined {
  const plain = name.replace(GZIP, "");
  const stem = plain.slice(0, plain.length - extname(plain).length).toLowerCase();
  const found = new Set<Split>();
  for (const part of stem.split(/[-_.\s]+/)) {
    const split = SPLIT_NAMES.get(part);
    if (split !== undefined) found.add(split);
  }
  return found.size === 1 ? [...found][0] : undefined;
}

/** What a run's folder has of its own; nobody trains on it unless it is named. */
const EVENTS_FILE = "events.ndjson";

function filesOfFolder(folder: string): CorpusFiles {
  const names = readdirSync(folder)
    .filter((name) => isData(name) && !name.startsWith("."))
    .filter((name) => name !== EVENTS_FILE && statSync(join(folder, name)).isFile())
    .sort();
  const splits: Record<Split, CorpusFile[]> = { train: [], validation: [], test: [] };
  const isSplit = names.some((name) => splitOf(name) === "train");
  for (const name of names) {
    // Where no file is named after training, all that are named after nothing are what to train on.
    const split = splitOf(name) ?? (isSplit ? undefined : "train");
    if (split !== undefined) splits[split].push(corpusFile(join(folder, name)));
  }
  for (const [split, files] of Object.entries(splits)) {
    const formats = new Set(files.map((file) => file.format));
    if (formats.size > 1) {
      throw new TextError(
        "text.ambiguous",
        `${folder} has its ${split} data in several formats: ${files.map((file) => basename(file.path)).join(", ")}`,
        { remedy: "Keep one of them, or give the file instead of the folder." },
      );
    }
  }
  if (splits.train.length > 0) return splits;
  if (names.length === 0 && existsSync(join(folder, EVENTS_FILE))) {
    throw new TextError(
      "text.folder",
      `${folder} is the folder of a run and holds no training data: its ${EVENTS_FILE} is the run's record`,
      { remedy: "Name the text to train on." },
    );
  }
  const listed =
    names.length === 0 ? "no file of text, rows or token ids" : names.slice(0, 8).join(", ");
  throw new TextError("text.folder", `${folder} has no training data: it holds ${listed}`, {
    remedy: `Files that are named after validation or test are not trained on; give a file itself to do so. ${EXPECTED}`,
  });
}

/**
 * The files of a data set: files, patterns of them (taken in order of their names), or folders. A folder's files are
 * taken by the split that their names tell, those that tell none as training data where no name tells that; several
 * are taken in order of their names. Throws `TextError` `text.missing`, `text.folder`,
 * `text.format` or `text.ambiguous`.
 */
export function findCorpusFiles(paths: CorpusPaths): CorpusFiles {
  const named = typeof paths === "string" ? [paths] : paths;
  const splits: Record<Split, CorpusFile[]> = { train: [], validation: [], test: [] };
  for (const path of named.flatMap(expandedPath)) {
    const found = statSync(path).isDirectory()
      ? filesOfFolder(path)
      : { train: [corpusFile(path)], validation: [], test: [] };
    for (const split of ["train", "validation", "test"] as const)
      splits[split].push(...found[split]);
  }
  return splits;
}

function expandedPath(path: string): readonly string[] {
  if (existsSync(path)) return [path];
  if (!isPattern(path)) throw new TextError("text.missing", `${path} does not exist`);
  const found = expandPattern(path);
  if (found.length > 0) return found;
  throw new TextError("text.missing", `no file fits the pattern ${path}`);
}

/** What data are called in messages. */
export function corpusName(paths: CorpusPaths): string {
  if (typeof paths === "string") return paths;
  const [first = "", ...others] = paths;
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}

/** How many bytes files have together. */
export function byteLengthOf(files: readonly CorpusFile[]): number {
  let byteLength = 0;
  for (const file of files) {
    const source = openFileSource(file.path);
    byteLength += source.byteLength;
    source.close();
  }
  return byteLength;
}
