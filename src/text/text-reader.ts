import type { ByteSource } from "../util/byte-source.ts";
import { didYouMean } from "../util/nearest.ts";
import { TextError } from "./errors.ts";
import { END_OF_TEXT } from "./simple-tokenizers.ts";
import { damageWords } from "./json-damage.ts";
import { isRecord } from "../util/is-record.ts";

/** A stretch of a document; the last one of each document says so. */
export interface TextPiece {
  readonly text: string;
  readonly endsDocument: boolean;
}

const CHUNK_BYTES = 1 << 20;
const LONGEST_ROW = 1 << 26;

function failAsBinary(source: ByteSource, what: string, remedy: string): never {
  throw new TextError("text.binary", `${source.name} is not UTF-8 text: ${what}`, { remedy });
}

const SIGNATURES: readonly {
  readonly bytes: readonly number[];
  readonly what: string;
  readonly remedy: string;
}[] = [
  { bytes: [0xff, 0xfe], what: "it is UTF-16", remedy: "Convert it: iconv -f UTF-16 -t UTF-8." },
  { bytes: [0xfe, 0xff], what: "it is UTF-16", remedy: "Convert it: iconv -f UTF-16 -t UTF-8." },
  { bytes: [0x1f, 0x8b], what: "it is compressed with gzip", remedy: "Unpack it first: gunzip." },
  { bytes: [0x50, 0x4b, 3, 4], what: "it is a zip archive", remedy: "Unpack it first: unzip." },
  {
    bytes: [0x50, 0x41, 0x52, 0x31],
    what: "it is a Parquet file",
    remedy: "Give it the name of one: .parquet.",
  },
  {
    bytes: [0x28, 0xb5, 0x2f, 0xfd],
    what: "it is compressed with zstd",
    remedy: "Unpack it first: unzstd.",
  },
];

const USUAL_REMEDY =
  "Give a .txt or .jsonl file in UTF-8; tokens that are already ids go into a .bin file.";

function offsetOfBadByte(bytes: Uint8Array, carried: Uint8Array): number {
  let good = 0;
  let bad = bytes.length;
  while (good < bad) {
    const middle = (good + bad + 1) >> 1;
    const decoder = new TextDecoder("utf-8", { fatal: true });
    try {
      decoder.decode(carried, { stream: true });
      decoder.decode(bytes.subarray(0, middle), { stream: true });
      good = middle;
    } catch {
      bad = middle - 1;
    }
  }
  return good;
}

/**
 * The text of a UTF-8 file in chunks, so that its size does not matter. A byte order mark is dropped.
 * Throws `TextError` `text.empty` for no bytes at all and `text.binary` where the bytes are not UTF-8 or hold a NUL.
 */
export function* readText(
  source: ByteSource,
  onProgress: (byteCount: number) => void = () => undefined,
): Generator<string> {
  if (source.byteLength === 0) throw new TextError("text.empty", `${source.name} is empty`);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let carried = new Uint8Array(0);
  for (let offset = 0; offset < source.byteLength; offset += CHUNK_BYTES) {
    const bytes = source.read(offset, Math.min(CHUNK_BYTES, source.byteLength - offset));
    if (offset === 0) {
      const known = SIGNATURES.find((signature) =>
        signature.bytes.every((byte, at) => bytes[at] === byte),
      );
      if (known !== undefined) failAsBinary(source, known.what, known.remedy);
    }
    const nul = bytes.indexOf(0);
    if (nul >= 0)
      failAsBinary(source, `there is a NUL byte at offset ${offset + nul}`, USUAL_REMEDY);
    const isLast = offset + bytes.length === source.byteLength;
    let text: string;
    try {
      text = decoder.decode(bytes, { stream: !isLast });
    } catch {
      const at = Math.min(offsetOfBadByte(bytes, carried), bytes.length - 1);
      const byte = (bytes[at] ?? 0).toString(16).padStart(2, "0");
      return failAsBinary(
        source,
        `byte 0x${byte} at offset ${offset + at} fits no character`,
        USUAL_REMEDY,
      );
    }
    // Up to three bytes of a character may wait for the next chunk; they are needed to place an error.
    carried = bytes.slice(-3);
    while (carried.length > 0 && ((carried[0] ?? 0) & 0xc0) === 0x80) carried = carried.slice(1);
    onProgress(offset + bytes.length);
    if (text !== "") yield text;
  }
}

/**
 * Documents of a plain text file: the whole file, or what stands between `<|endoftext|>` marks.
 * Line ends next to a mark belong to the mark. Documents without text are left out.
 */
export function* readTextDocuments(
  source: ByteSource,
  onProgress?: (byteCount: number) => void,
): Generator<TextPiece> {
  let pending = "";
  let hasText = false;
  let marks = 0;
  const trimStart = (text: string): string =>
    marks > 0 && !hasText ? text.replace(/^[\r\n]+/, "") : text;
  const piece = (text: string, endsDocument: boolean): TextPiece | undefined => {
    hasText ||= text !== "";
    const found = hasText && (text !== "" || endsDocument) ? { text, endsDocument } : undefined;
    if (endsDocument) hasText = false;
    return found;
  };
  for (const chunk of readText(source, onProgress)) {
    pending += chunk;
    for (let mark = pending.indexOf(END_OF_TEXT); mark >= 0; mark = pending.indexOf(END_OF_TEXT)) {
      const last = piece(trimStart(pending.slice(0, mark)).replace(/[\r\n]+$/, ""), true);
      marks++;
      pending = pending.slice(mark + END_OF_TEXT.length);
      if (last !== undefined) yield last;
    }
    // The end may be the beginning of a mark, or line ends before one.
    const uncertain = /[\r\n]*(?:<[|a-z]{0,11})?$/.exec(pending)?.[0].length ?? 0;
    const ready = piece(trimStart(pending.slice(0, pending.length - uncertain)), false);
    if (ready !== undefined) {
      pending = pending.slice(pending.length - uncertain);
      yield ready;
    }
  }
  const rest = trimStart(pending);
  const last = piece(marks > 0 ? rest.replace(/[\r\n]+$/, "") : rest, true);
  if (last !== undefined) yield last;
}

/** A row of a file of rows, counted from 1 as a reader of the file counts. */
export interface DataRow {
  readonly number: number;
  readonly value: unknown;
}

function parsedRow(line: string, row: number, source: ByteSource): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (error) {
    throw new TextError(
      "text.jsonl.json",
      `${source.name}, row ${row}: not JSON${damageWords(line)}: ${JSON.stringify(line.slice(0, 60))}`,
      {
        remedy: "Each line must be one JSON object.",
        cause: error,
      },
    );
  }
}

/** The first fields of a row, for messages. */
export function listedFields(names: readonly string[]): string {
  const listed = names.slice(0, 8).map((name) => JSON.stringify(name));
  return listed.length === 0 ? "no fields" : listed.join(", ");
}

/** The text of a row. */
export function textOfValue(value: unknown, where: string, field: string): string {
  if (!isRecord(value)) {
    throw new TextError(
      "text.jsonl.row",
      `${where}: expected an object such as {"${field}": "..."}, found ${JSON.stringify(value).slice(0, 60)}`,
    );
  }
  const entries = new Map<string, unknown>(Object.entries(value));
  const text = entries.get(field);
  if (typeof text === "string") return text;
  const names = [...entries.keys()];
  throw entries.has(field)
    ? new TextError(
        "text.jsonl.field",
        `${where}: field "${field}" must be a string, found ${JSON.stringify(text).slice(0, 60)}`,
      )
    : new TextError(
        "text.jsonl.field",
        `${where}: no field "${field}"; it has ${listedFields(names)}.${didYouMean(field, names)}`,
        {
          remedy:
            "Name the field that holds the text with --text-field (text_field in a configuration).",
        },
      );
}

/** Documents of rows: each row's text in `field`; rows without text are left out. */
export function* documentsOfRows(
  rows: Iterable<DataRow>,
  name: string,
  field: string,
): Generator<TextPiece> {
  for (const { number, value } of rows) {
    const text = textOfValue(value, `${name}, row ${number}`, field);
    if (text !== "") yield { text, endsDocument: true };
  }
}

/**
 * Rows of a `.jsonl` file: one JSON value a line. Blank lines are counted and left out.
 * Throws `TextError` `text.jsonl.*` naming the row.
 */
export function* readJsonlRows(
  source: ByteSource,
  onProgress?: (byteCount: number) => void,
): Generator<DataRow> {
  let parts: string[] = [];
  let pendingLength = 0;
  let number = 0;
  const take = (line: string): DataRow | undefined => {
    number++;
    return line.trim() === "" ? undefined : { number, value: parsedRow(line, number, source) };
  };
  for (const chunk of readText(source, onProgress)) {
    let start = 0;
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", start)) {
      parts.push(chunk.slice(start, end));
      const found = take(parts.join(""));
      parts = [];
      pendingLength = 0;
      start = end + 1;
      if (found !== undefined) yield found;
    }
    parts.push(chunk.slice(start));
    pendingLength += chunk.length - start;
    if (pendingLength > LONGEST_ROW) {
      throw new TextError(
        "text.jsonl.row",
        `${source.name}, row ${number + 1}: longer than ${LONGEST_ROW} characters`,
        {
          remedy: "Each line must be one JSON object; is this one large JSON array?",
        },
      );
    }
  }
  const found = take(parts.join(""));
  if (found !== undefined) yield found;
}

/** Documents of a `.jsonl` file. Throws what `readJsonlRows` and `textOfValue` throw. */
export function readJsonlDocuments(
  source: ByteSource,
  field: string,
  onProgress?: (byteCount: number) => void,
): Iterable<TextPiece> {
  return documentsOfRows(readJsonlRows(source, onProgress), source.name, field);
}
