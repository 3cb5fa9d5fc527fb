import { chipByName } from "../chip/chips.ts";
import { GROUPS, GROUP_NAMES } from "../measure/self-test/outcome.ts";
import type { ProbeResult, Verdict } from "../measure/self-test/outcome.ts";
import type { SelfTestReport } from "../measure/self-test/report.ts";
import { styled } from "./terminal.ts";

const MARKS = {
  held: ["green", "held        "],
  "did not hold": ["red", "did not hold"],
  unknown: ["yellow", "unknown     "],
} as const satisfies Record<Verdict, readonly [string, string]>;

const SOURCE_WIDTH = 100;

/** The rows of a report by group; of symbols that are there only the number. */
export function formatSelfTest(report: SelfTestReport, stream: NodeJS.WriteStream): string {
  const results = [...report.probes, ...report.ops, ...report.rates];
  const lines: string[] = [];
  for (const group of GROUP_NAMES) {
    const rows = results.filter((result) => result.group === group);
    if (rows.length === 0) continue;
    lines.push("", styled(stream, "bold", GROUPS[group]));
    const told = group === "symbols" ? rows.filter(({ verdict }) => verdict !== "held") : rows;
    if (group === "symbols")
      lines.push(`  ${rows.length - told.length} of ${rows.length} are there`);
    for (const row of told) lines.push(...formatRow(row, stream));
  }
  const { counts } = report;
  const total = counts.held + counts["did not hold"] + counts.unknown;
  lines.push(
    "",
    `${total} asked: ${counts.held} held, ${counts["did not hold"]} did not hold, ${counts.unknown} unknown${report.complete ? "" : "; interrupted, run it again to go on"}`,
  );
  if (report.library.is_named) {
    lines.push(
      `A library stood for the engine (${report.library.path}): this tells nothing of silicon.`,
    );
  }
  if (report.profile !== undefined) {
    const chosen = Object.entries(
      (report.profile.settings[report.driver] ?? {}) as Readonly<Record<string, unknown>>,
    ).map(([name, value]) => `${name} ${String(value)}`);
    lines.push(
      `Profile of ${chipByName(report.machine.chip).name}: ${report.profile.path}; ${chosen.length === 0 ? "the driver's defaults stand" : chosen.join(", ")}`,
    );
  }
  return `${lines.join("\n")}\n`;
}

export function formatRow(row: ProbeResult, stream: NodeJS.WriteStream): readonly string[] {
  const [style, mark] = MARKS[row.verdict];
  const indent = " ".repeat(16);
  const lines = [`  ${styled(stream, style, mark)}  ${row.title}`, `${indent}${row.detail}`];
  if (row.verdict === "did not hold" && row.means !== undefined)
    lines.push(styled(stream, "dim", `${indent}${row.means}`));
  if (row.verdict === "did not hold")
    lines.push(styled(stream, "dim", `${indent}source: ${row.source.slice(0, SOURCE_WIDTH)}`));
  return lines;
}
