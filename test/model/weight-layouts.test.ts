import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateFromFolder } from "../../src/generate/from-folder.ts";
import { GGML_TYPES } from "../../src/model/gguf/ggml-types.ts";
import { pairedRow } from "../../src/model/gguf/gguf-names.ts";
import { headReader } from "../../src/model/weight-source.ts";
import { readGguf } from "../../src/model/gguf/gguf-file.ts";
import { parseModelConfig, readModelConfig } from "../../src/model/index.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { loadTokenizer, openChatTemplate } from "../../src/text/index.ts";
import { memorySource } from "../../src/util/byte-source.ts";
import { expectCloseRows, forwardLogits } from "./forward-logits.ts";
import type { Rows } from "./forward-logits.ts";
import { LLAMA_JSON } from "./configs.ts";

/** What test/fixtures/make_weight_file_fixtures.py wrote and says of it. */
const FIXTURES = fileURLToPath(new URL("../fixtures/weight-files", import.meta.url));
const FILES = readdirSync(FIXTURES).filter((name) => name.endsWith(".gguf"));

interface Expected {
  readonly ids: readonly number[];
  readonly logits: Rows;
  readonly prompt: readonly number[];
  readonly greedy: readonly number[];
}

function json(...path: readonly string[]): unknown {
  return JSON.parse(readFileSync(join(FIXTURES, ...path), "utf8"));
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-layouts-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("GGUF", () => {
  it.each(
    Object.entries(json("blocks.json") as Record<string, { bytes: string; numbers: number[] }>),
  )("blocks of %s hold the numbers that ggml says", (name, { bytes, numbers }) => {
    const type = GGML_TYPES.find((candidate) => candidate.name === name);
    const actual = new Float32Array(numbers.length);
    type?.decode?.(Buffer.from(bytes, "hex"), actual);
    expect([...actual]).toEqual(numbers);
  });

  it.each(["Q8_0", "Q4_0"])("numbers become the blocks of %s that ggml makes of them", (name) => {
    const { bytes, source } = (
      json("blocks.json") as Record<string, { bytes: string; source: number[] }>
    )[name] ?? { bytes: "", source: [] };
    const type = GGML_TYPES.find((candidate) => candidate.name === name);
    const made = type?.encode?.(Float32Array.from(source)) ?? new Uint8Array();
    expect(Buffer.from(made).toString("hex")).toBe(bytes);
  });

  it.each(FILES)("%s gives the logits of an independent implementation", (name) => {
    const path = join(FIXTURES, name);
    const { ids, logits } = json(name.replace(".gguf", ".json")) as Expected;
    expectCloseRows(forwardLogits(path, ids), logits);
  });

  it.each(FILES.filter((name) => name.startsWith("llama-")))(
    "%s writes the text of an independent implementation",
    async (name) => {
      const path = join(FIXTURES, name);
      const { greedy, prompt } = json(name.replace(".gguf", ".json")) as Expected;
      const { tokenizer } = loadTokenizer(path);
      expect([...tokenizer.encode("the hen", { addSpecialTokens: true })]).toEqual(prompt);
      const { text } = await generateFromFolder(path, "the hen", {
        engine: "reference",
        maxTokens: greedy.length,
        temperature: 0,
      });
      const whole = tokenizer.decode([...prompt, ...greedy], { skipSpecialTokens: true });
      expect(`the hen${text}`).toBe(whole);
    },
  );

  it("carries its tokenizer and its chat template", () => {
    const { sentencepiece, bpe } = json("tokenizers.json") as Record<
      string,
      { text: string; ids: number[] }[]
    >;
    const scored = loadTokenizer(join(FIXTURES, "llama-f16.gguf")).tokenizer;
    for (const { text, ids } of sentencepiece ?? []) {
      expect([...scored.encode(text)], text).toEqual(ids);
      expect(scored.decode(ids)).toBe(text);
    }
    const merged = loadTokenizer(join(FIXTURES, "gpt2-f16.gguf")).tokenizer;
    for (const { text, ids } of bpe ?? []) {
      expect([...merged.encode(text)], text).toEqual(ids);
      expect(merged.decode(ids)).toBe(text);
    }
    const chat = openChatTemplate(join(FIXTURES, "llama-f16.gguf"));
    expect(chat.render([{ role: "user", content: "hi" }]).text).toBe("user: hi\n");
  });

  it("becomes a folder in Hugging Face's layout that means the same", () => {
    const output = join(folder, "exported");
    exportModel(join(FIXTURES, "llama-q8_0.gguf"), output, { type: "float32" });
    const { ids, logits } = json("llama-q8_0.json") as Expected;
    expectCloseRows(forwardLogits(output, ids), logits);
    expect([...loadTokenizer(output).tokenizer.encode("the hen sat")]).toEqual([
      ...loadTokenizer(join(FIXTURES, "llama-q8_0.gguf")).tokenizer.encode("the hen sat"),
    ]);
    expect(readModelConfig(output)).toEqual({
      ...readModelConfig(join(FIXTURES, "llama-q8_0.gguf")),
      extra: {},
    });
  });

  it("cut anywhere, or with any size changed, is one clear error or another whole file", () => {
    const bytes = readFileSync(join(FIXTURES, "qwen2-f16.gguf"));
    for (let length = 0; length < bytes.length; length += 97) {
      const cut = memorySource(bytes.subarray(0, length), "cut.gguf");
      expect(() => readGguf(cut), `${length} bytes`).toThrow(/^cut\.gguf: /);
    }
    // Header words up to the data: counts, lengths, axes, offsets.
    for (let at = 4; at < 1_600; at += 4) {
      for (const value of [0xffffffff, 0x7fffffff, 1_000_003]) {
        const damaged = Buffer.from(bytes);
        damaged.writeUInt32LE(value, at);
        try {
          readGguf(memorySource(damaged, "damaged.gguf"));
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^model\.gguf/) as string });
        }
      }
    }
  });

  it.each([
    ["another version", (b: Buffer) => b.writeUInt32LE(9, 4), /GGUF version 9 is not known/],
    [
      "more tensors than bytes",
      (b: Buffer) => b.writeBigUInt64LE(1n << 40n, 8),
      /claims 1099511627776 tensors/,
    ],
    [
      "a count beyond all numbers",
      (b: Buffer) => b.writeBigUInt64LE(1n << 63n, 16),
      /claims 9223372036854775808/,
    ],
  ])("with %s is refused by name", (_, damage, message) => {
    const bytes = readFileSync(join(FIXTURES, "qwen2-f16.gguf"));
    damage(bytes);
    expect(() => readGguf(memorySource(bytes, "x.gguf"))).toThrow(message);
  });

  it("of types that are not read is refused with the ones that are", () => {
    const path = join(folder, "q5.gguf");
    const bytes = readFileSync(join(FIXTURES, "llama-q8_0.gguf"));
    const at = bytes.indexOf("blk.0.attn_q.weight") + "blk.0.attn_q.weight".length + 4 + 16;
    expect(bytes.readUInt32LE(at)).toBe(8);
    bytes.writeUInt32LE(6, at);
    writeFileSync(path, bytes);
    expect(() => forwardLogits(path, [1])).toThrow(/stored as Q5_0; F32, F16, Q4_0, Q8_0/);
  });
});

describe("rows that stand in another order in their heads", () => {
  it("are the same numbers, read at once or in pieces that begin and end anywhere", () => {
    const [rows, columns, headCount] = [24, 5, 3];
    const placeOf = (row: number): number => pairedRow(row, rows, headCount);
    const stored = Float32Array.from({ length: rows * columns }, (_, index) => index);
    const expected = Float32Array.from(stored, (_, index) => {
      const row = Math.floor(index / columns);
      return placeOf(row) * columns + (index % columns);
    });
    let reads = 0;
    const read = headReader({ columns, headRows: rows / headCount }, placeOf, (start, numbers) => {
      reads++;
      numbers.set(stored.subarray(start, start + numbers.length));
    });
    for (let start = 0; start < expected.length; start += 7) {
      for (let end = start + 1; end <= expected.length; end += 3) {
        const numbers = new Float32Array(end - start);
        read(start, numbers);
        expect(numbers).toEqual(expected.slice(start, end));
      }
    }
    reads = 0;
    const whole = new Float32Array(expected.length);
    read(0, whole);
    expect(whole).toEqual(expected);
    expect(reads).toBe(headCount);
  });
});

describe("folders that MLX quantized", () => {
  it.each(["mlx-4bit-g32", "mlx-8bit-g64", "mlx-mixed"])("%s gives its logits", (name) => {
    const { ids, logits } = json(name, "expected.json") as Expected;
    expectCloseRows(forwardLogits(join(FIXTURES, name), ids), logits);
  });

  it.each([
    ["bits", { group_size: 32, bits: 3 }, /to 3 bits; 4 and 8 are read/],
    ["groups", { group_size: 16, bits: 4 }, /groups of 16; 32, 64 and 128/],
    ["mode", { group_size: 32, bits: 4, mode: "mxfp4" }, /quantized as mxfp4; affine is read/],
    ["sizes", { group_size: 64, bits: 4 }, /4 bits in groups of 64 need \[40, 0.5\]/],
    ["words", { bits: "four" }, /needs group_size and bits/],
    ["nothing", undefined, /has no "quantization" that says how/],
  ])("of other %s are refused by name", (name, quantization, message) => {
    const copy = join(folder, `mlx-${name}`);
    const from = join(FIXTURES, "mlx-4bit-g32");
    const { quantization: _, ...config } = json("mlx-4bit-g32/config.json") as Record<
      string,
      unknown
    >;
    rmSync(copy, { recursive: true, force: true });
    exportFolder(from, copy, { ...config, ...(quantization !== undefined && { quantization }) });
    expect(() => forwardLogits(copy, [1])).toThrow(message);
  });
});

function exportFolder(from: string, to: string, config: object): void {
  const target = mkdtempSync(join(folder, "copy-"));
  copyFileSync(join(from, "model.safetensors"), join(target, "model.safetensors"));
  writeFileSync(join(target, "config.json"), JSON.stringify(config));
  rmSync(to, { recursive: true, force: true });
  renameSync(target, to);
}

describe("models that other programs quantized", () => {
  it.each([
    ["awq", /quantized by AWQ, which is not read/],
    ["gptq", /quantized by GPTQ/],
    ["bitsandbytes", /quantized by bitsandbytes/],
    ["fp8", /quantized by FP8/],
    ["tomorrow", /quantized by tomorrow/],
  ])("%s are refused by name, with the remedy", (quant_method, message) => {
    const read = (): unknown =>
      parseModelConfig({ ...LLAMA_JSON, quantization_config: { quant_method, bits: 4 } });
    expect(read).toThrow(message);
    expect(read).toThrow(/without quantization, as GGUF, or as an MLX folder/);
  });
});

describe("checkpoints of llama2.c", () => {
  const { stories } = json("tokenizers.json") as {
    stories: {
      prompt: string;
      greedy: number[];
      text: string;
      ids: number[];
      logits: Rows;
      quantizedLogits: Rows;
    };
  };

  it.each(["stories.bin", "stories-v1.bin"])("%s gives its logits", (name) => {
    expectCloseRows(forwardLogits(join(FIXTURES, name), stories.ids), stories.logits);
  });

  it("of version 2 give those of int8 in groups", () => {
    const path = join(FIXTURES, "stories-v2.bin");
    expectCloseRows(forwardLogits(path, stories.ids), stories.quantizedLogits);
  });

  it("write the text of an independent implementation, with tokenizer.bin beside them", async () => {
    const path = join(FIXTURES, "stories.bin");
    const { text } = await generateFromFolder(path, stories.prompt, {
      engine: "cpu",
      maxTokens: stories.greedy.length,
      temperature: 0,
    });
    expect(text).toBe(stories.text);
  });

  it("are refused where they were cut, or where the tokenizer is another one", () => {
    const bytes = readFileSync(join(FIXTURES, "stories-v1.bin"));
    const cut = join(folder, "cut.bin");
    writeFileSync(cut, bytes.subarray(0, bytes.length - 4));
    expect(() => readModelConfig(cut)).toThrow(/its sizes make \d+ bytes, the file has/);
    const alone = join(folder, "alone.bin");
    writeFileSync(alone, bytes);
    expect(() => loadTokenizer(alone)).toThrow(/there is neither .*tokenizer\.bin nor/);
    writeFileSync(
      join(folder, "tokenizer.bin"),
      readFileSync(join(FIXTURES, "tokenizer.bin")).subarray(0, 100),
    );
    expect(() => loadTokenizer(alone)).toThrow(/ends in piece \d+; the checkpoint has/);
  });
});
