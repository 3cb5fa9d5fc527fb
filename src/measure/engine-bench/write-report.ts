import { join } from "node:path";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { reportPage } from "./html/page.ts";
import type { EngineReport } from "./report.ts";
import { ROWS_VERSION } from "../published/measured-row.ts";

export const REPORT_FILE = "report.json";
export const PAGE_FILE = "report.html";
export const ROWS_FILE = "rows.json";

/** Writes the report, its page and its rows; each file is whole at any time. */
export function writeReport(folder: string, report: EngineReport): void {
  writeWholeFile(join(folder, REPORT_FILE), `${JSON.stringify(report, undefined, 1)}\n`);
  writeWholeFile(join(folder, PAGE_FILE), reportPage(report));
  if (report.rows.length > 0) {
    const lines = report.rows.map((row) => JSON.stringify(row)).join(",\n");
    writeWholeFile(
      join(folder, ROWS_FILE),
      `{"version": ${ROWS_VERSION}, "rows": [\n${lines}\n]}\n`,
    );
  }
}
