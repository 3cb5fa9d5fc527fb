import { shortNumber } from "../../util/plot/scale.ts";
import { drawing, escapeText, FAINT, fixed, lineAt, textAt } from "../../util/plot/svg.ts";
import type { AccuracyReport } from "./accuracy.ts";

const WIDTH = 720;
const HEIGHT = 560;
const MARGIN = { left: 64, right: 150, top: 24, bottom: 48 } as const;
/** Colours that differ for those who see few of them as well; with four forms, 28 chips differ. */
const COLOURS = [
  "#1f5fa8",
  "#d1491b",
  "#2b8a4b",
  "#8b5cb8",
  "#8f7500",
  "#c2387f",
  "#3c3f45",
] as const;
const FORMS = ["circle", "square", "diamond", "triangle"] as const;

/** A chip's mark: no two of the first 28 look alike. */
export function chipMark(index: number, x: number, y: number, title: string): string {
  const colour = COLOURS[index % COLOURS.length] ?? "#000";
  const form = FORMS[Math.floor(index / COLOURS.length) % FORMS.length] ?? "circle";
  const told = `<title>${escapeText(title)}</title>`;
  const path = (d: string): string => `<path d="${d}" fill="${colour}">${told}</path>`;
  const [a, b] = [fixed(x), fixed(y)];
  switch (form) {
    case "circle":
      return `<circle cx="${a}" cy="${b}" r="4.5" fill="${colour}">${told}</circle>`;
    case "square":
      return `<rect x="${fixed(x - 4)}" y="${fixed(y - 4)}" width="8" height="8" fill="${colour}">${told}</rect>`;
    case "diamond":
      return path(
        `M${a} ${fixed(y - 6)}L${fixed(x + 6)} ${b}L${a} ${fixed(y + 6)}L${fixed(x - 6)} ${b}Z`,
      );
    case "triangle":
      return path(
        `M${a} ${fixed(y - 6)}L${fixed(x + 5.5)} ${fixed(y + 4)}L${fixed(x - 5.5)} ${fixed(y + 4)}Z`,
      );
  }
}

/** Predicted against measured milliseconds on logarithmic axes, a colour and a form for each chip. */
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
      chipMark(
        chips.indexOf(row.chip),
        x(row.measuredMs),
        y(row.predictedMs),
        `${row.chip}: ${row.what}: measured ${row.measuredMs} ms, predicted ${row.predictedMs.toPrecision(3)} ms`,
      ),
    );
  }
  for (const [index, chip] of chips.entries()) {
    const top = MARGIN.top + 14 + index * 18;
    parts.push(
      chipMark(index, WIDTH - MARGIN.right + 20, top - 4, chip),
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
