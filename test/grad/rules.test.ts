import { assert, integer, property } from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { GRADIENT_RULES } from "../../src/grad/rules/index.ts";
import { OPS, isOpName } from "../../src/mil/ops/index.ts";
import { Random } from "../../src/util/random.ts";
import { CaseBuilder, checkGradients } from "../helpers/finite-differences.ts";
import { ARRANGEMENT_CASES, INDEXING_CASES } from "./cases/arrangement.ts";
import type { DrawCase } from "./cases/case.ts";
import { CONVOLUTION_CASES } from "./cases/convolution.ts";
import { ELEMENTWISE_CASES } from "./cases/elementwise.ts";
import { LINEAR_CASES } from "./cases/linear.ts";
import { NORMALIZATION_CASES } from "./cases/normalization.ts";
import { REDUCTION_CASES } from "./cases/reduction.ts";
import { SEQUENCE_CASES } from "./cases/sequence.ts";
import { VISION_CASES } from "./cases/vision.ts";

const CASES: Readonly<Partial<Record<string, DrawCase>>> = {
  ...ELEMENTWISE_CASES,
  ...REDUCTION_CASES,
  ...LINEAR_CASES,
  ...NORMALIZATION_CASES,
  ...ARRANGEMENT_CASES,
  ...INDEXING_CASES,
  ...CONVOLUTION_CASES,
  ...SEQUENCE_CASES,
  ...VISION_CASES,
};

/** The constants of a program are fp32 and so good to 6e-8; a wrong factor or sign is a million times as far off. */
const LARGEST_ERROR = 1e-6;
const RUNS = 10;
/** Seeds that once found a fault: a matrix shared by a stack, with axes of 1 before it. */
const KNOWN: Readonly<Record<string, readonly [number][]>> = { matmul: [[1957143446]] };

const worst = new Map<string, { error: number; elements: number; redrawn: number }>();

function checkRule(name: string, draw: DrawCase, seed: number): number {
  const random = new Random(seed);
  const record = worst.get(name) ?? { error: 0, elements: 0, redrawn: 0 };
  worst.set(name, record);
  for (let attempt = 0; attempt < 40; attempt++) {
    const c = new CaseBuilder(random);
    const results = draw(c);
    const fn = c.f.finish(Object.fromEntries(results.map((value, index) => [`y${index}`, value])));
    const check = checkGradients(fn, c.tensors, c.checked, random);
    if (check !== undefined) {
      record.error = Math.max(record.error, check.worstError);
      record.elements += check.elements;
      return check.worstError;
    }
    record.redrawn++;
  }
  throw new Error(`${name}: no point away from a kink in 40 draws`);
}

const differentiable = Object.entries(GRADIENT_RULES)
  .filter(([, entry]) => typeof entry === "function")
  .map(([name]) => name);

describe("the gradient by finite differences of", () => {
  test.for(differentiable)("%s", (name) => {
    const draw = CASES[name];
    if (draw === undefined) throw new Error(`the derivative of ${name} is not exercised`);
    assert(
      property(integer({ min: 0, max: 2 ** 31 }), (seed) => {
        expect(checkRule(name, draw, seed)).toBeLessThan(LARGEST_ERROR);
      }),
      { numRuns: RUNS, endOnFailure: true, examples: [...(KNOWN[name] ?? [])] },
    );
  });

  afterAll(() => {
    const lines = [...worst]
      .toSorted(([, a], [, b]) => b.error - a.error)
      .map(
        ([name, { error, elements, redrawn }]) =>
          `${name.padEnd(30)} ${error.toExponential(1)}  ${elements} elements, ${redrawn} redrawn`,
      );
    console.log(`worst relative error of each rule\n${lines.join("\n")}`);
  });
});

test("every op of the table has an entry, and no entry is left over", () => {
  expect(Object.keys(GRADIENT_RULES).toSorted()).toEqual(Object.keys(OPS).toSorted());
  expect(Object.keys(CASES).filter((name) => !isOpName(name))).toEqual([]);
});
