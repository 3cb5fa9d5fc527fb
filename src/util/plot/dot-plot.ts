import { logScale, shortNumber } from "./scale.ts";
import { FAINT, hue, INK, lineAt, markAt, MUTED, picture, STYLES, textAt } from "./svg.ts";
import type { Style } from "./svg.ts";

export interface DotRow {
  readonly name: string;
  readonly values: Readonly<Partial<Record<Style, number>>>;
  /** A bar from one number to another behind the marks: the spread of what was measured. */
  readonly range?: readonly [number, number];
}

export interface DotPlot {
  readonly title: string;
  readonly description: string;
  readonly valueLabel: string;
  readonly rows: readonly DotRow[];
}

const WIDTH = 480;
const LEFT = 182;
const RIGHT = 22;
const TOP = 10;
const ROW = 26;
const BOTTOM = 50;
const HUES: Readonly<Record<Style, number>> = { measured: 0, published: 1, predicted: 2 };
const NAME_LIMIT = 23;

/** One row a case, marks on one logarithmic axis. */
export function dotPlot(plot: DotPlot): string {
  const values = plot.rows.flatMap((row) => [...Object.values(row.values), ...(row.range ?? [])]);
  const scale = logScale(values);
  const height = TOP + plot.rows.length * ROW + BOTTOM;
  const bottom = height - BOTTOM;
  const right = WIDTH - RIGHT;
  const x = (value: number): number => LEFT + scale.place(value) * (right - LEFT);
  const parts: string[] = [];
  for (const tick of scale.ticks) {
    parts.push(lineAt(x(tick), TOP, x(tick), bottom, FAINT));
    parts.push(textAt(x(tick), bottom + 18, shortNumber(tick), { anchor: "middle" }));
  }
  for (const [index, row] of plot.rows.entries()) {
    const y = TOP + (index + 0.5) * ROW;
    const name = row.name.length > NAME_LIMIT ? `${row.name.slice(0, NAME_LIMIT - 1)}…` : row.name;
    parts.push(lineAt(LEFT, y, right, y, FAINT, "1 3"));
    parts.push(textAt(LEFT - 10, y + 4, name, { anchor: "end" }));
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
    lineAt(LEFT, bottom, right, bottom, INK),
    textAt((LEFT + right) / 2, height - 10, plot.valueLabel, { anchor: "middle", fill: MUTED }),
  );
  return picture({ width: WIDTH, height, title: plot.title, description: plot.description }, parts);
}
