import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { ARITHMETIC_SETS, arithmeticOf } from "../../../src/chip/arithmetic/arithmetic.ts";
import { evaluateFunction } from "../../../src/engine/reference/evaluate.ts";
import { narrowSum } from "../../../src/engine/sim/arithmetic.ts";
import { HalfTensor } from "../../../src/engine/sim/half-tensor.ts";
import { Machine } from "../../../src/engine/sim/machine.ts";
import type { Numerics } from "../../../src/engine/sim/numerics.ts";
import { SimulatedFunction } from "../../../src/engine/sim/simulate.ts";
import {
  FUNCTION_TABLES,
  tableExp,
  tableLog,
  tableRsqrt,
  tabulate,
} from "../../../src/engine/sim/fitted-tables.ts";
import * as grid from "../../../src/engine/sim/grid-tables.ts";
import { roundToHalfBy } from "../../../src/engine/sim/rounding.ts";
import { FunctionBuilder } from "../../../src/mil/builder.ts";
import { hostTensor } from "../../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../../src/mil/host-tensor.ts";
import { tensorLiteral } from "../../../src/mil/literal.ts";
import type { OpName } from "../../../src/mil/ops/index.ts";
import type { MilFunction, Value } from "../../../src/mil/program.ts";
import { elementCount, tensorType } from "../../../src/mil/types.ts";
import { float16Value, roundToFloat16 } from "../../../src/util/float16.ts";

const machine = new Machine(2);
afterAll(() => machine.close());

type Shapes = readonly (readonly number[])[];

/** A function of inputs a, b, ... of these shapes with outputs y0, y1, ... */
function build(
  shapes: Shapes,
  body: (f: FunctionBuilder, inputs: readonly Value[]) => readonly Value[],
): MilFunction {
  const f = new FunctionBuilder("main");
  const inputs = shapes.map((shape, index) =>
    f.input("abcd"[index] ?? "e", tensorType("fp16", shape)),
  );
  return f.finish(Object.fromEntries(body(f, inputs).map((y, index) => [`y${index}`, y])));
}

function one(
  shapes: Shapes,
  type: OpName,
  settings: (inputs: readonly Value[]) => Parameters<FunctionBuilder["op"]>[1],
): MilFunction {
  return build(shapes, (f, inputs) => [f.op(type, settings(inputs))]);
}

function inputsOf(
  fn: MilFunction,
  numbers: readonly (readonly number[])[],
): Map<string, HostTensor> {
  return new Map(
    fn.inputs.map(({ name, type }, index) => {
      const shape = type.kind === "tensor" ? type.shape.map(Number) : [];
      return [name, hostTensor("fp16", shape, Float64Array.from(numbers[index] ?? []))];
    }),
  );
}

const anyHalf = fc.integer({ min: 0, max: 65535 }).map(float16Value);
const usual = fc.double({ min: -8, max: 8, noNaN: true }).map(roundToFloat16);
const someHalf = fc.oneof(anyHalf, usual, fc.constantFrom(0, -0, Infinity, -Infinity, NaN, 65504));
const every = Array.from({ length: 65536 }, (_, bits) => float16Value(bits));

function tensorsOf(
  shapes: Shapes,
  number: fc.Arbitrary<number> = someHalf,
): fc.Arbitrary<number[][]> {
  return fc.tuple(
    ...shapes.map((shape) => {
      const length = elementCount(shape);
      return fc.array(number, { minLength: length, maxLength: length });
    }),
  );
}

describe.each(ARITHMETIC_SETS)("by the rules of %s", (set) => {
  const arithmetic = arithmeticOf("H16", set);
  const ties = arithmetic["elementwise.rounding"];

  /** On the engine: what its kernels give. */
  function simulate(
    fn: MilFunction,
    numbers: readonly (readonly number[])[],
    numerics: Numerics = "exact",
  ): number[][] {
    const inputs = new Map(
      [...inputsOf(fn, numbers)].map(([name, tensor]) => [name, machine.place(tensor)]),
    );
    const simulated = new SimulatedFunction(fn, "engine");
    const results = simulated.run(inputs, {
      place: "engine",
      numerics,
      machine,
      arithmetic,
      clampSlices: false,
    });
    const outputs = fn.outputs.map(({ name }) => {
      const result = results.get(name);
      expect(result).toBeInstanceOf(HalfTensor);
      return Array.from(result?.data ?? []);
    });
    simulated.release();
    machine.arena.reset();
    return outputs;
  }

  /** In doubles, rounded to fp32 and then to fp16. */
  function reference(fn: MilFunction, numbers: readonly (readonly number[])[]): number[][] {
    const results = evaluateFunction(fn, inputsOf(fn, numbers), { precision: "float64" });
    return fn.outputs.map(({ name }) => Array.from(results.get(name)?.data ?? [], half));
  }

  function half(value: number): number {
    return ties === "half-even" ? roundToFloat16(Math.fround(value)) : roundToHalfBy(value, ties);
  }

  /** NaN counts as infinity by today's rules. */
  function asRead(numbers: readonly (readonly number[])[]): number[][] {
    const isSpecial = arithmetic["elementwise.special"] === "infinity";
    return numbers.map((row) => row.map((x) => (isSpecial && Number.isNaN(x) ? Infinity : x)));
  }

  describe("ops of two operands", () => {
    const shapes: readonly Shapes[] = [
      [[7], [7]],
      [
        [3, 21],
        [3, 21],
      ],
      [[5, 19], [19]],
      [
        [5, 19],
        [5, 1],
      ],
      [[9, 1], [4]],
      [
        [2, 3, 5, 7],
        [5, 7],
      ],
      [
        [2, 3, 5, 7],
        [2, 3, 5, 1],
      ],
      [
        [2, 1, 5],
        [1, 3, 1],
      ],
      [[1], [33]],
    ];
    test.each(["add", "sub", "mul", "real_div", "maximum", "minimum"] as const)(
      "%s gives the bits of doubles, rounded, with every broadcast",
      (type) => {
        for (const pair of shapes) {
          const fn = one(pair, type, ([x, y]) => ({ x: x ?? 0, y: y ?? 0 }));
          fc.assert(
            fc.property(tensorsOf(pair), (numbers) => {
              const read = type === "maximum" || type === "minimum" ? numbers : asRead(numbers);
              expect(simulate(fn, numbers)).toEqual(reference(fn, read));
            }),
            { numRuns: 15 },
          );
        }
      },
    );

    test("quotients and sums of all magnitudes are rounded once", () => {
      const shifted = every.map((_, bits) => float16Value((bits * 40503 + 12345) & 0xffff));
      for (const type of ["add", "sub", "mul", "real_div"] as const) {
        const fn = one([[65536], [65536]], type, ([x, y]) => ({ x: x ?? 0, y: y ?? 0 }));
        const both = [every, shifted];
        expect(simulate(fn, both)).toEqual(reference(fn, asRead(both)));
      }
    });

    test("a scalar with more digits than fp16 counts in full", () => {
      const f = new FunctionBuilder("main");
      const x = f.input("a", tensorType("fp32", [64]));
      const fn = f.finish({ y0: f.op("mul", { x, y: 1 / 3 }) });
      const numbers = every.slice(15000, 15064);
      const got = new SimulatedFunction(fn, "engine").run(
        new Map([["a", machine.place(hostTensor("fp16", [64], Float64Array.from(numbers)))]]),
        {
          place: "engine",
          numerics: "exact",
          machine,
          arithmetic,
          clampSlices: false,
        },
      );
      const third = Math.fround(1 / 3);
      const wanted = [numbers.map((value) => half(value * third)), numbers.map((v) => half(v / 3))];
      expect(wanted).toContainEqual(Array.from(got.get("y0")?.data ?? []));
      machine.arena.reset();
    });
  });

  describe("functions of one number", () => {
    /** An fp16 number, so that the program holds it as it stands here. */
    const EPSILON = 2 ** -14;
    const fitted: readonly (readonly [OpName, (x: number) => number])[] = [
      ...(["sigmoid", "silu", "tanh", "erf", "gelu"] as const).map((name) => {
        const table = FUNCTION_TABLES[name];
        return [name, table === undefined ? Math.abs : tabulate(table)] as const;
      }),
      ["exp", tableExp],
      ["log", (x) => tableLog(x + EPSILON)],
      ["rsqrt", (x) => tableRsqrt(x + EPSILON)],
    ];
    const read: readonly (readonly [OpName, (x: number) => number])[] = [
      ["sigmoid", grid.gridSigmoid],
      ["silu", grid.gridSilu],
      ["tanh", grid.gridTanh],
      ["erf", grid.gridErf],
      ["gelu", grid.gridGelu],
      ["exp", grid.gridExp],
      ["log", (x) => grid.gridLog(half(x + EPSILON))],
      ["sqrt", grid.gridSqrt],
      ["rsqrt", (x) => grid.gridRsqrt(half(x + EPSILON))],
      ["inverse", (x) => grid.gridInverse(half(x + EPSILON))],
    ];
    const tables: readonly (readonly [OpName, (x: number) => number])[] = [
      ...(set === "2026-08" ? fitted : read),
      ["abs", Math.abs],
      ["relu", (x) => Math.max(x, 0)],
    ];
    test.each(tables)("%s gives its table's result for every fp16 number", (type, table) => {
      const settings = ["log", "rsqrt", "inverse"].includes(type) ? { epsilon: EPSILON } : {};
      const fn = one([[65536]], type, ([x]) => ({ x: x ?? 0, ...settings }));
      const got = simulate(fn, [every])[0] ?? [];
      const wrong = every.filter((x, bits) => !Object.is(got[bits] ?? 0, half(table(x))));
      expect(wrong).toEqual([]);
    });
  });

  describe("reductions", () => {
    /** Of a distance: in doubles through knots, or of an fp16 number with an fp16 result. */
    const exponential = (distance: number): number =>
      set === "2026-08" ? tableExp(distance) : half(grid.gridExp(half(distance)));

    const shapes: readonly (readonly [readonly number[], readonly number[]])[] = [
      [[6, 7], [1]],
      [[3, 64], [1]],
      [[2, 1], [1]],
      [[13, 5], [0]],
      [[8, 33], [0]],
      [[1, 9], [0]],
      [[3, 4, 20], [1]],
      [
        [3, 4, 5],
        [0, 2],
      ],
      [
        [3, 4, 5],
        [0, 1, 2],
      ],
    ];
    test.each(shapes)("sums over axes of %j, %j are trees of fp16 additions", (shape, axes) => {
      const kept = shape.filter((_, axis) => !axes.includes(axis));
      const runs = elementCount(kept);
      const fns = (["reduce_sum", "reduce_sum_square", "reduce_mean"] as const).map((type) =>
        one([shape], type, ([x]) => ({ x: x ?? 0, axes: [...axes], keep_dims: false })),
      );
      const order = [...shape.keys()].toSorted(
        (a, b) => Number(axes.includes(a)) - Number(axes.includes(b)) || a - b,
      );
      const turn = build([shape], (f, [x]) => [f.op("transpose", { x: x ?? 0, perm: order })]);
      fc.assert(
        fc.property(tensorsOf([shape]), (numbers) => {
          const rows = reference(turn, numbers)[0] ?? [];
          const count = rows.length / runs;
          const terms = Array.from({ length: runs }, (_, run) =>
            rows.slice(run * count, (run + 1) * count),
          );
          const [sum, square, mean] = fns.map((fn) => simulate(fn, numbers)[0]);
          expect(sum).toEqual(terms.map((row) => narrowSum(row, half)));
          expect(square).toEqual(
            terms.map((row) =>
              narrowSum(
                row.map((x) => half(x * x)),
                half,
              ),
            ),
          );
          expect(mean).toEqual(terms.map((row) => half(narrowSum(row, half) / count)));
        }),
        { numRuns: 25 },
      );
    });

    test.each(shapes)("extremes over axes of %j, %j are those of the evaluation", (shape, axes) => {
      const fn = build([shape], (f, [x]) =>
        (["reduce_max", "reduce_min"] as const).map((type) =>
          f.op(type, { x: x ?? 0, axes: [...axes], keep_dims: true }),
        ),
      );
      fc.assert(
        fc.property(tensorsOf([shape], fc.oneof(usual, someHalf)), (numbers) => {
          expect(simulate(fn, numbers)).toEqual(reference(fn, numbers));
        }),
        { numRuns: 25 },
      );
    });

    test("the approximate mode sums wide", () => {
      const fn = one([[5, 200]], "reduce_sum", ([x]) => ({
        x: x ?? 0,
        axes: [1],
        keep_dims: true,
      }));
      const columns = one([[200, 5]], "reduce_mean", ([x]) => ({
        x: x ?? 0,
        axes: [0],
        keep_dims: true,
      }));
      fc.assert(
        fc.property(tensorsOf([[1000]]), ([numbers = []]) => {
          for (const each of [fn, columns])
            expect(simulate(each, [numbers], "fp16")).toEqual(reference(each, [numbers]));
        }),
        { numRuns: 20 },
      );
    });

    test.each([
      [[5, 37], 1],
      [[4, 6, 3], 1],
      [[3, 8], 0],
    ] as const)("softmax of %j over axis %i: exponentials by table, summed wide", (shape, axis) => {
      const fn = one([shape], "softmax", ([x]) => ({ x: x ?? 0, axis }));
      const size = shape[axis] ?? 1;
      const inner = elementCount(shape.slice(axis + 1));
      fc.assert(
        fc.property(tensorsOf([shape], fc.oneof(usual, someHalf)), (numbers) => {
          const x = numbers[0] ?? [];
          const wanted = x.map((_, i) => {
            const start = i - (Math.floor(i / inner) % size) * inner;
            const row = Array.from({ length: size }, (__, k) => x[start + k * inner] ?? 0);
            const largest = Math.max(...row);
            const powers = row.map((value) =>
              set === "2026-08" && value - largest < -80 ? 0 : exponential(value - largest),
            );
            const sum = powers.reduce((total, value) => total + value, 0);
            return half((powers[Math.floor(i / inner) % size] ?? 0) / sum);
          });
          expect(simulate(fn, numbers)[0]).toEqual(wanted);
        }),
        { numRuns: 40 },
      );
    });

    test("the logarithm of a sum of exponentials, rows and columns", () => {
      for (const axis of [0, 1]) {
        const fn = one([[6, 6]], "reduce_log_sum_exp", ([x]) => ({
          x: x ?? 0,
          axes: [axis],
          keep_dims: false,
        }));
        fc.assert(
          fc.property(tensorsOf([[6, 6]]), (numbers) => {
            const x = numbers[0] ?? [];
            const wanted = Array.from({ length: 6 }, (_, run) => {
              const row = Array.from(
                { length: 6 },
                (__, k) => x[axis === 1 ? run * 6 + k : k * 6 + run] ?? 0,
              );
              const largest = Math.max(...row);
              const sum = row.reduce((total, value) => total + exponential(value - largest), 0);
              return half(largest + (set === "2026-08" ? tableLog : grid.gridLog)(sum));
            });
            expect(simulate(fn, numbers)[0]).toEqual(wanted);
          }),
          { numRuns: 40 },
        );
      }
    });

    test("softmax and the logarithm of the sum in the approximate mode are exact to fp16", () => {
      const fn = build([[3, 40]], (f, [x]) => [
        f.op("softmax", { x: x ?? 0, axis: 1 }),
        f.op("reduce_log_sum_exp", { x: x ?? 0, axes: [1], keep_dims: false }),
      ]);
      fc.assert(
        fc.property(tensorsOf([[3, 40]], usual), (numbers) => {
          expect(simulate(fn, numbers, "fp16")).toEqual(reference(fn, numbers));
        }),
        { numRuns: 40 },
      );
    });

    test("layer norm gives the bits of its evaluation in doubles", () => {
      const plain = one([[4, 24]], "layer_norm", ([x]) => ({
        x: x ?? 0,
        axes: [1],
        epsilon: 1e-5,
      }));
      fc.assert(
        fc.property(tensorsOf([[4, 24]]), (numbers) => {
          expect(simulate(plain, numbers)).toEqual(reference(plain, numbers));
        }),
        { numRuns: 40 },
      );
      const values = (start: number): number[] =>
        Array.from({ length: 24 }, (_, i) => roundToFloat16(Math.sin(start + i)));
      const justBelow = Array.from({ length: 96 }, () => 0);
      for (const [place, value] of [
        [26, 8],
        [34, -8],
        [36, 0.00975799560546875],
        [44, -8],
      ] as const)
        justBelow[place] = value;
      const scaled = build([[4, 24]], (f, [x]) => [
        f.op("layer_norm", {
          x: x ?? 0,
          axes: [1],
          gamma: f.constant(tensorLiteral("fp16", [24], values(1))),
          beta: f.constant(tensorLiteral("fp16", [24], values(2))),
          epsilon: 1e-5,
        }),
      ]);
      fc.assert(
        fc.property(tensorsOf([[4, 24]], usual), (numbers) => {
          expect(simulate(scaled, numbers)).toEqual(reference(scaled, numbers));
        }),
        // Less than a half by so little that fp32 has it as one.
        { numRuns: 40, examples: [[[justBelow]]] },
      );
    });
  });

  describe("moves", () => {
    const fns: readonly (readonly [string, MilFunction])[] = [
      ["transpose of two axes", one([[5, 7]], "transpose", ([x]) => ({ x: x ?? 0, perm: [1, 0] }))],
      [
        "transpose of heads",
        one([[2, 5, 3, 8]], "transpose", ([x]) => ({ x: x ?? 0, perm: [0, 2, 1, 3] })),
      ],
      [
        "transpose of everything",
        one([[2, 3, 4, 5]], "transpose", ([x]) => ({ x: x ?? 0, perm: [3, 1, 0, 2] })),
      ],
      [
        "transpose of five axes",
        one([[2, 3, 2, 3, 2]], "transpose", ([x]) => ({ x: x ?? 0, perm: [4, 2, 0, 3, 1] })),
      ],
      [
        "slice",
        one([[4, 6, 10]], "slice_by_index", ([x]) => ({
          x: x ?? 0,
          begin: [1, 0, 3],
          end: [3, 5, 10],
          stride: [1, 2, 3],
        })),
      ],
      [
        "reversed slice",
        one([[9]], "slice_by_index", ([x]) => ({ x: x ?? 0, begin: [8], end: [2], stride: [-2] })),
      ],
      [
        "slice by size",
        one([[4, 6]], "slice_by_size", ([x]) => ({ x: x ?? 0, begin: [1, 2], size: [2, 3] })),
      ],
      [
        "concat",
        build(
          [
            [2, 3, 4],
            [2, 1, 4],
            [2, 5, 4],
          ],
          (f, values) => [f.op("concat", { values: [...values], axis: 1 })],
        ),
      ],
      [
        "interleaved concat",
        build(
          [
            [2, 4],
            [2, 4],
          ],
          (f, values) => [f.op("concat", { values: [...values], axis: 1, interleave: true })],
        ),
      ],
      [
        "reshape and back",
        build([[3, 8]], (f, [x]) => [
          f.op("reshape", { x: f.op("expand_dims", { x: x ?? 0, axes: [0] }), shape: [4, 6] }),
        ]),
      ],
    ];
    test.each(fns)("%s", (_name, fn) => {
      const shapes = fn.inputs.map(({ type }) =>
        type.kind === "tensor" ? type.shape.map(Number) : [],
      );
      fc.assert(
        fc.property(tensorsOf(shapes), (numbers) => {
          const got = new SimulatedFunction(fn, "engine").run(inputsOf(fn, numbers), {
            place: "engine",
            numerics: "exact",
            machine,
            arithmetic,
            clampSlices: false,
          });
          const placed = new Map(
            [...inputsOf(fn, numbers)].map(([name, x]) => [name, machine.place(x)]),
          );
          const again = new SimulatedFunction(fn, "engine").run(placed, {
            place: "engine",
            numerics: "exact",
            machine,
            arithmetic,
            clampSlices: false,
          });
          const wanted = reference(fn, numbers)[0];
          expect(Array.from(got.get("y0")?.data ?? [])).toEqual(wanted);
          expect(Array.from(again.get("y0")?.data ?? [])).toEqual(wanted);
          machine.arena.reset();
        }),
        { numRuns: 10 },
      );
    });
  });
});
