import { shortNumber } from "../../util/plot/scale.ts";
import { drawing, FAINT, lineAt, markAt, textAt } from "../../util/plot/svg.ts";
import type { AccuracyReport } from "./accuracy.ts";

const WIDTH = 720;
const HEIGHT = 560;
const MARGIN = { left: 64, right: 150, top: 24, bottom: 48 } as const;
const COLOURS = [
  "#1f77b4",
  "#d62728",
  "#2ca02c",
  "#9467bd",
  "#8c564b",
  "#e377c2",
  "#7f7f7f",
  "#bcbd22",
  "#17becf",
  "#ff7f0e",
  "#003f5c",
  "#7a5195",
] as const;

/** Predicted against measured milliseconds on logarithmic axes, one colour a chip. */
export function accuracyScatter(report: AccuracyReport): string {
  const times = report.rows.flatMap((row) => [row.measuredMs, row.predictedMs]);
  const low = Math.floor(Math.log10(Math.min(...times)));
  const high = Math.ceil(Math.log10(Math.max(...times)));
  const x = (ms: number): number =>
    MARGIN.left + ((Math.log10(ms) - low) / (high - low)) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (ms: number): number =>
    HEIGHT -
    MARGIN.bottom -
    ((Math.log10(ms) - low) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const chips = [...new Set(report.rows.map((row) => row.chip))];
  const colour = (chip: string): string => COLOURS[chips.indexOf(chip) % COLOURS.length] ?? "#000";
  const parts: string[] = [];
  for (let decade = low; decade <= high; decade++) {
    const ms = 10 ** decade;
    parts.push(
      lineAt(x(ms), y(10 ** low), x(ms), y(10 ** high), FAINT),
      lineAt(x(10 ** low), y(ms), x(10 ** high), y(ms), FAINT),
      textAt(x(ms), HEIGHT - MARGIN.bottom + 18, shortNumber(ms), { anchor: "middle" }),
      textAt(MARGIN.left - 8, y(ms) + 4, shortNumber(ms), { anchor: "end" }),
    );
  }
  for (const [factor, stroke] of [
    [1, "#333"],
    [1.25, "#bbb"],
    [0.8, "#bbb"],
  ] as const) {
    const from = 10 ** low * Math.max(1, 1 / factor);
    const to = 10 ** high / Math.max(1, factor);
    parts.push(lineAt(x(from), y(from * factor), x(to), y(to * factor), stroke));
  }
  for (const row of report.rows) {
    parts.push(
      markAt(
        x(row.measuredMs),
        y(row.predictedMs),
        "measured",
        colour(row.chip),
        `${row.chip}: ${row.what}: measured ${row.measuredMs} ms, predicted ${row.predictedMs.toPrecision(3)} ms`,
      ),
    );
  }
  for (const [index, chip] of chips.entries()) {
    const top = MARGIN.top + 14 + index * 18;
    parts.push(
      markAt(WIDTH - MARGIN.right + 20, top - 4, "measured", colour(chip), chip),
      textAt(WIDTH - MARGIN.right + 30, top, chip),
    );
  }
  parts.push(
    textAt((WIDTH - MARGIN.right + MARGIN.left) / 2, HEIGHT - 8, "measured, ms", {
      anchor: "middle",
    }),
    textAt(14, HEIGHT / 2, "predicted, ms (grey: 25 % off)", { anchor: "middle", rotate: true }),
  );
  return drawing(
    { width: WIDTH, height: HEIGHT, title: "Predicted against measured", description: "" },
    parts,
  );
}
