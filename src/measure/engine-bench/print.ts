import { shortNumber } from "../../util/plot/index.ts";
import { SUITES, SUITE_NAMES } from "./case.ts";
import { factsOf, timeIn } from "./facts.ts";
import { rateText } from "./html/page.ts";
import type { CaseResult, EngineReport } from "./report.ts";

/** Columns of the table: 80 in all. */
const WIDTHS = { name: 30, measured: 8, rate: 15, predicted: 10, off: 7, published: 10 } as const;

/** The report for a terminal of 80 columns. */
export function formatReport(report: EngineReport): string {
  const suites = SUITE_NAMES.flatMap((suite) => {
    const results = report.cases.filter((result) => result.suite === suite);
    return results.length === 0 ? [] : [`${SUITES[suite]}\n${tableText(report, results)}`];
  });
  return `${headline(report)}\n\n${suites.join("\n")}\n${factsText(report)}`;
}

function headline({ kind, engine, chip, complete, cases }: EngineReport): string {
  const through = engine.driver === undefined ? "" : ` through ${engine.driver}`;
  const what = {
    predicted: `PREDICTED by the cost model for ${chip}${through}; nothing was measured`,
    "test-double": `TEST DOUBLE ${engine.device}${through}; times say nothing`,
    measured: `${engine.device}, engine ${engine.name}${through}; predicted and published: ${chip}`,
  }[kind];
  return `${what}${complete ? "" : `\nPARTIAL: interrupted after ${cases.length} cases`}`;
}

/** Header and one line a case; the predicted report has no column of measured times. */
function tableText(report: EngineReport, results: readonly CaseResult[]): string {
  const isPredicted = report.kind === "predicted";
  const line = (
    name: string,
    measured: string,
    rate: string,
    predicted: string,
    off: string,
    published: string,
  ): string =>
    [
      fit(name, isPredicted ? WIDTHS.name + WIDTHS.measured + WIDTHS.off : WIDTHS.name),
      ...(isPredicted ? [] : [measured.padStart(WIDTHS.measured)]),
      rate.padStart(WIDTHS.rate),
      predicted.padStart(WIDTHS.predicted),
      ...(isPredicted ? [] : [off.padStart(WIDTHS.off)]),
      published.padStart(WIDTHS.published),
    ]
      .join("")
      .trimEnd();
  const header = line("  case", "ms", "rate", "predicted", "off", "published");
  const lines = results.map((result) => {
    const measured = timeIn("measured", result, report);
    if (measured === undefined && result.status !== "predicted")
      return `  ${fit(`${result.status}  ${result.title}: ${result.reason ?? ""}`, 78).trimEnd()}`;
    const published = timeIn("published", result, report);
    const { ms } = result.predicted;
    const isSameKind = report.kind === "measured" && report.engine.driver !== undefined;
    const percent =
      measured === undefined || !isSameKind ? undefined : Math.round(100 * (ms / measured - 1));
    return line(
      `  ${result.title}`,
      measured === undefined ? "" : shortNumber(measured),
      rateText(result),
      shortNumber(ms),
      percent === undefined ? "" : percentText(percent),
      published === undefined ? "" : shortNumber(published),
    );
  });
  return `${header}\n${lines.join("\n")}\n`;
}

function percentText(percent: number): string {
  if (Math.abs(percent) > 999) return percent > 0 ? ">999 %" : "";
  return `${percent > 0 ? "+" : ""}${percent}%`;
}

function fit(text: string, width: number): string {
  const line = text.replaceAll("\n", " ");
  return line.length > width ? `${line.slice(0, width - 1)}…` : line.padEnd(width);
}

function factsText(report: EngineReport): string {
  const facts = factsOf(report);
  if (facts.length === 0) return "";
  const isPredicted = report.kind === "predicted";
  const line = (label: string, cells: readonly string[]): string =>
    `${fit(label, 50)}${(isPredicted ? cells.slice(1) : cells).map((cell) => cell.padStart(10)).join("")}`.trimEnd();
  const number = (value: number | undefined): string =>
    value === undefined ? "" : shortNumber(value);
  const lines = facts.map(({ label, unit, values: { measured, predicted, published } }) =>
    line(`  ${label}, ${unit}`, [number(measured), number(predicted), number(published)]),
  );
  const header = line("In short", ["measured", "predicted", "published"]);
  return `${header}\n${lines.join("\n")}\n`;
}
