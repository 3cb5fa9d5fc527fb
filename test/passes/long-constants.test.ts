import { assert, constantFrom, integer, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { checkFunction, isLegal } from "../../src/chip/legality/check.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { lowerFunction } from "../../src/lower/index.ts";
import { evenSizes } from "../../src/lower/lowered-value.ts";
import { Random } from "../../src/util/random.ts";
import { runLowered } from "../helpers/run-lowered.ts";
import { randomInputs } from "../helpers/tensors.ts";

const ROWS = 3;
const INNER = 8;

function constant(f: FunctionBuilder, random: Random, ...shape: readonly number[]): Value {
  const count = shape.reduce((product, size) => product * size, 1);
  const numbers = Array.from({ length: count }, () => random.normal() / 4);
  return f.constant(tensorLiteral("fp16", shape, numbers), "weight");
}

const lastOf = ({ type }: Value): number =>
  type.kind === "tensor" ? Number(type.shape.at(-1)) : NaN;

type Written = (f: FunctionBuilder, x: Value, size: number, random: Random) => Value;

const product = (f: FunctionBuilder, x: Value, y: Value, turned = false): Value =>
  f.op("matmul", { x, y, transpose_x: false, transpose_y: turned });

/** x is [ROWS, INNER]; each has a constant as long as `size`. */
const HEADS: Readonly<Record<string, Written>> = {
  "a weight [K, N]": (f, x, size, random) => product(f, x, constant(f, random, INNER, size)),
  "a weight [N, K]": (f, x, size, random) => product(f, x, constant(f, random, size, INNER), true),
  "a linear with a bias": (f, x, size, random) => {
    const weight = constant(f, random, size, INNER);
    return f.op("linear", { x, weight, bias: constant(f, random, size) });
  },
  "a constant on the left": (f, x, size, random) => {
    const left = constant(f, random, size, ROWS);
    return f.op("transpose", { x: product(f, left, x), perm: [1, 0] });
  },
};

const TAILS: Readonly<Record<string, Written>> = {
  itself: (_, x) => x,
  "a bias and a nonlinearity": (f, x, _, random) =>
    f.op("silu", { x: f.op("add", { x, y: constant(f, random, lastOf(x)) }) }),
  "a softmax": (f, x) => f.op("softmax", { x, axis: -1 }),
  "its largest number": (f, x) => f.op("reduce_max", { x, axes: [-1], keep_dims: false }),
  "a way back": (f, x, _, random) =>
    product(f, f.op("clip", { x, alpha: -2, beta: 2 }), constant(f, random, lastOf(x), INNER)),
  "axes of one in front": (f, x) => f.op("reshape", { x, shape: [1, 1, -1, lastOf(x)] }),
};

function written(head: string, tail: string, size: number): MilFunction {
  const random = new Random(size);
  const f = new FunctionBuilder("main");
  const x = f.input("x", tensorType("fp16", [ROWS, INNER]));
  const wide = HEADS[head]?.(f, x, size, random);
  const y = wide && TAILS[tail]?.(f, wide, size, random);
  if (y === undefined) throw new RangeError(`${head}, ${tail}`);
  return f.finish({ y });
}

describe("a constant longer than an axis may be", () => {
  test("comes in parts, and the program keeps the rules and computes the same", () => {
    const all = property(
      constantFrom("m1", "m2", "m3"),
      constantFrom("e5rt" as const, "in-memory" as const),
      constantFrom(...Object.keys(HEADS)),
      constantFrom(...Object.keys(TAILS)),
      integer({ min: 513, max: 1200 }),
      (chip, driver, head, tail, thirtyTwos) => {
        const fn = written(head, tail, 32 * thirtyTwos);
        const record = chipByName(chip);
        const broken = checkFunction(fn, record, driver).map(({ rule }) => rule);
        expect(broken).toContain("extent");
        const program = lowerFunction(fn, record, driver);
        expect(isLegal(checkFunction(program.function, record, driver))).toBe(true);
        const inputs = randomInputs(fn, new Random(1));
        const wanted =
          evaluateFunction(fn, inputs, { precision: "float64" }).get("y")?.data ??
          new Float64Array();
        const got = runLowered(program, inputs, fn).get("y") ?? [];
        expect(got.length).toBe(wanted.length);
        const size = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const worst = wanted.reduce(
          (most, value, i) => Math.max(most, Math.abs(value - (got[i] ?? NaN))),
          0,
        );
        expect(worst / size).toBeLessThan(2e-3);
      },
    );
    assert(all, { numRuns: 15 });
  });

  test("runs on the simulated chip that refused it", async () => {
    const fn = written("a weight [K, N]", "a bias and a nonlinearity", 20_000);
    const inputs = randomInputs(fn, new Random(2));
    const wanted = evaluateFunction(fn, inputs).get("y")?.data ?? new Float64Array();
    const engine = createSimEngine("m1", { threads: 1 });
    try {
      const x = inputs.get("x")?.data ?? [];
      const y = (await runFunction(engine, fn, { x })).get("y")?.toArray() ?? [];
      const worst = wanted.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (y[i] ?? NaN))),
        0,
      );
      expect(worst).toBeLessThan(2e-2);
    } finally {
      await engine.close();
    }
  });

  test("stays whole where the chip takes it", () => {
    const fn = written("a weight [K, N]", "itself", 20_000);
    const { operations } = lowerFunction(fn, chipByName("m4"), "e5rt").function;
    expect(operations.filter(({ type }) => ["matmul", "conv"].includes(type)).length).toBe(1);
  });

  test("that no way round is known for is refused with sizes and remedy", () => {
    // 20011 is a prime: no parts of one length make up the rows of the result.
    expect(() =>
      lowerFunction(written("a weight [K, N]", "itself", 20_011), chipByName("m1"), "e5rt"),
    ).toThrow(/an axis of 20011 that no 32 or fewer parts of one length make up; make it longer/);
    const f = new FunctionBuilder("main");
    const x = f.input("x", tensorType("fp16", [ROWS, INNER]));
    const wide = product(f, x, constant(f, new Random(1), INNER, 20_000));
    const fn = f.finish({ y: f.op("cumsum", { x: wide, axis: 1 }) });
    expect(() => lowerFunction(fn, chipByName("m1"), "e5rt")).toThrow(/cumsum/);
    const g = new FunctionBuilder("main");
    const left = g.input("x", tensorType("fp16", [ROWS, 20_000]));
    const narrow = product(g, left, constant(g, new Random(1), 20_000, INNER));
    expect(() => lowerFunction(g.finish({ y: narrow }), chipByName("m1"), "e5rt")).toThrow(
      /contracts an axis of 20000 of which one side is whole; the chip takes 16384: split it/,
    );
  });

  test("has parts of one length wherever 32 of them are enough", () => {
    assert(
      property(
        integer({ min: 1, max: 200_000 }),
        integer({ min: 64, max: 32_000 }),
        (size, limit) => {
          const sizes = evenSizes(size, limit);
          expect(sizes.reduce((sum, each) => sum + each, 0)).toBe(size);
          expect(Math.max(...sizes)).toBeLessThanOrEqual(limit);
          const counts = Array.from({ length: 32 }, (_, index) => index + 1);
          const isEven = counts.some((count) => size % count === 0 && size / count <= limit);
          if (isEven) expect(new Set(sizes).size).toBe(1);
        },
      ),
    );
  });
});
