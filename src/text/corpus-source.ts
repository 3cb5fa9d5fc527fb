import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileAtomically } from "../util/atomic-file.ts";
import { openFileSource } from "../util/byte-source.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { errorCode } from "../util/errors.ts";
import type { CorpusFile } from "./corpus-files.ts";
import { readCsvDocuments } from "./csv-reader.ts";
import { TextError } from "./errors.ts";
import { readJsonDocuments } from "./json-reader.ts";
import { readJsonlDocuments, readTextDocuments } from "./text-reader.ts";
import type { TextPiece } from "./text-reader.ts";

/** Documents of a file of text, whatever its form. */
export function readDocuments(
  { format, path }: CorpusFile,
  source: ByteSource,
  field: string,
  onProgress?: (byteCount: number) => void,
): Iterable<TextPiece> {
  switch (format) {
    case "jsonl":
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

/** The bytes of a file, unpacked where it is compressed; what was unpacked is gone when the source is closed. */
export function openCorpus(file: CorpusFile): ByteSource {
  if (!file.isCompressed) return openFileSource(file.path);
  const folder = mkdtempSync(join(tmpdir(), "anecdote-unpacked-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const path = join(folder, "data");
    const { status, stderr } = spawnSync(
      process.execPath,
      ["--input-type=module", "-e", UNPACK, file.path, path],
      { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] },
    );
    if (status !== 0) {
      throw new TextError("text.gzip", `${file.path} cannot be unpacked: ${stderr.trim()}`);
    }
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
