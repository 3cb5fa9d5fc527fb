import type { Chip } from "../../chip/chip.ts";
import { drawing, FAINT, hue, lineAt, markAt, textAt } from "../../util/plot/svg.ts";
import type { EstimatedOp } from "../../chip/estimate.ts";
import { formatNumber } from "../../chip/figure.ts";

/** What a chip can do at each arithmetic intensity: flat roofs and a slope. */
export interface Roofline {
  readonly roofs: readonly { readonly name: string; readonly tflops: number }[];
  readonly slopes: readonly { readonly name: string; readonly gbps: number }[];
  /** FLOP a byte where the 1x1 roof meets weights from memory. */
  readonly ridge: number;
}

/** The rates and the bandwidth that bound a chip. */
export function rooflineOf(chip: Chip): Roofline {
  const { rates } = chip;
  return {
    roofs: [
      { name: "convolutions", tflops: rates.spatial.value },
      { name: "1x1 convolutions", tflops: rates.pointwise.value },
      { name: "matrix products", tflops: rates.matmul.value },
    ],
    slopes: [
      { name: "weights from memory", gbps: rates.weightStream.value },
      { name: "host copies", gbps: rates.hostCopy.value },
    ],
    ridge: (rates.pointwise.value * 1000) / rates.weightStream.value,
  };
}

interface Point {
  readonly name: string;
  readonly intensity: number;
  readonly tflops: number;
}

function pointsOf(ops: readonly EstimatedOp[]): readonly Point[] {
  return ops
    .filter(({ flops, bytes, ms }) => flops > 0 && bytes > 0 && ms > 0)
    .map(({ name, flops, bytes, ms }) => ({
      name,
      intensity: flops / bytes,
      tflops: flops / ms / 1e9,
    }));
}

const INTENSITY = { low: -1, high: 4 } as const;
const SPEED = { low: -3, high: 2 } as const;

/** FLOP a byte at which a slope's name begins. */
const LABEL_AT = 2;

const MIDDLE = { anchor: "middle", size: 12 } as const;
const END = { anchor: "end", size: 12 } as const;

/** Text on a line, beginning at its first point. */
function along(
  from: { readonly x: number; readonly y: number },
  to: { readonly x: number; readonly y: number },
  content: string,
): string {
  const degrees = (Math.atan2(to.y - from.y, to.x - from.x) * 180) / Math.PI;
  return `<g transform="translate(${from.x.toFixed(1)} ${from.y.toFixed(1)}) rotate(${degrees.toFixed(1)})">${textAt(0, -5, content, { size: 12 })}</g>`;
}

/** The roofline as SVG, with the priced products of a program on it. */
export function rooflineSvg(chip: Chip, ops: readonly EstimatedOp[] = []): string {
  const width = 720;
  const height = 440;
  const left = 60;
  const x = (intensity: number): number =>
    left +
    ((Math.log10(intensity) - INTENSITY.low) / (INTENSITY.high - INTENSITY.low)) *
      (width - left - 20);
  const y = (tflops: number): number =>
    height - 44 - ((Math.log10(tflops) - SPEED.low) / (SPEED.high - SPEED.low)) * (height - 64);
  const roof = rooflineOf(chip);
  const best = Math.max(...roof.roofs.map(({ tflops }) => tflops));
  const parts: string[] = [];
  for (let decade = INTENSITY.low; decade <= INTENSITY.high; decade++) {
    parts.push(
      lineAt(x(10 ** decade), y(10 ** SPEED.low), x(10 ** decade), y(10 ** SPEED.high), FAINT),
      textAt(x(10 ** decade), height - 26, formatNumber(10 ** decade), MIDDLE),
    );
  }
  for (let decade = SPEED.low; decade <= SPEED.high; decade++) {
    parts.push(
      lineAt(
        x(10 ** INTENSITY.low),
        y(10 ** decade),
        x(10 ** INTENSITY.high),
        y(10 ** decade),
        FAINT,
      ),
      textAt(left - 6, y(10 ** decade) + 4, formatNumber(10 ** decade), END),
    );
  }
  for (const { name, gbps } of roof.slopes) {
    const meets = (best * 1000) / gbps;
    const start = 10 ** INTENSITY.low;
    parts.push(
      lineAt(x(start), y((start * gbps) / 1000), x(meets), y(best), hue(0)),
      along(
        { x: x(LABEL_AT), y: y((LABEL_AT * gbps) / 1000) },
        { x: x(10 * LABEL_AT), y: y((10 * LABEL_AT * gbps) / 1000) },
        `${name}, ${formatNumber(gbps)} GB/s`,
      ),
    );
  }
  for (const [index, { name, tflops }] of roof.roofs.entries()) {
    const start = (tflops * 1000) / chip.rates.weightStream.value;
    parts.push(
      lineAt(x(start), y(tflops), x(10 ** INTENSITY.high), y(tflops), hue(1)),
      textAt(
        x(10 ** INTENSITY.high) - 4,
        y(best) - 8 - 14 * (roof.roofs.length - 1 - index),
        `${name}, ${formatNumber(tflops)} TFLOP/s`,
        END,
      ),
    );
  }
  for (const point of pointsOf(ops)) {
    parts.push(markAt(x(point.intensity), y(point.tflops), "predicted", hue(2), point.name));
  }
  parts.push(
    textAt((width + left) / 2, height - 8, "FLOP a byte", MIDDLE),
    textAt(left, 14, `${chip.name}: TFLOP/s`),
  );
  const title = `Roofline of ${chip.name}`;
  return drawing({ width, height, title, description: "TFLOP/s over FLOP a byte" }, parts);
}

/** The same for the terminal: one column an eighth of a decade. */
export function rooflineText(chip: Chip, ops: readonly EstimatedOp[] = []): string {
  const columns = 61;
  const rows = 16;
  const roof = rooflineOf(chip);
  const best = Math.max(...roof.roofs.map(({ tflops }) => tflops));
  const high = Math.log10(best) + 0.15;
  const low = high - 4;
  const column = (intensity: number): number =>
    Math.round(
      ((Math.log10(intensity) - INTENSITY.low) / (INTENSITY.high - INTENSITY.low)) * (columns - 1),
    );
  const row = (tflops: number): number =>
    Math.round(((high - Math.log10(tflops)) / (high - low)) * (rows - 1));
  const grid = Array.from({ length: rows }, () => Array.from({ length: columns }, () => " "));
  const put = (r: number, c: number, mark: string): void => {
    const cells = grid[r];
    if (cells !== undefined && c >= 0 && c < columns) cells[c] = mark;
  };
  for (let c = 0; c < columns; c++) {
    const intensity =
      10 ** (INTENSITY.low + (c / (columns - 1)) * (INTENSITY.high - INTENSITY.low));
    for (const [{ gbps }, mark] of [
      [roof.slopes[1] ?? { gbps: 1 }, "."],
      [roof.slopes[0] ?? { gbps: 1 }, "/"],
    ] as const) {
      const reached = Math.min((intensity * gbps) / 1000, chip.rates.pointwise.value);
      put(row(reached), c, reached === chip.rates.pointwise.value ? "_" : mark);
    }
  }
  for (const point of pointsOf(ops)) put(row(point.tflops), column(point.intensity), "o");
  const lines = grid.map((cells, index) => {
    const tflops = 10 ** (high - (index / (rows - 1)) * (high - low));
    const label = index % 5 === 0 ? formatNumber(Number(tflops.toPrecision(2))) : "";
    return `${label.padStart(8)} |${cells.join("").trimEnd()}`;
  });
  return (
    `${chip.name}: TFLOP/s over FLOP a byte\n` +
    `/ weights from memory at ${formatNumber(chip.rates.weightStream.value)} GB/s, . host copies at ${formatNumber(chip.rates.hostCopy.value)} GB/s${ops.length > 0 ? ", o ops" : ""}\n` +
    `${lines.join("\n")}\n${" ".repeat(9)}+${"-".repeat(columns)}\n${" ".repeat(9)}0.1${"1".padStart(10)}${"10".padStart(12)}${"100".padStart(12)}${"1000".padStart(12)}${"10000".padStart(12)}\n`
  );
}
