import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";

describe.each([{ useNative: true }, { useNative: false }])(
  "the CPU engine, %o",
  ({ useNative }) => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createCpuEngine({ threads: 2, useNative });
    });
    afterAll(async () => {
      await engine.close();
    });

    it("runs a product with a bias over buffers and offsets", async () => {
      const f = new FunctionBuilder("linear");
      const x = f.input("x", shaped("fp32", 2, 3));
      const w = f.input("w", shaped("fp32", 4, 3));
      const b = f.input("b", shaped("fp32", 4));
      const product = f.op("matmul", { x, y: w, transpose_y: true });
      const fn = f.finish({ y: f.op("add", { x: product, y: b }) });
      const plan = new PlanBuilder("test");
      plan.program("linear", fn);
      plan.buffer("x", shaped("fp32", 4, 3), "input");
      plan.buffer("w", shaped("fp32", 4, 3), "weight", "block.0");
      plan.buffer("b", shaped("fp32", 4), "weight", "block.0");
      plan.buffer("y", shaped("fp32", 2, 4), "output");
      plan.dispatch(
        "main",
        "linear",
        "linear",
        { x: { buffer: "x", offset: 6 }, w: "w", b: "b" },
        { y: "y" },
      );
      const loaded = await engine.load(plan.finish());
      loaded.view("x").set([9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6]);
      loaded.view("w").set([1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1]);
      loaded.view("b").set([10, 20, 30, 40]);
      await loaded.run("main");
      expect([...loaded.view("y")]).toEqual([11, 22, 33, 46, 14, 25, 36, 55]);
      expect(loaded.view("y").buffer).toBeInstanceOf(SharedArrayBuffer);
      await loaded.close();
    });

    it("accumulates a product's result into its buffer", async () => {
      const f = new FunctionBuilder("outer");
      const x = f.input("x", shaped("fp32", 2, 3));
      const g = f.input("g", shaped("fp32", 2, 2));
      const fn = f.finish({ d: f.op("matmul", { x, y: g, transpose_x: true }) });
      const plan = new PlanBuilder("test");
      plan.program("outer", fn);
      plan.buffer("x", shaped("fp32", 2, 3), "input");
      plan.buffer("g", shaped("fp32", 2, 2), "input");
      plan.buffer("d", shaped("fp32", 3, 2), "gradient");
      for (const label of ["first", "second"]) {
        plan.dispatch(
          "main",
          label,
          "outer",
          { x: "x", g: "g" },
          { d: { buffer: "d", mode: "accumulate" } },
        );
      }
      const loaded = await engine.load(plan.finish());
      loaded.view("x").set([1, 2, 3, 4, 5, 6]);
      loaded.view("g").set([1, 0, 0, 1]);
      loaded.view("d").set([100, 100, 100, 100, 100, 100]);
      await loaded.run("main");
      expect([...loaded.view("d")]).toEqual([102, 108, 104, 110, 106, 112]);
      await loaded.close();
    });
  },
);
