import { lonelyPoints } from "./down-sample.ts";
import type { Curve } from "./down-sample.ts";
import { logScale, roomAround, shortNumber, ticksBetween } from "./scale.ts";
import { fixed, hue, INK, lineAt, MUTED, picture, textAt, rowGrid } from "./svg.ts";
import type { Titled } from "./svg.ts";

export interface PlotLine extends Curve {
  readonly name: string;
  readonly hue: number;
  /** Thin, behind the others, and not in the legend. */
  readonly isFaint?: boolean;
}

export interface LinePlot extends Titled {
  readonly xLabel: string;
  readonly lines: readonly PlotLine[];
  readonly isLog?: boolean;
  readonly formatX?: (value: number) => string;
  readonly formatY?: (value: number) => string;
}

const WIDTH = 640;
const HEIGHT = 280;
const MARGIN = { left: 64, right: 16, top: 34, bottom: 46 } as const;

/** Curves of many points: the page draws them on a canvas, a file as this. */
export function linePlot(plot: LinePlot): string {
  const { formatX = shortNumber, formatY = shortNumber, isLog = false } = plot;
  const xs = plot.lines.flatMap(({ x }) => [x[0] ?? 0, x.at(-1) ?? 0]);
  const [fromX, toX] = xs.length === 0 ? [0, 1] : [Math.min(...xs), Math.max(...xs)];
  const scaleY = axisOf(plot.lines, isLog);
  const right = WIDTH - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const placeX = (value: number): number =>
    MARGIN.left + ((value - fromX) / (toX - fromX || 1)) * (right - MARGIN.left);
  const placeY = (value: number): number => bottom - scaleY.place(value) * (bottom - MARGIN.top);
  const parts = [...rowGrid(scaleY.ticks, placeY, [MARGIN.left, right], formatY, 12)];
  for (const tick of ticksBetween(fromX, toX)) {
    parts.push(lineAt(placeX(tick), bottom, placeX(tick), bottom + 4, INK));
    parts.push(textAt(placeX(tick), bottom + 18, formatX(tick), { anchor: "middle", size: 12 }));
  }
  for (const line of plot.lines) {
    const opacity = line.isFaint === true ? 0.35 : 1;
    parts.push(
      `<path d="${pathOf(line, placeX, placeY, isLog)}" fill="none" stroke="${hue(line.hue)}" stroke-width="${line.isFaint === true ? 1 : 1.8}" stroke-opacity="${opacity}" stroke-linejoin="round"/>`,
    );
    for (const index of lonelyPoints(line.y, isLog))
      parts.push(
        `<circle cx="${fixed(placeX(line.x[index] ?? 0))}" cy="${fixed(placeY(line.y[index] ?? 0))}" r="2.6" fill="${hue(line.hue)}" fill-opacity="${opacity}"/>`,
      );
  }
  let left = MARGIN.left;
  for (const { name, hue: index, isFaint, y } of plot.lines) {
    if (isFaint === true) continue;
    const last = y.findLast((value) => value !== null);
    const text = last === undefined || last === null ? name : `${name} ${formatY(last)}`;
    parts.push(`<rect x="${fixed(left)}" y="14" width="14" height="3" fill="${hue(index)}"/>`);
    parts.push(textAt(left + 20, 20, text, { size: 12 }));
    left += 20 + text.length * 6.8 + 16;
  }
  parts.push(
    lineAt(MARGIN.left, bottom, right, bottom, INK),
    textAt((MARGIN.left + right) / 2, HEIGHT - 8, plot.xLabel, {
      anchor: "middle",
      fill: MUTED,
      size: 12,
    }),
  );
  return picture({ ...plot, width: WIDTH, height: HEIGHT }, parts);
}

function pathOf(
  { x, y }: PlotLine,
  placeX: (value: number) => number,
  placeY: (value: number) => number,
  isLog: boolean,
): string {
  let isDown = false;
  let path = "";
  for (const [index, value] of y.entries()) {
    if (value === null || (isLog && value <= 0)) {
      isDown = false;
      continue;
    }
    path += `${isDown ? "L" : "M"}${fixed(placeX(x[index] ?? 0))} ${fixed(placeY(value))}`;
    isDown = true;
  }
  return path;
}

function axisOf(lines: readonly PlotLine[], isLog: boolean) {
  const values = lines.flatMap(({ y }) => y.filter((value) => value !== null));
  if (isLog) return logScale(values);
  const [from, to] =
    values.length === 0 ? [0, 1] : roomAround(Math.min(...values), Math.max(...values));
  return { place: (value: number) => (value - from) / (to - from), ticks: ticksBetween(from, to) };
}
