import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { CpuEngineOptions } from "../../src/engine/cpu/index.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { EngineError } from "../../src/engine/errors.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { float16Bits, float16Value } from "../../src/util/float16.ts";
import { Random } from "../../src/util/random.ts";
import { openSoftwareDevice, strictEngine } from "../engine/gpu/software-device.ts";

function random(count: number, seed: number): Float32Array {
  const generator = new Random(seed);
  return Float32Array.from({ length: count }, () => generator.uniform() * 2 - 1);
}

/** x [4, 6] times w [6, 6], plus b [6]. */
function affine(): MilFunction {
  const f = new FunctionBuilder("affine");
  const x = f.input("x", shaped("fp32", 4, 6));
  const w = f.input("w", shaped("fp32", 6, 6));
  const b = f.input("b", shaped("fp32", 6));
  return f.finish({ y: f.op("add", { x: f.op("matmul", { x, y: w }), y: b }) });
}

/** 2 x + x^2 - 1: reads x more than once. */
function polynomial(shape: readonly number[]): MilFunction {
  const f = new FunctionBuilder("polynomial");
  const x = f.input("x", shaped("fp32", ...shape));
  const sum = f.op("add", { x: f.op("mul", { x, y: 2 }), y: f.op("mul", { x, y: x }) });
  return f.finish({ y: f.op("sub", { x: sum, y: 1 }) });
}

function scaledSum(): MilFunction {
  const f = new FunctionBuilder("scaled_sum");
  const x = f.input("x", shaped("fp32", 24));
  const y = f.input("y", shaped("fp32", 24));
  return f.finish({ z: f.op("add", { x, y: f.op("mul", { x: y, y: 0.5 }) }) });
}

/** Chains updates in place, accumulated results, parts of buffers and two programs over one buffer. */
function busyPlan(): Plan {
  const plan = new PlanBuilder("busy");
  plan.program("affine", affine());
  plan.program("polynomial", polynomial([24]));
  plan.program("half", polynomial([12]));
  plan.program("scaled_sum", scaledSum());
  plan.buffer("x", shaped("fp32", 4, 6), "input");
  plan.buffer("w", shaped("fp32", 6, 6), "weight", "block.0");
  plan.buffer("b", shaped("fp32", 6), "weight", "block.0");
  plan.buffer("hidden", shaped("fp32", 24), "activation");
  plan.buffer("other", shaped("fp32", 24), "activation");
  plan.buffer("sum", shaped("fp32", 4, 6), "gradient", "block.0");
  plan.buffer("long", shaped("fp32", 60), "state");
  plan.dispatch("main", "affine", "affine", { x: "x", w: "w", b: "b" }, { y: "hidden" });
  plan.dispatch("main", "in place", "polynomial", { x: "hidden" }, { y: "hidden" });
  plan.dispatch("main", "update x", "scaled_sum", { x: "x", y: "hidden" }, { z: "x" });
  plan.dispatch("main", "again", "affine", { x: "x", w: "w", b: "b" }, { y: "other" });
  plan.dispatch(
    "main",
    "accumulate",
    "polynomial",
    { x: "other" },
    { y: { buffer: "sum", mode: "accumulate" } },
  );
  plan.dispatch(
    "main",
    "accumulate a product",
    "affine",
    { x: "other", w: "w", b: "b" },
    { y: { buffer: "sum", mode: "accumulate" } },
  );
  plan.dispatch(
    "main",
    "part",
    "polynomial",
    { x: { buffer: "long", offset: 12 } },
    { y: { buffer: "long", offset: 36 } },
  );
  plan.dispatch(
    "main",
    "overlapping parts",
    "half",
    { x: { buffer: "long", offset: 40 } },
    { y: { buffer: "long", offset: 46 } },
  );
  plan.dispatch("main", "product in place", "affine", { x: "sum", w: "w", b: "b" }, { y: "sum" });
  return plan.finish();
}

const PERSISTENT = ["x", "w", "b", "sum", "long"];

function fill(loaded: LoadedPlan): void {
  PERSISTENT.forEach((name, seed) => {
    const view = loaded.view(name);
    view.set(random(view.length, seed + 1).map((value) => value * 0.5));
  });
}

const contents = (loaded: LoadedPlan, names: readonly string[] = PERSISTENT): number[][] =>
  names.map((name) => Array.from(loaded.view(name)));

function expectNear(actual: readonly number[][], expected: readonly number[][], tolerance: number) {
  actual.forEach((numbers, index) => {
    numbers.forEach((value, place) => {
      const wanted = expected[index]?.[place] ?? Number.NaN;
      expect(Math.abs(value - wanted), `buffer ${index}[${place}]`).toBeLessThanOrEqual(
        tolerance * Math.max(1, Math.abs(wanted)),
      );
    });
  });
}

const noGpu = openSoftwareDevice();
const onCpu =
  (options: CpuEngineOptions): (() => Promise<Engine>) =>
  () =>
    createCpuEngine({ threads: 2, ...options });

const ENGINES: readonly (readonly [string, () => Promise<Engine>])[] = [
  ["the CPU engine, native", onCpu({ useNative: true, join: "never" })],
  ["the CPU engine, native, joined", onCpu({ useNative: true, join: "always" })],
  ["the CPU engine, binding", onCpu({ useNative: false, join: "never" })],
  ["the CPU engine, binding, joined", onCpu({ useNative: false, join: "always" })],
  ["the GPU engine", () => Promise.resolve(strictEngine())],
];

describe("plans on the GPU engine", () => {
  it.skipIf(noGpu === undefined)(`are skipped: ${noGpu}`, () => undefined);
});

describe.each(ENGINES.filter(([name]) => noGpu === undefined || name !== "the GPU engine"))(
  "plans on %s",
  (_, open) => {
    const reference = createReferenceEngine();
    let cpu: Engine;
    beforeAll(async () => {
      cpu = await open();
    });
    afterAll(async () => {
      await cpu.close();
    });

    it("agree with the reference over updates in place, accumulation, parts and overlaps", async () => {
      const plan = busyPlan();
      const expected = await reference.load(plan);
      const actual = await cpu.load(plan);
      fill(expected);
      fill(actual);
      for (let run = 0; run < 3; run++) {
        await expected.run("main");
        await actual.run("main");
        expectNear(contents(actual), contents(expected), 1e-4 * 4 ** run);
        // Errors of one run must not grow in the next.
        for (const name of PERSISTENT) actual.view(name).set(expected.view(name));
      }
      await expected.close();
      await actual.close();
    });

    it("give the same bits every time", async () => {
      const first = await cpu.load(busyPlan());
      const second = await cpu.load(busyPlan());
      for (const loaded of [first, second]) {
        fill(loaded);
        await loaded.run("main");
        await loaded.run("main");
      }
      expect(contents(second)).toEqual(contents(first));
      await first.close();
      await second.close();
    });

    it("share persistent buffers of the same name and type, and no others", async () => {
      const owner = await cpu.load(busyPlan());
      fill(owner);
      const plan = new PlanBuilder("guest");
      plan.program("affine", affine());
      plan.buffer("x", shaped("fp32", 4, 6), "input");
      plan.buffer("w", shaped("fp32", 6, 6), "weight");
      plan.buffer("b", shaped("fp32", 3, 2), "weight");
      plan.buffer("y", shaped("fp32", 4, 6), "output");
      plan.dispatch("main", "affine", "affine", { x: "x", w: "w", b: "b" }, { y: "y" });
      const guest = await cpu.load(plan.finish(), { share: owner });
      expect(Array.from(guest.view("w"))).toEqual(Array.from(owner.view("w")));
      expect(Array.from(guest.view("b"))).toEqual([0, 0, 0, 0, 0, 0]);
      owner.view("w")[0] = 123;
      expect(guest.view("w")[0]).toBe(123);
      await guest.run("main");
      expect(guest.view("y")[0]).not.toBe(0);
      await guest.close();
      await owner.run("main");
      await owner.close();
    });

    it("accumulate fp16 results", async () => {
      const f = new FunctionBuilder("f");
      const x = f.input("x", shaped("fp16", 8));
      const plan = new PlanBuilder("half");
      plan.program("f", f.finish({ y: f.op("mul", { x, y: 0.5 }) }));
      plan.buffer("x", shaped("fp16", 8), "input");
      plan.buffer("y", shaped("fp16", 8), "gradient");
      plan.dispatch("main", "f", "f", { x: "x" }, { y: { buffer: "y", mode: "accumulate" } });
      const loaded = await cpu.load(plan.finish());
      loaded.view("x").set([1, 2, 3, 4, 5, 6, 7, 8].map(float16Bits));
      loaded.view("y").fill(float16Bits(10));
      await loaded.run("main");
      expect(Array.from(loaded.view("y"), float16Value)).toEqual([
        10.5, 11, 11.5, 12, 12.5, 13, 13.5, 14,
      ]);
      await loaded.close();
    });

    it("name what is wrong with buffers and sections", async () => {
      const loaded = await cpu.load(busyPlan());
      expect(() => loaded.view("hiden")).toThrow(/Did you mean "hidden"/);
      expect(() => loaded.view("hidden")).toThrow(/transient/);
      await expect(loaded.run("mian")).rejects.toThrow(/Did you mean "main"/);
      await loaded.close();
      await expect(loaded.run("main")).rejects.toBeInstanceOf(EngineError);
      await expect(
        cpu.load(busyPlan(), { share: await reference.load(busyPlan()) }),
      ).rejects.toThrow(/same engine/);
    });
  },
);
