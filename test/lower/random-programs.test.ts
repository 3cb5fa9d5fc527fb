import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { NotLowered } from "../../src/lower/lowering.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import { Random } from "../../src/util/random.ts";
import { ENGINE_PATHS, engineInputs } from "../helpers/engine-path.ts";
import { randomProgram, STEP_KINDS } from "../helpers/random-program.ts";
import { runLowered } from "../helpers/run-lowered.ts";

/** ANECDOTE_RUNS tries more. */
const RUNS = Number(process.env["ANECDOTE_RUNS"] ?? 120);

/** Gathers and scatters other than embeddings are the host's; all else is written for the engine. */
const KINDS = STEP_KINDS.filter((kind) => kind !== "indexing");

/** Numbers in [-1, 1] of few digits, which fp16 holds. */
function numbersFor(fn: MilFunction, random: Random): Record<string, readonly number[]> {
  return Object.fromEntries(
    fn.inputs.map(({ name, type }) => {
      if (type.kind !== "tensor") throw new Error(name);
      const count = elementCount(staticShape(type));
      return [name, Array.from({ length: count }, () => (random.below(513) - 256) / 256)];
    }),
  );
}

/** The largest difference, of the largest number or of 1. */
function apart(wanted: ArrayLike<number>, found: ArrayLike<number>): number {
  let largest = 1;
  let most = 0;
  for (let index = 0; index < wanted.length; index++) {
    const number = wanted[index] ?? Number.NaN;
    largest = Math.max(largest, Math.abs(number));
    most = Math.max(most, Math.abs(number - (found[index] ?? Number.NaN)));
  }
  return found.length === wanted.length ? most / largest : Infinity;
}

describe("random programs, lowered for a Neural Engine", () => {
  const sim = createSimEngine("m4", { threads: 1 });
  afterAll(async () => {
    await sim.close();
  });

  // Constants are rounded to fp16 and nothing else is: 2^-11 of a number, a few of them on a path.
  it.each(ENGINE_PATHS)("give the program's own numbers for %s through %s", (chip, driver) => {
    const reasons = new Map<string, number>();
    let count = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const random = new Random(seed);
        const fn = randomProgram(random, { steps: 12, kinds: KINDS });
        const inputs = engineInputs(fn, numbersFor(fn, random));
        count++;
        let program: ReturnType<typeof lowerFunction>;
        try {
          program = lowerFunction(fn, chipByName(chip), driver);
        } catch (error) {
          if (!(error instanceof NotLowered)) throw error;
          const reason = error.message.replace(/^".*" stays on the host: /, "");
          reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
          return;
        }
        const wanted = evaluateFunction(fn, inputs, { precision: "float64" });
        const found = runLowered(program, inputs, fn);
        for (const [name, { data }] of wanted)
          expect(apart(data, found.get(name) ?? []), name).toBeLessThan(2e-2);
      }),
      { numRuns: RUNS },
    );
    // A refusal is no wrong number, but a test of refusals alone would show nothing.
    const refused = [...reasons.values()].reduce((sum, one) => sum + one, 0);
    expect(refused / count, [...reasons.keys()].join("\n")).toBeLessThan(0.05);
  });

  // fp16 between any two ops.
  it("give nearly the program's own numbers on the simulator", async () => {
    let refused = 0;
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
        const random = new Random(seed);
        const fn = randomProgram(random, { steps: 8, kinds: KINDS });
        const numbers = numbersFor(fn, random);
        const wanted = evaluateFunction(fn, engineInputs(fn, numbers), { precision: "float64" });
        count++;
        const results = await runFunction(sim, fn, numbers).catch((error: unknown) => {
          if ((error as { code?: string }).code !== "engine.refused") throw error;
          refused++;
          return undefined;
        });
        if (results === undefined) return;
        for (const [name, { data }] of wanted)
          expect(apart(data, results.get(name)?.toFloat64Array() ?? []), name).toBeLessThan(6e-2);
      }),
      // A choice times a half: the factor is the port's, and the choice no tensor of the simulator's memory.
      { numRuns: Math.ceil(RUNS / 2), examples: [[15026722]] },
    );
    expect(refused / count).toBeLessThan(0.5);
  });
});
