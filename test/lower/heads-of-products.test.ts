import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { checkFunction } from "../../src/chip/legality/check.ts";
import type { Driver } from "../../src/chip/chip.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { headsOfProducts } from "../../src/lower/heads-of-products.ts";
import type { EngineProgram } from "../../src/lower/ports.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { elementCount, staticShape, tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

const m4 = chipByName("m4");

interface Sizes {
  readonly batch?: number;
  /** Sizes between positions and a head's own: heads, or groups of heads. */
  readonly heads?: readonly number[];
  /** Weights as [C, H D], as gpt2 has them. */
  readonly isTurned?: boolean;
  /** The first weight is read by a second product. */
  readonly isShared?: boolean;
}

const [POSITIONS, CHANNELS, HEAD] = [8, 32, 4] as const;

/** Queries and keys of rows. */
function projections({ batch = 1, heads = [3], isTurned, isShared }: Sizes): EngineProgram {
  const f = new FunctionBuilder("projections");
  const width = HEAD * elementCount(heads);
  const x = f.input("x", tensorType("fp16", [batch * POSITIONS, CHANNELS]));
  const axes = [0, ...heads.map((_, at) => at + 2), 1, heads.length + 2];
  const results = ["query", "key"].map((name) => {
    const shape = isTurned === true ? [CHANNELS, width] : [width, CHANNELS];
    const y = f.input(name, tensorType("fp16", shape));
    const rows = f.op("matmul", { x, y, transpose_y: isTurned !== true });
    const cut = f.op("reshape", { x: rows, shape: [batch, POSITIONS, ...heads, HEAD] });
    return [`${name}_heads`, f.op("transpose", { x: cut, perm: axes }), y] as const;
  });
  const [first] = results;
  const back =
    isShared === true && first !== undefined
      ? {
          back: f.op("matmul", {
            x: f.op("matmul", { x, y: first[2], transpose_y: true }),
            y: first[2],
          }),
        }
      : {};
  const fn = f.finish({
    ...Object.fromEntries(results.map(([name, value]) => [name, value])),
    ...back,
  });
  return {
    function: fn,
    inputs: fn.inputs.map(({ name, type }) => ({
      name,
      from: name,
      conversion: {
        kind: "half" as const,
        start: 0,
        count: type.kind === "tensor" ? elementCount(staticShape(type)) : 0,
      },
    })),
    outputs: [],
    scales: [],
  };
}

/** Numbers by where ports come from, so that a port of another shape has the same bytes. */
function resultsOf(program: EngineProgram): readonly (readonly number[])[] {
  const sources = new Map(program.inputs.map(({ name, from }) => [name, from]));
  const inputs = program.function.inputs.map(({ name, type }) => {
    if (type.kind !== "tensor") throw new Error("no tensor");
    const shape = staticShape(type);
    const seed = (sources.get(name) ?? "").length;
    const numbers = Float64Array.from({ length: elementCount(shape) }, (_, at) =>
      Math.sin(seed + 7 * at),
    );
    return [name, hostTensor("fp16", shape, numbers)] as const;
  });
  const results = evaluateFunction(program.function, new Map(inputs));
  return program.function.outputs.map(({ name }) => [...(results.get(name)?.data ?? [])]);
}

function countOf({ operations }: MilFunction, type: string): number {
  return operations.filter((operation) => operation.type === type).length;
}

describe("products that are cut into heads", () => {
  test.each<Sizes>([{}, { batch: 3 }, { heads: [2, 3] }, { batch: 2, heads: [2, 2] }])(
    "give heads themselves, with the same numbers from the same bytes: %o",
    (sizes) => {
      const before = projections(sizes);
      const after = headsOfProducts(before, m4, "e5rt");
      verifyFunction(after.function);
      expect(countOf(after.function, "transpose")).toBe(0);
      expect(countOf(after.function, "matmul")).toBe(2);
      expect(countOf(after.function, "reshape")).toBe(1);
      expect(
        checkFunction(after.function, m4, "e5rt").filter(({ severity }) => severity === "error"),
      ).toEqual([]);
      expect(after.inputs.map(({ from }) => from)).toEqual(["x", "query", "key"]);
      expect(after.inputs.map(({ name }) => name)).toEqual(
        after.function.inputs.map(({ name }) => name),
      );
      expect(resultsOf(after)).toEqual(resultsOf(before));
    },
  );

  test("stay rows where weights stand turned, and through a driver whose ports are not dense", () => {
    const cases: readonly (readonly [Sizes, Driver])[] = [
      [{ isTurned: true }, "e5rt"],
      [{}, "in-memory"],
    ];
    for (const [sizes, driver] of cases) {
      const program = projections(sizes);
      expect(headsOfProducts(program, m4, driver)).toBe(program);
    }
  });

  test("stay rows where another product reads the weight as a matrix", () => {
    const after = headsOfProducts(projections({ isShared: true }), m4, "e5rt");
    expect(countOf(after.function, "transpose")).toBe(1);
    expect(after.function.inputs.map(({ name }) => name)).toEqual(["x", "query", "key_heads_2"]);
  });
});
