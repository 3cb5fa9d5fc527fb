import type { Chip } from "../../chip/chip.ts";
import type { RoofKind, RoofMemory } from "../../chip/cost/roof.ts";
import type { ProductKind } from "../../chip/cost/work.ts";
import type { EstimatedOp } from "../../chip/estimate.ts";
import { formatNumber } from "../../chip/figure.ts";
import { logScale } from "../../util/plot/scale.ts";
import { drawing, FAINT, hue, lineAt, markAt, picture, textAt } from "../../util/plot/svg.ts";

/** What a chip can do at each arithmetic intensity: flat roofs and slopes. */
export interface Roofline {
  readonly roofs: readonly Roof[];
  readonly slopes: readonly Slope[];
  /** FLOP a byte where the 1x1 roof meets weights from memory. */
  readonly ridge: number;
}

/** A rate that no program passes, TFLOP/s. */
export interface Roof {
  readonly name: string;
  readonly tflops: number;
}

/** A memory's rate, GB/s: with every FLOP a byte the roof is so much higher. */
export interface Slope {
  readonly name: string;
  readonly gbps: number;
}

/** The rates and the bandwidths that bound a chip. */
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

/**
 * The recorded roofs and those beside them that rates pass: of int8, of a program on several engines, of both. A rate
 * above all of them is a roof of its own: somebody saw more than the record says.
 */
export function roofsOver(chip: Chip, tflops: readonly number[]): readonly Roof[] {
  const { roofs } = rooflineOf(chip);
  const { int8Factor, splitSpeed, pointwise, spatial } = chip.rates;
  const best = Math.max(pointwise.value, spatial.value);
  const further: readonly Roof[] = [
    { name: "int8", tflops: pointwise.value * int8Factor.value },
    { name: "two engines", tflops: best * splitSpeed.value },
    { name: "int8, two engines", tflops: best * int8Factor.value * splitSpeed.value },
  ].toSorted((a, b) => a.tflops - b.tflops);
  return withFurther(
    roofs,
    further,
    tflops,
    (roof) => roof.tflops,
    (highest) => ({
      name: "fastest seen",
      tflops: highest,
    }),
  );
}

/** The same for slopes: `rates` are TFLOP/s for each FLOP a byte, in GB/s. */
export function slopesOver(chip: Chip, gbps: readonly number[]): readonly Slope[] {
  const { weightStream } = chip.rates;
  const recorded: readonly Slope[] = [{ name: "weights", gbps: weightStream.value }];
  return withFurther(
    recorded,
    [],
    gbps,
    (slope) => slope.gbps,
    (highest) => ({
      name: "fastest seen",
      gbps: highest,
    }),
  );
}

function withFurther<Line>(
  recorded: readonly Line[],
  further: readonly Line[],
  seen: readonly number[],
  rateOf: (line: Line) => number,
  named: (highest: number) => Line,
): readonly Line[] {
  const highest = Math.max(0, ...seen);
  const lines = [...recorded];
  const top = (): number => Math.max(...lines.map(rateOf));
  for (const line of further) {
    if (highest <= top()) break;
    if (rateOf(line) > top()) lines.push(line);
  }
  return highest <= top() ? lines : [...lines, named(highest)];
}

interface Point {
  readonly name: string;
  /** FLOP for each byte of the memory that binds. */
  readonly intensity: number;
  readonly tflops: number;
  readonly roof: number;
  readonly roofName: string;
  readonly memory: RoofMemory;
  readonly gbps: number;
}

/** Products of a program, each under its own roof: the rate of its kind, and the memory it waits for. */
function pointsOf(ops: readonly EstimatedOp[]): readonly Point[] {
  return ops.flatMap(({ name, flops, ms, roof }) =>
    roof === undefined || flops <= 0 || ms <= 0 || roof.bytes <= 0
      ? []
      : [
          {
            name,
            intensity: flops / roof.bytes,
            tflops: flops / ms / 1e9,
            ...{ roof: roof.tflops, memory: roof.memory, gbps: roof.gbps },
            roofName: roofName(roof.kind),
          },
        ],
  );
}

const PRODUCT_NAMES: Readonly<Record<ProductKind, string>> = {
  spatial: "convolutions",
  pointwise: "1x1 convolutions",
  matmul: "matrix products",
};

function roofName(kind: RoofKind | undefined): string {
  if (kind === undefined) return "products";
  const { product, isInt8, isSplit } = kind;
  return `${PRODUCT_NAMES[product]}${isInt8 ? ", int8" : ""}${isSplit ? ", all engines" : ""}`;
}

const MEMORY_NAMES: Readonly<Record<RoofMemory, string>> = {
  weights: "weights from memory",
  activations: "activations on the chip",
};

const WIDTH = 720;
const PLOT_HEIGHT = 380;
const MARGIN = { left: 64, right: 24, top: 30, bottom: 54 } as const;
const KEY_ROW = 20;

/** A line of the picture: a colour, its own dashes, and what it is. */
interface Drawn {
  readonly name: string;
  readonly rate: number;
  readonly hue: number;
}

/**
 * The roofline as SVG, with the priced products of a program on it: then the roofs and slopes that bind them, else all
 * that are recorded. Names stand in a key below, where they cannot run into anything. `isInPage`: without paper and
 * colours of its own, as a part of a page that gives them.
 */
export function rooflineSvg(
  chip: Chip,
  ops: readonly EstimatedOp[] = [],
  { isInPage = false }: { readonly isInPage?: boolean } = {},
): string {
  const points = pointsOf(ops);
  const { roofs, slopes } = linesOf(chip, points);
  const best = Math.max(...roofs.map(({ rate }) => rate));
  const steepest = Math.max(...slopes.map(({ rate }) => rate));
  const flattest = Math.min(...slopes.map(({ rate }) => rate));
  const intensities = points.map(({ intensity }) => intensity);
  const across = logScale([0.1, (10 * best * 1000) / flattest, ...intensities]);
  const firstIntensity = across.ticks[0] ?? 0.1;
  const lowest = (firstIntensity * flattest) / 1000;
  const up = logScale([lowest, best, ...points.map(({ tflops }) => tflops)]);
  const bottom = PLOT_HEIGHT - MARGIN.bottom;
  const right = WIDTH - MARGIN.right;
  const x = (intensity: number): number =>
    MARGIN.left + across.place(intensity) * (right - MARGIN.left);
  const y = (tflops: number): number => bottom - up.place(tflops) * (bottom - MARGIN.top);
  const parts: string[] = [];
  for (const tick of across.ticks) {
    parts.push(
      lineAt(x(tick), MARGIN.top, x(tick), bottom, FAINT),
      textAt(x(tick), bottom + 18, formatNumber(tick), { anchor: "middle", size: 12 }),
    );
  }
  for (const tick of up.ticks) {
    parts.push(
      lineAt(MARGIN.left, y(tick), right, y(tick), FAINT),
      textAt(MARGIN.left - 6, y(tick) + 4, formatNumber(tick), { anchor: "end", size: 12 }),
    );
  }
  const start = across.ticks[0] ?? 0.1;
  for (const { rate, hue: index } of slopes) {
    const meets = (best * 1000) / rate;
    parts.push(lineAt(x(start), y((start * rate) / 1000), x(meets), y(best), hue(index)));
  }
  for (const { rate, hue: index } of roofs) {
    const from = (rate * 1000) / steepest;
    parts.push(
      `<line x1="${x(from).toFixed(1)}" y1="${y(rate).toFixed(1)}" x2="${right}" y2="${y(rate).toFixed(1)}" stroke="${hue(index)}"${roofDash(roofs, rate)}/>`,
    );
  }
  for (const { intensity, tflops, memory, name } of points) {
    parts.push(
      markAt(
        x(intensity),
        y(tflops),
        "predicted",
        hue(MEMORY_HUES[memory]),
        pointTitle(name, tflops),
      ),
    );
  }
  parts.push(
    textAt((MARGIN.left + right) / 2, PLOT_HEIGHT - 12, "FLOP a byte", {
      anchor: "middle",
      size: 12,
    }),
    textAt(MARGIN.left, 16, `${chip.name}: TFLOP/s`),
  );
  const key = [
    ...slopes.map(({ name, rate, hue: index }) => ({
      ...{ index, dash: "" },
      text: `${name}, ${formatNumber(rate)} GB/s`,
    })),
    ...roofs.map(({ name, rate, hue: index }) => ({
      ...{ index, dash: roofDash(roofs, rate) },
      text: `${name}, ${formatNumber(rate)} TFLOP/s`,
    })),
  ];
  for (const [row, { index, dash, text }] of key.entries()) {
    const top = PLOT_HEIGHT + row * KEY_ROW + 8;
    parts.push(
      `<line x1="${MARGIN.left}" y1="${top}" x2="${MARGIN.left + 30}" y2="${top}" stroke="${hue(index)}" stroke-width="2"${dash}/>`,
      textAt(MARGIN.left + 38, top + 4, text, { size: 12 }),
    );
  }
  const height = PLOT_HEIGHT + key.length * KEY_ROW + 10;
  const title = `Roofline of ${chip.name}`;
  const frame = { width: WIDTH, height, title, description: "TFLOP/s over FLOP a byte" };
  return isInPage ? picture(frame, parts) : drawing(frame, parts);
}

function pointTitle(name: string, tflops: number): string {
  return `${name}: ${formatNumber(tflops)} TFLOP/s`;
}

const MEMORY_HUES: Readonly<Record<RoofMemory, number>> = { weights: 0, activations: 2 };
const HOST_HUE = 3;
const ROOF_HUE = 1;

/** Roofs lie close: the highest is whole, the others have dashes of their own. */
function roofDash(roofs: readonly Drawn[], rate: number): string {
  const place = [...new Set(roofs.map((roof) => roof.rate))]
    .toSorted((a, b) => b - a)
    .indexOf(rate);
  const dash = ["", "10 4", "4 4", "1 4"][Math.min(place, 3)] ?? "";
  return dash === "" ? "" : ` stroke-dasharray="${dash}"`;
}

function linesOf(
  chip: Chip,
  points: readonly Point[],
): { readonly roofs: readonly Drawn[]; readonly slopes: readonly Drawn[] } {
  if (points.length === 0) {
    const { roofs, slopes } = rooflineOf(chip);
    const activations = chip.rates.activationStream.value;
    return {
      roofs: roofs.map(({ name, tflops }) => ({ name, rate: tflops, hue: ROOF_HUE })),
      slopes: [
        { name: MEMORY_NAMES.activations, rate: activations, hue: MEMORY_HUES.activations },
        ...slopes.map(({ name, gbps }, index) => ({
          name,
          rate: gbps,
          hue: index === 0 ? MEMORY_HUES.weights : HOST_HUE,
        })),
      ],
    };
  }
  const byName = new Map<string, number>();
  for (const { roof, roofName: name } of points) {
    byName.set(name, Math.max(roof, byName.get(name) ?? 0));
  }
  const roofs = [...byName]
    .map(([name, rate]): Drawn => ({ name, rate, hue: ROOF_HUE }))
    .toSorted((a, b) => b.rate - a.rate);
  const slopes = (["activations", "weights"] as const).flatMap((memory): readonly Drawn[] => {
    const rates = points.filter((point) => point.memory === memory).map(({ gbps }) => gbps);
    if (rates.length === 0) return [];
    return [{ name: MEMORY_NAMES[memory], rate: Math.max(...rates), hue: MEMORY_HUES[memory] }];
  });
  return { roofs, slopes };
}

/** The same for the terminal: one column an eighth of a decade. */
export function rooflineText(chip: Chip): string {
  const columns = 61;
  const rows = 16;
  const from = -1;
  const to = 4;
  const roof = rooflineOf(chip);
  const best = Math.max(...roof.roofs.map(({ tflops }) => tflops));
  const high = Math.log10(best) + 0.15;
  const low = high - 4;
  const row = (tflops: number): number =>
    Math.round(((high - Math.log10(tflops)) / (high - low)) * (rows - 1));
  const grid = Array.from({ length: rows }, () => Array.from({ length: columns }, () => " "));
  for (let c = 0; c < columns; c++) {
    const intensity = 10 ** (from + (c / (columns - 1)) * (to - from));
    for (const [{ gbps }, mark] of [
      [roof.slopes[1] ?? { gbps: 1 }, "."],
      [roof.slopes[0] ?? { gbps: 1 }, "/"],
    ] as const) {
      const reached = Math.min((intensity * gbps) / 1000, chip.rates.pointwise.value);
      const cells = grid[row(reached)];
      if (cells !== undefined) cells[c] = reached === chip.rates.pointwise.value ? "_" : mark;
    }
  }
  const lines = grid.map((cells, index) => {
    const tflops = 10 ** (high - (index / (rows - 1)) * (high - low));
    const label = index % 5 === 0 ? formatNumber(Number(tflops.toPrecision(2))) : "";
    return `${label.padStart(8)} |${cells.join("").trimEnd()}`;
  });
  return (
    `${chip.name}: TFLOP/s over FLOP a byte\n` +
    `/ weights from memory at ${formatNumber(chip.rates.weightStream.value)} GB/s, . host copies at ${formatNumber(chip.rates.hostCopy.value)} GB/s\n` +
    `${lines.join("\n")}\n${" ".repeat(9)}+${"-".repeat(columns)}\n${" ".repeat(9)}0.1${"1".padStart(10)}${"10".padStart(12)}${"100".padStart(12)}${"1000".padStart(12)}${"10000".padStart(12)}\n`
  );
}
