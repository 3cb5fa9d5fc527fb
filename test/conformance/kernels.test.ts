import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelOf } from "../../src/model/model.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { parseModelConfig } from "../../src/model/index.ts";
import {
  gradientName,
  firstMomentName,
  secondMomentName,
  buildTrainingPlan,
} from "../../src/train/step/step-plan.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { Random } from "../../src/util/random.ts";

const config = parseModelConfig({
  model_type: "gpt2",
  vocab_size: 61,
  n_embd: 20,
  n_layer: 2,
  n_head: 2,
  n_positions: 8,
  activation_function: "gelu_new",
});

function trainingPlan(): Plan {
  return buildTrainingPlan({ model: modelOf(config), batchSize: 3, sequenceLength: 8 }).plan;
}

/** The same plan with the kernels' names taken away: every program runs as its MIL function. */
function withoutKernels(plan: Plan): Plan {
  const programs = new Map(
    [...plan.programs].map(([name, { function: fn }]) => [name, { name, function: fn }]),
  );
  return { ...plan, programs };
}

const SCALARS: Readonly<Record<string, number>> = {
  learning_rate: 0.01,
  weight_decay: 0.1,
  bias_correction1: 0.271,
  bias_correction2: 0.142625,
  gradient_scale: 0.7,
  loss_scale: 1 / 24,
};

/** Runs whole steps over the same start and gives every persistent buffer. */
async function steps(engine: Engine, plan: Plan, sections: readonly string[], count = 2) {
  const loaded = await engine.load(plan);
  const random = new Random(5);
  for (const { name, role, type } of plan.buffers.values()) {
    if (role !== "weight" && role !== "gradient" && role !== "optimizer") continue;
    const view = loaded.view(name);
    for (let i = 0; i < view.length; i++) {
      // Second moments are means of squares.
      view[i] = name.startsWith("v:") ? random.uniform() * 0.01 : random.uniform() * 0.2 - 0.1;
    }
    expect(type.dataType).toBe("fp32");
  }
  for (const [name, value] of Object.entries(SCALARS)) loaded.view(name)[0] = value;
  const tokens = loaded.view("tokens");
  const targets = loaded.view("targets");
  for (let i = 0; i < tokens.length; i++) {
    // Few different tokens, so that rows of the table take many gradients.
    tokens[i] = (i * i) % 5;
    targets[i] = i % 7 === 3 ? -100 : (i * 11) % 61;
  }
  for (let step = 0; step < count; step++)
    for (const section of sections) await loaded.run(section);
  const result = new Map<string, Float32Array>();
  for (const { name, role } of plan.buffers.values()) {
    if (["weight", "gradient", "optimizer", "output"].includes(role))
      result.set(name, Float32Array.from(loaded.view(name)));
  }
  await loaded.close();
  return result;
}

function largestDifference(a: Float32Array | undefined, b: Float32Array | undefined): number {
  if (a === undefined || b === undefined) return Number.POSITIVE_INFINITY;
  const scale = b.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
  return (
    a.reduce((most, value, index) => Math.max(most, Math.abs(value - (b[index] ?? 0))), 0) / scale
  );
}

describe("the engine's own kernels", () => {
  const engines = new Map<number, Engine>();
  const of = (threads: number): Engine => {
    const engine = engines.get(threads);
    if (engine === undefined) throw new Error("no engine");
    return engine;
  };
  beforeAll(async () => {
    for (const threads of [1, 2, 4]) engines.set(threads, await createCpuEngine({ threads }));
  });
  afterAll(async () => {
    for (const engine of engines.values()) await engine.close();
  });

  it("update weights exactly as the AdamW function does on the reference engine", async () => {
    const plan = trainingPlan();
    const expected = await steps(createReferenceEngine(), plan, ["update"]);
    const actual = await steps(of(2), plan, ["update"]);
    // Every operation is rounded to fp32 in both, in one order: not a bit may differ.
    for (const [name, numbers] of expected) expect(actual.get(name), name).toEqual(numbers);
  });

  it("sum squares to within one rounding of the exact sum", async () => {
    const plan = trainingPlan();
    const result = await steps(of(2), plan, ["gradient_norm"], 1);
    let exact = 0;
    for (const [name, numbers] of result)
      if (name.startsWith("gradient:")) for (const value of numbers) exact += value * value;
    const sum = result.get("gradient_square_sum")?.[0] ?? Number.NaN;
    expect(Math.abs(sum - exact) / exact).toBeLessThan(2e-7);
  });

  it("give whole steps that agree with those of the MIL functions", async () => {
    const plan = trainingPlan();
    const sections = ["forward_backward", "forward_backward_accumulate", "gradient_norm", "update"];
    const expected = await steps(of(2), withoutKernels(plan), sections, 1);
    const actual = await steps(of(2), plan, sections, 1);
    for (const [name, numbers] of actual)
      expect(largestDifference(numbers, expected.get(name)), name).toBeLessThan(2e-5);
  });

  it("give whole steps that agree with the reference engine", async () => {
    const plan = trainingPlan();
    const sections = ["forward_backward", "forward_backward_accumulate", "gradient_norm", "update"];
    const expected = await steps(createReferenceEngine(), plan, sections, 1);
    const actual = await steps(of(2), plan, sections, 1);
    for (const { name } of plan.buffers.values()) {
      if (!expected.has(name)) continue;
      // AdamW divides by the root of v: where a gradient is all but zero, its sign is noise.
      const limit = name.startsWith("gradient:") || name === "loss_sum" ? 1e-5 : 1e-3;
      expect(largestDifference(actual.get(name), expected.get(name)), name).toBeLessThan(limit);
    }
  });

  it("give the same bits with any number of threads", async () => {
    const plan = trainingPlan();
    const sections = ["gradient_norm", "update"];
    const expected = await steps(of(1), plan, sections, 3);
    for (const threads of [2, 4]) {
      const actual = await steps(of(threads), plan, sections, 3);
      for (const [name, numbers] of expected)
        expect(actual.get(name), `${name}, ${threads} threads`).toEqual(numbers);
    }
  });

  it("keep gradient, moments and weight of a parameter in one shared memory", async () => {
    const plan = trainingPlan();
    const loaded = await of(2).load(plan);
    const weight = "transformer.h.1.mlp.c_fc.weight";
    const names = [weight, gradientName(weight), firstMomentName(weight), secondMomentName(weight)];
    const memories = new Set(names.map((name) => loaded.view(name).buffer));
    expect(memories.size).toBe(1);
    expect([...memories][0]).toBeInstanceOf(SharedArrayBuffer);
    await loaded.close();
  });

  it("work for a plan whose memory another plan owns, after that one is closed", async () => {
    const plan = trainingPlan();
    const owner = await of(2).load(plan);
    for (const [name, value] of Object.entries(SCALARS)) owner.view(name)[0] = value;
    await owner.run("update");
    const guest = await of(2).load(plan, { share: owner });
    await owner.close();
    const name = "transformer.wpe.weight";
    guest.view(gradientName(name)).fill(1);
    await guest.run("update");
    expect(guest.view(name)[0]).toBeLessThan(0);
    await guest.close();
  });
});
