import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { tensorType } from "../../src/mil/types.ts";
import { modelOf, parseModelConfig, trainableWeights, withMuon } from "../../src/model/index.ts";
import type { WeightSpec } from "../../src/model/weights.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { muonProgram } from "../../src/train/step/muon.ts";
import { buildTrainingPlan, momentNames } from "../../src/train/step/step-plan.ts";
import { Random } from "../../src/util/random.ts";
import { runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

function specOf(rows: number, columns: number, decays = false): WeightSpec {
  return {
    ...{ name: "w", parameter: "w", borrowed: false, decays },
    type: tensorType("fp32", [rows, columns]),
    initialisation: { kind: "zeros" },
  };
}

/** The step that a gradient gives from zeros, over 0.2 sqrt(longer side): the orthogonal matrix, [rows, columns]. */
function direction(gradient: readonly number[], rows: number, columns: number, iterations = 5) {
  const { function: fn } = muonProgram("muon", [specOf(rows, columns)], {
    momentum: 0.95,
    iterations,
  });
  const scalar = (value: number) => hostTensor("fp32", [], Float64Array.of(value));
  const zeros = hostTensor("fp32", [rows, columns], new Float64Array(rows * columns));
  const results = evaluateFunction(
    fn,
    new Map([
      ["muon_learning_rate", scalar(1)],
      ["weight_decay", scalar(0.5)],
      ["gradient_scale", scalar(1)],
      ["w", zeros],
      ["gradient_w", hostTensor("fp32", [rows, columns], Float64Array.from(gradient))],
      ["m_w", zeros],
    ]),
  );
  const moved = Array.from(results.get("new_w")?.data ?? [], Number);
  return moved.map((value) => -value / (0.2 * Math.sqrt(Math.max(rows, columns))));
}

/** The matrix times its transpose, over the shorter side. */
function gram(numbers: readonly number[], rows: number, columns: number): readonly number[][] {
  const at = (row: number, column: number): number => numbers[row * columns + column] ?? 0;
  const [short, long] = rows <= columns ? [rows, columns] : [columns, rows];
  const of = (i: number, k: number): number => (rows <= columns ? at(i, k) : at(k, i));
  return Array.from({ length: short }, (_, i) =>
    Array.from({ length: short }, (_unused, j) => {
      let sum = 0;
      for (let k = 0; k < long; k++) sum += of(i, k) * of(j, k);
      return sum;
    }),
  );
}

describe("muon", () => {
  it.each([
    [8, 24],
    [24, 8],
    [16, 16],
  ])("makes an update of %i x %i orthogonal", (rows, columns) => {
    const random = new Random(rows);
    const gradient = Array.from({ length: rows * columns }, () => random.normal());
    const products = gram(direction(gradient, rows, columns, 8), rows, columns);
    for (const [i, row] of products.entries()) {
      for (const [j, product] of row.entries()) expect(product).toBeCloseTo(i === j ? 1 : 0, 2);
    }
  });

  it("draws singular values from a hundredth of the largest to near 1 in five iterations, and keeps signs", () => {
    const values = [1, -0.5, 0.1, 0.03, -0.01, 0.2];
    const gradient = values.flatMap((value, row) =>
      values.map((_, column) => (row === column ? value : 0)),
    );
    const step = direction(gradient, 6, 6);
    for (const [row, value] of values.entries()) {
      for (const column of values.keys()) {
        const number = (step[row * 6 + column] ?? 0) * Math.sign(value);
        if (row !== column) expect(number).toBeCloseTo(0, 6);
        else expect(Math.abs(number - 1)).toBeLessThan(0.15);
      }
    }
  });

  it("leaves zeros where they are", () => {
    expect(
      direction(
        Array.from({ length: 12 }, () => 0),
        3,
        4,
      ),
    ).toEqual(Array.from({ length: 12 }, () => -0));
  });

  it("takes the matrices of blocks, which then have one moment; tables, head and norms stay with AdamW", () => {
    const { parameters } = withMuon(modelOf(CONFIG));
    const byMuon = trainableWeights(parameters).filter(({ updateRule }) => updateRule === "muon");
    expect(byMuon).toHaveLength(2 * 7);
    expect(byMuon.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["model.layers.1.mlp.down_proj.weight"]),
    );
    expect(byMuon.flatMap(momentNames).every((name) => name.startsWith("m:"))).toBe(true);
  });
});

const CONFIG = parseModelConfig({
  model_type: "llama",
  vocab_size: 40,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 8,
});

describe("the update of a plan with muon", () => {
  const engines = new Map<string, Engine>();
  beforeAll(async () => {
    for (const name of ["reference", "cpu", "sim:m4"]) engines.set(name, await createEngine(name));
  });
  afterAll(async () => {
    for (const engine of engines.values()) await engine.close();
  });

  async function updated(
    name: string,
    plan: Plan,
  ): Promise<ReadonlyMap<string, readonly number[]>> {
    const loaded = await engines.get(name)?.load(plan);
    if (loaded === undefined) throw new Error(name);
    const random = new Random(3);
    const scalars: Record<string, number> = {
      ...{ learning_rate: 0.01, muon_learning_rate: 0.05, weight_decay: 0.1 },
      ...{ bias_correction1: 0.1, bias_correction2: 0.05, gradient_scale: 0.5 },
    };
    for (const { name: buffer, role } of plan.buffers.values()) {
      if (role !== "weight" && role !== "gradient" && role !== "optimizer") continue;
      const view = loaded.view(buffer);
      for (let i = 0; i < view.length; i++) {
        view[i] = buffer.startsWith("v:") ? random.uniform() * 0.01 : random.normal() * 0.1;
      }
    }
    for (const [buffer, value] of Object.entries(scalars)) loaded.view(buffer)[0] = value;
    await loaded.run("update");
    await loaded.run("update");
    const numbers = [...plan.buffers.values()]
      .filter(({ role }) => role === "weight" || role === "optimizer")
      .map(({ name: buffer }) => [buffer, Array.from(loaded.view(buffer), Number)] as const);
    await loaded.close();
    return new Map(numbers);
  }

  it.each(["cpu", "sim:m4"])("is on %s what the reference computes, in fp32", async (name) => {
    const { plan } = buildTrainingPlan({
      model: withMuon(modelOf(CONFIG)),
      batchSize: 1,
      sequenceLength: 8,
    });
    const expected = await updated("reference", plan);
    const actual = await updated(name, plan);
    for (const [buffer, numbers] of expected) {
      const found = actual.get(buffer) ?? [];
      const far = numbers.filter((number, at) => Math.abs(number - (found[at] ?? NaN)) > 1e-4);
      expect(far, buffer).toEqual([]);
      expect(found.length, buffer).toBe(numbers.length);
    }
  });
});

it("a run with muon goes on where it was interrupted, to the same bits", async () => {
  const folder = temporaryFolder();
  const settings = ["--optimizer", "muon", "--muon-learning-rate", "0.02", "--warmup-steps", "0"];
  const of = (run: string, ...more: readonly string[]) =>
    tinyTraining(folder, join(folder, run), ["--max-steps", "4", ...settings, ...more]);
  const long = await runCli(of("long"), {});
  expect(long, long.stderr).toMatchObject({ code: 0 });
  const begun = await runCli(of("parts", "--save-steps", "2"), {});
  expect(begun, begun.stderr).toMatchObject({ code: 0 });
  const bytes = (run: string, step: number, file: string): Buffer =>
    readFileSync(join(folder, run, `checkpoint-${step}`, file));
  for (const file of ["model.safetensors", "optimizer.safetensors"]) {
    expect(bytes("parts", 4, file).equals(bytes("long", 4, file)), file).toBe(true);
  }
  rmSync(join(folder, "parts", "checkpoint-4"), { recursive: true });
  const resumed = await runCli(["train", "--resume", "--output-dir", join(folder, "parts")], {});
  expect(resumed, resumed.stderr).toMatchObject({ code: 0 });
  for (const file of ["model.safetensors", "optimizer.safetensors"]) {
    expect(bytes("parts", 4, file).equals(bytes("long", 4, file)), file).toBe(true);
  }
});
