import { FunctionBuilder } from "../../mil/builder.ts";
import type { MilFunction } from "../../mil/program.ts";
import { constant, half, padded, program } from "./number-case.ts";
import { spellAll } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { held, notHeld } from "./probe.ts";
import type { Probe } from "./probe.ts";
import { LoadedProgram, runProgram, sameNumbers } from "./run-program.ts";
import { convolved, matmulProgram } from "./arithmetic-programs.ts";

export const WIDTH = 32;
export const ramp = padded(WIDTH, []).map((_, index) => index);
/** The same numbers, each larger by `step`. */
export const rampPlus = (step: number): readonly number[] => ramp.map((x) => x + step);

/** y = x + 1, the least there is. */
export const increment = (width = WIDTH): MilFunction =>
  program([[1, width]], (f, x) => f.op("add", { x, y: 1 }));

/** Two results, x + y and x - y. */
export function sumAndDifference(): MilFunction {
  const f = new FunctionBuilder("probe");
  const x = f.input("x", half(1, WIDTH));
  const y = f.input("y", half(1, WIDTH));
  return f.finish({ sum: f.op("add", { x, y }), difference: f.op("sub", { x, y }) });
}

export function compared(
  got: ArrayLike<number> | undefined,
  wanted: readonly number[],
  what: string,
): Outcome {
  return sameNumbers(got, wanted)
    ? held(what)
    : notHeld(`gives ${spellAll(got ?? [])} where ${spellAll(wanted)} is right`);
}

/** What most of these probes have in common. */
const COMMON = { group: "protocol", driver: "both", needs: ["program.runs"] } as const;

/** What both drivers must do before anything else can be asked. */
export const PROGRAM_PROBES: readonly Probe[] = [
  {
    id: "program.runs",
    ...COMMON,
    title: "A program of one addition compiles, loads, runs and gives the right numbers",
    source: "all public projects",
    how: "x + 1 over 32 numbers",
    means: {
      held: "The driver reaches the engine.",
      "did not hold": "The driver does not reach the engine: use --engine cpu. Please report it.",
      unknown: "Nothing else can be asked.",
    },
    level: "quick",
    needs: ["e5rt.out-first", "in-memory.classes"],
    failure: "did not hold",
    expectedMs: 1500,
    run: async ({ open }) => {
      const [sum] = await runProgram(open(), increment(), [ramp]);
      return compared(sum, rampPlus(1), "32 right numbers");
    },
  },
  {
    id: "program.ports",
    ...COMMON,
    title: "Ports are what the driver takes them for: two inputs and two outputs are not swapped",
    source: "ANEForge's shim; Orion's tests",
    how: "x + y and x - y over different numbers",
    means: {
      held: "Inputs and outputs are bound rightly.",
      "did not hold":
        "Results are of other ports: nothing that this driver computes can be trusted.",
      unknown: "Whether ports are bound rightly is not known.",
    },
    level: "quick",
    failure: "did not hold",
    run: async ({ open }) => {
      const y = ramp.map((x) => 100 + 2 * x);
      const [sum, rest] = await runProgram(open(), sumAndDifference(), [ramp, y]);
      const first = compared(
        sum,
        ramp.map((x, i) => x + (y[i] ?? 0)),
        "sum and difference are right",
      );
      if (first.verdict !== "held") return first;
      return compared(
        rest,
        ramp.map((x, i) => x - (y[i] ?? 0)),
        first.detail,
      );
    },
  },
  {
    id: "program.same-bits",
    ...COMMON,
    title: "A program run twice over the same numbers gives the same bits",
    source: "ANEForge: runs are bit-repeatable",
    how: "a 64 x 64 matmul, five times",
    means: {
      held: "A resumed run goes on bit for bit.",
      "did not hold": "Runs cannot be repeated bit for bit on this machine.",
      unknown: "Whether runs can be repeated is not known.",
    },
    failure: "unknown",
    run: async ({ open }) => {
      const fn = matmulProgram(64, 64, 64);
      const numbers = padded(64 * 64, []).map((_, i) => Math.sin(i));
      const loaded = await LoadedProgram.load(open(), fn);
      try {
        const [first] = await loaded.run([numbers, numbers]);
        for (let run = 0; run < 4; run++) {
          const [again] = await loaded.run([numbers, numbers]);
          if (!sameNumbers(again, first ?? []))
            return notHeld(`run ${run + 2} differs from the first`);
        }
        return held("five runs, the same bits");
      } finally {
        loaded.release();
      }
    },
  },
  {
    id: "program.large-weights",
    ...COMMON,
    title: "A constant of 2 MiB in the weight file arrives whole",
    source: "ANEForge: up to 2 GiB",
    how: "a 1024 x 1024 permutation as the constant weight of a convolution",
    level: "thorough",
    means: {
      held: "Constants may be long.",
      "did not hold": "Long constants are not read rightly.",
      unknown: "Whether long constants arrive is not known.",
    },
    failure: "unknown",
    run: async ({ open }) => {
      const count = 1024;
      const weights = new Float64Array(count * count);
      for (let row = 0; row < count; row++) weights[row * count + ((row * 7 + 3) % count)] = 1;
      const fn = program([[1, count, 1, WIDTH]], (f, x) =>
        convolved(f, {
          x,
          weight: constant(f, [count, count, 1, 1], weights),
        }),
      );
      const x = Float64Array.from({ length: count * WIDTH }, (_, i) => Math.floor(i / WIDTH));
      const [got] = await runProgram(open(), fn, [x]);
      const wanted = Array.from(
        { length: count * WIDTH },
        (_, i) => (Math.floor(i / WIDTH) * 7 + 3) % count,
      );
      return compared(got, wanted, "every one of 1024 rows is at its place");
    },
  },
];

/** [1, 3, 5, 7] moved about: right only where memory is dense and in order. */
export const layoutProgram = (): MilFunction =>
  program([[1, 3, 5, 7]], (f, x) =>
    f.op("transpose", { x: f.op("add", { x, y: 1 }), perm: [0, 2, 3, 1] }),
  );

export const LAYOUT_INPUT = Array.from({ length: 105 }, (_, index) => index);
export const LAYOUT_OUTPUT = Array.from({ length: 105 }, (_, index) => {
  const c = index % 3;
  const w = Math.floor(index / 3) % 7;
  const h = Math.floor(index / 21);
  return c * 35 + h * 7 + w + 1;
});
