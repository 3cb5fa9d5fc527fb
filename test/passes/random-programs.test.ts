import { assert, integer, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { valueAndGradient } from "../../src/grad/value-and-gradient.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { formatType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { PIPELINE, optimize } from "../../src/passes/pipeline.ts";
import { Random } from "../../src/util/random.ts";
import { randomProgram } from "../helpers/random-program.ts";
import { randomInputs, relativeDifference } from "../helpers/tensors.ts";

/** Folded constants are rounded to fp32 once more or once less. */
const TOLERANCE = 1e-4;

function expectSame(before: MilFunction, after: MilFunction, random: Random): void {
  verifyFunction(after);
  const signature = (fn: MilFunction): readonly string[] =>
    [...fn.inputs, ...fn.outputs].map(({ name, type }) => `${name} ${formatType(type)}`);
  expect(signature(after)).toEqual(signature(before));
  const inputs = randomInputs(before, random);
  const expected = evaluateFunction(before, inputs, { precision: "float64" });
  const given = evaluateFunction(after, inputs, { precision: "float64" });
  for (const [name, tensor] of expected) {
    const other = given.get(name);
    expect(other && relativeDifference(tensor, other), name).toBeLessThan(TOLERANCE);
  }
}

const seeds = integer({ min: 0, max: 2 ** 31 });

describe("on random programs the pass", () => {
  test.for(PIPELINE)("$name keeps what is computed", ({ run }) => {
    let changed = 0;
    /** How many programs the pass has changed so far. */
    const check = (seed: number): number => {
      const random = new Random(seed);
      const before = randomProgram(random, { steps: 10 });
      const after = run(before);
      if (after !== before) changed++;
      expectSame(before, after, random);
      // What a pass leaves behind it does not want to change again.
      expect(run(after)).toBe(after);
      return changed;
    };
    assert(
      property(seeds, (seed) => void check(seed)),
      { numRuns: 25 },
    );
    // A pass that seldom finds something to do is given more programs, always the same ones.
    const found =
      changed > 0 || Array.from({ length: 500 }, (_, seed) => seed).some((seed) => check(seed) > 0);
    expect(found).toBe(true);
  });
});

test("the pipeline keeps what random programs compute, verified after each pass", () => {
  let before = 0;
  let after = 0;
  assert(
    property(seeds, (seed) => {
      const random = new Random(seed);
      const fn = randomProgram(random, { steps: 16 });
      const optimized = optimize(fn, { afterPass: (_, next) => verifyFunction(next) });
      expectSame(fn, optimized, random);
      before += fn.operations.length;
      after += optimized.operations.length;
    }),
    { numRuns: 60 },
  );
  expect(after).toBeLessThan(0.8 * before);
});

test("the pipeline keeps the gradients of random programs", () => {
  assert(
    property(seeds, (seed) => {
      const random = new Random(seed);
      const fn = randomProgram(random, { steps: 8 });
      const both = valueAndGradient(fn, { withRespectTo: fn.inputs.map(({ name }) => name) });
      expectSame(both, optimize(both), random);
    }),
    { numRuns: 60 },
  );
});
