import { afterAll, beforeAll, expect, test } from "vitest";
import { createCpuEngine } from "../../../src/engine/cpu/index.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { createSimEngine } from "../../../src/engine/sim/index.ts";
import { modelOf } from "../../../src/model/model.ts";
import { parseModelConfig } from "../../../src/model/config-json.ts";
import { tensorType } from "../../../src/mil/types.ts";
import { PlanBuilder } from "../../../src/plan/builder.ts";
import { buildTrainingPlan } from "../../../src/train/step/step-plan.ts";
import { embeddingGradient } from "../../../src/train/step/gradient-functions.ts";
import { Random } from "../../../src/util/random.ts";
import { QWEN3_JSON } from "../../model/configs.ts";

let engines: readonly Engine[] = [];
beforeAll(async () => {
  engines = [
    createSimEngine("m4", { threads: 1, driver: "e5rt" }),
    await createCpuEngine({ threads: 2 }),
  ];
});
afterAll(async () => {
  for (const engine of engines) await engine.close();
});

test("the update and the gradients' norm have the bits of the CPU engine", async () => {
  const model = modelOf(parseModelConfig(QWEN3_JSON));
  const { plan } = buildTrainingPlan({ model, batchSize: 1, sequenceLength: 4 });
  const states: (readonly number[])[][] = [];
  for (const engine of engines) {
    const loaded = await engine.load(plan);
    const random = new Random(4);
    for (const { name, role } of plan.buffers.values()) {
      if (role !== "weight" && role !== "gradient" && role !== "optimizer") continue;
      const view = loaded.view(name);
      const isSquare = name.startsWith("v:");
      for (let i = 0; i < view.length; i++) view[i] = random.normal();
      if (isSquare) for (let i = 0; i < view.length; i++) view[i] = (view[i] ?? 0) ** 2;
    }
    const scalars = {
      ...{ learning_rate: 3e-3, weight_decay: 0.1, gradient_scale: 1 / 1024 },
      ...{ bias_correction1: 0.1, bias_correction2: 0.01 },
    };
    for (const [name, value] of Object.entries(scalars)) loaded.view(name)[0] = value;
    await loaded.run("gradient_norm");
    await loaded.run("update");
    states.push(
      [...plan.buffers.values()].flatMap(({ name, role }) =>
        role === "weight" || role === "optimizer" || name === "gradient_square_sum"
          ? [[...loaded.view(name)]]
          : [],
      ),
    );
    await loaded.close();
  }
  expect(states[0]).toEqual(states[1]);
  expect(states[0]?.flat().every(Number.isFinite)).toBe(true);
});

test("rows are added to a table as on the CPU engine; a row outside it is told", async () => {
  const builder = new PlanBuilder("rows");
  builder.buffer("indices", tensorType("int32", [5]), "input");
  builder.buffer("rows", tensorType("fp32", [5, 3]), "input");
  builder.buffer("table", tensorType("fp32", [7, 3]), "gradient");
  const ports = { indices: "indices", gradient: "gradient" };
  const kernel = { kind: "embedding_gradient", ...ports } as const;
  builder.program("add", embeddingGradient(7, 3, 5), kernel);
  const inputs = { indices: "indices", gradient: "rows" };
  for (const mode of ["write", "accumulate"] as const)
    builder.dispatch(mode, mode, "add", inputs, { table_gradient: { buffer: "table", mode } });
  const plan = builder.finish();
  const tables: (readonly number[])[] = [];
  for (const engine of engines) {
    const loaded = await engine.load(plan);
    loaded.view("indices").set([6, 0, 6, 6, 2]);
    loaded.view("rows").set(Array.from({ length: 15 }, (_, i) => Math.fround(Math.sin(i))));
    loaded.view("table").fill(9);
    await loaded.run("write");
    await loaded.run("accumulate");
    tables.push([...loaded.view("table")]);
    loaded.view("indices")[1] = 7;
    await expect(loaded.run("write")).rejects.toThrow("index 7 is outside the 7 rows");
    await loaded.close();
  }
  expect(tables[0]).toEqual(tables[1]);
  expect(tables[0]?.slice(3, 6)).toEqual([0, 0, 0]);
});
