import { chipByName } from "../../../chip/chips.ts";
import { inStreamNotch } from "../../../chip/cost/model.ts";
import { roofsOver, slopesOver } from "../../published/roofline.ts";
import { barPlot, dotPlot, shortNumber, xyPlot } from "../../../util/plot/index.ts";
import type { DotRow, PlotSeries, Style } from "../../../util/plot/index.ts";
import type { SuiteName } from "../case.ts";
import { sweepLine, timeIn, timesIn, VIEWS } from "../facts.ts";
import { gigabytesPerSecond, teraflops } from "../report.ts";
import type { CaseResult, EngineReport } from "../report.ts";

/** Pictures of a suite, as SVG. */
export type Plots = (report: EngineReport, results: readonly CaseResult[]) => readonly string[];

/** The suites' pictures; a suite without results has none. */
export const PLOTS: Readonly<Record<SuiteName, Plots>> = {
  peak: (report, results) => [...peakPlots(report, results), roofline(report)],
  weights: (report, results) => [sweepPlot(report, results)],
  matmul: (report, results) => [matmulPlot(report, results)],
  int8: (report, results) => [int8Plot(report, results)],
  latency: (report, results) => latencyPlots(report, results),
  layer: (report, results) => [dots("Layer and step", report, results)],
  gemv: (report, results) => [gemvPlot(report, results)],
  conv: (report, results) => [dots("3x3 convolutions", report, results)],
  ops: (report, results) => [dots("Ops", report, results)],
};

/** Measured first, so that labels stand at measured lines; refused cases have no place in a plot. */
function shown(results: readonly CaseResult[]): readonly CaseResult[] {
  return results.filter(({ status }) => status !== "refused");
}

/** The id without suite and what the whole suite shares. */
function shortName({ id }: CaseResult): string {
  return id
    .replace(/^[a-z0-9]+\./, "")
    .replace(".with-copies", "")
    .replace("-D=768-H=12", "");
}

function told(style: Style, result: CaseResult, value: number, unit: string): string {
  return `${result.title}: ${shortNumber(value)} ${unit}, ${style}`;
}

/** TFLOP/s by depth: one picture for the published small chains, at 64 positions. */
function peakPlots(report: EngineReport, results: readonly CaseResult[]): readonly string[] {
  const chains = shown(results).flatMap((result) => {
    const sizes = /^peak\.(\d+)x-conv1x1-(\d+)@64$/.exec(result.id);
    return sizes === null ? [] : [{ result, depth: Number(sizes[1]), channels: Number(sizes[2]) }];
  });
  const channels = [...new Set(chains.map((chain) => chain.channels))];
  const series = channels.flatMap((count, hueIndex) =>
    VIEWS.map((view): PlotSeries => ({
      name: `${count} channels`,
      style: view,
      hue: hueIndex,
      points: chains.flatMap(({ result, depth, channels: own }) => {
        const ms = own === count ? timeIn(view, result, report) : undefined;
        if (ms === undefined) return [];
        const rate = teraflops(result.flops, ms);
        return [{ x: depth, y: rate, title: told(view, result, rate, "TFLOP/s") }];
      }),
    })),
  );
  if (chains.length === 0) return [];
  return [
    xyPlot({
      title: "Rate by depth and channels",
      description: `Chains of 1x1 convolutions over 64 positions, ${chains.length} cases`,
      x: {
        label: "convolutions in the chain",
        kind: "linear",
        ticks: [...new Set(chains.map(({ depth }) => depth))].sort((a, b) => a - b),
      },
      y: { label: "TFLOP/s", kind: "linear" },
      series: series.filter(({ points }) => points.length > 0),
    }),
  ];
}

function sweepPlot(report: EngineReport, results: readonly CaseResult[]): string {
  const sorted = shown(results).toSorted((a, b) => a.weight_bytes - b.weight_bytes);
  const view = report.kind === "predicted" ? "predicted" : "measured";
  const line = sweepLine(sorted, timesIn(view, report));
  const largest = Math.max(...sorted.map(({ weight_bytes: bytes }) => bytes), 1);
  const smallest = 2e6;
  const speed = line === undefined ? 0 : 1 / line.slope / 1e6;
  return xyPlot({
    title: "Time by size of the weights",
    description: `One 1x1 convolution over 64 positions; the thin line is fitted to the ${view} times outside the notches`,
    x: { label: "MiB of weights", kind: "log" },
    y: { label: "milliseconds", kind: "log" },
    series: byWeights(sorted, report, "ms", (_, ms) => ms),
    marks: sorted
      .filter(({ weight_bytes: bytes }) => inStreamNotch(bytes))
      .map((result) => ({ x: mebibytes(result), label: "notch" })),
    guides:
      line === undefined || line.slope <= 0
        ? []
        : [
            {
              name: `${shortNumber(speed)} GB/s`,
              points: [smallest, smallest * 4, smallest * 16, largest]
                .filter((bytes) => bytes <= largest)
                .map((bytes) => [bytes / 2 ** 20, line.intercept + line.slope * bytes] as const),
            },
          ],
  });
}

const mebibytes = (result: CaseResult): number => result.weight_bytes / 2 ** 20;

/** A number of each case over its weights, a series a view that has it. */
function byWeights(
  results: readonly CaseResult[],
  report: EngineReport,
  unit: string,
  valueOf: (result: CaseResult, ms: number) => number,
): readonly PlotSeries[] {
  return VIEWS.map((view, hueIndex): PlotSeries => ({
    ...{ name: view, style: view, hue: hueIndex },
    points: results.flatMap((result) => {
      const ms = timeIn(view, result, report);
      if (ms === undefined) return [];
      const value = valueOf(result, ms);
      return [{ x: mebibytes(result), y: value, title: told(view, result, value, unit) }];
    }),
  })).filter(({ points }) => points.length > 0);
}

function valuesOf(
  result: CaseResult | undefined,
  report: EngineReport,
  valueOf: (result: CaseResult, ms: number) => number,
): Readonly<Partial<Record<Style, number>>> {
  const values: Partial<Record<Style, number>> = {};
  if (result === undefined || result.status === "refused") return values;
  for (const view of VIEWS) {
    const ms = timeIn(view, result, report);
    if (ms !== undefined) values[view] = valueOf(result, ms);
  }
  return values;
}

/** Times of a case, each divided by so many. */
function dotRow(result: CaseResult, report: EngineReport, divisor: number): DotRow {
  const { timing, status } = result;
  return {
    name: shortName(result),
    values: valuesOf(result, report, (_, ms) => ms / divisor),
    ...(timing !== undefined &&
      status === "measured" && {
        range: [timing.p10_ms / divisor, timing.p90_ms / divisor] as const,
      }),
  };
}

const rate = (result: CaseResult, ms: number): number => teraflops(result.flops, ms);

function matmulPlot(report: EngineReport, results: readonly CaseResult[]): string {
  const find = (id: string): CaseResult | undefined => results.find((result) => result.id === id);
  const sizes = results.flatMap(({ id }) => {
    const size = /^matmul\.gemm-(\d+)x\1x\1$/.exec(id)?.[1];
    return size === undefined ? [] : [size];
  });
  return barPlot({
    title: "Matrix product against 1x1 convolution",
    description: `The same N x N x N product as matmul and as convolution, N from ${sizes[0] ?? ""} to ${sizes.at(-1) ?? ""}`,
    valueLabel: "TFLOP/s",
    groupLabel: "N",
    kinds: ["1x1 convolution", "matmul"],
    groups: sizes.map((size) => ({
      name: size,
      bars: [
        { kind: 0, values: valuesOf(find(`matmul.conv1x1-${size}-${size}@${size}`), report, rate) },
        { kind: 1, values: valuesOf(find(`matmul.gemm-${size}x${size}x${size}`), report, rate) },
      ],
    })),
  });
}

function int8Plot(report: EngineReport, results: readonly CaseResult[]): string {
  const depths = results.flatMap(({ id }) => {
    const depth = /^int8\.(\d+)x-conv1x1-512@4096$/.exec(id)?.[1];
    return depth === undefined ? [] : [depth];
  });
  const of = (depth: string, mark: string): CaseResult | undefined =>
    results.find(({ id }) => id === `int8.${depth}x-conv1x1-512@4096${mark}`);
  return barPlot({
    title: "int8 against fp16",
    description:
      "Chains of 512 x 512 convolutions over 64 x 64 positions; int8 weights alone, then activations too",
    valueLabel: "TFLOP/s or TOP/s",
    groupLabel: "convolutions in the chain",
    kinds: ["fp16", "int8 weights", "int8 all"],
    groups: depths.map((depth) => ({
      name: depth,
      bars: ["", "-weights", "-w8a8"].map((mark, kind) => ({
        kind,
        values: valuesOf(of(depth, mark), report, rate),
      })),
    })),
  });
}

function latencyPlots(report: EngineReport, results: readonly CaseResult[]): readonly string[] {
  const rows = shown(results).map((result) => dotRow(result, report, result.dispatches));
  const plots = [
    dotPlot({
      title: "Milliseconds a dispatch",
      description: "Bars from the 10th to the 90th percentile of the measured calls",
      valueLabel: "milliseconds a dispatch",
      rows,
    }),
  ];
  const timed = shown(results).filter(({ status }) => status === "measured");
  if (timed.length > 0) {
    plots.push(
      xyPlot({
        title: "How calls are distributed",
        description: "Milliseconds a dispatch by the share of calls that were not slower",
        x: { label: "share of calls, %", kind: "linear" },
        y: { label: "milliseconds a dispatch", kind: "log" },
        series: timed.map((result, index) => ({
          name: DISTRIBUTION_NAMES[index] ?? "",
          style: "measured",
          hue: index,
          points: (result.timing?.quantiles_ms ?? []).map((ms, step) => ({
            x: step * 5,
            y: ms / result.dispatches,
            title: `${result.title}: ${step * 5} % within ${shortNumber(ms / result.dispatches)} ms a dispatch`,
          })),
        })),
      }),
    );
  }
  return plots;
}

/** Short enough for the margin, in the order of the suite. */
const DISTRIBUTION_NAMES = ["1 call", "32 in one", "32 calls", "1 conv", "64 convs"] as const;

function gemvPlot(report: EngineReport, results: readonly CaseResult[]): string {
  const sorted = shown(results)
    .filter(({ id }) => /gemv-1x(\d+)x\1\./.test(id))
    .toSorted((a, b) => a.weight_bytes - b.weight_bytes);
  return xyPlot({
    title: "One row times a matrix",
    description: "Bytes of weights a second, square matrices",
    x: { label: "MiB of weights", kind: "log" },
    y: { label: "GB/s", kind: "linear" },
    series: byWeights(sorted, report, "GB/s", (result, ms) =>
      gigabytesPerSecond(result.weight_bytes, ms),
    ),
  });
}

function dots(title: string, report: EngineReport, results: readonly CaseResult[]): string {
  return dotPlot({
    title,
    description: `${results.length} cases, time of a call`,
    valueLabel: "milliseconds",
    rows: shown(results).map((result) => dotRow(result, report, 1)),
  });
}

/**
 * The chip's roofs with every product of the report on them. A case that passes the recorded roofs brings the roof that
 * binds it: int8's, several engines', or one that says that somebody saw more.
 */
export function roofline(report: EngineReport): string {
  const chip = chipByName(report.chip);
  const views = report.kind === "predicted" ? (["published", "predicted"] as const) : VIEWS;
  const points = views.flatMap((view) =>
    shown(report.cases).flatMap((result) => {
      const ms = timeIn(view, result, report);
      if (ms === undefined || result.flops === 0 || result.weight_bytes === 0) return [];
      const y = rate(result, ms);
      const x = result.flops / result.weight_bytes;
      return [{ view, x, y, title: told(view, result, y, "TFLOP/s") }];
    }),
  );
  const roofs = roofsOver(
    chip,
    points.map(({ y }) => y),
  );
  const best = Math.max(...roofs.map(({ tflops }) => tflops));
  // A rate under the lowest roof may still pass the slope.
  const sloping = points.filter(
    ({ x, y }) => y < best && (x * chip.rates.weightStream.value) / 1000 < best,
  );
  const slopes = slopesOver(
    chip,
    sloping.map(({ x, y }) => (y / x) * 1000),
  );
  const low = Math.min(1, ...points.map(({ x }) => x));
  const high = Math.max(10_000, ...points.map(({ x }) => x));
  const steepest = Math.max(...slopes.map(({ gbps }) => gbps));
  return xyPlot({
    title: `Roofline of ${report.chip}`,
    description:
      "Rates over the FLOP for each byte of weights; lines are the chip's recorded rates, and those of cases that pass them",
    x: { label: "FLOP a byte of weights", kind: "log" },
    y: { label: "TFLOP/s", kind: "log" },
    series: views.map((view) => ({
      name: "",
      style: view,
      hue: VIEWS.indexOf(view),
      isJoined: false,
      points: points.filter((point) => point.view === view),
    })),
    guides: [
      ...roofs.map(({ name, tflops }) => ({
        name: ROOF_NAMES[name] ?? name,
        points: [
          [(tflops * 1000) / steepest, tflops],
          [high, tflops],
        ] as const,
      })),
      ...slopes.map(({ gbps }) => ({
        name: "",
        points: [
          [low, (low * gbps) / 1000],
          [(best * 1000) / gbps, best],
        ] as const,
      })),
    ],
  });
}

const ROOF_NAMES: Readonly<Record<string, string>> = {
  convolutions: "3x3 roof",
  "1x1 convolutions": "1x1 roof",
  "matrix products": "matmul roof",
  int8: "int8 roof",
  "two engines": "two engines",
  "int8, two engines": "both, int8",
};
