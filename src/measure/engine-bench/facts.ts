import { quantile } from "../published/accuracy.ts";
import { inStreamNotch } from "../../chip/cost/model.ts";
import { lineThrough } from "./statistics.ts";
import { teraflops } from "./report.ts";
import type { CaseResult, EngineReport } from "./report.ts";

/** The three ways a time is known. */
export const VIEWS = ["measured", "published", "predicted"] as const;
export type View = (typeof VIEWS)[number];

/** Milliseconds of a case in one view; published ones are those of the report's chip, the median of several. */
export function timeIn(view: View, result: CaseResult, report: EngineReport): number | undefined {
  switch (view) {
    case "measured":
      return result.status === "measured" ? result.timing?.median_ms : undefined;
    case "predicted":
      return result.predicted.ms;
    case "published": {
      const times = result.published.filter(({ chip }) => chip === report.chip);
      return times.length === 0
        ? undefined
        : quantile(
            times.map(({ ms }) => ms),
            0.5,
          );
    }
  }
}

/** One number that the suites are about, in every view that has it. */
export interface Fact {
  readonly label: string;
  readonly unit: string;
  readonly values: Readonly<Partial<Record<View, number>>>;
}

type Times = (id: string) => number | undefined;

interface FactRow {
  readonly label: string;
  readonly unit: string;
  readonly value: (times: Times, results: readonly CaseResult[]) => number | undefined;
}

const INT8 = "int8.128x-conv1x1-512@4096";
const INT8_QUICK = "int8.64x-conv1x1-512@4096";
const SMALLEST = "latency.relu-1x64";

/** y over x, where both are there. */
function ratio(x: number | undefined, y: number | undefined): number | undefined {
  return x === undefined || y === undefined ? undefined : y / x;
}

function best(
  results: readonly CaseResult[],
  times: Times,
  wanted: (result: CaseResult) => boolean,
): number | undefined {
  const rates = results.flatMap((result) => {
    const ms = wanted(result) ? times(result.id) : undefined;
    return ms === undefined ? [] : [teraflops(result.flops, ms)];
  });
  return rates.length === 0 ? undefined : Math.max(...rates);
}

/** Sizes from which the time is that of the weights, not of the call. */
const STREAMED_BYTES = 4e6;

/** The line through the sweep without its notches: milliseconds over bytes. */
export function sweepLine(
  results: readonly CaseResult[],
  times: Times,
): ReturnType<typeof lineThrough> {
  const points = results.flatMap(({ suite, id, weight_bytes: bytes }) => {
    const ms = suite === "weights" ? times(id) : undefined;
    return ms === undefined || bytes < STREAMED_BYTES || inStreamNotch(bytes)
      ? []
      : [[bytes, ms] as const];
  });
  return lineThrough(points);
}

const FACTS: readonly FactRow[] = [
  {
    label: "highest fp16 rate",
    unit: "TFLOP/s",
    value: (times, results) =>
      best(
        results,
        times,
        ({ suite, id }) => suite === "peak" || (suite === "int8" && !/weights|w8a8/.test(id)),
      ),
  },
  {
    label: "highest int8 rate, weights and activations",
    unit: "TOP/s",
    value: (times, results) => best(results, times, ({ id }) => id.endsWith("w8a8")),
  },
  {
    label: "int8 against fp16, weights and activations",
    unit: "x",
    value: (times) =>
      ratio(times(`${INT8}-w8a8`), times(INT8)) ??
      ratio(times(`${INT8_QUICK}-w8a8`), times(INT8_QUICK)),
  },
  {
    label: "int8 against fp16, weights alone",
    unit: "x",
    value: (times) =>
      ratio(times(`${INT8}-weights`), times(INT8)) ??
      ratio(times(`${INT8_QUICK}-weights`), times(INT8_QUICK)),
  },
  { label: "a call that does nothing", unit: "ms", value: (times) => times(SMALLEST) },
  {
    label: "a dispatch among 32 in one call",
    unit: "ms",
    value: (times) => ratio(32, times(`${SMALLEST}.32-in-one-call`)),
  },
  {
    label: "a dispatch in a call of its own",
    unit: "ms",
    value: (times) => ratio(32, times(`${SMALLEST}.32-calls`)),
  },
  {
    label: "weights from memory, slope of the sweep",
    unit: "GB/s",
    value: (times, results) => {
      const slope = sweepLine(results, times)?.slope;
      return slope === undefined || slope <= 0 ? undefined : 1 / slope / 1e6;
    },
  },
  {
    label: "4096 x 4096 weights against the sweep's line",
    unit: "x",
    value: (times, results) => {
      const line = sweepLine(results, times);
      const bytes = 2 * 4096 ** 2;
      return line === undefined
        ? undefined
        : ratio(line.intercept + line.slope * bytes, times("weights.conv1x1-4096-4096@64"));
    },
  },
  {
    label: "1x1 convolution against matmul, N = 2048",
    unit: "x",
    value: (times) =>
      ratio(times("matmul.conv1x1-2048-2048@2048"), times("matmul.gemm-2048x2048x2048")),
  },
  {
    label: "1x1 convolution against matmul, N = 4096",
    unit: "x",
    value: (times) =>
      ratio(times("matmul.conv1x1-4096-4096@4096"), times("matmul.gemm-4096x4096x4096")),
  },
  {
    label: "one layer 768 x 512, forward and backward, Anecdote's programs",
    unit: "ms",
    value: (times) => times("layer.block-768x512"),
  },
  {
    label: "Stories110M training step, Anecdote's programs",
    unit: "ms",
    value: (times) => times("layer.stories110M-step"),
  },
];

/** The numbers that the report begins with; those that no view has are left out. */
export function factsOf(report: EngineReport): readonly Fact[] {
  return FACTS.flatMap(({ label, unit, value }) => {
    const values: Partial<Record<View, number>> = {};
    for (const view of VIEWS) {
      const number = value(timesIn(view, report), report.cases);
      if (number !== undefined) values[view] = number;
    }
    return Object.keys(values).length === 0 ? [] : [{ label, unit, values }];
  });
}

export function timesIn(view: View, report: EngineReport): Times {
  const byId = new Map(report.cases.map((result) => [result.id, result]));
  return (id) => {
    const result = byId.get(id);
    return result === undefined || result.status === "refused"
      ? undefined
      : timeIn(view, result, report);
  };
}
