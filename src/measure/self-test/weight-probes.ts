import type { AneDriver, DriverSettings } from "../../engine/ane/probe.ts";
import type { MilFunction } from "../../mil/program.ts";
import { assumedBy } from "./assumed-probe.ts";
import { constant, padded, program } from "./number-case.ts";
import type { Outcome } from "./outcome.ts";
import { held, notHeld } from "./probe.ts";
import type { Probe } from "./probe.ts";
import { compared, ramp, WIDTH } from "./program-probes.ts";
import { LoadedProgram, runProgram, sameNumbers } from "./run-program.ts";
import { refusalOf } from "./refusal-probe.ts";

const assumed = assumedBy("in-memory");

/** How the in-memory driver hands over the weights of programs, where sources disagree. */
export const WEIGHT_PROBES: readonly Probe[] = [
  assumed("in-memory.no-weights", {
    group: "protocol",
    how: "a product and a slice without weights, described with an empty dictionary and with nothing",
    means: {
      held: "Programs without weights are described with an empty dictionary.",
      "did not hold": "The driver describes programs without weights with nothing.",
      unknown: "Programs without weights are described with an empty dictionary.",
    },
    failure: "unknown",
    run: async ({ open }) => withoutWeights(open),
    settings: ({ measured }) =>
      measured?.["dictionary"] === "refused" && measured["nil"] === "runs"
        ? { "in-memory": { noWeights: "nil" } }
        : undefined,
  }),
  assumed("in-memory.weight-files", {
    group: "protocol",
    how: "a sum with two constants, in one weight file and in two",
    means: {
      held: "As the driver has it: all constants of a program stand in one file.",
      "did not hold": "Several files in one program work too; the driver writes one.",
      unknown: "The driver writes one file.",
    },
    failure: "unknown",
    run: async ({ open }) => weightFiles(open),
    settings: ({ measured }) =>
      measured?.["one"] === "refused" && measured["each"] === "runs"
        ? { "in-memory": { weightFiles: "each" } }
        : undefined,
  }),
  assumed("in-memory.same-text", {
    group: "protocol",
    how: "two programs that differ in one stored constant, both loaded, run in turns",
    means: {
      held: "Programs of other weights are programs of their own; the driver names a constant by them besides.",
      "did not hold":
        "One program's weights stand in for another's: results of such plans are wrong.",
      unknown: "The driver goes on as if it held.",
    },
    run: async ({ open }) => sameText(open()),
  }),
];

/** How a program fares under a driver with some settings: what it says of itself, or the refusal. */
async function fateUnder(
  open: (settings?: DriverSettings) => AneDriver,
  settings: NonNullable<DriverSettings["in-memory"]>,
  fn: MilFunction,
  wanted: ArrayLike<number>,
): Promise<"runs" | "refused" | "wrong"> {
  let isRight = false;
  const refusal = await refusalOf(async () => {
    const [got] = await runProgram(open({ "in-memory": settings }), fn, [ramp]);
    isRight = sameNumbers(got, wanted);
  });
  if (refusal !== undefined) return "refused";
  return isRight ? "runs" : "wrong";
}

async function withoutWeights(open: (settings?: DriverSettings) => AneDriver): Promise<Outcome> {
  // x times the number 1 that stands in the program's text, then its first half.
  const fn = program([[1, WIDTH]], (f, x) =>
    f.op("slice_by_size", {
      x: f.op("matmul", {
        x: f.op("reshape", { x, shape: [WIDTH, 1] }),
        y: constant(f, [1, 1], [1]),
        transpose_x: false,
        transpose_y: false,
      }),
      begin: [0, 0],
      size: [WIDTH / 2, 1],
    }),
  );
  const wanted = ramp.slice(0, WIDTH / 2);
  const dictionary = await fateUnder(open, { noWeights: "dictionary" }, fn, wanted);
  const nil = await fateUnder(open, { noWeights: "nil" }, fn, wanted);
  const told = `with an empty dictionary it ${spoken(dictionary)}, with nothing it ${spoken(nil)}`;
  return (dictionary === "runs" ? held : notHeld)(told, { dictionary, nil });
}

async function weightFiles(open: (settings?: DriverSettings) => AneDriver): Promise<Outcome> {
  const first = padded(WIDTH, []).map((_, index) => index);
  const second = first.map((n) => 2 * n + 1);
  const fn = program([[1, WIDTH]], (f, x) =>
    f.op("add", {
      x: f.op("add", { x, y: constant(f, [1, WIDTH], first) }),
      y: constant(f, [1, WIDTH], second),
    }),
  );
  const wanted = ramp.map((x, index) => x + (first[index] ?? 0) + (second[index] ?? 0));
  const one = await fateUnder(open, { weightFiles: "one" }, fn, wanted);
  const each = await fateUnder(open, { weightFiles: "each" }, fn, wanted);
  const told = `with one file it ${spoken(one)}, with two it ${spoken(each)}`;
  return (one === "runs" && each !== "runs" ? held : notHeld)(told, { one, each });
}

const spoken = (fate: "runs" | "refused" | "wrong"): string =>
  fate === "runs" ? "runs" : fate === "wrong" ? "gives wrong numbers" : "is refused";

async function sameText(driver: AneDriver): Promise<Outcome> {
  const constants = [1, 3].map((step) => padded(WIDTH, []).map((_, index) => step * index));
  const loaded: LoadedProgram[] = [];
  try {
    for (const numbers of constants) {
      const fn = program([[1, WIDTH]], (f, x) =>
        f.op("add", { x, y: constant(f, [1, WIDTH], numbers) }),
      );
      loaded.push(await LoadedProgram.load(driver, fn));
    }
    for (const turn of [0, 1, 0]) {
      const [got] = (await loaded[turn]?.run([ramp])) ?? [];
      const wanted = ramp.map((x, index) => x + (constants[turn]?.[index] ?? 0));
      const outcome = compared(got, wanted, "each program gives its own numbers");
      if (outcome.verdict !== "held") return outcome;
    }
    return held("each program gives its own numbers, in turns");
  } finally {
    for (const one of loaded) one.release();
  }
}
