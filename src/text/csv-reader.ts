import type { ByteSource } from "../util/byte-source.ts";
import { didYouMean } from "../util/nearest.ts";
import { TextError } from "./errors.ts";
import { readText } from "./text-reader.ts";
import type { DataRow, TextPiece } from "./text-reader.ts";

const LONGEST_ROW = 1 << 26;

/** Rows of fields by RFC 4180: quoted fields may hold separators, line ends and doubled quotes. */
function* fieldsOf(
  source: ByteSource,
  separator: string,
  onProgress?: (byteCount: number) => void,
): Generator<readonly string[]> {
  let row: string[] = [];
  let field = "";
  let isQuoted = false;
  let wasQuoted = false;
  let pendingQuote = false;
  let length = 0;
  const endField = (): void => {
    row.push(field);
    field = "";
    wasQuoted = false;
  };
  for (const chunk of readText(source, onProgress)) {
    for (const sign of chunk) {
      if (++length > LONGEST_ROW) {
        throw new TextError(
          "text.csv.row",
          `${source.name}: a row of more than ${LONGEST_ROW} characters; a quote may not be closed`,
        );
      }
      if (isQuoted && !pendingQuote) {
        if (sign === '"') pendingQuote = true;
        else field += sign;
        continue;
      }
      if (pendingQuote) {
        pendingQuote = false;
        if (sign === '"') {
          field += sign;
          continue;
        }
        isQuoted = false;
      }
      if (sign === '"' && field === "" && !wasQuoted) isQuoted = wasQuoted = true;
      else if (sign === separator) endField();
      else if (sign === "\n") {
        endField();
        yield row;
        row = [];
        length = 0;
      } else if (sign !== "\r") field += sign;
    }
  }
  if (isQuoted && !pendingQuote) {
    throw new TextError("text.csv.quote", `${source.name}: the last quoted field is not closed`);
  }
  if (field !== "" || row.length > 0) {
    endField();
    yield row;
  }
}

/**
 * Rows of a `.csv` or `.tsv` file as objects; its first row names the columns, of two with one name the first counts. Throws `TextError` `text.csv.*` naming
 * the row.
 */
export function* readCsvRows(
  source: ByteSource,
  onProgress?: (byteCount: number) => void,
): Generator<DataRow> {
  const separator = /\.tsv(?:\.gz)?$/i.test(source.name) ? "\t" : ",";
  let names: readonly string[] | undefined;
  let number = 0;
  for (const row of fieldsOf(source, separator, onProgress)) {
    number++;
    if (names === undefined) {
      names = row;
      continue;
    }
    if (row.length === 1 && row[0] === "") continue;
    if (row.length !== names.length) {
      throw new TextError(
        "text.csv.row",
        `${source.name}, row ${number}: ${row.length} fields where the first row has ${names.length}`,
      );
    }
    yield {
      number,
      value: Object.fromEntries(names.map((name, index) => [name, row[index] ?? ""]).reverse()),
    };
  }
}

/** Documents of a `.csv` or `.tsv` file: the text stands in the column `field`. Throws what `readCsvRows` throws. */
export function* readCsvDocuments(
  source: ByteSource,
  field: string,
  onProgress?: (byteCount: number) => void,
): Generator<TextPiece> {
  for (const { value } of readCsvRows(source, onProgress)) {
    const row = value as Readonly<Record<string, string>>;
    const text = row[field];
    if (text === undefined) throw noColumn(source, field, Object.keys(row));
    if (text !== "") yield { text, endsDocument: true };
  }
}

function noColumn(source: ByteSource, field: string, names: readonly string[]): TextError {
  const listed = names.map((name) => JSON.stringify(name)).join(", ");
  return new TextError(
    "text.csv.column",
    `${source.name} has no column "${field}"; it has ${listed}.${didYouMean(field, names)}`,
    {
      remedy:
        "Name the column that holds the text with --text-field (text_field in a configuration).",
    },
  );
}
