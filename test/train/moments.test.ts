import fc from "fast-check";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { tensorType } from "../../src/mil/types.ts";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";
import { planMemory } from "../../src/plan/memory.ts";
import type { MomentType, Plan } from "../../src/plan/plan.ts";
import { ditherOf, momentPatterns } from "../../src/train/step/moment-patterns.ts";
import { buildTrainingPlan, DEFAULT_ADAMW } from "../../src/train/step/step-plan.ts";
import { bfloat16Value } from "../../src/util/bfloat16.ts";
import { Random } from "../../src/util/random.ts";
import { runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

const CONFIG = parseModelConfig({
  model_type: "llama",
  vocab_size: 37,
  hidden_size: 10,
  intermediate_size: 13,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  max_position_embeddings: 8,
});

function planWith(momentType: MomentType, beta2 = 0.95): Plan {
  const adamw = { ...DEFAULT_ADAMW, beta2, momentType };
  return buildTrainingPlan({ model: modelOf(CONFIG), batchSize: 1, sequenceLength: 8, adamw }).plan;
}

const SCALARS: Readonly<Record<string, number>> = {
  ...{ learning_rate: 0.01, weight_decay: 0.1, gradient_scale: 0.5 },
  ...{ bias_correction1: 0.1, bias_correction2: 0.05 },
};

/** Weights and moments after some updates of drawn numbers, odd ones among them, as patterns. */
async function updated(
  engineName: string,
  threads: number | undefined,
): Promise<ReadonlyMap<string, Uint16Array | Uint32Array>> {
  const plan = planWith("bf16");
  const engine = await createEngine(engineName, threads === undefined ? {} : { threads });
  const loaded = await engine.load(plan);
  const random = new Random(5);
  const odd = [0, -0, 1e-40, -1e-42, 3e38, Infinity, Number.NaN, 2 ** -126, 1.5 * 2 ** -133];
  for (const { name, role } of plan.buffers.values()) {
    if (role !== "weight" && role !== "gradient" && role !== "optimizer") continue;
    const view = loaded.view(name);
    const isPattern = view instanceof Uint16Array;
    for (let i = 0; i < view.length; i++) {
      if (isPattern)
        view[i] = name.startsWith("v:") ? 0x3000 + random.below(0x800) : random.below(65536);
      else view[i] = i < odd.length ? (odd[i] ?? 0) : random.normal() * 0.1;
    }
  }
  for (const [name, value] of Object.entries(SCALARS)) loaded.view(name)[0] = value;
  await loaded.run("update");
  await loaded.run("update");
  const kept = new Map<string, Uint16Array | Uint32Array>();
  for (const { name, role } of plan.buffers.values()) {
    if (role !== "weight" && role !== "optimizer") continue;
    const view = loaded.view(name);
    kept.set(name, view instanceof Uint16Array ? view.slice() : canonical(view));
  }
  await engine.close();
  return kept;
}

/** Patterns of fp32 numbers; which NaN it is says nothing. */
function canonical(view: ArrayLike<number>): Uint32Array {
  const floats = Float32Array.from(view);
  return Uint32Array.from(new Uint32Array(floats.buffer), (word, i) =>
    Number.isNaN(floats[i]) ? 0x7fc00000 : word,
  );
}

describe("moments of 16 bits", () => {
  it("are the upper half of what a number's pattern and the weight's lower half add up to", () => {
    const length = 64;
    const f = new FunctionBuilder("patterns");
    const x = f.input("x", tensorType("fp32", [length]));
    const weight = f.input("weight", tensorType("fp32", [length]));
    const fn = f.finish({ patterns: momentPatterns(f, x, ditherOf(f, weight)) });
    const word = fc.oneof(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.constantFrom(0, 0x80000000, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000),
      fc.integer({ min: 0x7f800000, max: 0x7fffffff }),
      fc.integer({ min: 0, max: 0x00ffffff }),
    );
    const words = fc.array(word, { minLength: length, maxLength: length });
    fc.assert(
      fc.property(words, words, (xs, ws) => {
        const numbers = (list: readonly number[]) =>
          Float64Array.from(new Float32Array(Uint32Array.from(list).buffer));
        const tensor = (list: readonly number[]) => hostTensor("fp32", [length], numbers(list));
        const inputs = new Map([
          ["x", tensor(xs)],
          ["weight", tensor(ws)],
        ]);
        const found = Array.from(evaluateFunction(fn, inputs).get("patterns")?.data ?? [], Number);
        expect(found).toEqual(xs.map((bits, i) => expectedPattern(bits, ws[i] ?? 0)));
      }),
      { numRuns: 40 },
    );
  });

  it("are the same bits on the CPU with one thread and three, on the simulated engine and by their definition", async () => {
    const expected = await updated("reference", undefined);
    for (const [name, threads] of [
      ["cpu", 1],
      ["cpu", 3],
      ["sim:m4", undefined],
    ] as const) {
      const found = await updated(name, threads);
      for (const [buffer, bits] of expected)
        expect(found.get(buffer), `${name} ${buffer}`).toEqual(bits);
    }
  });

  it("follow a second moment that nearest rounding would leave where it is", async () => {
    const engine = await createEngine("cpu", { threads: 1 });
    const means = [];
    for (const type of ["fp32", "bf16"] as const) {
      const loaded = await engine.load(planWith(type, 0.999));
      const name = "model.layers.0.mlp.up_proj.weight";
      const random = new Random(8);
      const weights = loaded.view(name);
      for (let i = 0; i < weights.length; i++) weights[i] = random.normal() * 0.02;
      for (const [scalar, value] of Object.entries(SCALARS)) loaded.view(scalar)[0] = value;
      const v = loaded.view(`v:${name}`);
      // 1 and a gradient whose square is 1.5: each step is an eighth of what bf16 keeps apart.
      v.fill(v instanceof Uint16Array ? 0x3f80 : 1);
      loaded.view(`gradient:${name}`).fill(2 * Math.sqrt(1.5));
      for (let step = 0; step < 400; step++) await loaded.run("update");
      const numbers = Array.from(v, (one) => (v instanceof Uint16Array ? bfloat16Value(one) : one));
      means.push(numbers.reduce((sum, one) => sum + one, 0) / numbers.length);
    }
    await engine.close();
    const [exact = 0, short = 0] = means;
    expect(exact).toBeCloseTo(1.5 - 0.5 * 0.999 ** 400, 4);
    expect(Math.abs(short - exact)).toBeLessThan(0.01);
  });

  it("take half the memory, and the plan says so", () => {
    const bytesOf = (type: MomentType): number => planMemory(planWith(type)).persistent.optimizer;
    expect(bytesOf("fp32")).toBe(2 * bytesOf("bf16"));
  });
});

function expectedPattern(bits: number, weight: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  const isFinite = (weight & 0x7fffffff) < 0x7f800000;
  return ((bits + (isFinite ? weight & 0xffff : 0)) >>> 16) & 0xffff;
}

it("a run with them goes on where it was interrupted, to the same bits, and with no other type", async () => {
  const folder = temporaryFolder();
  const of = (run: string, ...more: readonly string[]) =>
    tinyTraining(folder, join(folder, run), [
      "--max-steps",
      "4",
      "--moment-dtype",
      "bf16",
      ...more,
    ]);
  const begun = await runCli(of("run", "--save-steps", "2"));
  expect(begun, begun.stderr).toMatchObject({ code: 0 });
  const file = (step: number, name: string): Buffer =>
    readFileSync(join(folder, "run", `checkpoint-${step}`, name));
  const last = [file(4, "model.safetensors"), file(4, "optimizer.safetensors")];
  expect(last[1]?.toString("latin1")).toContain('"dtype":"BF16"');
  rmSync(join(folder, "run", "checkpoint-4"), { recursive: true });
  const resume = ["train", "--resume", "--output-dir", join(folder, "run")];
  const other = await runCli([...resume, "--moment-dtype", "fp32"]);
  expect(other.code).not.toBe(0);
  expect(other.stderr).toContain(
    '--moment-dtype fp32 would do nothing: the run was begun with "bf16"',
  );
  const resumed = await runCli(resume);
  expect(resumed, resumed.stderr).toMatchObject({ code: 0 });
  expect(file(4, "model.safetensors").equals(last[0] ?? Buffer.alloc(0))).toBe(true);
  expect(file(4, "optimizer.safetensors").equals(last[1] ?? Buffer.alloc(0))).toBe(true);
  for (const [more, said] of [
    [["--optimizer", "muon"], "muon's running mean of gradients stands in fp32"],
    [["--engine", "gpu"], "the engine gpu holds numbers of 16 bits as 32"],
  ] as const) {
    const refused = await runCli(of("refused", ...more));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain(said);
  }
});
