import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { TextError } from "./errors.ts";

/** Rows that are decoded at once: what a damaged place is told by. */
const BLOCK_ROWS = 1000;

/** Exit code of the process where the file is to blame, its words on standard error. */
const BAD_FILE = 3;

/**
 * hyparquet works by promises, and whoever reads data waits for them without an event loop: so a process of its own
 * writes the rows as `.jsonl`, a block at a time.
 */
const UNPACK = `
import { closeSync, openSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [library, codecs, from, to, limit] = process.argv.slice(1);
const load = (path) => import(pathToFileURL(path).href);
const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, toJson } = await load(library);
const { compressors } = await load(codecs);
const fail = (where, error) => {
  process.stderr.write(where + (error instanceof Error ? error.message : String(error)));
  process.exit(${BAD_FILE});
};
const file = await asyncBufferFromFile(from);
const metadata = await parquetMetadataAsync(file).catch((error) => fail("", error));
const groups = metadata.row_groups.map((group) => Number(group.num_rows));
const count = Number(metadata.num_rows);
const inGroups = groups.reduce((sum, rows) => sum + rows, 0);
if (inGroups !== count) fail("", "it says it has " + count + " rows, its groups have " + inGroups);
const wanted = limit === "" ? count : Math.min(count, Number(limit));
const handle = openSync(to, "w");
for (let start = 0; start < wanted; start += ${BLOCK_ROWS}) {
  const end = Math.min(wanted, start + ${BLOCK_ROWS});
  const rows = await parquetReadObjects({ file, metadata, compressors, rowStart: start, rowEnd: end })
    .catch((error) => fail("rows " + (start + 1) + " to " + end + ": ", error));
  if (rows.length !== end - start)
    fail("rows " + (start + 1) + " to " + end + ": ", "there are " + rows.length);
  writeSync(handle, rows.map((row) => JSON.stringify(toJson(row)) + "\\n").join(""));
}
closeSync(handle);
`;

/**
 * Writes a parquet file's rows, or the first `rowLimit`, as `.jsonl`: nested columns as objects and arrays, whole numbers as numbers. Throws
 * `TextError` `text.parquet` naming the rows that cannot be decoded.
 */
export function unpackParquet(from: string, to: string, rowLimit?: number): void {
  const { resolve } = createRequire(import.meta.url);
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      ...["--input-type=module", "-e", UNPACK],
      ...[resolve("hyparquet"), resolve("hyparquet-compressors")],
      ...[from, to, rowLimit === undefined ? "" : `${rowLimit}`],
    ],
    { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] },
  );
  if (status === 0) return;
  const words = status === BAD_FILE ? stderr.trim() : (stderr.trim().split("\n").at(-1) ?? "");
  throw new TextError("text.parquet", `${from} cannot be read as parquet: ${words}`, {
    remedy: "The file may be cut off; fetch it again.",
  });
}
