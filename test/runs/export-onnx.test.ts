import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { importOnnx } from "../../src/onnx/import/import-model.ts";
import { openOnnx } from "../../src/onnx/read-model.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import { writeSafetensors } from "../../src/model/safetensors.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { exportOnnxFolder } from "../../src/runs/export-onnx.ts";
import type { OnnxExportOptions } from "../../src/runs/export-onnx.ts";
import { Random } from "../../src/util/random.ts";
import { tinyModelFolder } from "../helpers/model-folder.ts";

const FAMILIES = fileURLToPath(new URL("../fixtures/families", import.meta.url));
const CASES = [
  "llama-biases",
  "llama-rope-yarn",
  "llama-rope-dynamic",
  "mistral-window",
  "qwen2-window",
  "qwen3",
  "gemma2",
  "gemma3-scaled",
  "gpt2-switches",
];
const TOKEN_COUNT = 40;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-onnx-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Caches = Readonly<Record<string, Tensor>>;

function integers(rows: readonly (readonly number[])[]): Tensor {
  const data = BigInt64Array.from(rows.flat(), BigInt);
  return new Tensor("int64", data, [rows.length, rows[0]?.length ?? 0]);
}

/** A decoder as other runtimes use it: rows of tokens, what fills them up at their front, caches handed on. */
class Decoder {
  readonly session: InferenceSession;

  constructor(session: InferenceSession) {
    this.session = session;
  }

  static async open(path: string): Promise<Decoder> {
    return new Decoder(await InferenceSession.create(path, { logSeverityLevel: 3 }));
  }

  empty(batchSize: number): Caches {
    const entries = this.session.inputMetadata.flatMap((port) => {
      if (!port.isTensor || !port.name.startsWith("past_key_values")) return [];
      const shape = port.shape.map((size) =>
        typeof size === "number" ? size : size === "batch_size" ? batchSize : 0,
      );
      return [[port.name, new Tensor("float32", new Float32Array(), shape)] as const];
    });
    return Object.fromEntries(entries);
  }

  /** `mask`: [B, P + S]. Gives the logits of each row's last token, and the caches after the run. */
  async run(
    tokens: readonly (readonly number[])[],
    mask: readonly (readonly number[])[],
    caches: Caches,
  ): Promise<{ readonly logits: readonly Float32Array[]; readonly caches: Caches }> {
    const width = tokens[0]?.length ?? 0;
    const positions = mask.map((row) => {
      let count = 0;
      return row.map((held) => (held === 1 ? count++ : 1)).slice(-width);
    });
    const results = await this.session.run({
      ...{ input_ids: integers(tokens), attention_mask: integers(mask) },
      ...{ position_ids: integers(positions), ...caches },
    });
    const { logits, ...present } = results;
    const [batch = 0, rows = 0, size = 0] = logits?.dims ?? [];
    const data = logits?.data;
    if (!(data instanceof Float32Array)) throw new Error("there are no logits");
    return {
      logits: Array.from({ length: batch }, (_, row) =>
        data.slice((row * rows + rows - 1) * size, (row + 1) * rows * size),
      ),
      caches: Object.fromEntries(
        Object.entries(present).map(([name, value]) => [
          name.replace("present", "past_key_values"),
          value,
        ]),
      ),
    };
  }
}

function best(logits: Float32Array | undefined): number {
  return logits?.indexOf(Math.max(...logits)) ?? -1;
}

async function greedyText(decoder: Decoder, prompt: readonly number[], count: number) {
  const ones = (length: number): number[] => Array.from({ length }, () => 1);
  let step = await decoder.run([prompt], [ones(prompt.length)], decoder.empty(1));
  const written: number[] = [];
  for (let length = prompt.length; written.length < count; length++) {
    const token = best(step.logits[0]);
    written.push(token);
    step = await decoder.run([[token]], [ones(length + 1)], step.caches);
  }
  return written;
}

interface Expected {
  readonly prompt: readonly number[];
  readonly greedy: readonly number[];
}

function expectedOf(name: string): Expected {
  return JSON.parse(readFileSync(join(FAMILIES, name, "expected.json"), "utf8")) as Expected;
}

describe("a decoder as ONNX with open sizes", () => {
  it.each(CASES)("%s writes the text of an independent implementation", async (name) => {
    const output = join(folder, name);
    exportOnnxFolder(join(FAMILIES, name), output);
    const decoder = await Decoder.open(join(output, "onnx/model.onnx"));
    const { prompt, greedy } = expectedOf(name);
    expect(await greedyText(decoder, prompt, TOKEN_COUNT)).toEqual(greedy.slice(0, TOKEN_COUNT));
  });

  it("gives sequences of a batch that is filled up at the front what each gives alone", async () => {
    for (const name of ["gemma3-scaled", "gpt2-switches"]) {
      const decoder = await Decoder.open(join(folder, name, "onnx/model.onnx"));
      const { prompt } = expectedOf(name);
      const [long, short] = [prompt, prompt.slice(0, -2)];
      const mask = [long.map(() => 1), [0, 0, ...short.map(() => 1)]];
      let both = await decoder.run([long, [0, 0, ...short]], mask, decoder.empty(2));
      const texts: number[][] = [[], []];
      for (let count = 0; count < 12; count++) {
        const next = both.logits.map(best);
        next.forEach((token, row) => texts[row]?.push(token));
        for (const row of mask) row.push(1);
        both = await decoder.run(
          next.map((token) => [token]),
          mask,
          both.caches,
        );
      }
      expect(texts).toEqual([
        await greedyText(decoder, long, 12),
        await greedyText(decoder, short, 12),
      ]);
    }
  });

  it("goes on by several tokens at once as by one", async () => {
    const decoder = await Decoder.open(join(folder, "mistral-window", "onnx/model.onnx"));
    const { prompt, greedy } = expectedOf("mistral-window");
    const tokens = [...prompt, ...greedy].slice(0, 24);
    const ones = tokens.map(() => 1);
    const whole = await decoder.run([tokens], [ones], decoder.empty(1));
    const start = await decoder.run([tokens.slice(0, 5)], [ones.slice(0, 5)], decoder.empty(1));
    const rest = await decoder.run([tokens.slice(5)], [ones], start.caches);
    const [a, b] = [whole.logits[0] ?? new Float32Array(), rest.logits[0]];
    expect(Math.max(...a.map((value, at) => Math.abs(value - (b?.[at] ?? NaN))))).toBeLessThan(
      1e-4,
    );
  });

  it("is refused by the runtime behind the first context of dynamic rope scaling", async () => {
    const name = "llama-rope-dynamic";
    const from = join(folder, "first-context");
    cpSync(join(FAMILIES, name), from, { recursive: true });
    const path = join(from, "config.json");
    const json = JSON.parse(readFileSync(path, "utf8")) as { rope_scaling: object };
    const rope_scaling = { ...json.rope_scaling, original_max_position_embeddings: 16 };
    writeFileSync(path, JSON.stringify({ ...json, rope_scaling }));
    const { notes } = exportOnnxFolder(from, join(folder, "first-context-onnx"));
    expect(notes).toContainEqual(expect.stringContaining("texts end at 16 tokens"));
    const limited = await Decoder.open(join(folder, "first-context-onnx/onnx/model.onnx"));
    const { prompt, greedy } = expectedOf(name);
    const tokens = [...prompt, ...greedy].slice(0, 17);
    const ones = tokens.map(() => 1);
    const [inside, insideOnes] = [tokens.slice(0, 16), ones.slice(0, 16)];
    const { logits, caches } = await limited.run([inside], [insideOnes], limited.empty(1));
    expect(best(logits[0])).toBe(greedy[16 - prompt.length]);
    await expect(limited.run([tokens.slice(16)], [ones], caches)).rejects.toThrow(/out of/);
  });

  it("is read by this project's own importer and reference engine, with and without a past", () => {
    const output = join(folder, "gemma2");
    const { prompt, greedy } = expectedOf("gemma2");
    const file = openOnnx(join(output, "onnx/model.onnx"), join(output, "onnx"));
    const runAt = (
      tokens: readonly number[],
      pastLength: number,
      caches: ReadonlyMap<string, HostTensor>,
    ) => {
      const total_sequence_length = pastLength + tokens.length;
      const { functions } = importOnnx(file, {
        dimensions: new Map([
          ["batch_size", 1],
          ["sequence_length", tokens.length],
          ["past_sequence_length", pastLength],
          ["total_sequence_length", total_sequence_length],
        ]),
      });
      const [fn] = functions;
      if (fn === undefined) throw new Error("there is no function");
      const row = (numbers: readonly number[]): HostTensor =>
        hostTensor("int32", [1, numbers.length], Float64Array.from(numbers));
      const places = tokens.map((_, at) => pastLength + at);
      const empty = hostTensor("fp32", [1, 2, 0, 8], new Float64Array());
      const inputs = new Map<string, HostTensor>([
        ...fn.inputs.map(({ name }) => [name, empty] as const),
        ["input_ids", row(tokens)],
        ["attention_mask", row(Array.from({ length: total_sequence_length }, () => 1))],
        ["position_ids", row(places)],
        ...caches,
      ]);
      const results = evaluateFunction(fn, inputs);
      const logits = results.get("logits")?.data ?? new Float64Array();
      const size = logits.length / tokens.length;
      const last = logits.slice(-size);
      const next = [...results].flatMap(([name, value]) =>
        name.startsWith("present")
          ? [[name.replace("present", "past_key_values"), value] as const]
          : [],
      );
      return { token: last.indexOf(Math.max(...last)), caches: new Map(next) };
    };
    const empty = new Map<string, HostTensor>();
    const first = runAt(prompt, 0, empty);
    expect(first.token).toBe(greedy[0]);
    const second = runAt([first.token], prompt.length, first.caches);
    expect(second.token).toBe(greedy[1]);
  });

  it("holds weights in fewer bits, and beside the file, in one folder", async () => {
    const name = "qwen3";
    const output = join(folder, name);
    const from = join(FAMILIES, name);
    const places = { inlineByteLength: 0, dataByteLength: 20_000 };
    const half = exportOnnxFolder(from, output, { type: "fp16", places });
    exportOnnxFolder(from, output, { type: "q8" });
    expect(half.files.length).toBeGreaterThan(3);
    const config = JSON.parse(readFileSync(join(output, "config.json"), "utf8")) as object;
    expect(config).toMatchObject({
      "transformers.js_config": {
        dtype: "fp32",
        use_external_data_format: {
          "model.onnx": 0,
          "model_fp16.onnx": half.files.length - 1,
          "model_quantized.onnx": 0,
        },
      },
    });
    const { prompt } = expectedOf(name);
    const logitsOf = async (file: string): Promise<Float32Array> => {
      const decoder = await Decoder.open(join(output, "onnx", file));
      const mask = [prompt.map(() => 1)];
      const { logits } = await decoder.run([prompt], mask, decoder.empty(1));
      return logits[0] ?? new Float32Array();
    };
    const wide = await logitsOf("model.onnx");
    const spread = Math.max(...wide) - Math.min(...wide);
    const away = (other: Float32Array): number =>
      Math.max(...wide.map((value, at) => Math.abs(value - (other[at] ?? NaN)))) / spread;
    const [byHalf, byCodes] = [
      away(await logitsOf("model_fp16.onnx")),
      away(await logitsOf("model_quantized.onnx")),
    ];
    expect(byHalf).toBeLessThan(0.005);
    expect(byCodes).toBeLessThan(0.05);
    expect(byCodes).toBeGreaterThan(byHalf);
    // Written again in one piece, nothing of the earlier pieces stays.
    exportOnnxFolder(from, output, { type: "fp16", overwrite: true });
    expect(readdirSync(join(output, "onnx")).toSorted()).toEqual([
      "model.onnx",
      "model_fp16.onnx",
      "model_quantized.onnx",
    ]);
  });

  it("has an adapter in its weights", async () => {
    const from = join(folder, "tiny");
    const { parameters } = tinyModelFolder(from);
    const adapter = join(folder, "adapter");
    mkdirSync(adapter);
    const target_modules = ["q_proj", "down_proj"];
    writeFileSync(
      join(adapter, "adapter_config.json"),
      JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 4, target_modules }),
    );
    const random = new Random(3);
    const tensors = parameters.weights.flatMap(({ name, type }) => {
      const module = name.replace(/\.weight$/, "");
      if (!target_modules.some((target) => module.endsWith(target))) return [];
      const [rows = 0, columns = 0] = staticShape(type);
      return (["A", "B"] as const).map((part) => {
        const shape = part === "A" ? [2, columns] : [rows, 2];
        const numbers = Float32Array.from({ length: elementCount(shape) }, () => random.normal());
        return {
          ...{ name: `base_model.model.${module}.lora_${part}.weight`, shape },
          dataType: "F32" as const,
          chunks: () => [new Uint8Array(numbers.buffer)],
        };
      });
    });
    writeSafetensors(join(adapter, "adapter_model.safetensors"), tensors);
    const adapters = [{ folder: adapter, weight: 1 }];
    const fused = join(folder, "fused");
    exportModel(from, fused, { type: "float32", adapters });
    const textOf = async (path: string, more: OnnxExportOptions = {}) => {
      const output = `${path}-onnx-${more.adapters?.length ?? 0}`;
      exportOnnxFolder(path, output, more);
      return greedyText(await Decoder.open(join(output, "onnx/model.onnx")), [1, 2, 3], 16);
    };
    const written = await textOf(from, { adapters });
    expect(written).toEqual(await textOf(fused));
    expect(written).not.toEqual(await textOf(from));
  });

  it("refuses to stand beside another model, or over itself", () => {
    const taken = join(folder, "gemma2");
    const from = join(FAMILIES, "llama-biases");
    expect(() => exportOnnxFolder(from, taken)).toThrow(/holds no decoder of this model/);
    expect(() => exportOnnxFolder(join(FAMILIES, "gemma2"), taken)).toThrow(/exists already/);
    expect(() => exportOnnxFolder(from, from)).toThrow(/is the model that is converted/);
    const notes = join(folder, "notes");
    mkdirSync(notes);
    writeFileSync(join(notes, "a.txt"), "mine");
    expect(() => exportOnnxFolder(from, notes)).toThrow(/is not empty/);
    expect(existsSync(join(notes, "onnx"))).toBe(false);
  });
});
