import { createRequire } from "node:module";
import { afterEach, describe, expect, it } from "vitest";
import type { Blas } from "../../src/engine/cpu/blas/library.ts";
import { openBlas } from "../../src/engine/cpu/blas/blas.ts";
import { blasFault, threadsChangeBits } from "../../src/engine/cpu/blas/blas-check.ts";
import { createEngine } from "../../src/engine/create.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import type { Plan } from "../../src/plan/plan.ts";

const OPENBLAS = "libopenblas.so.0";
const missing = whyMissing();

function whyMissing(): string | undefined {
  try {
    const blas = openBlas(OPENBLAS, 1);
    return typeof blas === "string" ? blas : undefined;
  } catch (error) {
    return String(error);
  }
}

const [ROWS, INNER, COLUMNS] = [160, 96, 144];
const X = tensorType("fp32", [ROWS, INNER]);
const W = tensorType("fp32", [INNER, COLUMNS]);
const Y = tensorType("fp32", [ROWS, COLUMNS]);
const BIAS = tensorType("fp32", [COLUMNS]);

/** y = x w + bias, dw += x' y / 2, dx = y w' + x, small = the 8 first rows of x times w. */
function products(): Plan {
  const plan = new PlanBuilder("products");
  const f = new FunctionBuilder("products");
  const [x, w, bias] = [f.input("x", X), f.input("w", W), f.input("bias", BIAS)];
  const y = f.op("add", { x: f.op("matmul", { x, y: w }), y: bias });
  const dw = f.op("mul", { x: f.op("matmul", { x, y, transpose_x: true }), y: 0.5 });
  const dx = f.op("add", { x: f.op("matmul", { x: y, y: w, transpose_y: true }), y: x });
  const few = f.op("slice_by_index", { x, begin: [0, 0], end: [8, INNER] });
  plan.program("products", f.finish({ y, dw, dx, small: f.op("matmul", { x: few, y: w }) }));
  for (const [name, type] of [
    ["x", X],
    ["w", W],
    ["bias", BIAS],
  ] as const)
    plan.buffer(name, type, "input");
  plan.buffer("y", Y, "state");
  plan.buffer("dw", W, "state");
  plan.buffer("dx", X, "state");
  plan.buffer("small", tensorType("fp32", [8, COLUMNS]), "state");
  plan.dispatch(
    "run",
    "products",
    "products",
    { x: "x", w: "w", bias: "bias" },
    { y: "y", dw: { buffer: "dw", mode: "accumulate" }, dx: "dx", small: "small" },
  );
  return plan.finish();
}

const RESULTS = ["y", "dw", "dx", "small"] as const;

/** Results of two runs, so that what accumulates has done so. */
async function resultsOf(engine: Engine): Promise<ReadonlyMap<string, Float32Array>> {
  const loaded = await engine.load(products());
  for (const [seed, name] of ["x", "w", "bias"].entries()) {
    const view = loaded.view(name);
    for (let i = 0; i < view.length; i++) view[i] = Math.sin(i * (seed + 1.37));
  }
  loaded.view("dw").fill(1);
  await loaded.run("run");
  await loaded.run("run");
  const results = new Map(RESULTS.map((name) => [name, Float32Array.from(loaded.view(name))]));
  await loaded.close();
  return results;
}

describe.skipIf(missing !== undefined)(
  `products by the system's OpenBLAS${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let engine: Engine | undefined;
    afterEach(async () => engine?.close());

    const resultsBy = async (blas: string, threads: number): ReturnType<typeof resultsOf> => {
      engine = await createCpuEngine({ threads, blas });
      const results = await resultsOf(engine);
      await engine.close();
      return results;
    };

    it("are the runtime's within rounding, with addends, factors, transposes and sums in place", async () => {
      const [own, foreign] = [await resultsBy("off", 1), await resultsBy(OPENBLAS, 1)];
      for (const name of RESULTS) {
        const [a, b] = [own.get(name), foreign.get(name)];
        let largest = 0;
        let apart = 0;
        a?.forEach((value, index) => {
          largest = Math.max(largest, Math.abs(value));
          apart = Math.max(apart, Math.abs(value - (b?.[index] ?? Number.NaN)));
        });
        expect(largest, name).toBeGreaterThan(1);
        expect(apart / largest, name).toBeLessThan(1e-6);
      }
      // Too small for a call outside.
      expect(foreign.get("small")).toEqual(own.get("small"));
    });

    it("have the same bits from run to run, and for any number of threads where auto takes the library", async () => {
      const two = await resultsBy(OPENBLAS, 2);
      expect(await resultsBy(OPENBLAS, 2)).toEqual(two);
      const { version: library } = openBlas(OPENBLAS, 1) as Blas;
      const chosen = openBlas("auto", 1);
      if (typeof chosen === "string") expect(chosen).toMatch(/OpenBLAS|measured/);
      else {
        expect(chosen.version).toBe(library);
        expect(await resultsBy(OPENBLAS, 1)).toEqual(two);
      }
    });

    it("are told: in the runtime's name, which checkpoints hold, and in what steps are made of", async () => {
      engine = await createEngine("cpu", { threads: 1, blas: OPENBLAS });
      expect(engine.description.runtime).toMatch(/^onnxruntime .* with OpenBLAS \d/);
      expect(engine.description.blas).toMatch(/^OpenBLAS \d/);
      const loaded = await engine.load(products());
      expect(loaded.describeExecution?.("run").steps[0]?.madeOf).toMatch(
        /^ONNX Runtime, \d+ ops, 3 of them by OpenBLAS \d/,
      );
    });

    it("are not taken through the binding to JavaScript, which says so", async () => {
      engine = await createCpuEngine({ threads: 1, blas: OPENBLAS, useNative: false });
      expect(engine.description.blas).toMatch(/^none: ONNX Runtime's C interface/);
      expect(engine.description.runtime).not.toMatch("OpenBLAS");
      expect((await resultsOf(engine)).get("y")?.every(Number.isFinite)).toBe(true);
    });
  },
);

describe("a library for products", () => {
  it("that is none is refused by its name, and is the user's choice alone", async () => {
    const wanted = { code: "engine.cpu.blas", remedy: expect.stringContaining("cblas_sgemm") };
    expect(() => openBlas("/nowhere/libblas.so", 1)).toThrow(expect.objectContaining(wanted));
    expect(() => openBlas("/nowhere/libblas.so", 1)).toThrow(/"?\/nowhere\/libblas.so/);
    const runtime = (await createCpuEngine({ threads: 1 })).description;
    expect(runtime.blas).toBeUndefined();
    await expect(createEngine("reference", { blas: OPENBLAS })).rejects.toThrow(
      'engine "reference" multiplies matrices itself',
    );
    await (await createEngine("reference", { blas: "auto" })).close();
  });

  const koffi = createRequire(import.meta.url)("koffi") as {
    address(array: Uint8Array): bigint;
    view(address: bigint, byteLength: number): ArrayBuffer;
  };
  const at = (address: bigint, count: number): Float32Array =>
    new Float32Array(koffi.view(address, 4 * count));
  /** Rows first, as it should be. */
  const right: Blas = {
    version: "by hand",
    multiply: ({ m, n, k, transposeA, transposeB, alpha, beta }, a, b, c) => {
      const [left, other, result] = [at(a, m * k), at(b, k * n), at(c, m * n)];
      for (let row = 0; row < m; row++)
        for (let column = 0; column < n; column++) {
          let sum = 0;
          for (let i = 0; i < k; i++)
            sum +=
              (left[transposeA ? i * m + row : row * k + i] ?? 0) *
              (other[transposeB ? column * k + i : i * n + column] ?? 0);
          const before = beta === 0 ? 0 : beta * (result[row * n + column] ?? 0);
          result[row * n + column] = alpha * sum + before;
        }
    },
    copy: (count, from, to) => at(to, count).set(at(from, count)),
    takeThreads: () => undefined,
  };
  const faultOf = (changes: Partial<Blas>): string | undefined =>
    blasFault({ ...right, ...changes }, (array) => koffi.address(array));

  it("is not taken by itself where threads change its bits", () => {
    const addressOf = (array: Uint8Array): bigint => koffi.address(array);
    expect(threadsChangeBits(right, addressOf)).toBe(false);
    let threads = 1;
    const divided: Blas = {
      ...right,
      takeThreads: (count = 1) => void (threads = count),
      multiply: (product, a, b, c) => {
        right.multiply(product, a, b, c);
        const last = at(c, product.m * product.n).subarray(-1);
        if (threads === 3) last[0] = (last[0] ?? 0) * (1 + 2 ** -22);
      },
    };
    expect(threadsChangeBits(divided, addressOf)).toBe(true);
    expect(threads).toBe(1);
  });

  it("is tried with products whose results are known before it is used", () => {
    expect(faultOf({})).toBeUndefined();
    expect(faultOf({ multiply: () => undefined })).toMatch(/gives NaN for/);
    const wrong: readonly Blas["multiply"][] = [
      (product, a, b, c) => right.multiply({ ...product, beta: 0 }, a, b, c),
      (product, a, b, c) => right.multiply({ ...product, alpha: 1 }, a, b, c),
      (product, a, b, c) => right.multiply({ ...product, transposeA: false }, a, b, c),
      (product, a, b, c) => right.multiply({ ...product, transposeB: false }, a, b, c),
      // The edge beyond the last whole tile.
      (product, a, b, c) => right.multiply({ ...product, m: product.m - 1 }, a, b, c),
    ];
    for (const multiply of wrong) expect(faultOf({ multiply })).toMatch(/it gives .* for/);
    expect(faultOf({ copy: () => undefined })).toMatch(/it copies/);
  });
});
