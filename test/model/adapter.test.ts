import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { linearProducts } from "../../src/model/adapters/products.ts";
import { readAdapter, writeAdapter } from "../../src/model/adapters/adapter-files.ts";
import type { AdapterMatrices, AdapterToWrite } from "../../src/model/adapters/adapter-files.ts";
import {
  adaptableModules,
  modelOf,
  parseModelConfig,
  trainableWeights,
  withAdapter,
} from "../../src/model/index.ts";
import type { Adapter } from "../../src/model/index.ts";
import { GPT2_JSON, LLAMA_JSON } from "./configs.ts";

const LLAMA = modelOf(parseModelConfig(LLAMA_JSON));
const GPT2 = modelOf(parseModelConfig(GPT2_JSON));

function adapterOf(modules: readonly string[], layers: readonly number[]): Adapter {
  return {
    ...{ method: "lora", rank: 2, alpha: 6, isRankStabilized: false, dropout: 0 },
    modules,
    layers,
  };
}

describe("modules with an adapter", () => {
  it("are found in the functions, whatever the family", () => {
    expect(adaptableModules(LLAMA)).toEqual([
      ...["q_proj", "k_proj", "v_proj", "o_proj"].map((name) => `self_attn.${name}`),
      ...["gate_proj", "up_proj", "down_proj"].map((name) => `mlp.${name}`),
    ]);
    expect(adaptableModules(GPT2)).toEqual([
      "attn.c_attn",
      "attn.c_proj",
      "mlp.c_fc",
      "mlp.c_proj",
    ]);
    expect(adaptableModules(GPT2, ["c_proj"])).toEqual(["attn.c_proj", "mlp.c_proj"]);
    expect(() => adaptableModules(LLAMA, ["q_pro"])).toThrow('mean "q_proj"');
  });

  it("have A [rank, in] and B [out, rank] whether the matrix stands as [out, in] or [in, out]", () => {
    for (const [model, module, inputSize, outputSize] of [
      [LLAMA, "mlp.down_proj", LLAMA.config.feedForwardSize, LLAMA.config.channelCount],
      [GPT2, "mlp.c_fc", GPT2.config.channelCount, GPT2.config.feedForwardSize],
    ] as const) {
      const [a, b] = trainableWeights(withAdapter(model, adapterOf([module], [0])).parameters);
      expect(a?.type.shape).toEqual([2, inputSize]);
      expect(b?.type.shape).toEqual([outputSize, 2]);
    }
  });

  it("add two thin products each, and the base's weights are frozen", () => {
    const adapted = withAdapter(LLAMA, adapterOf(adaptableModules(LLAMA), [1]));
    const sizes = { batchSize: 1, sequenceLength: 4, dataType: "fp32" } as const;
    const before = linearProducts(LLAMA.functions.block(sizes)).size;
    expect(linearProducts(adapted.functions.block(sizes)).size).toBe(3 * before);
    const trained = trainableWeights(adapted.parameters);
    expect(trained.length).toBe(14);
    expect(trained.every(({ name }) => /layers\.1\..*\.lora_[AB]\.weight$/.test(name))).toBe(true);
  });
});

describe("an adapter's files", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-adapter-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const matrices = new Map<string, AdapterMatrices>([
    [
      "model.layers.0.self_attn.q_proj",
      {
        ...{ rank: 2, inputSize: 3, outputSize: 4, scale: 3 },
        a: Float32Array.from({ length: 6 }, (_, index) => index / 7),
        b: Float32Array.from({ length: 8 }, (_, index) => -index / 3),
      },
    ],
  ]);
  const toWrite: AdapterToWrite = {
    adapter: { ...adapterOf(["self_attn.q_proj"], [0]), isFanInFanOut: false },
    baseName: "base",
    layerCount: 1,
    matrices,
  };

  it("hold equal tensors after PEFT, mlx-lm and PEFT again", () => {
    const names = ["peft", "mlx", "peft"] as const;
    let current = toWrite;
    for (const layout of names) {
      writeAdapter(folder, current, layout);
      const stored = readAdapter(folder);
      expect(stored.layout).toBe(layout);
      expect([stored.rank, stored.alpha, stored.baseName]).toEqual([2, 6, "base"]);
      expect(stored.matrices).toEqual(matrices);
      current = { ...toWrite, matrices: stored.matrices };
    }
  });

  it("of the method dora hold its lengths too, in both layouts", () => {
    const lengths = Float32Array.from([1, 2, 3, 4]);
    const directed = new Map(
      [...matrices].map(([name, both]) => [name, { ...both, magnitude: lengths }] as const),
    );
    const adapter = { ...toWrite.adapter, method: "dora" } as const;
    for (const layout of ["mlx", "peft"] as const) {
      writeAdapter(folder, { ...toWrite, adapter, matrices: directed }, layout);
      const stored = readAdapter(folder);
      expect([stored.layout, stored.method]).toEqual([layout, "dora"]);
      expect(stored.matrices).toEqual(directed);
    }
    const path = join(folder, "adapter_model.safetensors");
    writeFileSync(path, readFileSync(path, "latin1").replace("[4]", "[2]"), "latin1");
    expect(() => readAdapter(folder)).toThrow(/magnitude_vector/);
  });

  it("are refused by name where they are of another kind, or contradict themselves", () => {
    writeAdapter(folder, toWrite);
    const path = join(folder, "adapter_config.json");
    const json = JSON.parse(readFileSync(path, "utf8")) as object;
    const with_ = (change: object): (() => unknown) => {
      writeFileSync(path, JSON.stringify({ ...json, ...change }));
      return () => readAdapter(folder);
    };
    expect(with_({ peft_type: "IA3" })).toThrow("peft_type is IA3");
    expect(with_({ use_dora: true })).toThrow('lora_magnitude_vector" is missing');
    expect(with_({ bias: "all" })).toThrow('bias is "all"');
    expect(with_({ modules_to_save: ["lm_head"] })).toThrow("lm_head");
    expect(with_({ r: 3 })).toThrow("ranks 2 and 2, adapter_config.json says 3");
    expect(with_({ r: 0 })).toThrow("adapter_config.json");
    expect(with_({ alpha_pattern: { q_proj: 8 } })).not.toThrow();
    expect(readAdapter(folder).matrices.get("model.layers.0.self_attn.q_proj")?.scale).toBe(4);
    const tensors = join(folder, "adapter_model.safetensors");
    writeFileSync(path, JSON.stringify(json));
    writeFileSync(tensors, readFileSync(tensors).subarray(0, -4));
    expect(() => readAdapter(folder)).toThrow(/adapter_model.safetensors/);
  });
});
