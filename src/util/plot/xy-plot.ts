import { linearScale, logScale, shortNumber, withTicks } from "./scale.ts";
import type { Scale } from "./scale.ts";
import {
  hue,
  INK,
  LETTER_WIDTH,
  lineAt,
  markAt,
  MUTED,
  pathThrough,
  picture,
  spread,
  textAt,
  rowGrid,
  axisParts,
} from "./svg.ts";
import type { Style, Titled } from "./svg.ts";

export interface PlotPoint {
  readonly x: number;
  readonly y: number;
  /** Told on hover. */
  readonly title: string;
}

export interface PlotSeries {
  /** Written at the end of its line, once a hue. */
  readonly name: string;
  readonly style: Style;
  readonly hue: number;
  readonly points: readonly PlotPoint[];
  /** Whether the points are joined. Default true. */
  readonly isJoined?: boolean;
}

export interface Axis {
  readonly label: string;
  readonly kind: "linear" | "log";
  /** Ticks at these places alone. */
  readonly ticks?: readonly number[];
  readonly format?: (value: number) => string;
}

export interface XyPlot extends Titled {
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly PlotSeries[];
  /** Vertical lines with a word at the top. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  /** Lines without points, drawn thin: a fit, a roof. */
  readonly guides?: readonly {
    readonly name: string;
    readonly points: readonly (readonly [number, number])[];
  }[];
}

const WIDTH = 480;
const HEIGHT = 320;
const MARGIN = { left: 58, right: 34, top: 30, bottom: 50 } as const;
const LABEL_GAP = 15;
const DASHES: Readonly<Record<Style, string>> = {
  measured: "",
  published: "2 4",
  predicted: "7 5",
};

/** Series over two axes. */
export function xyPlot(plot: XyPlot): string {
  const points = plot.series.flatMap((series) => series.points);
  const guides = plot.guides ?? [];
  const guidePoints = guides.flatMap((guide) => guide.points);
  const scaleX = axisScale(plot.x, [
    ...points.map(({ x }) => x),
    ...guidePoints.map(([x]) => x),
    ...(plot.marks ?? []).map(({ x }) => x),
  ]);
  const scaleY = axisScale(plot.y, [...points.map(({ y }) => y), ...guidePoints.map(([, y]) => y)]);
  const right = rightOf(plot);
  const bottom = HEIGHT - MARGIN.bottom;
  const x = (value: number): number => MARGIN.left + scaleX.place(value) * (right - MARGIN.left);
  const y = (value: number): number => bottom - scaleY.place(value) * (bottom - MARGIN.top);
  const parts: string[] = [
    ...gridParts(plot, scaleX, scaleY, x, y),
    ...(plot.marks ?? []).flatMap(({ x: at, label }) => [
      lineAt(x(at), MARGIN.top, x(at), bottom, MUTED, "3 3"),
      textAt(x(at), MARGIN.top - 6, label, { anchor: "middle", fill: MUTED, size: 12 }),
    ]),
    ...guides.map((guide) =>
      pathThrough(
        guide.points.map(([px, py]) => [x(px), y(py)] as const),
        MUTED,
        "",
      ).replace('stroke-width="2"', 'stroke-width="1"'),
    ),
  ];
  for (const series of plot.series) {
    const places = series.points.map((point) => [x(point.x), y(point.y)] as const);
    if (series.isJoined !== false && places.length > 1)
      parts.push(pathThrough(places, hue(series.hue), DASHES[series.style]));
    for (const point of series.points)
      parts.push(markAt(x(point.x), y(point.y), series.style, hue(series.hue), point.title));
  }
  parts.push(...endLabels(plot, y));
  return picture({ ...plot, width: WIDTH, height: HEIGHT }, parts);
}

/** Where the axes end: the names of the lines stand whole beside them. */
function rightOf(plot: XyPlot): number {
  const names = [...plot.series, ...(plot.guides ?? [])].map(({ name }) => name.length);
  const longest = Math.max(0, ...names);
  return WIDTH - Math.max(MARGIN.right, Math.ceil(longest * LETTER_WIDTH) + 12);
}

function axisScale(axis: Axis, values: readonly number[]): Scale {
  const scale = axis.kind === "log" ? logScale(values) : linearScale(Math.max(0, ...values));
  return axis.ticks === undefined ? scale : withTicks(scale, axis.ticks);
}

function gridParts(
  plot: XyPlot,
  scaleX: Scale,
  scaleY: Scale,
  x: (value: number) => number,
  y: (value: number) => number,
): readonly string[] {
  const right = rightOf(plot);
  const bottom = HEIGHT - MARGIN.bottom;
  const formatX = plot.x.format ?? shortNumber;
  const formatY = plot.y.format ?? shortNumber;
  const parts = [...rowGrid(scaleY.ticks, y, [MARGIN.left, right], formatY)];
  let lastEnd = -Infinity;
  for (const tick of scaleX.ticks) {
    const label = formatX(tick);
    const half = label.length * 4 + 3;
    parts.push(lineAt(x(tick), bottom, x(tick), bottom + 5, INK));
    // A label that would touch the one before is left out; the tick stays.
    if (x(tick) - half < lastEnd) continue;
    lastEnd = x(tick) + half;
    parts.push(textAt(x(tick), bottom + 19, label, { anchor: "middle" }));
  }
  const labels = { x: plot.x.label, y: plot.y.label };
  return [...parts, ...axisParts({ ...MARGIN, right, bottom, height: HEIGHT }, labels)];
}

/** The names of series and guides beside their last points, moved apart. */
function endLabels(plot: XyPlot, y: (value: number) => number): readonly string[] {
  const named = new Map<string, { readonly y: number; readonly fill: string }>();
  for (const { name, points, hue: index } of plot.series) {
    const last = points.at(-1);
    if (name !== "" && last !== undefined && !named.has(name))
      named.set(name, { y: y(last.y) + 4, fill: hue(index) });
  }
  for (const { name, points } of plot.guides ?? []) {
    const last = points.at(-1);
    if (name !== "" && last !== undefined) named.set(name, { y: y(last[1]) + 4, fill: MUTED });
  }
  const labels = [...named];
  const tops = spread(
    labels.map(([, { y: top }]) => top),
    LABEL_GAP,
    MARGIN.top + 4,
    HEIGHT - MARGIN.bottom,
  );
  return labels.map(([name, { fill }], index) =>
    textAt(rightOf(plot) + 10, tops[index] ?? 0, name, { fill }),
  );
}
