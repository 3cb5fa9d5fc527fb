import { describe, expect, test } from "vitest";
import { createSimEngine } from "../../../src/engine/sim/index.ts";
import { createReferenceEngine } from "../../../src/engine/reference/index.ts";
import { EngineError } from "../../../src/engine/errors.ts";
import type { Engine, LoadedPlan } from "../../../src/engine/engine.ts";
import { FunctionBuilder } from "../../../src/mil/builder.ts";
import { tensorLiteral } from "../../../src/mil/literal.ts";
import { tensorType } from "../../../src/mil/types.ts";
import type { MilFunction, Value } from "../../../src/mil/program.ts";
import { PlanBuilder } from "../../../src/plan/builder.ts";
import type { Plan } from "../../../src/plan/plan.ts";
import { modelOf } from "../../../src/model/model.ts";
import { initialiseWeights } from "../../../src/model/initialise.ts";
import { modelPreset } from "../../../src/model/presets.ts";
import { buildTrainingPlan } from "../../../src/train/step/step-plan.ts";
import { Random } from "../../../src/util/random.ts";

function planOf(fn: MilFunction): Plan {
  const b = new PlanBuilder("plan");
  b.program("main", fn);
  for (const { name, type } of fn.inputs) {
    if (type.kind === "tensor") b.buffer(name, type, "input");
  }
  for (const { name, type } of fn.outputs) {
    if (type.kind === "tensor") b.buffer(`to_${name}`, type, "output");
  }
  b.dispatch(
    "run",
    "main",
    "main",
    Object.fromEntries(fn.inputs.map(({ name }) => [name, name])),
    Object.fromEntries(fn.outputs.map(({ name }) => [name, `to_${name}`])),
  );
  return b.finish();
}

function build(
  shape: readonly number[],
  body: (f: FunctionBuilder, x: Value) => Value,
): MilFunction {
  const f = new FunctionBuilder("main");
  const x = f.input("x", tensorType("fp32", shape));
  return f.finish({ y: body(f, x) });
}

async function run(engine: Engine, fn: MilFunction, x: ArrayLike<number>): Promise<number[]> {
  const plan = await engine.load(planOf(fn));
  plan.view("x").set(x);
  await plan.run("run");
  const y = Array.from(plan.view("to_y"));
  await plan.close();
  return y;
}

describe("sim:<chip>", () => {
  test("stores fp16 between ops and vanishes products below the grid", async () => {
    const engine = createSimEngine("m4", { threads: 1 });
    const third = build([1, 32], (f, x) => f.op("mul", { x, y: 1 / 3 }));
    const [y] = await run(engine, third, new Float32Array(32).fill(1));
    expect(y).toBe(0.333251953125);
    const tiny = build([1, 32], (f, x) =>
      f.op("matmul", {
        x,
        y: f.constant(tensorLiteral("fp32", [32, 1], new Float32Array(32).fill(0.001))),
      }),
    );
    expect(await run(engine, tiny, new Float32Array(32).fill(0.01))).toEqual([0]);
    expect((await run(engine, tiny, new Float32Array(32).fill(1)))[0]).toBeCloseTo(0.032, 3);
    await engine.close();
  });

  test("sums beyond the ceiling are infinite although fp16 holds them", async () => {
    const engine = createSimEngine("m1", { threads: 1 });
    const sum = build([1, 64], (f, x) =>
      f.op("matmul", {
        x,
        y: f.constant(tensorLiteral("fp32", [64, 1], new Float32Array(64).fill(1))),
      }),
    );
    expect(await run(engine, sum, new Float32Array(64).fill(500))).toEqual([32000]);
    expect(await run(engine, sum, new Float32Array(64).fill(520))).toEqual([Infinity]);
    await engine.close();
  });

  test("M2 clamps an offset slice of the last axis, M4 does not, and a switch turns it off", async () => {
    const slice = build([1, 64], (f, x) =>
      f.op("slice_by_size", { x, begin: [0, 32], size: [1, 32] }),
    );
    const x = new Float32Array(64).fill(5000);
    for (const [engine, wanted] of [
      [createSimEngine("m2", { threads: 1 }), Infinity],
      [createSimEngine("m2", { threads: 1, clampSlices: false }), 5000],
      [createSimEngine("m4", { threads: 1 }), 5000],
    ] as const) {
      expect((await run(engine, slice, x))[0]).toBe(wanted);
      await engine.close();
    }
  });

  test("convolutions round half away from zero on M4 and M5; in August 2026 they were cut off on M5", async () => {
    const conv = build([1, 1, 1, 32], (f, x) =>
      f.op("conv", {
        x,
        weight: f.constant(tensorLiteral("fp32", [1, 1, 1, 1], [1 + 31 / 1024])),
        pad_type: "valid",
      }),
    );
    const x = new Float32Array(32).fill(1 + 31 / 1024);
    const exact = (1 + 31 / 1024) ** 2;
    const resultOf = async (chip: string, arithmetic: string): Promise<number> => {
      const engine = createSimEngine(chip, { threads: 1, arithmetic });
      const [first = NaN] = await run(engine, conv, x);
      await engine.close();
      return first;
    };
    const m5 = await resultOf("m5", "2026-11");
    expect(m5).toBeGreaterThan(exact);
    expect(await resultOf("m4", "2026-11")).toBe(m5);
    expect(await resultOf("m4", "2026-08")).toBe(m5);
    expect(await resultOf("m5", "2026-08")).toBeLessThan(exact);
    expect(await resultOf("m5", "output.rounding=convolutions-cut")).toBeLessThan(exact);
  });

  test("an arithmetic that is not known is answered with the nearest name", () => {
    const make = (arithmetic: string) => () => createSimEngine("m4", { threads: 1, arithmetic });
    expect(make("2026-09")).toThrow(/no arithmetic "2026-09".*Did you mean "2026-08"/s);
    expect(make("sum.rang=any-order")).toThrow(/no rule "sum.rang".*Did you mean "sum.range"/s);
    expect(make("sum.range=any-orde")).toThrow(/no variant "any-orde".*Did you mean "any-order"/s);
  });

  test("refuses what the chip refuses, with op, rule, source and remedy", async () => {
    const engine = createSimEngine("m1", { threads: 1 });
    const sine = build([1, 64], (f, x) => f.op("sin", { x }));
    const refused = engine.load(planOf(sine));
    await expect(refused).rejects.toThrow(EngineError);
    await expect(refused).rejects.toThrow(/sin-cos.*main sin "result_y".*source: .*remedy: /s);
    const m4 = createSimEngine("m4", { threads: 1 });
    await expect(m4.load(planOf(sine))).resolves.toBeDefined();
    await engine.close();
    await m4.close();
  });

  test("an unknown chip is answered with the nearest", () => {
    expect(() => createSimEngine("m44")).toThrow(/Did you mean "m4"/);
  });

  test("the clock advances by the cost model and timings are predictions", async () => {
    const engine = createSimEngine("m4", { threads: 1 });
    const plan = await engine.load(planOf(build([64, 64], (f, x) => f.op("add", { x, y: 1 }))));
    await plan.run("run");
    await plan.run("run");
    const { elapsedMs, joules, watts } = engine.clock();
    expect(elapsedMs).toBeGreaterThan(0.17);
    expect(elapsedMs).toBeLessThan(0.3);
    expect(watts).toBeCloseTo(joules / (elapsedMs * 1e-3), 9);
    expect(plan.timings()).toEqual([
      {
        ...{ section: "run", label: "main", places: [0], runs: 2 },
        elapsedMs: expect.closeTo(elapsedMs, 9),
      },
    ]);
    await engine.close();
  });
});

describe("a training step on sim:m4", () => {
  const config = {
    ...modelPreset("stories15M"),
    vocabularySize: 96,
    channelCount: 64,
    headCount: 2,
    keyValueHeadCount: 2,
    headSize: 32,
    feedForwardSize: 96,
    layerCount: 2,
  };
  const { plan } = buildTrainingPlan({
    model: modelOf(config),
    batchSize: 2,
    sequenceLength: 32,
    optimize: (fn) => fn,
  });

  async function step(loaded: LoadedPlan, lossScale: number): Promise<void> {
    initialiseWeights(modelOf(config).parameters.weights, 3, (name) => {
      const view = loaded.view(name);
      if (!(view instanceof Float32Array)) throw new Error(name);
      return view;
    });
    const random = new Random(1);
    const tokens = loaded.view("tokens");
    const targets = loaded.view("targets");
    for (let i = 0; i < tokens.length; i++) {
      tokens[i] = random.below(96);
      targets[i] = i % 7 === 0 ? -100 : random.below(96);
    }
    const valid = Array.from(targets).filter((target) => target >= 0).length;
    loaded.view("loss_scale")[0] = lossScale / valid;
    await loaded.run("forward_backward");
  }

  test("gives nearly the reference's loss and gradients, the same bits twice, on any thread count", async () => {
    const reference = createReferenceEngine();
    const oracle = await reference.load(plan);
    await step(oracle, 1);
    const lossScale = 1024;
    const runs: number[][] = [];
    for (const threads of [1, 2]) {
      const engine = createSimEngine("m4", { threads });
      const loaded = await engine.load(plan);
      await step(loaded, lossScale);
      const loss = loaded.view("loss_sum")[0] ?? 0;
      const wanted = oracle.view("loss_sum")[0] ?? 1;
      expect(Math.abs(loss / wanted - 1)).toBeLessThan(0.01);
      for (const name of [
        "gradient:model.layers.0.self_attn.q_proj.weight",
        "gradient:model.layers.1.mlp.down_proj.weight",
        "gradient:model.norm.weight",
        "gradient:model.embed_tokens.weight",
      ]) {
        const got = loaded.view(name);
        const exact = oracle.view(name);
        let error = 0;
        let norm = 0;
        for (let i = 0; i < exact.length; i++) {
          error += ((got[i] ?? 0) / lossScale - (exact[i] ?? 0)) ** 2;
          norm += (exact[i] ?? 0) ** 2;
        }
        expect(Math.sqrt(error / norm), name).toBeLessThan(0.03);
      }
      runs.push([loss, ...loaded.view("gradient:model.layers.0.self_attn.q_proj.weight")]);
      expect(engine.products()["narrow"]).toBeGreaterThan(0);
      await engine.close();
    }
    expect(runs[1]).toEqual(runs[0]);
    await reference.close();
  });

  test("without a loss scale most small gradients vanish below the grid", async () => {
    const engine = createSimEngine("m4", { threads: 1 });
    const loaded = await engine.load(plan);
    const zeros = async (scale: number): Promise<number> => {
      await step(loaded, scale);
      const gradient = loaded.view("gradient:model.layers.0.self_attn.q_proj.weight");
      return Array.from(gradient).filter((value) => value === 0).length / gradient.length;
    };
    expect(await zeros(2 ** -6)).toBeGreaterThan(0.9);
    expect(await zeros(1024)).toBeLessThan(0.5);
    await engine.close();
  });
});
