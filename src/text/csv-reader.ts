import type { ByteSource } from "../util/byte-source.ts";
import { didYouMean } from "../util/nearest.ts";
import { TextError } from "./errors.ts";
import { readText } from "./text-reader.ts";
import type { TextPiece } from "./text-reader.ts";

const LONGEST_ROW = 1 << 26;

/** Rows of fields by RFC 4180: quoted fields may hold separators, line ends and doubled quotes. */
function* rowsOf(
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
 * Documents of a `.csv` or `.tsv` file: its first row names the columns, the text stands in `field`. Throws `TextError`
 * `text.csv.*` naming the row and the column.
 */
export function* readCsvDocuments(
  source: ByteSource,
  field: string,
  onProgress?: (byteCount: number) => void,
): Generator<TextPiece> {
  const separator = /\.tsv(?:\.gz)?$/i.test(source.name) ? "\t" : ",";
  let column = -1;
  let columnCount = 0;
  let rowNumber = 0;
  for (const row of rowsOf(source, separator, onProgress)) {
    rowNumber++;
    if (rowNumber === 1) {
      column = row.indexOf(field);
      columnCount = row.length;
      if (column >= 0) continue;
      const names = row.map((name) => JSON.stringify(name)).join(", ");
      throw new TextError(
        "text.csv.column",
        `${source.name} has no column "${field}"; it has ${names}.${didYouMean(field, row)}`,
        {
          remedy:
            "Name the column that holds the text with --text-field (text_field in a configuration).",
        },
      );
    }
    if (row.length === 1 && row[0] === "") continue;
    if (row.length !== columnCount) {
      throw new TextError(
        "text.csv.row",
        `${source.name}, row ${rowNumber}: ${row.length} fields where the first row has ${columnCount}`,
      );
    }
    const text = row[column] ?? "";
    if (text !== "") yield { text, endsDocument: true };
  }
}
