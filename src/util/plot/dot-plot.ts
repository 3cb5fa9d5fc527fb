import { logScale, shortNumber } from "./scale.ts";
import {
  FAINT,
  hue,
  INK,
  LETTER_WIDTH,
  lineAt,
  markAt,
  MUTED,
  picture,
  STYLES,
  textAt,
} from "./svg.ts";
import type { Style, Titled } from "./svg.ts";

export interface DotRow {
  readonly name: string;
  readonly values: Readonly<Partial<Record<Style, number>>>;
  /** A bar from one number to another behind the marks: the spread of what was measured. */
  readonly range?: readonly [number, number];
}

export interface DotPlot extends Titled {
  readonly valueLabel: string;
  readonly rows: readonly DotRow[];
}

const WIDTH = 480;
const RIGHT = 22;
const TOP = 10;
const ROW = 26;
const BOTTOM = 50;
const HUES: Readonly<Record<Style, number>> = { measured: 0, published: 1, predicted: 2 };
/** Letters of a name on one line; a longer one takes two lines, and the margin grows with the longest. */
const NAME_LIMIT = 23;

/** One row a case, marks on one logarithmic axis. */
export function dotPlot(plot: DotPlot): string {
  const values = plot.rows.flatMap((row) => [...Object.values(row.values), ...(row.range ?? [])]);
  const scale = logScale(values);
  const names = plot.rows.map((row) => linesOfName(row.name));
  const longest = Math.max(0, ...names.flat().map((line) => line.length));
  const left = Math.ceil(longest * LETTER_WIDTH) + 14;
  const height = TOP + plot.rows.length * ROW + BOTTOM;
  const bottom = height - BOTTOM;
  const right = WIDTH - RIGHT;
  const x = (value: number): number => left + scale.place(value) * (right - left);
  const parts: string[] = [];
  for (const tick of scale.ticks) {
    parts.push(lineAt(x(tick), TOP, x(tick), bottom, FAINT));
    parts.push(textAt(x(tick), bottom + 18, shortNumber(tick), { anchor: "middle" }));
  }
  for (const [index, row] of plot.rows.entries()) {
    const y = TOP + (index + 0.5) * ROW;
    const lines = names[index] ?? [row.name];
    parts.push(lineAt(left, y, right, y, FAINT, "1 3"));
    for (const [number, line] of lines.entries()) {
      const offset = lines.length === 1 ? 4 : -2 + 12 * number;
      const size = lines.length === 1 ? 13 : 12;
      parts.push(textAt(left - 10, y + offset, line, { anchor: "end", size }));
    }
    if (row.range !== undefined) {
      parts.push(
        lineAt(x(row.range[0]), y, x(row.range[1]), y, hue(0)).replace(
          "/>",
          ' stroke-width="5" stroke-opacity="0.4"/>',
        ),
      );
    }
    for (const style of STYLES.toReversed()) {
      const value = row.values[style];
      if (value === undefined) continue;
      const title = `${row.name}: ${shortNumber(value)} ${plot.valueLabel} ${style}`;
      parts.push(markAt(x(value), y, style, hue(HUES[style]), title));
    }
  }
  parts.push(
    lineAt(left, bottom, right, bottom, INK),
    textAt((left + right) / 2, height - 10, plot.valueLabel, { anchor: "middle", fill: MUTED }),
  );
  return picture({ ...plot, width: WIDTH, height }, parts);
}

/** A name in one line, or in two that are about as long, cut where a word or a number ends. */
function linesOfName(name: string): readonly string[] {
  if (name.length <= NAME_LIMIT) return [name];
  const places = [...name.matchAll(/[ .,@-]/g)].map(({ index }) => index + 1);
  const middle = name.length / 2;
  const [cut] = places.toSorted((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
  return cut === undefined ? [name] : [name.slice(0, cut).trimEnd(), name.slice(cut)];
}
