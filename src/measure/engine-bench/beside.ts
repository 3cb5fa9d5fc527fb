import { join } from "node:path";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { documentTable, htmlDocument, textCell } from "../../util/plot/document.ts";
import { escapeText, shortNumber } from "../../util/plot/index.ts";
import { SUITES, SUITE_NAMES } from "./case.ts";
import { rateText } from "./html/page.ts";
import { teraflops } from "./report.ts";
import type { CaseResult, EngineReport } from "./report.ts";

export const BESIDE_FILE = "beside.html";

/** One case on several engines, in the order of the reports. */
interface BesideRow {
  readonly title: string;
  readonly results: readonly (CaseResult | undefined)[];
}

function rowsOf(reports: readonly EngineReport[], suite: string): readonly BesideRow[] {
  const [first] = reports;
  return (first?.cases ?? [])
    .filter((result) => result.suite === suite)
    .map(({ id, title }) => ({
      title,
      results: reports.map(({ cases }) => cases.find((result) => result.id === id)),
    }));
}

/** Milliseconds, rate, rate a watt where a meter read it, and how it stands to the first engine. */
function cellText(result: CaseResult | undefined, first: CaseResult | undefined): string {
  if (result === undefined) return "";
  const ms = msOf(result);
  if (ms === undefined) return result.status;
  const watts = result.power_watts;
  const efficiency =
    watts === undefined || watts <= 0 || result.flops === 0
      ? ""
      : `, ${shortNumber(teraflops(result.flops, ms) / watts)} TFLOP/s a watt`;
  const rate = rateText(result);
  const firstMs = first === undefined || first === result ? undefined : msOf(first);
  const times = firstMs === undefined ? "" : ` (${shortNumber(firstMs / ms)} x)`;
  return `${shortNumber(ms)} ms${rate === "" ? "" : `, ${rate}`}${efficiency}${times}`;
}

const msOf = ({ status, timing }: CaseResult): number | undefined =>
  status === "measured" ? timing?.median_ms : undefined;

const headOf = ({ engine: { name, device } }: EngineReport): string => `${name}: ${device}`;

/** Why an engine has no rate a watt, one sentence an engine. */
function powerNotes(reports: readonly EngineReport[]): readonly string[] {
  return reports.flatMap(({ engine, power }) =>
    power?.unavailable === undefined
      ? []
      : [`Power of ${engine.name} was not read: ${power.unavailable.split("\n")[0] ?? ""}.`],
  );
}

const METHOD =
  "One engine after the other, each case as its own report has it; n x: so many times as fast as the first engine.";

/** The engines side by side for a terminal, one block a case. */
export function besideText(reports: readonly EngineReport[]): string {
  const suites = SUITE_NAMES.flatMap((suite) => {
    const rows = rowsOf(reports, suite);
    if (rows.length === 0) return [];
    const blocks = rows.map(({ title, results }) =>
      [
        `  ${title}`,
        ...results.map(
          (result, index) =>
            `    ${(reports[index]?.engine.name ?? "").padEnd(10)} ${cellText(result, results[0])}`,
        ),
      ].join("\n"),
    );
    return [`${SUITES[suite]}\n${blocks.join("\n")}`];
  });
  const lines = [reports.map(headOf).join("\n"), ...suites, ...powerNotes(reports), METHOD];
  return `${lines.join("\n\n")}\n`;
}

/** The engines side by side as one page. */
export function besidePage(reports: readonly EngineReport[]): string {
  const title = `Engines side by side: ${reports.map(({ engine }) => engine.name).join(", ")}`;
  const sections = SUITE_NAMES.flatMap((suite) => {
    const rows = rowsOf(reports, suite);
    if (rows.length === 0) return [];
    const cells = rows.map((row) => [
      `<th scope="row">${escapeText(row.title)}</th>`,
      ...row.results.map((result) => textCell(cellText(result, row.results[0]))),
    ]);
    const table = documentTable(SUITES[suite], ["", ...reports.map(headOf)], cells);
    return [`<section><h2>${escapeText(SUITES[suite])}</h2>\n${table}\n</section>`];
  });
  const notes = [METHOD, ...powerNotes(reports)].map((text) => `<p>${escapeText(text)}</p>`);
  return htmlDocument(
    title,
    `<header><h1>${escapeText(title)}</h1>\n${notes.join("\n")}</header>\n<main>${sections.join("\n")}</main>`,
  );
}

export function writeBeside(folder: string, reports: readonly EngineReport[]): void {
  writeWholeFile(join(folder, BESIDE_FILE), besidePage(reports));
}
