import { quantile } from "../published/accuracy.ts";
import { estimateFunction } from "../../chip/estimate.ts";
import type { MilFunction } from "../../mil/program.ts";
import { Random } from "../../util/random.ts";
import { openPowerMeter } from "../../track/power/index.ts";
import { constant, program } from "./number-case.ts";
import type { Outcome } from "./outcome.ts";
import { increment } from "./program-probes.ts";
import { held, notHeld, unknown } from "./probe.ts";
import type { Probe, ProbeContext } from "./probe.ts";
import { halfCount, LoadedProgram, writeNumbers } from "./run-program.ts";
import { convolved, matmulProgram } from "./arithmetic-programs.ts";

const WARM_UPS = 10;
const MAXIMUM_RUNS = 300;
/** Of one program's timed calls together. */
const BUDGET_MS = 1000;
/** A ladder ends at the first rung whose call takes longer: the next one would not fit. */
const LONGEST_CALL_MS = 150;
/** Predictions are of machines at rest; a rate within this factor of its prediction agrees with it. */
const AGREEMENT = 2;

export interface CallTimes {
  readonly runs: number;
  readonly medianMs: number;
  readonly p90Ms: number;
}

/** Times calls of a loaded program after some that warm up. */
export async function timeCalls(loaded: LoadedProgram): Promise<CallTimes> {
  const started = performance.now();
  for (let run = 0; run < WARM_UPS; run++) {
    await loaded.execute();
    if (performance.now() - started > BUDGET_MS) break;
  }
  const times: number[] = [];
  const timedFrom = performance.now();
  while (times.length < MAXIMUM_RUNS) {
    const before = performance.now();
    await loaded.execute();
    times.push(performance.now() - before);
    if (times.length >= 3 && performance.now() - timedFrom > BUDGET_MS) break;
  }
  return { runs: times.length, medianMs: quantile(times, 0.5), p90Ms: quantile(times, 0.9) };
}

interface Rung {
  readonly label: string;
  readonly build: () => MilFunction;
  readonly flops: number;
  readonly bytes: number;
}

/**
 * Numbers as a network has them, normally distributed about 0 with variance 1: power follows the bits that change, and
 * a compiler may pack constants of few values. No sum of theirs comes near the ceiling.
 */
function fillInputs(loaded: LoadedProgram): void {
  loaded.fn.inputs.forEach((port, index) => {
    const buffer = loaded.inputs[index];
    if (buffer !== undefined) writeNumbers(buffer, normals(halfCount(port), index, 1));
  });
}

/** Independent numbers of a normal distribution; beyond this many they repeat, which costs less than drawing all. */
const DRAWN = 1 << 16;

function normals(count: number, seed: number, scale: number): Float64Array {
  const random = new Random(seed + 1);
  const drawn = Float64Array.from(
    { length: Math.min(count, DRAWN) },
    () => scale * random.normal(),
  );
  // A step that shares no factor with the length meets every number once before it repeats.
  return Float64Array.from({ length: count }, (_, i) => drawn[(i * 40503) % drawn.length] ?? 0);
}

function convolutionChain(channels: number, places: number, depth: number): Rung {
  return {
    label: `${depth} 1x1 convolutions of ${channels} channels over ${places} places`,
    flops: 2 * channels * channels * places * depth,
    bytes: 2 * channels * channels * depth,
    build: () =>
      program([[1, channels, 1, places]], (f, x) => {
        let value = x;
        for (let layer = 0; layer < depth; layer++) {
          const weight = constant(f, [channels, channels, 1, 1], weights(channels, layer));
          value = convolved(f, { x: value, weight });
        }
        return value;
      }),
  };
}

function weights(channels: number, seed: number): Float64Array {
  return normals(channels * channels, seed, 1 / Math.sqrt(channels));
}

function product(size: number): Rung {
  return {
    label: `matmul ${size} x ${size} x ${size}`,
    flops: 2 * size ** 3,
    bytes: 6 * size ** 2,
    build: () => matmulProgram(size, size, size),
  };
}

/** One row of places times a square weight: hardly any work, all of the weight to be read. */
function streamed(size: number, isConstant: boolean): Rung {
  const places = 32;
  return {
    label: `${size} x ${size} weights, ${isConstant ? "constant" : "an input"}`,
    flops: 2 * size * size * places,
    bytes: 2 * size * size,
    build: () =>
      isConstant
        ? program([[1, size, 1, places]], (f, x) =>
            convolved(f, {
              x,
              weight: constant(f, [size, size, 1, 1], weights(size, 0)),
            }),
          )
        : matmulProgram(places, size, size),
  };
}

/** One value read and one written an element, from and to memory. */
function edges(channels: number): Rung {
  const places = 512;
  return {
    label: `x / 2 over ${channels} x ${places}`,
    flops: channels * places,
    bytes: 4 * channels * places,
    build: () => program([[1, channels, 1, places]], (f, x) => f.op("mul", { x, y: 0.5 })),
  };
}

const ELEMENTWISE_DEPTH = 16;
/** A product with a number reads and writes one value of two bytes, a sum of two values reads two. */
const BYTES_A_LEVEL = 2 * 2 + 3 * 2;

/** Elementwise ops in a chain that no compiler can shorten: what crosses the program's edges is a small part. */
function elementwise(channels: number): Rung {
  const places = 512;
  return {
    label: `${2 * ELEMENTWISE_DEPTH} elementwise ops over ${channels} x ${places}`,
    flops: 2 * ELEMENTWISE_DEPTH * channels * places,
    bytes: BYTES_A_LEVEL * ELEMENTWISE_DEPTH * channels * places,
    build: () =>
      program([[1, channels, 1, places]], (f, x) => {
        let value = x;
        for (let level = 0; level < ELEMENTWISE_DEPTH; level++)
          value = f.op("add", { x: f.op("mul", { x: value, y: 0.5 }), y: x });
        return value;
      }),
  };
}

type Unit = "TFLOP/s" | "GB/s";

function rateOf(rung: Rung, ms: number, unit: Unit): number {
  return unit === "TFLOP/s" ? rung.flops / (ms * 1e9) : rung.bytes / (ms * 1e6);
}

/** The best rate of a ladder of sizes, beside the cost model's for the same program. */
async function climb(context: ProbeContext, rungs: readonly Rung[], unit: Unit): Promise<Outcome> {
  const driver = context.open();
  let best: { rung: Rung; times: CallTimes; rate: number; predictedMs: number } | undefined;
  for (const rung of rungs) {
    const fn = rung.build();
    const predictedMs = estimateFunction(fn, context.chip, context.driver).ms;
    const loaded = await LoadedProgram.load(driver, fn);
    try {
      fillInputs(loaded);
      const times = await timeCalls(loaded);
      const rate = rateOf(rung, times.medianMs, unit);
      if (best === undefined || rate > best.rate) best = { rung, times, rate, predictedMs };
      if (times.medianMs > LONGEST_CALL_MS) break;
    } finally {
      loaded.release();
    }
  }
  if (best === undefined) return unknown("nothing was timed");
  const { rung, times, rate, predictedMs } = best;
  const predicted = rateOf(rung, predictedMs, unit);
  const measured = {
    rate,
    unit,
    predicted,
    medianMs: times.medianMs,
    p90Ms: times.p90Ms,
    predictedMs,
    runs: times.runs,
    at: rung.label,
  };
  const told = `${figure(rate)} ${unit} (${rung.label}, median of ${times.runs}: ${figure(times.medianMs)} ms); the cost model says ${figure(predicted)} ${unit}`;
  return agreement(context, told, rate / predicted, measured);
}

const figure = (value: number): string => value.toPrecision(3);

function agreement(
  { library }: ProbeContext,
  told: string,
  factor: number,
  measured: NonNullable<Outcome["measured"]>,
): Outcome {
  if (library.isNamed)
    return unknown(
      `${told}; a library stands for the engine, its time is this computer's`,
      measured,
    );
  return factor <= AGREEMENT && factor >= 1 / AGREEMENT
    ? held(told, measured)
    : notHeld(told, measured);
}

const MEANS: Probe["means"] = {
  held: "The cost model fits this machine: estimates of plans may be trusted.",
  "did not hold": "The cost model does not fit this machine. Please report the figures.",
  unknown: "There is nothing to compare with.",
};

type Row = Omit<Probe, "group" | "driver" | "means" | "needs" | "failure" | "source" | "how"> &
  Partial<Pick<Probe, "how" | "source" | "driver" | "means">>;

/** A ladder of four programs: compiling each, ten calls to warm up, and timed calls. */
const RATE_MS = 6000;

const row = (entry: Row): Probe => ({
  group: "rates",
  driver: "both",
  source: "the cost model (docs/cost-model.md)",
  how: `calls of growing programs, ${WARM_UPS} to warm up, medians`,
  means: MEANS,
  needs: ["program.runs"],
  failure: "unknown",
  timeLimitMs: 180_000,
  expectedMs: RATE_MS,
  ...entry,
});

export const RATE_PROBES: readonly Probe[] = [
  row({
    id: "rate.floor",
    title: "Dispatch floor: a call of the smallest program takes what the cost model says",
    how: `up to ${MAXIMUM_RUNS} calls of one addition over 32 numbers`,
    level: "quick",
    expectedMs: 3000,
    run: async (context) => {
      const fn = increment();
      const loaded = await LoadedProgram.load(context.open(), fn);
      const times = await timeCalls(loaded);
      loaded.release();
      const predictedMs = estimateFunction(fn, context.chip, context.driver).ms;
      const told = `median of ${times.runs} calls ${figure(times.medianMs)} ms, 90 % within ${figure(times.p90Ms)} ms; the cost model says ${figure(predictedMs)} ms`;
      return agreement(context, told, times.medianMs / predictedMs, { ...times, predictedMs });
    },
  }),
  row({
    id: "rate.convolution",
    title: "Compute rate of 1x1 convolutions in a chain",
    run: (context) =>
      climb(
        context,
        [
          convolutionChain(64, 64, 2),
          convolutionChain(128, 256, 8),
          convolutionChain(256, 1024, 16),
          convolutionChain(512, 4096, 16),
        ],
        "TFLOP/s",
      ),
  }),
  row({
    id: "rate.matmul",
    title: "Compute rate of a matrix product of two inputs",
    run: (context) => climb(context, [128, 256, 512, 1024, 2048].map(product), "TFLOP/s"),
  }),
  row({
    id: "rate.weights",
    title: "Rate at which constant weights are read",
    run: (context) =>
      climb(
        context,
        [256, 512, 1024, 2048, 3072].map((size) => streamed(size, true)),
        "GB/s",
      ),
  }),
  row({
    id: "rate.weight-inputs",
    title: "Rate at which weights that are inputs are read",
    run: (context) =>
      climb(
        context,
        [256, 512, 1024, 2048, 3072].map((size) => streamed(size, false)),
        "GB/s",
      ),
  }),
  row({
    id: "rate.edges",
    title: "Rate at which inputs are read and outputs written",
    run: (context) => climb(context, [64, 512, 4096, 16384].map(edges), "GB/s"),
  }),
  row({
    id: "rate.elementwise",
    title: "Rate at which elementwise ops of one program read and write",
    run: (context) => climb(context, [64, 512, 4096].map(elementwise), "GB/s"),
  }),
  row({
    id: "rate.power",
    title: "Power of the engine's rail, at rest and under load",
    source: "macmon, IOReport or powermetrics, whichever reads",
    how: "2 s at rest, then 4 s of a chain of convolutions",
    means: {
      held: "Energy per token is measured in runs on this machine.",
      "did not hold":
        "The rail does not rise under load: the work may not be on the engine, or the rail is wrong.",
      unknown: "Power cannot be read: runs tell no energy.",
    },
    expectedMs: 9000,
    run: power,
  }),
  row({
    id: "rate.routes",
    title: "Direct evaluation is no faster than the model's own message",
    source: "ane-infer (10 % faster, M5), dev-erik (slower, M4 Max), Espresso (equal, M3 Max)",
    how: "the smallest program by each way that the system has, in turns",
    driver: "in-memory",
    means: {
      held: "The driver evaluates by the model's own message.",
      "did not hold": "The driver takes the fastest way.",
      unknown: "The driver evaluates by the model's own message.",
    },
    run: routes,
    settings: ({ verdict, measured }) => {
      const fastest = measured?.["fastest"];
      const isKnown = fastest === "direct" || fastest === "client" || fastest === "model";
      return verdict === "did not hold" && isKnown
        ? { "in-memory": { evaluation: fastest } }
        : undefined;
    },
  }),
];

const REST_MS = 2000;
const LOAD_MS = 4000;

async function power({ open, library }: ProbeContext): Promise<Outcome> {
  const { meter, reason } = await openPowerMeter();
  if (meter === undefined) return unknown(`power cannot be read: ${reason}`);
  try {
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const rest = meter.energyJoules();
    const { build, flops } = convolutionChain(
      library.isNamed ? 64 : 512,
      library.isNamed ? 64 : 1024,
      8,
    );
    const loaded = await LoadedProgram.load(open(), build());
    fillInputs(loaded);
    const started = performance.now();
    let calls = 0;
    for (; performance.now() - started < LOAD_MS; calls++) await loaded.execute();
    const seconds = (performance.now() - started) / 1000;
    loaded.release();
    const load = meter.energyJoules();
    const restWatts = (rest.joules.ane ?? NaN) / rest.seconds;
    const loadWatts =
      ((load.joules.ane ?? NaN) - (rest.joules.ane ?? NaN)) / (load.seconds - rest.seconds);
    if (!Number.isFinite(restWatts) || !Number.isFinite(loadWatts))
      return unknown(
        `${meter.name} has no rail of the engine${meter.failure === undefined ? "" : `: ${meter.failure}`}`,
      );
    const teraflops = (calls * flops) / seconds / 1e12;
    const measured = { meter: meter.name, restWatts, loadWatts, teraflops };
    const told = `${meter.name}: ${figure(restWatts)} W at rest, ${figure(loadWatts)} W at ${figure(teraflops)} TFLOP/s`;
    return loadWatts > restWatts + 0.05 ? held(told, measured) : notHeld(told, measured);
  } finally {
    meter.close();
  }
}

/** A way counts as faster from this share of the model's time on. */
const FASTER = 0.95;
const TURNS = 5;

async function routes({ open, library }: ProbeContext): Promise<Outcome> {
  const medians = new Map<string, number[]>();
  const failed: string[] = [];
  const loaded = new Map<string, LoadedProgram>();
  for (const evaluation of ["model", "client", "direct"] as const) {
    try {
      const driver = open({ "in-memory": { evaluation } });
      loaded.set(evaluation, await LoadedProgram.load(driver, increment()));
      medians.set(evaluation, []);
    } catch (error) {
      failed.push(`${evaluation}: ${error instanceof Error ? error.message.split("\n")[0] : ""}`);
    }
  }
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [name, one] of loaded) {
      await one.execute();
      const times: number[] = [];
      for (let run = 0; run < 60; run++) {
        const before = performance.now();
        await one.execute();
        times.push(performance.now() - before);
      }
      medians.get(name)?.push(quantile(times, 0.5));
    }
  }
  for (const one of loaded.values()) one.release();
  const rows = [...medians].map(([name, times]) => [name, quantile(times, 0.5)] as const);
  const [fastest] = rows.toSorted(([, a], [, b]) => a - b);
  const own = rows.find(([name]) => name === "model")?.[1];
  if (fastest === undefined || own === undefined) return unknown(failed.join("; "));
  const told = [...rows.map(([name, ms]) => `${name} ${figure(ms)} ms`), ...failed].join("; ");
  const measured = { ...Object.fromEntries(rows), fastest: fastest[0] };
  if (library.isNamed) return unknown(`${told}; a library stands for the engine`, measured);
  return fastest[1] < FASTER * own ? notHeld(told, measured) : held(told, measured);
}
