import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { linearOnly } from "../../src/lower/linear-placement.ts";
import { placePlan } from "../../src/lower/place-plan.ts";
import { chipByName } from "../../src/chip/chips.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { opRow } from "../../src/mil/ops/index.ts";
import { tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import {
  adaptableModules,
  initialiseWeight,
  modelOf,
  parseModelConfig,
  withAdapter,
} from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import { optimize } from "../../src/passes/pipeline.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { openDouble } from "../engine/ane/double-library.ts";
import { simulator, trainerOf } from "../engine/ane/training.ts";
import { GPT2_JSON, LLAMA_JSON } from "../model/configs.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-linear-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

function withLora(json: object): Model {
  const whole = modelOf(parseModelConfig(json));
  return withAdapter(whole, {
    ...{ method: "lora", rank: 2, alpha: 6, isRankStabilized: false, dropout: 0 },
    modules: adaptableModules(whole),
    layers: [...whole.parameters.blocks.keys()],
  });
}

const LLAMA = { ...LLAMA_JSON, hidden_size: 32, intermediate_size: 64 };
const MODELS: readonly (readonly [string, Model])[] = [
  ["gpt2", modelOf(parseModelConfig({ ...GPT2_JSON, n_embd: 32 }))],
  ["llama with an adapter", withLora(LLAMA)],
];

function stepOf(model: Model): Plan {
  return buildTrainingPlan({
    ...{ model, batchSize: 2, sequenceLength: 16, headChunkRows: 20, targetRows: true },
    optimize: (fn) => optimize(fn),
  }).plan;
}

/** Losses and gradient norms of two updates. */
async function trained(engine: Engine, model: Model, plan: Plan): Promise<readonly number[]> {
  const loaded = await engine.load(plan);
  try {
    for (const weight of model.parameters.weights) {
      const view = loaded.view(weight.name) as Float32Array;
      initialiseWeight(weight, 4, view);
      if (view[0] !== 1) for (let i = 0; i < view.length; i++) view[i] = 4 * (view[i] ?? 0);
    }
    const trainer = trainerOf(loaded, 1);
    const told: number[] = [];
    for (let step = 0; step < 2; step++) {
      const { loss, gradientNorm } = await trainer.update(() => undefined);
      told.push(loss, gradientNorm);
    }
    return told;
  } finally {
    await loaded.close();
  }
}

describe.each(MODELS)("a step of a %s with its nonlinear ops on the host", (_name, model) => {
  const whole = stepOf(model);
  const split = linearOnly(whole);

  it("has every product on the engine, and what is linear in products alone", () => {
    for (const { name, function: fn, hostKernel, onHost } of split.programs.values()) {
      if (hostKernel !== undefined) continue;
      verifyFunction(fn);
      const operations = fn.operations.filter(({ type }) => type !== "const");
      const products = operations.filter(({ type }) => opRow(type)?.product !== undefined);
      expect(products.length > 0, name).toBe(onHost === undefined);
      const nonlinear = operations.filter(({ type }) => /soft|norm|tanh|exp|rsqrt|silu/.test(type));
      if (onHost === undefined) expect(nonlinear, name).toEqual([]);
    }
    const placed = placePlan(split, chipByName("m4"), "e5rt");
    for (const [name, { onHost, hostKernel }] of split.programs) {
      const isHosts = onHost !== undefined || hostKernel !== undefined;
      expect(placed.get(name)?.place, name).toBe(isHosts ? "host" : "engine");
    }
  });

  it("has the bits of the whole step where both compute in fp32", async () => {
    const reference = createReferenceEngine();
    expect(await trained(reference, model, split)).toEqual(await trained(reference, model, whole));
  });

  it("has the simulator's bits through both doubles, and others than the whole step", async () => {
    const sim = simulator("m4");
    const expected = await trained(sim, model, split);
    expect(expected).not.toEqual(await trained(sim, model, whole));
    for (const [name, driver] of [
      ["e5rt", "e5rt"],
      ["objc", "in-memory"],
    ] as const) {
      const double = openDouble(name);
      const engine = await createAneEngine({
        ...{ driver, library: double.path, chip: "m4", host: sim, timeoutMs: 30_000 },
        cacheFolder: join(cacheFolder, name),
      });
      expect(await trained(engine, model, split), name).toEqual(expected);
      await engine.close();
    }
    await sim.close();
  });
});

describe("a program whose results stand where it reads, or twice in one place", () => {
  const BUFFERS = ["first", "second", "third"] as const;
  const place = fc.record({
    buffer: fc.constantFrom(...BUFFERS),
    offset: fc.constantFrom(0, 2, 4),
    mode: fc.constantFrom("write" as const, "accumulate" as const),
  });

  /** exp, a product, tanh, a product and their sums: five parts. */
  const chain = (() => {
    const f = new FunctionBuilder("chain");
    const x = f.input("x", tensorType("fp32", [2, 2]));
    const w = f.input("w", tensorType("fp32", [2, 2]));
    const early = f.op("exp", { x });
    const product = f.op("matmul", { x: early, y: w, transpose_x: false, transpose_y: false });
    const bent = f.op("tanh", { x: product });
    const again = f.op("matmul", { x: bent, y: w, transpose_x: false, transpose_y: false });
    return f.finish({ early, product, late: f.op("add", { x: again, y: x }) });
  })();

  it("computes what it computes as a whole", async () => {
    const engine = createReferenceEngine();
    await fc.assert(
      fc.asyncProperty(fc.array(place, { minLength: 5, maxLength: 5 }), async (places) => {
        const builder = new PlanBuilder("chain");
        for (const name of BUFFERS) builder.buffer(name, tensorType("fp32", [8]), "state");
        builder.program("chain", chain);
        const [x, w, ...outputs] = places;
        const [early, product, late] = outputs;
        if (!x || !w || !early || !product || !late) return;
        builder.dispatch("once", "chain", "chain", { x, w }, { early, product, late });
        const plan = builder.finish();
        const run = async (one: Plan): Promise<readonly number[]> => {
          const loaded = await engine.load(one);
          BUFFERS.forEach((name, at) =>
            loaded.view(name).set(Float32Array.from({ length: 8 }, (_, i) => (i - at) / 7)),
          );
          await loaded.run("once");
          const numbers = BUFFERS.flatMap((name) => [...loaded.view(name)].map(Number));
          await loaded.close();
          return numbers;
        };
        expect(await run(linearOnly(plan))).toEqual(await run(plan));
      }),
      { numRuns: 60 },
    );
  });
});
