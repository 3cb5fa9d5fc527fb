import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluateOperation } from "../../src/mil/evaluate-operation.ts";
import { hostTensor, roundTo } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { missingOps } from "../../src/mil/missing-ops.ts";
import { int32sLiteral, scalarLiteral } from "../../src/mil/literal.ts";
import { OpCall } from "../../src/mil/op-call.ts";
import type { OpRow } from "../../src/mil/op-row.ts";
import { PUBLIC_OPS, signatureIn, signaturesOf } from "../../src/mil/op-signature.ts";
import { OPS, opRow } from "../../src/mil/ops/index.ts";
import { erf } from "../../src/mil/ops/special-functions.ts";
import type { Argument, Operation, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import type { DataType, Dimension, MilType } from "../../src/mil/types.ts";
import { firstDifference, readOpFixtures } from "./op-fixtures.ts";

const ROWS: readonly (readonly [string, OpRow])[] = Object.entries(OPS);

function value(name: string, dataType: DataType, shape: readonly Dimension[]): Value {
  return { kind: "value", name, type: tensorType(dataType, shape) };
}

function infer(op: string, inputs: Record<string, Argument>): readonly MilType[] {
  const row = opRow(op);
  if (row === undefined) throw new Error(`no op ${op}`);
  return row.infer(new OpCall({ type: op, inputs: new Map(Object.entries(inputs)) }, row));
}

function shapeOf(type: MilType | undefined): readonly Dimension[] {
  return type?.kind === "tensor" ? type.shape : [];
}

/** Infers with "?" in place of every size, evaluates on numbers, and returns both. */
function inferAndEvaluate(
  op: string,
  tensors: Record<string, HostTensor>,
  settings: Record<string, Argument> = {},
) {
  const values = Object.entries(tensors).map(([name, { dataType, shape }]) =>
    value(name, dataType, shape),
  );
  const inputs = Object.fromEntries(values.map((v) => [v.name, v]));
  const exact = infer(op, { ...inputs, ...settings });
  const open = Object.fromEntries(
    values.map(({ name, type }) => [
      name,
      value(
        name,
        type.kind === "tensor" ? type.dataType : "fp32",
        shapeOf(type).map(() => "?"),
      ),
    ]),
  );
  const unknown = infer(op, { ...open, ...settings });
  const operation: Operation = {
    type: op,
    inputs: new Map(Object.entries({ ...inputs, ...settings })),
    outputs: exact.map((type, index) => ({ kind: "value", name: `r${index}`, type })),
    blocks: [],
    attributes: new Map(),
  };
  const results = evaluateOperation(operation, {
    resolve: (operand) => {
      const found = operand.kind === "value" ? tensors[operand.name] : undefined;
      if (found === undefined) throw new Error("unknown operand");
      return found;
    },
    runBlock: () => [],
    writeState: () => undefined,
  });
  return { exact, unknown, results };
}

const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });

function counting(shape: readonly number[]): HostTensor {
  const tensor = hostTensor("fp32", shape);
  tensor.data.forEach((_, index) => {
    tensor.data[index] = index;
  });
  return tensor;
}

describe("the op table", () => {
  it("has every public op of every opset, with the same parameters", () => {
    expect(PUBLIC_OPS.length).toBe(166);
    for (const op of PUBLIC_OPS) {
      const row = opRow(op);
      const names = new Set(
        signaturesOf(op).flatMap(({ parameters }) => parameters.map((p) => p.name)),
      );
      expect([op, Object.keys(row?.parameters ?? {}).toSorted()]).toEqual([
        op,
        [...names].toSorted(),
      ]);
      expect([op, row?.since]).toEqual([op, undefined]);
    }
  });

  it("says as the newest signature what must be constant and what may be left out", () => {
    for (const op of PUBLIC_OPS) {
      const row = opRow(op);
      for (const parameter of signatureIn(op, "ios18")?.parameters ?? []) {
        const spec = row?.parameters[parameter.name];
        const variadic = spec?.kind === "tensors";
        const name = `${op}.${parameter.name}`;
        // What only some revisions have may be left out as far as the row is concerned.
        const everywhere = signaturesOf(op).every(({ parameters }) =>
          parameters.some((other) => other.name === parameter.name),
        );
        expect([name, spec?.optional]).toEqual([name, parameter.optional || !everywhere]);
        if (!variadic) expect([name, spec?.constant]).toEqual([name, parameter.constant]);
      }
    }
  });

  it("evaluates all ops but those that no fixture executes", () => {
    const evaluated = ROWS.filter(([, row]) => row.evaluate !== undefined).map(([op]) => op);
    const fixtures = readOpFixtures();
    expect(fixtures.every(({ cases }) => cases.length > 0)).toBe(true);
    expect(fixtures.map(({ op }) => op)).toEqual(evaluated.toSorted());
    expect(missingOps()).toEqual(["classify"]);
  });

  it("tells where the nearest type is that was meant", () => {
    const x = value("x", "fp32", [2]);
    const dtype = {
      kind: "literal",
      type: tensorType("string", []),
      data: { kind: "strings", strings: ["fp23"] },
    } as const;
    expect(() => infer("cast", { x, dtype })).toThrow('Did you mean "fp32"?');
  });
});

describe("shape rules", () => {
  it("infer with open sizes what they infer with known ones, as far as it can be known", () => {
    fc.assert(
      fc.property(shapes, fc.nat(), (shape, seed) => {
        const rank = shape.length;
        const axis = seed % rank;
        const x = counting(shape);
        const axisLiteral = scalarLiteral("int32", axis - (seed % 2 === 0 ? rank : 0));
        const perm = int32sLiteral(shape.map((_, index) => (index + seed) % rank));
        const checks = [
          inferAndEvaluate("transpose", { x }, { perm }),
          inferAndEvaluate("softmax", { x }, { axis: axisLiteral }),
          inferAndEvaluate("reduce_sum", { x }, { axes: int32sLiteral([axis]) }),
          inferAndEvaluate("expand_dims", { x }, { axes: int32sLiteral([axis]) }),
          inferAndEvaluate(
            "tile",
            { x },
            { reps: int32sLiteral(shape.map((_, i) => 1 + ((i + seed) % 2))) },
          ),
          inferAndEvaluate("reshape", { x }, { shape: int32sLiteral([-1]) }),
          inferAndEvaluate("flatten2d", { x }, { axis: scalarLiteral("int32", axis) }),
          inferAndEvaluate("cumsum", { x }, { axis: axisLiteral }),
          inferAndEvaluate("shape", { x }),
          inferAndEvaluate("reverse", { x }, { axes: int32sLiteral([axis]) }),
        ];
        for (const { exact, unknown, results } of checks) {
          results.forEach((result, index) => {
            expect(shapeOf(exact[index])).toEqual(result.shape);
            const open = shapeOf(unknown[index]);
            expect(open.length).toBe(result.shape.length);
            expect(open.every((size, i) => size === "?" || size === result.shape[i])).toBe(true);
          });
        }
      }),
      { numRuns: 100 },
    );
  });

  it("broadcast as NumPy does: aligned at the end, sizes of 1 stretch", () => {
    fc.assert(
      fc.property(shapes, fc.nat(15), fc.nat(3), (shape, mask, cut) => {
        const other = shape
          .map((size, axis) => ((mask >> axis) & 1 ? 1 : size))
          .slice(cut % shape.length);
        const x = counting(shape);
        const y = counting(other);
        const { exact, results } = inferAndEvaluate("add", { x, y });
        expect(shapeOf(exact[0])).toEqual(shape);
        const flipped = inferAndEvaluate("add", { x: y, y: x });
        expect(flipped.results[0]?.data).toEqual(results[0]?.data);
      }),
    );
  });

  it("refuse sizes that do not broadcast, naming the axis", () => {
    const x = value("x", "fp32", [2, 3]);
    expect(() => infer("add", { x, y: value("y", "fp32", [2, 4]) })).toThrow(
      "sizes 3 and 4 at axis 1 do not broadcast",
    );
  });

  it("split and concat are inverse", () => {
    fc.assert(
      fc.property(shapes, fc.nat(), (shape, seed) => {
        const axis = seed % shape.length;
        const size = shape[axis] ?? 1;
        const first = seed % (size + 1);
        const x = counting(shape);
        const sizes = [first, size - first].filter((part) => part > 0);
        const axisLiteral = scalarLiteral("int32", axis);
        const { results } = inferAndEvaluate(
          "split",
          { x },
          { split_sizes: int32sLiteral(sizes), axis: axisLiteral },
        );
        const values = results.map((part, index) => value(`v${index}`, "fp32", part.shape));
        const tensors = new Map(values.map(({ name }, index) => [name, results[index]]));
        const operation: Operation = {
          type: "concat",
          inputs: new Map<string, Argument>([
            ["values", values],
            ["axis", axisLiteral],
          ]),
          outputs: [value("back", "fp32", shape)],
          blocks: [],
          attributes: new Map(),
        };
        const [back] = evaluateOperation(operation, {
          resolve: (operand) =>
            (operand.kind === "value" ? tensors.get(operand.name) : undefined) ?? x,
          runBlock: () => [],
          writeState: () => undefined,
        });
        expect(back?.data).toEqual(x.data);
      }),
    );
  });

  it("slices as JavaScript's own slice does along an axis", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: -7, max: 7 }),
        fc.integer({ min: -7, max: 7 }),
        (size, begin, end) => {
          const x = counting([size]);
          const { results } = inferAndEvaluate(
            "slice_by_index",
            { x },
            { begin: int32sLiteral([begin]), end: int32sLiteral([end]) },
          );
          expect(Array.from(results[0]?.data ?? [])).toEqual(Array.from(x.data).slice(begin, end));
        },
      ),
    );
  });

  it("gather undoes nothing: picking all indices in order is the identity on any axis", () => {
    fc.assert(
      fc.property(shapes, fc.nat(), (shape, seed) => {
        const axis = seed % shape.length;
        const size = shape[axis] ?? 1;
        const x = counting(shape);
        const indices = hostTensor(
          "int32",
          [size],
          Float64Array.from({ length: size }, (_, i) => (i % 2 === 0 ? i : i - size)),
        );
        const { results } = inferAndEvaluate(
          "gather",
          { x, indices },
          { axis: scalarLiteral("int32", axis) },
        );
        expect(results[0]?.data).toEqual(x.data);
      }),
    );
  });

  it("refuse indices outside the axis", () => {
    const x = counting([3]);
    for (const index of [3, -4]) {
      const indices = hostTensor("int32", [1], Float64Array.of(index));
      expect(() => inferAndEvaluate("gather", { x, indices })).toThrow(
        `index ${index} is outside the 3 elements`,
      );
    }
  });
});

describe("numbers", () => {
  it("integers wrap around and drop their fraction, NaN becomes 0", () => {
    expect(roundTo("int8", 200)).toBe(-56);
    expect(roundTo("uint8", -1)).toBe(255);
    expect(roundTo("int16", 40000)).toBe(-25536);
    expect(roundTo("int32", 2 ** 31)).toBe(-(2 ** 31));
    expect(roundTo("uint32", -1)).toBe(2 ** 32 - 1);
    expect(roundTo("int4", 9)).toBe(-7);
    expect(roundTo("uint3", 9)).toBe(1);
    expect(roundTo("int32", -2.7)).toBe(-2);
    for (const type of ["int8", "uint8", "int32", "int64", "uint1"] as const) {
      expect(roundTo(type, NaN)).toBe(0);
    }
  });

  it("small floats round to nearest, ties to even, and overflow as their formats do", () => {
    expect(roundTo("bf16", 1 + 2 ** -8)).toBe(1);
    expect(roundTo("bf16", 1 + 3 * 2 ** -8)).toBe(1 + 2 ** -6);
    expect(roundTo("bf16", 3.4e38)).toBe(Infinity);
    expect(roundTo("fp8e4m3fn", 448)).toBe(448);
    expect(roundTo("fp8e4m3fn", 500)).toBe(NaN);
    expect(roundTo("fp8e4m3fn", 2 ** -9)).toBe(2 ** -9);
    expect(roundTo("fp8e4m3fn", 2 ** -11)).toBe(0);
    expect(roundTo("fp8e5m2", 57344)).toBe(57344);
    expect(roundTo("fp8e5m2", -70000)).toBe(-Infinity);
  });

  it("the error function is odd, grows, and agrees with its derivative", () => {
    fc.assert(
      fc.property(fc.double({ min: -5.9, max: 5.9, noNaN: true }), (x) => {
        expect(erf(-x)).toBe(-erf(x));
        const h = 1e-5;
        const slope = (erf(x + h) - erf(x - h)) / (2 * h);
        expect(Math.abs(slope - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x))).toBeLessThan(2e-9);
      }),
    );
    // Where series and continued fraction meet.
    expect(Math.abs(erf(3 + 1e-12) - erf(3 - 1e-12))).toBeLessThan(1e-15);
  });
});

describe("comparing with fixtures", () => {
  it("notices a number that is off by three units in the last place, infinity and NaN", () => {
    const expected = { dtype: "fp32", shape: [1], data: [1] };
    const off = (number: number) =>
      firstDifference(hostTensor("fp32", [1], Float64Array.of(number)), expected);
    expect(off(1 + 2 ** -23)).toBeUndefined();
    expect(off(1 + 3 * 2 ** -22)).toBe(`element 0 is ${1 + 3 * 2 ** -22}, expected 1`);
    expect(off(NaN)).toBeDefined();
    expect(off(Infinity)).toBeDefined();
    const infinite = { dtype: "fp32", shape: [1], data: ["inf"] };
    expect(firstDifference(hostTensor("fp32", [1], Float64Array.of(5)), infinite)).toBeDefined();
  });
});
