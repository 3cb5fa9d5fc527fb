import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import {
  initialiseWeight,
  initialiseWeights,
  loadWeights,
  modelOf,
  openSafetensors,
  parseModelConfig,
  saveWeights,
  writeSafetensors,
} from "../../src/model/index.ts";
import type { Model, SafetensorsOutput } from "../../src/model/index.ts";
import { decodeFloats, encodeFloats } from "../../src/model/float-conversion.ts";
import { bfloat16ToFloat32, float32ToBfloat16 } from "../../src/util/bfloat16.ts";
import { memorySource } from "../../src/util/byte-source.ts";
import { FAMILY_JSON, GPT2_JSON, LLAMA_JSON } from "./configs.ts";

type Weights = Map<string, Float32Array>;

function freshWeights(model: Model, seed = 4): Weights {
  const weights = emptyWeights(model);
  initialiseWeights(model.parameters.weights, seed, viewOf(weights));
  return weights;
}

function emptyWeights(model: Model): Weights {
  return new Map(
    model.parameters.weights.map(({ name, type }) => [
      name,
      new Float32Array(elementCount(staticShape(type))),
    ]),
  );
}

function viewOf(weights: Weights): (name: string) => Float32Array {
  return (name) => {
    const view = weights.get(name);
    if (view === undefined) throw new Error(`no weight ${name}`);
    return view;
  };
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-weights-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function output(name: string, shape: readonly number[], values: Float32Array): SafetensorsOutput {
  return { name, dataType: "F32", shape, chunks: () => [encodeFloats(values, "F32")] };
}

/** A file from a header and data, whatever they say. */
function rawFile(header: string, dataLength: number, claimedLength?: number): Uint8Array {
  const text = Buffer.from(header);
  const bytes = Buffer.alloc(8 + text.length + dataLength);
  bytes.writeBigUInt64LE(BigInt(claimedLength ?? text.length));
  text.copy(bytes, 8);
  return bytes;
}

function openRaw(header: unknown, dataLength: number, claimedLength?: number) {
  const text = typeof header === "string" ? header : JSON.stringify(header);
  return openSafetensors(memorySource(rawFile(text, dataLength, claimedLength), "w.safetensors"));
}

describe("attention that begins as a copy", () => {
  it("has a multiple of the identity for values and outputs, and the other weights as before", () => {
    const plain = freshWeights(
      modelOf(
        parseModelConfig(
          { ...LLAMA_JSON, num_key_value_heads: LLAMA_JSON.num_attention_heads },
          "here",
        ),
      ),
    );
    const config = parseModelConfig(
      {
        ...LLAMA_JSON,
        num_key_value_heads: LLAMA_JSON.num_attention_heads,
        attention_copy: 4,
      },
      "here",
    );
    const copying = freshWeights(modelOf(config));
    const size = config.channelCount;
    for (const [name, numbers] of copying) {
      if (!/self_attn\.(?:v|o)_proj\.weight$/.test(name)) {
        expect(numbers, name).toEqual(plain.get(name));
        continue;
      }
      expect(numbers.length).toBe(size * size);
      expect(
        numbers.every((number, index) => number === (index % (size + 1) === 0 ? 2 : 0)),
        name,
      ).toBe(true);
    }
  });

  it("is refused where values have other channels than the hidden state", () => {
    expect(() =>
      parseModelConfig({ ...LLAMA_JSON, num_key_value_heads: 1, attention_copy: 4 }, "here"),
    ).toThrow(/attention_copy needs values of as many channels/);
  });
});

describe("a model's weights", () => {
  it.each(FAMILY_JSON)("of $model_type read back bit for bit, in one file or in shards", (json) => {
    const model = modelOf(parseModelConfig(json));
    const weights = freshWeights(model);
    saveWeights(folder, model.parameters, viewOf(weights));
    const single = emptyWeights(model);
    expect(loadWeights(folder, model, viewOf(single))).toEqual({
      files: ["model.safetensors"],
      types: ["F32"],
    });
    expect(single).toEqual(weights);
    saveWeights(folder, model.parameters, viewOf(weights), { shardByteLength: 4000 });
    expect(existsSync(join(folder, "model.safetensors"))).toBe(false);
    const sharded = emptyWeights(model);
    const { files } = loadWeights(folder, model, viewOf(sharded));
    expect(files.length).toBeGreaterThan(2);
    expect(sharded).toEqual(weights);
    saveWeights(folder, model.parameters, viewOf(weights));
    expect(existsSync(join(folder, "model.safetensors.index.json"))).toBe(false);
  });

  it.each(["BF16", "F16"] as const)("are stored as %s when asked, half the size", (type) => {
    const model = modelOf(parseModelConfig(LLAMA_JSON));
    const weights = freshWeights(model);
    saveWeights(folder, model.parameters, viewOf(weights), { type });
    const read = emptyWeights(model);
    expect(loadWeights(folder, model, viewOf(read)).types).toEqual([type]);
    for (const [name, values] of weights) {
      const rounded = new Float32Array(values.length);
      decodeFloats(encodeFloats(values, type), type, rounded);
      expect(read.get(name)).toEqual(rounded);
      values.forEach((value, i) =>
        expect(Math.abs((rounded[i] ?? NaN) - value)).toBeLessThanOrEqual(
          Math.abs(value) * 2 ** -8 + 1e-7,
        ),
      );
    }
  });

  it("has a header in the form others read: aligned, with the format named", () => {
    const model = modelOf(parseModelConfig(GPT2_JSON));
    saveWeights(folder, model.parameters, viewOf(freshWeights(model)));
    const bytes = readFileSync(join(folder, "model.safetensors"));
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).toBe(0);
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, unknown>;
    expect(header["__metadata__"]).toEqual({ format: "pt" });
    expect(header["transformer.h.0.attn.c_attn.weight"]).toMatchObject({
      dtype: "F32",
      shape: [16, 48],
    });
    expect(readdirSync(folder)).toEqual(["model.safetensors"]);
  });

  it("of gpt2 are read without their prefix, masks beside them ignored", () => {
    const model = modelOf(parseModelConfig(GPT2_JSON));
    const weights = freshWeights(model);
    const outputs = model.parameters.weights.map(({ name, type }) =>
      output(name.replace("transformer.", ""), staticShape(type), viewOf(weights)(name)),
    );
    outputs.push(output("h.0.attn.bias", [1, 1, 2, 2], new Float32Array(4)));
    writeSafetensors(join(folder, "model.safetensors"), outputs);
    const read = emptyWeights(model);
    loadWeights(folder, model, viewOf(read));
    expect(read).toEqual(weights);
  });

  it("may carry a copy of a tied head", () => {
    const model = modelOf(parseModelConfig({ ...LLAMA_JSON, tie_word_embeddings: true }));
    const weights = freshWeights(model);
    const outputs = model.parameters.weights.map(({ name, type }) =>
      output(name, staticShape(type), viewOf(weights)(name)),
    );
    const table = viewOf(weights)("model.embed_tokens.weight");
    writeSafetensors(join(folder, "model.safetensors"), [
      ...outputs,
      output("lm_head.weight", [50, 16], table),
    ]);
    loadWeights(folder, model, viewOf(emptyWeights(model)));
  });

  describe("are refused, and nothing is overwritten,", () => {
    const model = modelOf(parseModelConfig(LLAMA_JSON));

    function refused(change: (outputs: SafetensorsOutput[]) => void, message: RegExp): void {
      const weights = freshWeights(model);
      const outputs = model.parameters.weights.map(({ name, type }) =>
        output(name, staticShape(type), viewOf(weights)(name)),
      );
      change(outputs);
      writeSafetensors(join(folder, "model.safetensors"), outputs);
      const target = emptyWeights(model);
      expect(() => loadWeights(folder, model, viewOf(target))).toThrow(message);
      for (const values of target.values()) expect(values.every((value) => value === 0)).toBe(true);
    }

    it("with a tensor missing", () =>
      refused(
        (outputs) => outputs.splice(3, 1),
        /"model\.layers\.0\.self_attn\.k_proj\.weight" is missing/,
      ));

    it("with a tensor misspelt, naming the nearest", () =>
      refused(
        (outputs) =>
          outputs.splice(
            3,
            1,
            output("model.layers.0.self_attn.key_proj.weight", [8, 16], new Float32Array(128)),
          ),
        /Did you mean "model\.layers\.0\.self_attn\.key_proj\.weight"\?/,
      ));

    it("with one too many", () =>
      refused(
        (outputs) =>
          outputs.push(
            output("model.layers.2.mlp.up_proj.weight", [24, 16], new Float32Array(384)),
          ),
        /"model\.layers\.2\.mlp\.up_proj\.weight" is not part of this llama model/,
      ));

    it("with a wrong shape", () =>
      refused(
        (outputs) =>
          outputs.splice(
            0,
            1,
            output("model.embed_tokens.weight", [16, 50], new Float32Array(800)),
          ),
        /has shape \[16, 50\], config\.json asks for \[50, 16\]/,
      ));

    it("with integers", () =>
      refused(
        (outputs) =>
          outputs.splice(0, 1, {
            name: "model.embed_tokens.weight",
            dataType: "I32",
            shape: [50, 16],
            chunks: () => [new Uint8Array(3200)],
          }),
        /stored as I32; F32, F16 and BF16 are read/,
      ));

    it("without any file", () => {
      expect(() => loadWeights(folder, model, viewOf(emptyWeights(model)))).toThrow(
        /neither model\.safetensors nor model\.safetensors\.index\.json/,
      );
    });

    it("with an index that points outside the folder, or to what is not there", () => {
      const index = (weightMap: unknown): void =>
        writeFileSync(
          join(folder, "model.safetensors.index.json"),
          JSON.stringify({ weight_map: weightMap }),
        );
      const load = () => loadWeights(folder, model, viewOf(emptyWeights(model)));
      index({ a: "../other.safetensors" });
      expect(load).toThrow(/is not the name of a \.safetensors file in the same folder/);
      index({ a: "gone.safetensors" });
      expect(load).toThrow(/gone\.safetensors/);
      index("nothing");
      expect(load).toThrow(/"weight_map" must map/);
      writeSafetensors(join(folder, "one.safetensors"), [output("b", [1], new Float32Array(1))]);
      index({ a: "one.safetensors" });
      expect(load).toThrow(/says "a" stands in one\.safetensors, which does not have it/);
    });
  });
});

describe("a safetensors header", () => {
  const f32 = (begin: number, end: number, shape: readonly number[]) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });

  it.each<readonly [string, unknown, number, RegExp]>([
    ["that is no JSON", "{nonsense", 0, /header is not JSON/],
    ["that is a list", [], 0, /must be a JSON object/],
    [
      "with an unknown type",
      { a: { dtype: "F31", shape: [1], data_offsets: [0, 4] } },
      4,
      /unknown element type "F31"\. Did you mean "F32"\?/,
    ],
    ["with offsets past the end", { a: f32(0, 8, [2]) }, 4, /claims bytes 0 to 8 of 4/],
    ["with offsets that run backwards", { a: f32(4, 0, [1]) }, 4, /claims bytes 4 to 0/],
    [
      "with offsets that do not fit the shape",
      { a: f32(0, 4, [3]) },
      4,
      /takes 12 bytes, its offsets leave 4/,
    ],
    [
      "with a shape beyond all memory",
      { a: f32(0, 4, [2 ** 40, 2 ** 40]) },
      4,
      /its offsets leave 4/,
    ],
    ["with a negative size", { a: f32(0, 4, [-1]) }, 4, /tensor "a"/],
    [
      "with overlapping tensors",
      { a: f32(0, 8, [2]), b: f32(4, 12, [2]) },
      12,
      /"b" overlap those of "a"/,
    ],
    [
      "with a hole between tensors",
      { a: f32(0, 4, [1]), b: f32(8, 12, [1]) },
      12,
      /4 bytes between "a" and "b"/,
    ],
    ["with bytes nobody claims", { a: f32(0, 4, [1]) }, 12, /8 bytes after the last tensor/],
    [
      "that names a tensor twice",
      '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      4,
      /names "a" twice/,
    ],
    ["with numbers in its metadata", { __metadata__: { a: 1 } }, 0, /must hold texts only/],
    ["with a field too many", { a: { ...f32(0, 4, [1]), strides: [1] } }, 4, /tensor "a"/],
  ])("%s is refused", (_, header, dataLength, message) => {
    expect(() => openRaw(header, dataLength)).toThrow(message);
  });

  it("that lies about its length is refused before anything is allocated", () => {
    expect(() => openRaw("{}", 0, 1000)).toThrow(/claims 1000 bytes, the file has 2/);
    expect(() => openRaw("{}", 0, 2 ** 52)).toThrow(/2 to 100000000 are possible/);
    expect(() => openSafetensors(memorySource(new Uint8Array(5)))).toThrow(/has 5 bytes/);
  });

  it("survives any change of a byte with a clear error or the same meaning", () => {
    const bytes = rawFile(
      JSON.stringify({ __metadata__: { format: "pt" }, a: f32(0, 8, [2]), b: f32(8, 12, []) }),
      12,
    );
    fc.assert(
      fc.property(fc.nat(bytes.length - 13), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const changed = bytes.slice();
        changed[at] = value;
        try {
          const { entries } = openSafetensors(memorySource(changed));
          for (const { offset, byteLength } of entries.values())
            expect(offset + byteLength).toBeLessThanOrEqual(changed.length);
        } catch (error) {
          expect(error).toHaveProperty("code", expect.stringMatching(/^model\.safetensors\./));
        }
      }),
    );
  });

  it("and its tensors read back as written", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc
            .string({ minLength: 1, maxLength: 12 })
            .filter((name) => name !== "__metadata__" && name !== "__proto__"),
          { maxLength: 6 },
        ),
        fc.array(fc.nat(3), { maxLength: 4 }),
        (names, shape) => {
          const path = join(folder, "any.safetensors");
          const count = elementCount(shape);
          const values = Float32Array.from({ length: count }, (_, i) => i + 0.5);
          writeSafetensors(
            path,
            names.map((name) => output(name, shape, values)),
            { note: "é" },
          );
          const file = openSafetensors(memorySource(readFileSync(path)));
          expect([...file.entries.keys()].toSorted()).toEqual([...names].toSorted());
          expect(file.metadata).toEqual({ note: "é" });
          for (const { offset, byteLength, shape: read } of file.entries.values()) {
            expect(read).toEqual(shape);
            const target = new Float32Array(count);
            decodeFloats(file.source.read(offset, byteLength), "F32", target);
            expect(target).toEqual(values);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it("is not written where a tensor's bytes do not add up, and the old file stays", () => {
    const path = join(folder, "kept.safetensors");
    writeSafetensors(path, [output("a", [2], new Float32Array([1, 2]))]);
    const before = readFileSync(path);
    expect(() => writeSafetensors(path, [output("a", [3], new Float32Array(2))])).toThrow(
      /needs 12 bytes, 8 were given/,
    );
    expect(() =>
      writeSafetensors(path, [
        output("a", [1], new Float32Array(1)),
        output("a", [1], new Float32Array(1)),
      ]),
    ).toThrow(/written twice/);
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder)).toEqual(["kept.safetensors"]);
  });
});

describe("bf16", () => {
  it("rounds to nearest even and keeps NaN and infinity", () => {
    fc.assert(
      fc.property(fc.float({ noDefaultInfinity: false }), (value) => {
        const bits = new Uint16Array(1);
        const back = new Float32Array(1);
        float32ToBfloat16(Float32Array.of(value), bits);
        bfloat16ToFloat32(bits, back);
        const rounded = back[0] ?? NaN;
        if (!Number.isFinite(value)) expect(rounded).toBe(value);
        else if (Number.isFinite(rounded))
          expect(Math.abs(rounded - value)).toBeLessThanOrEqual(
            Math.max(Math.abs(value) * 2 ** -8, 2 ** -134),
          );
        else expect(Math.abs(value)).toBeGreaterThan(3.38e38);
      }),
    );
    const ties = Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8);
    const bits = new Uint16Array(2);
    const back = new Float32Array(2);
    float32ToBfloat16(ties, bits);
    bfloat16ToFloat32(bits, back);
    expect([...back]).toEqual([1, 1 + 2 ** -6]);
  });
});

describe("initialisation", () => {
  const weights = modelOf(parseModelConfig({ ...GPT2_JSON, vocab_size: 4000 })).parameters.weights;
  const draw = (name: string, seed: number): Float32Array => {
    const weight = weights.find((candidate) => candidate.name === name);
    if (weight === undefined) throw new Error(name);
    const target = new Float32Array(elementCount(staticShape(weight.type)));
    initialiseWeight(weight, seed, target);
    return target;
  };
  const deviation = (values: Float32Array): number =>
    Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);

  it("draws what GPT-2 draws: 0.02, less into the residual, ones and zeros for norms and biases", () => {
    expect(deviation(draw("transformer.wte.weight", 1))).toBeCloseTo(0.02, 3);
    expect(deviation(draw("transformer.h.1.mlp.c_proj.weight", 1))).toBeCloseTo(0.01, 3);
    expect(draw("transformer.h.0.ln_1.weight", 1).every((value) => value === 1)).toBe(true);
    expect(draw("transformer.h.0.attn.c_attn.bias", 1).every((value) => value === 0)).toBe(true);
  });

  it("depends on seed and name only", () => {
    const name = "transformer.h.0.mlp.c_fc.weight";
    expect(draw(name, 1)).toEqual(draw(name, 1));
    expect(draw(name, 2)).not.toEqual(draw(name, 1));
    expect(draw("transformer.h.1.mlp.c_fc.weight", 1)).not.toEqual(draw(name, 1));
  });

  it("does not let norms and biases decay", () => {
    const decaying = weights.filter((weight) => weight.decays).map(({ name }) => name);
    expect(decaying.every((name) => name.endsWith("weight") && !name.includes("ln_"))).toBe(true);
    expect(decaying.length).toBe(2 + 2 * 4);
  });
});
