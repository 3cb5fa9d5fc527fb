import { assert, integer, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { DRIVERS } from "../../src/chip/chip.ts";
import type { Driver } from "../../src/chip/chip.ts";
import { chipByName } from "../../src/chip/chips.ts";
import { checkFunction, isLegal } from "../../src/chip/legality/check.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder, programOf } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { numericLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { printProgram } from "../../src/mil/text/index.ts";
import { tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { priceOf, splitPoint } from "../../src/lower/split-notched-weights.ts";
import { roundToFloat16 } from "../../src/util/float16.ts";
import { Random } from "../../src/util/random.ts";
import { runLowered } from "../helpers/run-lowered.ts";

function numbers(random: Random, count: number, size = 1): number[] {
  return Array.from({ length: count }, () => Math.fround((random.uniform() - 0.5) * size));
}

function tensor(random: Random, shape: readonly number[]): HostTensor {
  const made = hostTensor("fp16", shape);
  made.data.set(numbers(random, made.data.length));
  return made;
}

/** Many numbers at once: a random table, repeated at an odd stride. */
function patterned(shape: readonly [number, number]): Float32Array {
  const table = numbers(new Random(3), 4093, 2 ** -5).map(roundToFloat16);
  return new Float32Array(shape[0] * shape[1]).map((_, i) => table[i % 4093] ?? 0);
}

function weight(f: FunctionBuilder, random: Random, shape: readonly [number, number]): Value {
  const values = numbers(random, shape[0] * shape[1], 4 / Math.sqrt(shape[0]));
  return f.constant(tensorLiteral("fp16", shape, values), "weight");
}

/** Layers as imported programs have them: `linear` or `matmul`, biases, activations, residuals, rank 2 or 3. */
function randomLayers(random: Random): MilFunction {
  const f = new FunctionBuilder("layers");
  const below = (limit: number): number => Math.floor(random.uniform() * limit);
  const rank3 = below(2) === 1;
  const positions = 32 + below(8);
  let width = 64 + below(3) * 7;
  const shape = rank3 ? [1, positions, width] : [positions, width];
  let x = f.input("x", tensorType("fp16", shape));
  const outputs: Record<string, Value> = {};
  for (let layer = 0; layer < 3; layer++) {
    const next = below(3) === 0 ? width : 64 + below(5) * 8;
    const before = x;
    if (below(2) === 0) {
      const bias = f.constant(tensorLiteral("fp16", [next], numbers(random, next)), "bias");
      x = f.op("linear", { x, weight: weight(f, random, [next, width]), bias });
    } else {
      const isTransposed = below(2) === 1;
      const sizes: [number, number] = isTransposed ? [next, width] : [width, next];
      const y = weight(f, random, sizes);
      x = f.op("matmul", { x, y, transpose_x: false, transpose_y: isTransposed });
    }
    const kind = below(5);
    if (kind === 0) x = f.op("relu", { x });
    if (kind === 1) x = f.op("tanh", { x });
    if (kind === 2) x = f.op("mul", { x, y: 0.5 });
    if (kind === 3) x = f.op("mul", { x, y: x });
    if (kind === 4) x = f.op("softmax", { x, axis: -1 });
    if (next === width && below(2) === 0) x = f.op("add", { x: before, y: x });
    if (below(4) === 0) outputs[`tap${layer}`] = x;
    width = next;
  }
  outputs["y"] = f.op("add", { x, y: 1 });
  return f.finish(outputs);
}

function expectSame(fn: MilFunction, chip: string, driver: Driver, random: Random): MilFunction {
  const program = lowerFunction(fn, chipByName(chip), driver);
  verifyFunction(program.function);
  const inputs = new Map(
    fn.inputs.map(({ name, type }) => {
      if (type.kind !== "tensor") throw new Error(name);
      return [name, tensor(random, type.shape.map(Number))];
    }),
  );
  const wanted = evaluateFunction(fn, inputs, { precision: "float64" });
  const got = runLowered(program, inputs, fn);
  for (const [name, { data }] of wanted) {
    const scale = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const values = got.get(name) ?? [];
    const worst = data.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (values[i] ?? NaN))),
      0,
    );
    expect(worst / scale, `${chip} ${driver} ${name}`).toBeLessThan(2e-3);
  }
  return program.function;
}

const count = (fn: MilFunction, type: string): number =>
  fn.operations.filter((operation) => operation.type === type).length;

describe("products with constant weights", () => {
  test("become 1x1 convolutions that compute the same", () => {
    assert(
      property(integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const random = new Random(seed);
        const fn = randomLayers(random);
        const chip = ["m1", "m2", "m3", "m4", "m6"][seed % 5] ?? "m4";
        const driver = DRIVERS[seed % 2] ?? "e5rt";
        const lowered = expectSame(fn, chip, driver, random);
        expect(count(lowered, "conv")).toBe(3);
        expect(count(lowered, "matmul") + count(lowered, "linear")).toBe(0);
        expect(isLegal(checkFunction(lowered, chipByName(chip), driver))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  test("stay channels first from one to the next: two transposes for a whole stack", async () => {
    const f = new FunctionBuilder("before");
    const x = f.input("x", tensorType("fp16", [32, 4]));
    const bias = f.constant(tensorLiteral("fp16", [6], new Float32Array(6).fill(0.5)), "bias");
    const up = f.constant(tensorLiteral("fp16", [6, 4], new Float32Array(24).fill(0.25)), "up");
    const down = f.constant(tensorLiteral("fp16", [6, 4], new Float32Array(24).fill(2)), "down");
    const wide = f.op("silu", { x: f.op("linear", { x, weight: up, bias }) });
    const back = f.op("matmul", { x: wide, y: down, transpose_x: false, transpose_y: false });
    const before = f.finish({ y: f.op("add", { x, y: back }) });
    const after = { ...lowerFunction(before, chipByName("m4"), "e5rt").function, name: "after" };
    expect(count(after, "conv")).toBe(2);
    expect(count(after, "transpose")).toBe(2);
    await expect(printProgram(programOf(before, after))).toMatchFileSnapshot(
      "../golden/constant-convolutions.mil",
    );
  });

  test("weights that are inputs stay matmul, and so do products over a few positions", () => {
    const f = new FunctionBuilder("runtime");
    const x = f.input("x", tensorType("fp16", [64, 64]));
    const w = f.input("w", tensorType("fp16", [64, 64]));
    const few = f.input("few", tensorType("fp16", [4, 64]));
    const constant = weight(f, new Random(1), [64, 64]);
    const flags = { transpose_x: false, transpose_y: false };
    const fn = f.finish({
      y: f.op("matmul", { x, y: w, ...flags }),
      z: f.op("matmul", { x: few, y: constant, ...flags }),
    });
    expect(count(lowerFunction(fn, chipByName("m4"), "e5rt").function, "conv")).toBe(0);
  });
});

describe("weights in the stream's notch", () => {
  /** 8 MiB elements, 1 MiB a core: small rows, so that streaming decides. */
  function product(isInput: boolean, isTransposed: boolean, rows: number): MilFunction {
    const f = new FunctionBuilder("notched");
    const [inner, outer] = [4096, 2048];
    const x = f.input("x", tensorType("fp16", [rows, inner]));
    const shape: [number, number] = isTransposed ? [outer, inner] : [inner, outer];
    const type = tensorType("fp16", shape);
    const y = isInput ? f.input("w", type) : f.constant(numericLiteral(type, patterned(shape)));
    const z = f.op("matmul", { x, y, transpose_x: false, transpose_y: isTransposed });
    return f.finish({ z });
  }

  test.each([
    { isInput: true, isTransposed: true, rows: 1, chip: "m4" },
    { isInput: true, isTransposed: false, rows: 1, chip: "m2" },
    { isInput: false, isTransposed: false, rows: 1, chip: "m2" },
    { isInput: false, isTransposed: true, rows: 32, chip: "m4" },
  ])(
    "are split in two on $chip: input $isInput, transposed $isTransposed, $rows rows",
    ({ isInput, isTransposed, rows, chip }) => {
      const fn = product(isInput, isTransposed, rows);
      const record = chipByName(chip);
      const lowered =
        rows === 1
          ? expectSame(fn, chip, "e5rt", new Random(5))
          : lowerFunction(fn, record, "e5rt").function;
      expect(count(lowered, "matmul") + count(lowered, "conv")).toBe(2);
      expect(priceOf(lowered, record, "e5rt")).toBeLessThan(0.9 * priceOf(fn, record, "e5rt"));
      const broken = checkFunction(lowered, record, "e5rt").map(({ rule }) => rule);
      expect(broken).not.toContain("stream-notch");
      expect(broken).not.toContain("slice-clamp");
      // M5 has no notch.
      const unsplit = lowerFunction(fn, chipByName("m5"), "e5rt").function;
      expect(count(unsplit, "matmul") + count(unsplit, "conv")).toBe(1);
    },
    60_000,
  );

  test("are left alone where the product array is the slower part", () => {
    const fn = product(false, true, 1024);
    const lowered = lowerFunction(fn, chipByName("m4"), "e5rt").function;
    expect(count(lowered, "conv")).toBe(1);
  });

  test("the point of the split leaves both parts outside the notch", () => {
    assert(
      property(integer({ min: 1, max: 64 }), integer({ min: 1, max: 8 }), (k, mib) => {
        const inner = 32 * k;
        const outer = (mib * 2 ** 23) / inner;
        const first = splitPoint(inner, Math.round(outer));
        if (first === undefined) return;
        expect(first % 32).toBe(0);
        expect(first).toBeGreaterThan(0);
        expect(first).toBeLessThan(inner);
      }),
    );
  });

  test("the text before and after", async () => {
    const f = new FunctionBuilder("before");
    const x = f.input("x", tensorType("fp16", [16, 4096]));
    const w = f.input("w", tensorType("fp16", [4096, 4096]));
    const up = f.op("matmul", { x, y: w, transpose_x: false, transpose_y: true });
    const flags = { transpose_x: false, transpose_y: false };
    const before = f.finish({ y: f.op("matmul", { x: f.op("relu", { x: up }), y: w, ...flags }) });
    const after = { ...lowerFunction(before, chipByName("m4"), "e5rt").function, name: "after" };
    await expect(printProgram(programOf(before, after))).toMatchFileSnapshot(
      "../golden/split-notched-ports.mil",
    );
  });
});
