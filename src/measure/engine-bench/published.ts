import { readFileSync } from "node:fs";
import { packageUrl } from "../../util/source-layout.ts";
import { parseMeasuredRows, PROGRAM_KINDS } from "../published/measured-row.ts";
import type { MeasuredRow } from "../published/measured-row.ts";
import { describeRow, rowCase } from "../published/row-case.ts";
import { chipByName } from "../../chip/chips.ts";
import { paperRows } from "../published/paper.ts";
import type { BenchCase } from "./case.ts";
import { shapeTitle } from "./suites.ts";

/** One published time of a case's work. */
export interface Published {
  readonly chip: string;
  readonly ms: number;
  readonly watts?: number;
  readonly source: string;
}

/** The rows that the cost model is checked against; the package carries the file. Whole models are no cases here. */
const FILE = packageUrl("bench/data/measurements.json");

let rows: readonly MeasuredRow[] | undefined;

export function publishedRows(): readonly MeasuredRow[] {
  rows ??= parseMeasuredRows(JSON.parse(readFileSync(FILE, "utf8"))).filter(({ kind }) =>
    PROGRAM_KINDS.some((program) => program === kind),
  );
  return rows;
}

/** What others measured for the case's work, on any chip. */
export function publishedFor(benchCase: BenchCase): readonly Published[] {
  const { shape, paper, dispatches, hostCopies } = benchCase;
  const ofPaper = paperRows()
    .filter(({ what }) => what === paper)
    .flatMap(({ chip, published: ms, source }) => (ms === undefined ? [] : [{ chip, ms, source }]));
  if (shape === undefined || dispatches > 1) return ofPaper;
  if ("own_weights" in shape && shape.own_weights) return ofPaper;
  const key = shapeTitle(shape);
  const measured = publishedRows()
    // A time with conversions and copies in it is another thing than one without.
    .filter((row) => describeRow(row) === key && rowCase(row).hostBytes > 0 === hostCopies)
    .map((row) => {
      const watts = row.ane_w ?? (row.ane_mw === undefined ? undefined : row.ane_mw / 1000);
      return {
        chip: chipByName(row.chip).name,
        ms: row.ms,
        source: row.source,
        ...(watts !== undefined && { watts }),
      };
    });
  return [...measured, ...ofPaper];
}
