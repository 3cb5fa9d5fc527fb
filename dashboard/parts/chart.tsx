import { useSignal, useSignalEffect } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { lonelyPoints, lowerBound } from "../../src/util/plot/down-sample.ts";
import type { NumberList } from "../../src/util/plot/down-sample.ts";
import { roomAround, shortNumber } from "../../src/util/plot/scale.ts";
import { colour, colourVersion } from "../theme.ts";

/** A curve: places growing, null where a number is missing. */
export interface Line {
  readonly label: string;
  /** Any CSS colour. */
  readonly colour: string;
  readonly x: NumberList;
  readonly y: { readonly length: number; readonly [index: number]: number | null };
  /** Drawn thin behind the others, and not in the legend. */
  readonly isFaint?: boolean;
  /** A mark at each point, for few of them. */
  readonly hasMarks?: boolean;
}

export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface ChartProps {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly xLabel: string;
  readonly formatX?: (value: number) => string;
  readonly formatY?: (value: number) => string;
  readonly isLog?: boolean;
  /** What of x is shown; null for all. Charts that share it move together. */
  readonly range: Signal<Range | null>;
  /** CSS pixels. */
  readonly height?: number;
  /** Cursors of charts with one name stand at the same place. */
  readonly group?: string;
}

const LEGEND_COUNT = 8;
/** Distances of ticks that are whole numbers: 1, 2, 5, 10, ... */
const WHOLE_STEPS = Array.from({ length: 15 }, (_, power) =>
  [1, 2, 5].map((digit) => digit * 10 ** power),
).flat();

/** Curves over one axis: drag to zoom, double click to see all; with the keyboard + - arrows and 0. */
export function Chart(props: ChartProps) {
  const { title, height = 220, group = "charts", range } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const cursor = useSignal<number | null>(null);

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const made = new uPlot(
      options(latest, cursor, group, element.clientWidth, height),
      [
        [0, 1],
        [0, 1],
      ],
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && width !== made.width) made.setSize({ width, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [height, group, props.isLog === true, props.formatX === undefined]);

  useEffect(() => redraw(plot.current));
  useSignalEffect(() => {
    void range.value;
    void colourVersion.value;
    redraw(plot.current);
  });

  const format = props.formatY ?? shortNumber;
  const told = legendOf(shownOf(props.lines), null)
    .map(({ line, value }) => `${line.label} ${value === null ? "-" : format(value)}`)
    .join(", ");
  return (
    <figure
      class="chart"
      tabIndex={0}
      aria-label={`${title}, a chart`}
      onKeyDown={(event) => moveByKey(event, props)}
    >
      <figcaption>
        <strong>{title}</strong>
        <Legend lines={props.lines} format={format} cursor={cursor} />
      </figcaption>
      <div class="plot" ref={box} role="img" aria-label={`${title}: ${told}`} />
    </figure>
  );
}

function shownOf(lines: readonly Line[]): readonly Line[] {
  return lines.filter(({ isFaint }) => isFaint !== true);
}

interface LegendProps {
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  readonly cursor: Signal<number | null>;
}

/** Of its own, so that a cursor that moves draws nothing but this again. */
function Legend({ lines, format, cursor }: LegendProps) {
  const shown = shownOf(lines);
  const values = legendOf(shown, cursor.value);
  return (
    <ul class="legend">
      {values.map(({ line, value }) => (
        <li key={line.label}>
          <span class="swatch" style={{ background: line.colour }} />
          {line.label} <b>{value === null ? "–" : format(value)}</b>
        </li>
      ))}
      {shown.length > values.length && <li>and {shown.length - values.length} more</li>}
    </ul>
  );
}

function redraw(plot: uPlot | null): void {
  // Ranges are functions: new data, though they are none, ask for them again.
  plot?.setData([
    [0, 1],
    [0, 1],
  ]);
}

function extentX(lines: readonly Line[]): Range {
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (const { x } of lines) {
    if (x.length === 0) continue;
    from = Math.min(from, x[0] ?? from);
    to = Math.max(to, x[x.length - 1] ?? to);
  }
  return from < to
    ? { from, to }
    : { from: Number.isFinite(from) ? from - 1 : 0, to: Number.isFinite(to) ? to + 1 : 1 };
}

function extentY(lines: readonly Line[], { from, to }: Range, isLog: boolean): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const { x, y } of lines) {
    const end = Math.min(x.length, lowerBound(x, to) + 1);
    for (let at = Math.max(0, lowerBound(x, from) - 1); at < end; at++) {
      const value = y[at] ?? null;
      if (value === null || (isLog && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return isLog ? [1, 10] : [0, 1];
  if (isLog) return low === high ? [low / 2, high * 2] : [low / 1.05, high * 1.05];
  return [...roomAround(low, high)];
}

function options(
  latest: { readonly current: ChartProps },
  cursor: Signal<number | null>,
  group: string,
  width: number,
  height: number,
): uPlot.Options {
  const visible = (): Range => latest.current.range.value ?? extentX(latest.current.lines);
  const isLog = latest.current.isLog === true;
  const axis = (): uPlot.Axis => ({
    stroke: () => colour("--muted"),
    grid: { stroke: () => colour("--plot-faint"), width: 1 },
    ticks: { stroke: () => colour("--plot-faint"), width: 1, size: 4 },
    font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif",
  });
  return {
    width: Math.max(100, width),
    height,
    legend: { show: false },
    pxAlign: 0,
    cursor: {
      drag: { x: true, y: false, setScale: false },
      sync: { key: group, scales: ["x", null] },
      points: { show: false },
      bind: {
        dblclick: () => () => {
          latest.current.range.value = null;
          return null;
        },
      },
    },
    scales: {
      x: { time: false, range: () => [visible().from, visible().to] },
      y: {
        distr: isLog ? 3 : 1,
        range: () => extentY(latest.current.lines, visible(), isLog),
      },
    },
    axes: [
      {
        ...axis(),
        size: 30,
        // Steps and tokens are whole numbers.
        ...(latest.current.formatX === undefined && { incrs: WHOLE_STEPS }),
        values: (_, ticks) => ticks.map((tick) => (latest.current.formatX ?? compact)(tick)),
      },
      {
        ...axis(),
        size: (_, labels) =>
          Math.max(36, 16 + 7 * Math.max(0, ...(labels ?? []).map((label) => label.length))),
        values: (_, ticks) =>
          ticks.map((tick) => (tick === null ? "" : (latest.current.formatY ?? shortNumber)(tick))),
      },
    ],
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: {
      draw: [(plot) => drawLines(plot, latest.current.lines, visible(), isLog)],
      setSelect: [
        (plot) => {
          const { left, width: wide } = plot.select;
          if (wide < 6) return;
          latest.current.range.value = {
            from: plot.posToVal(left, "x"),
            to: plot.posToVal(left + wide, "x"),
          };
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      setCursor: [
        (plot) => {
          const { left = -1 } = plot.cursor;
          cursor.value = left < 0 ? null : plot.posToVal(left, "x");
        },
      ],
    },
  };
}

function drawLines(plot: uPlot, lines: readonly Line[], { from, to }: Range, isLog: boolean): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  // Marks at the edge stay whole.
  const room = 3 * devicePixelRatio;
  ctx.rect(bbox.left - room, bbox.top - room, bbox.width + 2 * room, bbox.height + 2 * room);
  ctx.clip();
  ctx.lineJoin = "round";
  const { min: low = 0, max: high = 1 } = plot.scales["y"] ?? {};
  const [lowest, highest] = [low ?? 0, high ?? 1];
  const scaleX = bbox.width / (to - from);
  const height = (value: number): number => {
    const share = isLog
      ? Math.log(value / lowest) / Math.log(highest / lowest)
      : (value - lowest) / (highest - lowest);
    return bbox.top + (1 - share) * bbox.height;
  };
  const pixel = devicePixelRatio;
  for (const { x, y, colour: stroke, isFaint = false, hasMarks = false } of lines) {
    ctx.strokeStyle = stroke;
    ctx.fillStyle = stroke;
    ctx.globalAlpha = isFaint ? 0.3 : 1;
    ctx.lineWidth = (isFaint ? 1 : lines.length > 12 ? 1.2 : 1.8) * pixel;
    ctx.beginPath();
    let isDown = false;
    const end = Math.min(x.length, lowerBound(x, to) + 1);
    const first = Math.max(0, lowerBound(x, from) - 1);
    for (let at = first; at < end; at++) {
      const value = y[at] ?? null;
      if (value === null || (isLog && value <= 0)) {
        isDown = false;
        continue;
      }
      const across = bbox.left + ((x[at] ?? 0) - from) * scaleX;
      if (isDown) ctx.lineTo(across, height(value));
      else ctx.moveTo(across, height(value));
      isDown = true;
    }
    ctx.stroke();
    const marked = hasMarks && end - first <= 80 ? null : new Set(lonelyPoints(y, isLog));
    if (marked?.size === 0) continue;
    for (let at = first; at < end; at++) {
      const value = y[at] ?? null;
      if (value === null || (isLog && value <= 0) || marked?.has(at) === false) continue;
      ctx.beginPath();
      ctx.arc(bbox.left + ((x[at] ?? 0) - from) * scaleX, height(value), 2.6 * pixel, 0, 7);
      ctx.fill();
    }
  }
  ctx.restore();
}

/** The number of each line at a place, or its last; of many lines the first ones. */
function legendOf(
  lines: readonly Line[],
  at: number | null,
): readonly { readonly line: Line; readonly value: number | null }[] {
  return lines.slice(0, LEGEND_COUNT).map((line) => {
    const { x, y } = line;
    let index = x.length - 1;
    if (at !== null && x.length > 0) {
      index = Math.min(x.length - 1, lowerBound(x, at));
      const before = x[index - 1];
      if (before !== undefined && at - before < (x[index] ?? at) - at) index--;
    }
    return { line, value: y[index] ?? null };
  });
}

function moveByKey(event: KeyboardEvent, { lines, range }: ChartProps): void {
  const whole = extentX(lines);
  const { from, to } = range.value ?? whole;
  const wide = to - from;
  const set = (start: number, width: number): void => {
    event.preventDefault();
    const limited = Math.min(width, whole.to - whole.from);
    const left = Math.min(Math.max(start, whole.from), whole.to - limited);
    range.value = limited >= whole.to - whole.from ? null : { from: left, to: left + limited };
  };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "+" || event.key === "=") set(from + wide / 4, wide / 2);
  else if (event.key === "-") set(from - wide / 2, wide * 2);
  else if (event.key === "ArrowLeft") set(from - wide / 4, wide);
  else if (event.key === "ArrowRight") set(from + wide / 4, wide);
  else if (event.key === "0" || event.key === "Escape") set(whole.from, Number.POSITIVE_INFINITY);
}

function compact(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${shortNumber(value / 1e9)}B`;
  if (size >= 1e6) return `${shortNumber(value / 1e6)}M`;
  if (size >= 1e4) return `${shortNumber(value / 1e3)}k`;
  return shortNumber(value);
}
