import type { ByteSource } from "../util/byte-source.ts";
import { TextError } from "./errors.ts";
import { readText, textOfValue } from "./text-reader.ts";
import type { DataRow, TextPiece } from "./text-reader.ts";
import { damageWords } from "./json-damage.ts";

/** A JSON file is read whole. */
const BYTE_LIMIT = 256 << 20;

/**
 * Rows of a `.json` file: the members of an array, or of an object's only array. Throws `TextError` `text.format` for
 * another form.
 */
export function* readJsonRows(
  source: ByteSource,
  onProgress?: (byteCount: number) => void,
): Generator<DataRow> {
  if (source.byteLength > BYTE_LIMIT) {
    throw new TextError(
      "text.format",
      `${source.name} has ${source.byteLength} bytes; a .json file is read whole, up to ${BYTE_LIMIT}`,
      { remedy: "Write one JSON object a line into a .jsonl file." },
    );
  }
  const whole = [...readText(source, onProgress)].join("");
  let value: unknown;
  try {
    value = JSON.parse(whole);
  } catch (error) {
    throw new TextError("text.format", `${source.name}: not JSON${damageWords(whole)}`, {
      remedy: "Is it one JSON object a line? Then its name ends with .jsonl.",
      cause: error,
    });
  }
  const rows = rowsOf(value);
  if (rows === undefined) {
    throw new TextError(
      "text.format",
      `${source.name}: expected an array of rows such as [{"text": "..."}]`,
    );
  }
  for (const [index, row] of rows.entries()) yield { number: index + 1, value: row };
}

/** Documents of a `.json` file; a row may be the text itself. Throws what `readJsonRows` and `textOfValue` throw. */
export function* readJsonDocuments(
  source: ByteSource,
  field: string,
  onProgress?: (byteCount: number) => void,
): Generator<TextPiece> {
  for (const { number, value } of readJsonRows(source, onProgress)) {
    const text =
      typeof value === "string"
        ? value
        : textOfValue(value, `${source.name}, row ${number}`, field);
    if (text !== "") yield { text, endsDocument: true };
  }
}

function rowsOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  if (typeof value !== "object" || value === null) return undefined;
  const arrays = Object.values(value).filter((member) => Array.isArray(member));
  return arrays.length === 1 ? (arrays[0] as readonly unknown[]) : undefined;
}
