import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileAtomically } from "../util/atomic-file.ts";
import { openFileSource } from "../util/byte-source.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { errorCode } from "../util/errors.ts";
import type { CorpusFile } from "./corpus-files.ts";
import { readCsvDocuments, readCsvRows } from "./csv-reader.ts";
import { TextError } from "./errors.ts";
import { readJsonDocuments, readJsonRows } from "./json-reader.ts";
import { unpackParquet } from "./parquet.ts";
import { readJsonlDocuments, readJsonlRows, readTextDocuments } from "./text-reader.ts";
import type { DataRow, TextPiece } from "./text-reader.ts";

/** Documents of a file of text, whatever its form. */
export function readDocuments(
  { format, path }: CorpusFile,
  source: ByteSource,
  field: string,
  onProgress?: (byteCount: number) => void,
): Iterable<TextPiece> {
  switch (format) {
    case "jsonl":
    case "parquet":
      return readJsonlDocuments(source, field, onProgress);
    case "json":
      return readJsonDocuments(source, field, onProgress);
    case "csv":
      return readCsvDocuments(source, field, onProgress);
    case "text":
      return readTextDocuments(source, onProgress);
    case "tokens":
      throw new TextError("text.format", `${path} holds token ids, not text`);
  }
}

/** Rows of a file that has rows; those of a text are its documents. Throws `TextError` for token ids. */
export function readRows(
  { format, path }: CorpusFile,
  source: ByteSource,
  onProgress?: (byteCount: number) => void,
): Iterable<DataRow> {
  switch (format) {
    case "jsonl":
    case "parquet":
      return readJsonlRows(source, onProgress);
    case "json":
      return readJsonRows(source, onProgress);
    case "csv":
      return readCsvRows(source, onProgress);
    case "text":
      return textRows(source, onProgress);
    case "tokens":
      throw new TextError("text.format", `${path} holds token ids, not rows`);
  }
}

/** The first row of a file that has rows. Throws `TextError` `text.empty` where there is none. */
export function firstRow(file: CorpusFile): DataRow {
  const source = openCorpus(file, 1);
  try {
    for (const row of readRows(file, source)) return row;
  } finally {
    source.close();
  }
  throw new TextError("text.empty", `${file.path} has no rows`);
}

function* textRows(
  source: ByteSource,
  onProgress?: (byteCount: number) => void,
): Generator<DataRow> {
  let number = 1;
  let parts: string[] = [];
  for (const { text, endsDocument } of readTextDocuments(source, onProgress)) {
    parts.push(text);
    if (!endsDocument) continue;
    yield { number: number++, value: parts.join("") };
    parts = [];
  }
}

/** Unpacks in a process of its own, since Node's streams wait for an event loop that the caller may not give. */
const UNPACK = `
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
const [from, to] = process.argv.slice(1);
await pipeline(createReadStream(from), createGunzip(), createWriteStream(to)).catch((error) => {
  process.stderr.write(error.message);
  process.exit(1);
});`;

function unpackGzip(from: string, to: string): void {
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module", "-e", UNPACK, from, to],
    { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] },
  );
  if (status !== 0)
    throw new TextError("text.gzip", `${from} cannot be unpacked: ${stderr.trim()}`);
}

/**
 * The bytes of a file, unpacked where it is compressed, those of parquet as `.jsonl`; what was unpacked is gone when the
 * source is closed. `rowLimit`: rows of parquet that are wanted; default: all.
 */
export function openCorpus(file: CorpusFile, rowLimit?: number): ByteSource {
  if (!file.isCompressed && file.format !== "parquet") return openFileSource(file.path);
  const folder = mkdtempSync(join(tmpdir(), "anecdote-unpacked-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const path = join(folder, "data");
    if (file.format === "parquet") unpackParquet(file.path, path, rowLimit);
    else unpackGzip(file.path, path);
    const source = openFileSource(path);
    return {
      name: file.path,
      byteLength: source.byteLength,
      read: (offset, length) => source.read(offset, length),
      readInto: (offset, target) => source.readInto(offset, target),
      close: () => {
        source.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** What a file name says that stands for standard input. */
export const STANDARD_INPUT = "-";
const WAIT_MS = 20;

/** Copies standard input into a file, so that it can be read more than once. */
export function keepStandardInput(path: string): string {
  const block = Buffer.alloc(1 << 20);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const handle = openSync("/dev/stdin", "r");
  try {
    writeFileAtomically(path, (write) => {
      for (;;) {
        let count: number;
        try {
          count = readSync(handle, block);
        } catch (error) {
          if (errorCode(error) !== "EAGAIN") throw error;
          Atomics.wait(pause, 0, 0, WAIT_MS);
          continue;
        }
        if (count === 0) return;
        write(block.subarray(0, count));
      }
    });
  } finally {
    closeSync(handle);
  }
  return path;
}
