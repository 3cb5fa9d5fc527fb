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
      line(x(ms), y(10 ** low), x(ms), y(10 ** high), "#ddd"),
      line(x(10 ** low), y(ms), x(10 ** high), y(ms), "#ddd"),
      text(x(ms), HEIGHT - MARGIN.bottom + 18, "middle", `${Number(ms.toPrecision(2))}`),
      text(MARGIN.left - 8, y(ms) + 4, "end", `${Number(ms.toPrecision(2))}`),
    );
  }
  for (const [factor, stroke] of [
    [1, "#333"],
    [1.25, "#bbb"],
    [0.8, "#bbb"],
  ] as const) {
    const from = 10 ** low * Math.max(1, 1 / factor);
    const to = 10 ** high / Math.max(1, factor);
    parts.push(line(x(from), y(from * factor), x(to), y(to * factor), stroke));
  }
  for (const row of report.rows) {
    parts.push(
      `<circle cx="${x(row.measuredMs).toFixed(1)}" cy="${y(row.predictedMs).toFixed(1)}" r="3.5" fill="${colour(row.chip)}" fill-opacity="0.75"><title>${escape(`${row.chip}: ${row.what}: measured ${row.measuredMs} ms, predicted ${row.predictedMs.toPrecision(3)} ms`)}</title></circle>`,
    );
  }
  for (const [index, chip] of chips.entries()) {
    const top = MARGIN.top + 14 + index * 18;
    parts.push(
      `<circle cx="${WIDTH - MARGIN.right + 20}" cy="${top - 4}" r="4" fill="${colour(chip)}"/>`,
      text(WIDTH - MARGIN.right + 30, top, "start", chip),
    );
  }
  parts.push(
    text((WIDTH - MARGIN.right + MARGIN.left) / 2, HEIGHT - 8, "middle", "measured, ms"),
    `<text x="14" y="${HEIGHT / 2}" font-size="12" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">predicted, ms (grey: 25 % off)</text>`,
  );
  return svg(WIDTH, HEIGHT, parts);
}

export function svg(width: number, height: number, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#fff"/>\n${parts.join("\n")}\n</svg>\n`;
}

export function line(x1: number, y1: number, x2: number, y2: number, stroke: string): string {
  return `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}"/>`;
}

export function text(
  x: number,
  y: number,
  anchor: "start" | "middle" | "end",
  content: string,
): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="12" text-anchor="${anchor}">${escape(content)}</text>`;
}

function escape(content: string): string {
  return content
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
