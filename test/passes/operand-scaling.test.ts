import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { modelOf } from "../../src/model/model.ts";
import { chipByName } from "../../src/chip/chips.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { modelPreset } from "../../src/model/presets.ts";
import { analyzeMagnitudes, magnitudeOf, oneHotMagnitude } from "../../src/lower/magnitudes.ts";
import type { Magnitude } from "../../src/lower/magnitudes.ts";
import { applyScales, chooseExponent, chooseScales } from "../../src/lower/operand-scaling.ts";
import { placePlan } from "../../src/lower/place-plan.ts";
import { scaleRowSquares } from "../../src/lower/row-squares.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { Random } from "../../src/util/random.ts";
import { roundToFloat16 } from "../../src/util/float16.ts";

function normal(random: Random, shape: readonly number[], deviation: number): HostTensor {
  const tensor = hostTensor("fp16", shape);
  for (let i = 0; i < tensor.data.length; i++)
    tensor.data[i] = roundToFloat16(random.normal() * deviation);
  return tensor;
}

function rootMeanSquare(numbers: Iterable<number>): number {
  let squares = 0;
  let count = 0;
  for (const number of numbers) {
    squares += number * number;
    count++;
  }
  return Math.sqrt(squares / count);
}

/** The engine's result, which has one output, of fp16 numbers. */
async function runOn(
  engine: Engine,
  fn: MilFunction,
  inputs: ReadonlyMap<string, HostTensor>,
): Promise<readonly number[]> {
  const numbers = [...inputs].map(([name, { data }]) => [name, data]);
  const results = await runFunction(engine, fn, Object.fromEntries(numbers));
  const [output] = fn.outputs;
  return results.get(output?.name ?? "")?.toArray() ?? [];
}

/** One op over normal numbers; the second operand only where the op has one. */
const ANALYSED: readonly (readonly [string, (f: FunctionBuilder, x: Value, y: Value) => Value])[] =
  [
    ["add", (f, x, y) => f.op("add", { x, y })],
    ["sub", (f, x, y) => f.op("sub", { x, y })],
    ["mul", (f, x, y) => f.op("mul", { x, y })],
    ["mul by a number", (f, x) => f.op("mul", { x, y: 0.125 })],
    [
      "mul by itself",
      (f, x) => f.op("reduce_mean", { x: f.op("mul", { x, y: x }), axes: [1], keep_dims: true }),
    ],
    ["abs", (f, x) => f.op("abs", { x })],
    ["reduce_sum", (f, x) => f.op("reduce_sum", { x, axes: [1], keep_dims: true })],
    ["reduce_mean", (f, x) => f.op("reduce_mean", { x, axes: [1], keep_dims: true })],
    ["reduce_sum_square", (f, x) => f.op("reduce_sum_square", { x, axes: [1], keep_dims: true })],
    [
      "reduce_max",
      (f, x) => f.op("reduce_max", { x: f.op("abs", { x }), axes: [1], keep_dims: true }),
    ],
    ["layer_norm", (f, x) => f.op("layer_norm", { x, axes: [1], epsilon: 1e-6 })],
    ["matmul", (f, x, y) => f.op("matmul", { x, y, transpose_x: false, transpose_y: true })],
    ["transpose", (f, x) => f.op("transpose", { x, perm: [1, 0] })],
    ["concat", (f, x, y) => f.op("concat", { values: [x, y], axis: 0 })],
    ["softmax", (f, x) => f.op("softmax", { x, axis: 1 })],
    ["silu", (f, x) => f.op("silu", { x })],
    ["sigmoid", (f, x) => f.op("sigmoid", { x })],
    [
      "a norm written out",
      (f, x) => {
        const square = f.op("mul", { x, y: x });
        const mean = f.op("reduce_mean", { x: square, axes: [1], keep_dims: true });
        return f.op("mul", { x, y: f.op("rsqrt", { x: mean, epsilon: 1e-7 }) });
      },
    ],
  ];

describe("magnitudes", () => {
  it.each(ANALYSED)("of %s are those of random numbers within a factor of 2.5", (_, write) => {
    const random = new Random(7);
    for (const [dx, dy] of [
      [0.25, 0.02],
      [1, 1],
    ] as const) {
      const f = new FunctionBuilder("f");
      const x = f.input("x", tensorType("fp32", [48, 64]));
      const y = f.input("y", tensorType("fp32", [48, 64]));
      const fn = f.finish({ z: write(f, x, y) });
      const inputs = new Map([
        ["x", { ...normal(random, [48, 64], dx), dataType: "fp32" as const }],
        ["y", { ...normal(random, [48, 64], dy), dataType: "fp32" as const }],
      ]);
      const measured = rootMeanSquare(
        evaluateFunction(fn, inputs, { precision: "float64" }).get("z")?.data ?? [],
      );
      const { values } = analyzeMagnitudes(
        fn,
        new Map([
          ["x", magnitudeOf(Math.log2(dx))],
          ["y", magnitudeOf(Math.log2(dy))],
        ]),
      );
      const [output] = fn.outputs;
      const found = output === undefined ? undefined : values.get(output);
      expect(Math.abs((found?.rms ?? NaN) - Math.log2(measured))).toBeLessThan(1.33);
    }
  });

  it("a one-hot row takes a row as it is, and what is not known stays unknown", () => {
    const f = new FunctionBuilder("f");
    const hot = f.input("hot", tensorType("fp32", [8, 1024]));
    const table = f.input("table", tensorType("fp32", [1024, 16]));
    const other = f.input("other", tensorType("fp32", [16, 4]));
    const taken = f.op("matmul", { x: hot, y: table });
    const fn = f.finish({ end: f.op("matmul", { x: taken, y: other }) });
    const { values, products } = analyzeMagnitudes(
      fn,
      new Map<string, Magnitude>([
        ["hot", oneHotMagnitude(1024)],
        ["table", magnitudeOf(-5)],
      ]),
    );
    const [rows, end] = fn.operations
      .filter(({ type }) => type === "matmul")
      .flatMap(({ outputs }) => outputs);
    if (rows === undefined || end === undefined) throw new Error("two products");
    expect(values.get(rows)?.rms).toBeCloseTo(-5);
    expect(products.get(rows)?.product).toBeCloseTo(-5);
    expect(values.has(end)).toBe(false);
    expect(chooseScales(fn, new Map())).toEqual([]);
  });
});

describe("scales of operands", () => {
  it("lift small products above the grid, lower large sums below the ceiling, and leave the rest", () => {
    const range = { isGradient: false };
    expect(chooseExponent({ ...range, product: -5, sum: 0 })).toBe(0);
    expect(chooseExponent({ ...range, product: -12, sum: -6 })).toBe(9);
    // Only as far as the sum has room.
    expect(chooseExponent({ ...range, product: -12, sum: 8 })).toBe(4);
    expect(chooseExponent({ ...range, product: 3, sum: 15 })).toBe(-3);
    expect(chooseExponent({ ...range, product: -Infinity, sum: -Infinity })).toBe(0);
    // Gradients shrink later, and their sums vary more.
    expect(chooseExponent({ isGradient: true, product: -5, sum: 0 })).toBe(4);
    expect(chooseExponent({ isGradient: true, product: -5, sum: 6 })).toBe(2);
  });

  /** x [8, depth] times y [depth, 16], then times a number, as attention scores are. */
  function productOf(depth: number): MilFunction {
    const f = new FunctionBuilder("f");
    const x = f.input("x", tensorType("fp16", [8, depth]));
    const y = f.input("y", tensorType("fp16", [depth, 16]));
    const product = f.op("matmul", { x, y }, { name: "product" });
    return f.finish({ z: f.op("mul", { x: product, y: 0.17578125 }) });
  }

  it("change nothing in exact arithmetic, and bring the engine's results closer to the exact ones", async () => {
    const engine = createSimEngine("m4", { threads: 1, operandScaling: "off" });
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 2 ** 30 }),
          fc.constantFrom(32, 96, 256),
          fc.integer({ min: -12, max: 0 }),
          fc.integer({ min: -9, max: -2 }),
          async (seed, depth, x, y) => {
            const fn = productOf(depth);
            const [product] = fn.operations.filter(({ type }) => type === "matmul");
            const found = analyzeMagnitudes(
              fn,
              new Map([
                ["x", magnitudeOf(x)],
                ["y", magnitudeOf(y)],
              ]),
            ).products;
            const [output] = product?.outputs ?? [];
            const range = output === undefined ? undefined : found.get(output);
            if (range === undefined) throw new Error("no range");
            const scales = chooseScales(fn, new Map([["product", range]]));
            const scaled = applyScales(fn, scales);
            verifyFunction(scaled);
            // The factor behind the product is joined with the one that undoes the scale.
            const muls = scaled.operations.filter(({ type }) => type === "mul").length;
            expect(muls).toBe(scales.length === 0 ? 1 : 2);
            const random = new Random(seed);
            const inputs = new Map([
              ["x", normal(random, [8, depth], 2 ** x)],
              ["y", normal(random, [depth, 16], 2 ** y)],
            ]);
            const exact = evaluateFunction(fn, inputs, { precision: "float64" }).get("z")?.data;
            const same = evaluateFunction(scaled, inputs, { precision: "float64" }).get("z")?.data;
            expect(same).toEqual(exact);
            const errorOf = async (candidate: MilFunction): Promise<number> => {
              const result = await runOn(engine, candidate, inputs);
              const differences = Array.from(exact ?? [], (value, i) => (result[i] ?? NaN) - value);
              return rootMeanSquare(differences) / rootMeanSquare(exact ?? []);
            };
            const before = await errorOf(fn);
            const after = await errorOf(scaled);
            expect(after).toBeLessThan(Math.max(1.05 * before, 1e-3));
            if (range.product < -10) expect(after).toBeLessThan(before / 4);
          },
        ),
        { numRuns: 25 },
      );
    } finally {
      await engine.close();
    }
  });

  it("of a head's weight gradient reckon with a token that is likely in all rows, not with random signs", () => {
    const model = modelOf(modelPreset("storyteller"));
    const { plan } = buildTrainingPlan({ model, batchSize: 4, sequenceLength: 216 });
    const placed = placePlan(plan, chipByName("m4"), "e5rt");
    const [head] = [...placed.values()].flatMap((program) =>
      program.place === "engine"
        ? program.program.scales.filter(({ product }) => product === "result_d_lm_head_weight")
        : [],
    );
    // 864 rows of probabilities, an eighth of them one token's, times activations of about 1 at a scale of 2^16 / 864.
    expect(head?.range.sum).toBeGreaterThan(13);
    expect(head?.exponent).toBeLessThan(0);
  });

  it("are chosen by the plan: the init of a wide model needs more of them than that of the storyteller", () => {
    const scalesOf = (preset: "storyteller" | "stories110M", layerCount: number) => {
      const plan = buildTrainingPlan({
        model: modelOf({ ...modelPreset(preset), layerCount }),
        batchSize: 1,
        sequenceLength: 128,
        accumulation: false,
      }).plan;
      const placed = placePlan(plan, chipByName("m4"), "e5rt");
      return [...placed].flatMap(([name, program]) =>
        program.place === "engine"
          ? program.program.scales.map(({ product, exponent }) => `${name} ${product} ${exponent}`)
          : [],
      );
    };
    const wide = scalesOf("stories110M", 1);
    expect(wide.some((line) => /^block_forward \w+ [4-9]$/.test(line))).toBe(true);
    expect(wide.length).toBeGreaterThan(3);
    // Products of normalized rows with weights of 0.07 or with a multiple of the identity are large enough.
    const small = scalesOf("storyteller", 2).filter((line) => line.startsWith("block_forward"));
    expect(small.length).toBeLessThan(
      wide.filter((line) => line.startsWith("block_forward")).length,
    );
  });
});

describe("squares of rows", () => {
  function norm(channels: number): MilFunction {
    const f = new FunctionBuilder("f");
    const x = f.input("x", tensorType("fp16", [4, channels]));
    const square = f.op("mul", { x, y: x });
    const mean = f.op("reduce_mean", { x: square, axes: [1], keep_dims: true });
    return f.finish({ y: f.op("mul", { x, y: f.op("rsqrt", { x: mean, epsilon: 1e-5 }) }) });
  }

  it("are summed without overflow, rows from 0 to 30,000 and of zeros alike", async () => {
    const engine = createSimEngine("m4", { threads: 1, operandScaling: "off" });
    try {
      const fn = norm(160);
      const scaled = scaleRowSquares(true)(fn);
      expect(scaleRowSquares(true)(scaled)).toBe(scaled);
      const random = new Random(3);
      for (const deviation of [0, 1e-3, 0.02, 1, 25, 6000]) {
        const inputs = new Map([["x", normal(random, [4, 160], deviation)]]);
        const exact = evaluateFunction(fn, inputs, { precision: "float64" }).get("y")?.data ?? [];
        const result = await runOn(engine, scaled, inputs);
        const largest = Math.max(...Array.from(exact, (v, i) => Math.abs(v - (result[i] ?? NaN))));
        expect(largest, `deviation ${deviation}`).toBeLessThan(0.02);
        if (deviation === 25) {
          const unscaled = await runOn(engine, fn, inputs);
          // What the rewriting is for: a whole row is 0.
          expect(unscaled.every((value) => value === 0)).toBe(true);
        }
      }
    } finally {
      await engine.close();
    }
  });
});
