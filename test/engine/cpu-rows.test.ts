import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { buildDecodePlan } from "../../src/generate/decode-plan.ts";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { Random } from "../../src/util/random.ts";
import { freshWeights } from "../generate/fresh-weights.ts";
import { FAMILY_JSON } from "../model/configs.ts";

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
      const [ours, wanted] = all;
      expect(ours?.keys()).toEqual(wanted?.keys());
      for (const [name, numbers] of wanted ?? []) {
        const size = Math.max(...numbers.map(Math.abs));
        for (const [index, number] of numbers.entries()) {
          const difference = Math.abs((ours?.get(name)?.[index] ?? NaN) - number);
          expect(difference, `${name}[${index}]`).toBeLessThan(2e-5 * size);
        }
      }
    });
  });
});
