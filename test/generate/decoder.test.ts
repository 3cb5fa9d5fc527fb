import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import { createEngine } from "../../src/engine/create.ts";
import type {
  CompilationCost,
  Engine,
  LoadedPlan,
  SectionExecution,
} from "../../src/engine/engine.ts";
import { weightViews } from "../../src/engine/weight-views.ts";
import { buildWeightsPlan } from "../../src/generate/decode-plan.ts";
import { Decoder } from "../../src/generate/decoder.ts";
import type { DecoderOptions } from "../../src/generate/decoder.ts";
import type { Sequence } from "../../src/generate/sequence.ts";
import {
  fillWeights,
  modelOf,
  parseModelConfig,
  quantized,
  withOrigin,
} from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import { Random } from "../../src/util/random.ts";
import { FAMILY_JSON, LLAMA_JSON } from "../model/configs.ts";
import { freshWeights } from "./fresh-weights.ts";

/** What each of these sequences does: its prompt, when it joins, and how many tokens it writes before it leaves. */
const PLAN = [
  { promptLength: 5, joins: 0, writes: 14 },
  { promptLength: 1, joins: 0, writes: 6 },
  { promptLength: 61, joins: 2, writes: 9 }, // over the edge of a bucket at 64
  { promptLength: 20, joins: 3, writes: 8 },
  { promptLength: 33, joins: 9, writes: 5 },
] as const;

function promptOf(index: number, vocabularySize: number): number[] {
  const random = new Random(index + 1);
  return Array.from({ length: PLAN[index]?.promptLength ?? 0 }, () => random.below(vocabularySize));
}

function likeliest(logits: Float32Array): number {
  return logits.reduce((best, score, index) => (score > (logits[best] ?? 0) ? index : best), 0);
}

interface Written {
  readonly tokens: number[];
  readonly logits: Float32Array[];
}

async function writeAlone(options: DecoderOptions, index: number): Promise<Written> {
  const decoder = new Decoder(options);
  const sequence = decoder.sequence();
  const written: Written = { tokens: [], logits: [] };
  let next = promptOf(index, options.model.config.vocabularySize);
  for (let count = 0; count < (PLAN[index]?.writes ?? 0); count++) {
    const logits = Float32Array.from(await decoder.append(sequence, next));
    written.logits.push(logits);
    written.tokens.push(likeliest(logits));
    next = [likeliest(logits)];
  }
  await decoder.close();
  return written;
}

/** All of them, joining and leaving one running batch. */
async function writeTogether(options: DecoderOptions): Promise<readonly Written[]> {
  const decoder = new Decoder(options);
  const results = PLAN.map((): Written => ({ tokens: [], logits: [] }));
  const running = new Map<number, Sequence>();
  const take = (index: number, logits: Float32Array): void => {
    results[index]?.logits.push(Float32Array.from(logits));
    results[index]?.tokens.push(likeliest(logits));
    if (results[index]?.tokens.length === PLAN[index]?.writes) running.delete(index);
  };
  for (let step = 0; step === 0 || running.size > 0 || step < 10; step++) {
    const entries = [...running].map(([index, sequence]) => ({
      index,
      sequence,
      token: results[index]?.tokens.at(-1) ?? 0,
    }));
    const all = await decoder.step(entries);
    for (const [order, { index }] of entries.entries())
      take(index, all[order] ?? new Float32Array());
    for (const [index, { joins }] of PLAN.entries()) {
      if (joins !== step) continue;
      const sequence = decoder.sequence();
      running.set(index, sequence);
      take(
        index,
        await decoder.append(sequence, promptOf(index, options.model.config.vocabularySize)),
      );
    }
  }
  await decoder.close();
  return results;
}

const FROZEN = "cpu with frozen weights";

/** An engine, that of `FROZEN` with constants in models of every size. */
async function engineNamed(name: string): Promise<Engine> {
  if (name === FROZEN) return createCpuEngine({ threads: 1, constantsFrom: 0 });
  return createEngine(name, { threads: 1 });
}

describe.each(["reference", "cpu", FROZEN, "sim:m4"])("a running batch on %s", (engineName) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await engineNamed(engineName);
  });
  afterAll(() => engine.close());

  it.each(FAMILY_JSON)(
    "of $model_type writes what each sequence writes alone, whoever joins and leaves",
    async (json) => {
      const model = modelOf(parseModelConfig(json));
      const weights = await freshWeights(engine, model);
      const frozenWeights = engineName === FROZEN;
      const options = { engine, model, weights, frozenWeights, prefillRowCount: 24 };
      const together = await writeTogether(options);
      for (const [index, { tokens, logits }] of together.entries()) {
        const alone = await writeAlone(options, index);
        expect(tokens, `sequence ${index}`).toEqual(alone.tokens);
        expect(tokens).toHaveLength(PLAN[index]?.writes ?? 0);
        for (const [step, scores] of logits.entries()) {
          const wanted = alone.logits[step] ?? new Float32Array();
          const what = `sequence ${index}, step ${step}`;
          if (engineName !== "sim:m4") expect(scores, what).toEqual(wanted);
          for (const [token, score] of scores.entries()) {
            const difference = Math.abs(score - (wanted[token] ?? NaN));
            expect(difference, what).toBeLessThan(0.05);
          }
        }
      }
      await weights.close();
    },
    60_000,
  );
});

describe("frozen weights on the CPU engine", () => {
  let engines: readonly [Engine, Engine];
  beforeAll(async () => {
    engines = [await engineNamed(FROZEN), await engineNamed("reference")];
  });
  afterAll(async () => {
    for (const engine of engines) await engine.close();
  });

  it.each(FAMILY_JSON)("of $model_type give the oracle's scores", async (json) => {
    const model = modelOf(parseModelConfig(json));
    const scores: Float32Array[] = [];
    for (const engine of engines) {
      const weights = await freshWeights(engine, model);
      const reasons: string[] = [];
      const watching: Engine = {
        ...engine,
        load: async (plan, options) => {
          const loaded = await engine.load(plan, options);
          for (const section of plan.sections.keys())
            reasons.push(loaded.describeExecution?.(section).reason ?? "");
          return loaded;
        },
      };
      const decoder = new Decoder({ engine: watching, model, weights, frozenWeights: true });
      const sequences = [decoder.sequence(), decoder.sequence()];
      const prompt = promptOf(4, 50);
      for (const sequence of sequences) await decoder.append(sequence, prompt);
      const entries = sequences.map((sequence, index) => ({ sequence, token: 7 + index }));
      for (const logits of await decoder.step(entries)) scores.push(logits);
      if (engine === engines[0]) {
        expect(reasons.length).toBeGreaterThan(3);
        for (const reason of reasons) expect(reason).toMatch(/matrices as constants$/);
      }
      await decoder.close();
      await weights.close();
    }
    const [first, second, ...wanted] = scores;
    for (const [index, found] of [first, second].entries()) {
      const size = Math.max(...(wanted[index] ?? []).map(Math.abs));
      for (const [token, score] of (found ?? []).entries())
        expect(Math.abs(score - (wanted[index]?.[token] ?? NaN)) / size).toBeLessThan(5e-5);
    }
  });

  it("are those of each model, of several that stay open at once", async () => {
    const [engine] = engines;
    const model = modelOf(parseModelConfig(LLAMA_JSON));
    const logits: Float32Array[] = [];
    const close: (() => Promise<void>)[] = [];
    for (const factor of [1, 1, -1]) {
      const weights = await freshWeights(engine, model);
      const embedding = weights.view("model.embed_tokens.weight");
      embedding.forEach((value, index) => (embedding[index] = factor * value));
      const decoder = new Decoder({ engine, model, weights, frozenWeights: true });
      const [scores] = await decoder.step([{ sequence: decoder.sequence(), token: 7 }]);
      logits.push(Float32Array.from(scores ?? []));
      close.push(async () => {
        await decoder.close();
        await weights.close();
      });
    }
    for (const each of close) await each();
    expect(logits[1]).toEqual(logits[0]);
    expect(logits[2]).not.toEqual(logits[0]);
  });
});

describe("a prompt of few tokens on the CPU engine", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine("cpu", { threads: 1 });
  });
  afterAll(() => engine.close());

  /** Appends pieces, each to be run by the sections named, and holds the logits against those of single rows. */
  async function expectPieces(
    model: Model,
    weights: LoadedPlan,
    pieces: readonly { readonly count: number; readonly sections: readonly string[] }[],
  ): Promise<void> {
    const described: (SectionExecution | undefined)[] = [];
    const ran: string[] = [];
    const watching: Engine = {
      ...engine,
      load: async (plan, options) => {
        const loaded = await engine.load(plan, options);
        const run = loaded.run.bind(loaded);
        described.push(loaded.describeExecution?.("short_prefill"));
        return Object.assign(loaded, {
          run: (section: string) => {
            ran.push(section);
            return run(section);
          },
        });
      },
    };
    const decoder = new Decoder({ engine: watching, model, weights });
    const random = new Random(4);
    const length = pieces.reduce((sum, { count }) => sum + count, 0);
    const tokens = Array.from({ length }, () => random.below(model.config.vocabularySize));
    const single = decoder.sequence();
    const oneByOne: Float32Array[] = [];
    for (const token of tokens) {
      const [logits] = await decoder.step([{ sequence: single, token }]);
      oneByOne.push(Float32Array.from(logits ?? []));
    }
    const sequence = decoder.sequence();
    for (const { count, sections } of pieces) {
      ran.length = 0;
      const from = sequence.length;
      const logits = await decoder.append(sequence, tokens.slice(from, from + count));
      expect(ran).toEqual(sections);
      const wanted = oneByOne[sequence.length - 1] ?? new Float32Array();
      const size = Math.max(...wanted.map(Math.abs));
      for (const [token, score] of logits.entries())
        expect(Math.abs(score - (wanted[token] ?? NaN)) / size).toBeLessThan(5e-5);
    }
    // A plan for short prompts, and then one for all.
    expect(described).not.toHaveLength(0);
    for (const execution of described) {
      const { steps, reason } = execution ?? {};
      expect(steps, reason).toHaveLength(1);
      expect(steps?.[0]?.madeOf).toMatch(/^WebAssembly, one program/);
    }
    await decoder.close();
  }

  it.each(FAMILY_JSON)(
    "of $model_type is one program of few rows, and so is the end of a long one",
    async (json) => {
      const model = modelOf(parseModelConfig(json));
      const weights = await freshWeights(engine, model);
      await expectPieces(model, weights, [
        { count: 3, sections: ["short_prefill"] },
        { count: 2, sections: ["decode", "decode"] },
        { count: 8, sections: ["short_prefill"] },
        { count: 9, sections: ["prefill"] },
        { count: 38, sections: ["prefill", "short_prefill"] },
      ]);
      await weights.close();
    },
  );

  it("of more than half of the rows of the longest pieces is run in those", async () => {
    const model = modelOf(parseModelConfig({ ...LLAMA_JSON, max_position_embeddings: 256 }));
    const weights = await freshWeights(engine, model);
    await expectPieces(model, weights, [
      { count: 65, sections: ["long_prefill"] },
      { count: 130, sections: ["long_prefill", "decode", "decode"] },
      { count: 40, sections: ["prefill", "short_prefill"] },
    ]);
    await weights.close();
  });

  it("may have twice as many where a section of many rows would unpack weights first", async () => {
    const drawn = withOrigin(modelOf(parseModelConfig(LLAMA_JSON)), { kind: "drawn", seed: 3 });
    const model = quantized(drawn, { kind: "bf16" });
    const weights = await engine.load(buildWeightsPlan(model));
    fillWeights(
      model,
      weightViews((name) => weights.view(name)),
    );
    await expectPieces(model, weights, [
      { count: 16, sections: ["short_prefill"] },
      { count: 17, sections: ["prefill"] },
      { count: 36, sections: ["prefill", "short_prefill"] },
    ]);
    await weights.close();
  });
});

describe("a decoder", () => {
  const model = modelOf(parseModelConfig({ ...FAMILY_JSON[0], max_position_embeddings: 128 }));
  let engine: Engine;
  let weights: LoadedPlan;
  beforeAll(async () => {
    engine = await createEngine("cpu", { threads: 1 });
    weights = await freshWeights(engine, model);
  });
  afterAll(() => engine.close());

  /** The engine with a watch on what it loads, and a limit on what it may compile. */
  function watched(budget?: number): { readonly engine: Engine; readonly loads: string[] } {
    const loads: string[] = [];
    const cost = (programs: number): CompilationCost => ({
      ...{ programs, missing: programs, left: budget ?? 0, budget: budget ?? 0 },
    });
    return {
      loads,
      engine: {
        description: engine.description,
        load: (plan, options) => {
          loads.push(plan.name);
          return engine.load(plan, options);
        },
        close: () => engine.close(),
        ...(budget !== undefined && {
          compilationCost: (needs) =>
            cost(needs.reduce((sum, { sections }) => sum + 3 * sections.length, 0)),
        }),
      },
    };
  }

  it("compiles ahead what so many sequences need: no later step loads anything", async () => {
    const { engine: counting, loads } = watched();
    const decoder = new Decoder({ engine: counting, model, weights, prefillRowCount: 16 });
    const { prepared, left } = await decoder.prepare({ sequenceCount: 4, length: 128 });
    expect(left).toEqual([]);
    expect(prepared.map(({ batchSize, bucket }) => `${batchSize}x${bucket}`)).toEqual([
      ...["1x64", "1x128", "4x64", "4x128", "2x64", "2x128"],
    ]);
    const count = loads.length;
    const sequences = [1, 2, 3, 4].map(() => decoder.sequence());
    for (const sequence of sequences) await decoder.append(sequence, [1, 2, 3, 4, 5]);
    for (let step = 0; step < 80; step++)
      await decoder.step(sequences.slice(step % 4).map((sequence) => ({ sequence, token: 7 })));
    expect(loads).toHaveLength(count);
    await decoder.close();
  });

  it("runs sequences one by one where the process may compile no batch, with the same results", async () => {
    const { engine: limited, loads } = watched(6);
    const decoder = new Decoder({ engine: limited, model, weights, prefillRowCount: 16 });
    const unlimited = new Decoder({ engine, model, weights, prefillRowCount: 16 });
    const results = await Promise.all(
      [decoder, unlimited].map(async (each) => {
        const sequences = [each.sequence(), each.sequence(), each.sequence()];
        for (const sequence of sequences) await each.append(sequence, [1, 2, 3]);
        const logits = await each.step(sequences.map((sequence) => ({ sequence, token: 4 })));
        return logits.map(likeliest);
      }),
    );
    expect(results[0]).toEqual(results[1]);
    expect(loads.every((name) => !/ B\d/.test(name)) || loads.length > 1).toBe(true);
    const { engine: none, loads: noBatch } = watched(2);
    const single = new Decoder({ engine: none, model, weights, prefillRowCount: 16 });
    const pair = [single.sequence(), single.sequence()];
    await single.step(pair.map((sequence) => ({ sequence, token: 1 })));
    expect(noBatch).toEqual(["decode llama T64"]);
    for (const each of [decoder, unlimited, single]) await each.close();
  });

  it("keeps no more caches loaded than it may", async () => {
    const { engine: counting, loads } = watched();
    const decoder = new Decoder({ engine: counting, model, weights, cacheByteLimit: 1 });
    const pair = [decoder.sequence(), decoder.sequence()];
    const logits: number[] = [];
    for (let turn = 0; turn < 2; turn++) {
      const each = await decoder.step(pair.map((sequence) => ({ sequence, token: 3 })));
      logits.push(...each.map(likeliest));
      await decoder.append(pair[0] ?? decoder.sequence(), [5]);
    }
    // Every change of shape loads again: both caches do not fit.
    expect(loads).toEqual([
      ...["decode llama B2 T64", "decode llama T64", "decode llama B2 T64", "decode llama T64"],
    ]);
    expect(logits).toHaveLength(4);
    await decoder.close();
  });

  it("goes on from where a copy was taken, and is not moved by what the copy does", async () => {
    const decoder = new Decoder({ engine, model, weights });
    const one = decoder.sequence();
    await decoder.append(one, [1, 2, 3, 4]);
    const other = one.fork();
    await decoder.step([{ sequence: other, token: 9 }]);
    const [a, b] = [one.fork(), decoder.sequence()];
    await decoder.append(b, [1, 2, 3, 4]);
    const [first, second] = await decoder.step([
      { sequence: a, token: 6 },
      { sequence: b, token: 6 },
    ]);
    expect(first).toEqual(second);
    expect(one.length).toBe(4);
    await decoder.close();
  });

  it("takes each sequence once, ids of the vocabulary alone, and ends when it is told to", async () => {
    const decoder = new Decoder({ engine, model, weights, prefillRowCount: 4 });
    const sequence = decoder.sequence();
    const twice = [1, 2].map((token) => ({ sequence, token }));
    await expect(decoder.step(twice)).rejects.toThrow("a step takes each sequence once");
    await expect(decoder.step([{ sequence, token: 50 }])).rejects.toThrow("outside the vocabulary");
    const abort = new AbortController();
    abort.abort(new Error("the client left"));
    await expect(decoder.append(sequence, [1, 2], abort.signal)).rejects.toThrow("the client left");
    expect(sequence.length).toBe(0);
    expect(() => new Decoder({ engine, model, weights, maximumBatch: 0 })).toThrow("a batch of 0");
    await decoder.close();
  });
});
