import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileRows } from "../../src/engine/cpu/rows/row-compiler.ts";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { weightViews } from "../../src/engine/weight-views.ts";
import { buildDecodePlan, buildWeightsPlan } from "../../src/generate/decode-plan.ts";
import {
  fillWeights,
  modelOf,
  parseModelConfig,
  quantized,
  withOrigin,
} from "../../src/model/index.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { formatStorage, isGrouped } from "../../src/plan/storage.ts";
import type { Storage } from "../../src/plan/storage.ts";
import { Random } from "../../src/util/random.ts";
import { freshWeights } from "../generate/fresh-weights.ts";
import { FAMILY_JSON, LLAMA_JSON } from "../model/configs.ts";

const BUCKET = 24;

/** Fills what a section reads: caches of `lengths` rows, masks that leave them, any tables and tokens. */
function fill(loaded: LoadedPlan, lengths: readonly number[]): void {
  const random = new Random(9);
  for (const { name, role, type } of loaded.plan.buffers.values()) {
    if (role !== "input" && role !== "state") continue;
    const view = loaded.view(name);
    const size = view.length / lengths.length;
    for (let i = 0; i < view.length; i++) {
      const length = lengths[Math.floor(i / size)] ?? 0;
      if (name.endsWith("_row")) view[i] = 0;
      else if (type.dataType === "int32") view[i] = random.below(40);
      else if (name.includes("mask")) view[i] = i % BUCKET < length ? 0 : -1e9;
      else view[i] = random.normal();
    }
  }
}

/** What a section wrote, by buffer. */
function results(loaded: LoadedPlan, section: string): Map<string, number[]> {
  const names = new Set(
    (loaded.plan.sections.get(section) ?? []).flatMap(({ outputs }) =>
      [...outputs.values()].map(({ buffer }) => buffer),
    ),
  );
  const outputs = [...loaded.plan.buffers.values()].filter(
    ({ name, role }) => role === "output" && names.has(name),
  );
  return new Map(outputs.map(({ name }) => [name, Array.from(loaded.view(name))]));
}

/** Lengths of caches of sequences, and new rows of each. */
const CASES = [
  { section: "decode", lengths: [7], what: "one sequence" },
  { section: "decode", lengths: [0], what: "a sequence that begins" },
  { section: "decode", lengths: [3, 24, 0, 9, 1], what: "five sequences" },
  { section: "prefill", lengths: [6], what: "five rows of a prompt" },
] as const;

describe("a section of few rows on the CPU engine", () => {
  let engines: readonly [Engine, Engine];
  beforeAll(async () => {
    engines = [
      await createEngine("cpu", { threads: 1 }),
      await createEngine("reference", { threads: 1 }),
    ];
  });
  afterAll(async () => {
    for (const engine of engines) await engine.close();
  });

  const planOf = (json: object, batchSize: number): Plan =>
    buildDecodePlan({
      ...{ model: modelOf(parseModelConfig(json)), bucket: BUCKET },
      ...{ batchSize, prefillRowCount: 5 },
    });

  describe.each(FAMILY_JSON)("of $model_type", (json) => {
    it.each(CASES)("is one program, which gives what the oracle gives: $what", async (one) => {
      const { section, lengths } = one;
      const model = modelOf(parseModelConfig(json));
      const all: Map<string, number[]>[] = [];
      for (const engine of engines) {
        const weights = await freshWeights(engine, model);
        const loaded = await engine.load(planOf(json, lengths.length), { share: weights });
        fill(loaded, lengths);
        if (engine === engines[0]) {
          const { steps, reason } = loaded.describeExecution?.(section) ?? {};
          expect(steps, reason).toHaveLength(1);
          expect(steps?.[0]?.madeOf).toMatch(/^WebAssembly, one program of \d+ instructions/);
        }
        await loaded.run(section);
        all.push(results(loaded, section));
        await loaded.close();
        await weights.close();
      }
      expectAlike(all, 2e-5);
    });
  });

  /** Sizes of rows are whole groups; scales of all types, with and without biases. */
  const STORED = { ...LLAMA_JSON, hidden_size: 64, intermediate_size: 128 };
  const GROUPED = { groupSize: 32, scaleType: "fp16", zeroPoint: 0, hasBiases: true } as const;
  const STORAGES: readonly Storage[] = [
    { kind: "bf16" },
    { kind: "fp16" },
    { ...GROUPED, kind: "int8", groupSize: 16 },
    { ...GROUPED, kind: "int8", groupSize: 64, scaleType: "fp32" },
    { ...GROUPED, kind: "int4", groupSize: 64, scaleType: "bf16" },
    { ...GROUPED, kind: "int4", zeroPoint: 8, hasBiases: false },
  ];
  it.each(STORAGES.map((storage) => ({ storage, what: formatStorage(storage) })))(
    "reads weights as they are stored: $what",
    async ({ storage }) => {
      const origin = { kind: "drawn", seed: 3 } as const;
      const whole = withOrigin(modelOf(parseModelConfig(STORED)), origin);
      const model = quantized(whole, storage);
      for (const { section, lengths } of CASES) {
        const all: Map<string, number[]>[] = [];
        for (const engine of engines) {
          const weights = await engine.load(buildWeightsPlan(model));
          fillWeights(
            model,
            weightViews((name) => weights.view(name)),
          );
          const plan = buildDecodePlan({
            ...{ model, bucket: BUCKET, batchSize: lengths.length, prefillRowCount: 5 },
          });
          const loaded = await engine.load(plan, { share: weights });
          fill(loaded, lengths);
          if (engine === engines[0]) {
            const { steps, reason } = loaded.describeExecution?.(section) ?? {};
            expect(steps, reason).toHaveLength(1);
            const what = isGrouped(storage) ? "products of codes" : "products of 16-bit weights";
            expect(steps?.[0]?.madeOf).toMatch(new RegExp(`15 ${what}`));
          }
          await loaded.run(section);
          all.push(results(loaded, section));
          await loaded.close();
          await weights.close();
        }
        // Rows in 16 bits a group: each number is off by 2^-16 of its group's largest at most.
        expectAlike(all, isGrouped(storage) ? 2e-4 : 2e-5);
      }
    },
  );

  it.each(FAMILY_JSON)("waits for all that was given out, of $model_type", (json) => {
    const program = compileRows(planOf(json, 3), "decode");
    if (typeof program === "string") throw new Error(program);
    let given = 0;
    const waits: number[] = [];
    for (const { code, chunks, words } of program.instructions) {
      given = chunks?.end ?? given;
      // Chunks are counted as they are done: a smaller number would be reached while one of those waited for is not.
      if (code === "wait") waits.push(given - Number(words[0]));
    }
    expect(waits.length).toBeGreaterThan(5);
    expect(waits.filter((missing) => missing !== 0)).toEqual([]);
  });

  it("says why where a section is none", async () => {
    const model = quantized(modelOf(parseModelConfig(STORED)), {
      ...{ ...GROUPED, kind: "int4", groupSize: 16 },
    });
    const weights = await engines[0].load(buildWeightsPlan(model));
    const plan = buildDecodePlan({ model, bucket: BUCKET, prefillRowCount: 32 });
    const loaded = await engines[0].load(plan, { share: weights });
    expect(loaded.describeExecution?.("decode").reason).toMatch(
      /no row program: int4 in groups of 16, which are not made of 32/,
    );
    await loaded.close();
    await weights.close();
  });

  it("refuses a token outside the table, and goes on afterwards", async () => {
    const model = modelOf(parseModelConfig(LLAMA_JSON));
    const weights = await freshWeights(engines[0], model);
    const loaded = await engines[0].load(planOf(LLAMA_JSON, 1), { share: weights });
    fill(loaded, [2]);
    loaded.view("decode_tokens")[0] = 50;
    await expect(loaded.run("decode")).rejects.toThrow(/looks up a row outside its table/);
    loaded.view("decode_tokens")[0] = 49;
    await loaded.run("decode");
    expect(Array.from(loaded.view("next_logits")).every(Number.isFinite)).toBe(true);
    await loaded.close();
    await weights.close();
  });
});

/** Two engines' results, each number within a part of the largest of its buffer. */
function expectAlike(all: readonly Map<string, number[]>[], part: number): void {
  const [ours, wanted] = all;
  expect(ours?.keys()).toEqual(wanted?.keys());
  for (const [name, numbers] of wanted ?? []) {
    const size = Math.max(...numbers.map(Math.abs));
    for (const [index, number] of numbers.entries()) {
      const difference = Math.abs((ours?.get(name)?.[index] ?? NaN) - number);
      expect(difference, `${name}[${index}]`).toBeLessThan(part * size);
    }
  }
}
