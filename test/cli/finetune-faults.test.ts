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
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { byteTokenizer, saveTokenizer } from "../../src/text/index.ts";
import { tinyModelFolder } from "../helpers/model-folder.ts";
import { run } from "./in-process.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures", import.meta.url));
const ROW = { prompt: "two and two is", completion: " four" };
const CHAT = { messages: [{ role: "user", content: "a" }] };

let folder: string;
let base: string;
let adapter: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-faults-"));
  base = join(folder, "base");
  tinyModelFolder(base, { contextLength: 64 });
  writeFileSync(join(folder, "good.jsonl"), lines([ROW, ROW]));
  const output = join(folder, "tuned");
  const { code, stderr } = await run(...finetuning(base, "good.jsonl", output), "--max-steps", "1");
  expect(code, stderr).toBe(0);
  adapter = join(output, "checkpoint-1");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function lines(rows: readonly (object | string)[]): string {
  return rows.map((row) => `${typeof row === "string" ? row : JSON.stringify(row)}\n`).join("");
}

function finetuning(model: string, data: string, output: string): readonly string[] {
  return [
    ...["finetune", "--model", model, "--data", join(folder, data), "--output-dir", output],
    ...["--engine", "reference", "--batch-size", "1", "--max-seq-length", "32"],
    ...["--lora-rank", "2", "--eval-steps", "0"],
  ];
}

/** A copy of a folder of which one file is another one, or JSON with other fields. */
function changed(from: string, file: string, content: object | string | Buffer): string {
  const to = mkdtempSync(join(folder, "changed-"));
  cpSync(from, to, { recursive: true });
  const path = join(to, file);
  const isFields = typeof content === "object" && !Buffer.isBuffer(content);
  const before = isFields && existsSync(path) ? readFileSync(path, "utf8") : "{}";
  writeFileSync(
    path,
    isFields ? JSON.stringify({ ...(JSON.parse(before) as object), ...content }) : content,
  );
  return to;
}

function withoutWeights(place: string): string {
  rmSync(join(place, "model.safetensors"));
  return place;
}

function bytesOf(place: string): ReadonlyMap<string, Buffer> {
  const files = readdirSync(place, { recursive: true, withFileTypes: true });
  return new Map(
    files
      .filter((file) => file.isFile())
      .map(({ parentPath, name }) => [
        join(parentPath, name),
        readFileSync(join(parentPath, name)),
      ]),
  );
}

async function expectOneError(words: RegExp, ...command: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await run(...command);
  expect([code, stdout], stderr).toEqual([1, ""]);
  expect(stderr).toMatch(words);
  expect(stderr.match(/^error: /gm), stderr).toHaveLength(1);
  expect(stderr).not.toMatch(/This is a bug|\n {4}at /);
}

const index = (file: string) => ({ weight_map: { "model.norm.weight": file } });
const INDEX = "model.safetensors.index.json";

const MODELS: readonly (readonly [string, () => string, RegExp])[] = [
  [
    "of a family that is not known",
    () => changed(base, "config.json", { model_type: "bert" }),
    /"bert".*llama, gpt2, qwen3/s,
  ],
  [
    "without a shard that its index names",
    () => withoutWeights(changed(base, INDEX, index("model-00002-of-00002.safetensors"))),
    /model-00002-of-00002\.safetensors/,
  ],
  [
    "with an index that points outside its folder",
    () => withoutWeights(changed(base, INDEX, index("../base/model.safetensors"))),
    /not the name of a \.safetensors file in the same folder/,
  ],
  [
    "with weights that were cut",
    () => {
      const weights = readFileSync(join(base, "model.safetensors"));
      return changed(base, "model.safetensors", weights.subarray(0, -64));
    },
    /model\.safetensors/,
  ],
  [
    "with a tokenizer larger than its embedding",
    () => {
      const place = join(folder, "narrow");
      cpSync(join(FIXTURES, "families", "llama-plain"), place, { recursive: true });
      saveTokenizer(place, byteTokenizer());
      return place;
    },
    /257 tokens, the model's embedding 40 rows.*--resize-embeddings/s,
  ],
  [
    "in a GGUF with sizes that lie",
    () => {
      const path = join(folder, "lying.gguf");
      const bytes = readFileSync(join(FIXTURES, "weight-files", "llama-f16.gguf"));
      const name = "blk.0.attn_q.weight";
      bytes.writeBigUInt64LE(1n << 40n, bytes.indexOf(name) + name.length + 4);
      writeFileSync(path, bytes);
      return path;
    },
    /lying\.gguf/,
  ],
  ["that is an adapter", () => adapter, /adapter beside its model/],
];

const DATA: readonly (readonly [string, () => string, RegExp])[] = [
  ["a row that is no JSON", () => lines([ROW, '{"prompt":"a",]']), /row 2: not JSON, byte/],
  ["a row without its field", () => lines([ROW, { prompt: "a" }]), /row 2: no field "completion"/],
  [
    "completions that are all cut off",
    () => lines([{ prompt: "a".repeat(99), completion: "b" }]),
    /none of 1 rows gives anything to learn/,
  ],
  ["no row", () => "\n", /fault\.jsonl/],
];

describe("finetune tells one clear error, and leaves model and folder as they were, of", () => {
  const refuses = async (
    model: string,
    data: string,
    words: RegExp,
    ...more: readonly string[]
  ) => {
    const output = join(mkdtempSync(join(folder, "output-")), "run");
    const before = bytesOf(base);
    await expectOneError(words, ...finetuning(model, data, output), ...more);
    expect(existsSync(output)).toBe(false);
    expect(bytesOf(base)).toEqual(before);
  };

  it.each(MODELS)("a model %s", async (_, make, words) => {
    await refuses(make(), "good.jsonl", words);
  });

  it.each(DATA)("data with %s", async (_, make, words) => {
    writeFileSync(join(folder, "fault.jsonl"), make());
    await refuses(base, "fault.jsonl", words, "--mask-prompt");
  });

  it("parquet that was damaged, with its rows", async () => {
    const bytes = readFileSync(join(FIXTURES, "parquet", "pairs-zstd.parquet"));
    bytes.fill(0xff, 30, 200);
    writeFileSync(join(folder, "fault.parquet"), bytes);
    await refuses(base, "fault.parquet", /fault\.parquet cannot be read as parquet: rows 1 to /);
  });

  it("a split without rows", async () => {
    const splits = join(folder, "splits");
    mkdirSync(splits);
    writeFileSync(join(splits, "train.jsonl"), lines([ROW]));
    writeFileSync(join(splits, "valid.jsonl"), "\n");
    await refuses(base, "splits", /valid\.jsonl|validation data/);
  });

  it.each([
    ["throws", "{{ raise_exception('no, thanks') }}", /row 1: .*no, thanks/],
    ["is none", "{% for %}", /row 1: .*the chat template cannot be used/],
    ["does not end", "{% for i in range(1000000000) %}x{% endfor %}", /at most 100000/],
  ])("a chat template that %s", async (_, template, words) => {
    writeFileSync(join(folder, "chats.jsonl"), lines([CHAT]));
    await refuses(changed(base, "chat_template.jinja", template), "chats.jsonl", words);
  });
});

describe("an adapter", () => {
  const beside = (place: string, model = base): readonly string[] => [
    ...["generate", "--model", model, "--adapter", place, "--prompt", "a", "--max-tokens", "1"],
    ...["--engine", "cpu", "--threads", "1"],
  ];
  const TENSORS = "adapter_model.safetensors";

  it.each([
    [
      "that was cut",
      () => changed(adapter, TENSORS, readFileSync(join(adapter, TENSORS)).subarray(0, -8)),
      /adapter_model\.safetensors/,
    ],
    [
      "of another rank than it says",
      () => changed(adapter, "adapter_config.json", { r: 3 }),
      /ranks 2 and 2, adapter_config\.json says 3/,
    ],
    [
      "of another kind",
      () => changed(adapter, "adapter_config.json", { peft_type: "IA3" }),
      /peft_type is IA3/,
    ],
  ])("%s is one clear error", async (_, make, words) => {
    const place = make();
    await expectOneError(words, ...beside(place));
    const fused = join(folder, "never");
    await expectOneError(words, "fuse", "--model", base, "--adapter", place, "--output", fused);
    expect(existsSync(fused)).toBe(false);
  });

  it("of a model of other shapes is one clear error, with the name of its own", async () => {
    const wide = join(folder, "wide");
    tinyModelFolder(wide, { contextLength: 64, config: { hidden_size: 64 } });
    await expectOneError(
      new RegExp(`of another model.*it says it was trained on ${base}`, "s"),
      ...beside(adapter, wide),
    );
  });

  it("of a model of the same shapes and another name is told of; moved or renamed it is not lost", async () => {
    const { code, stderr } = await run(...beside(adapter));
    expect(code).toBe(0);
    expect(stderr).not.toContain("note:");
    const twin = join(folder, "twin");
    cpSync(base, twin, { recursive: true });
    const told = await run(...beside(adapter, twin));
    expect(told.code).toBe(0);
    expect(told.stderr).toContain(
      `note: the adapter ${adapter} says that it was trained on ${base}, and stands beside ${twin} here`,
    );
    const moved = join(folder, "elsewhere", "base");
    cpSync(base, moved, { recursive: true });
    expect((await run(...beside(adapter, moved))).stderr).not.toContain("note:");
    // As PEFT writes it, beside what the Hub's cache has of it.
    const named = changed(adapter, "adapter_config.json", {
      base_model_name_or_path: "somebody/base",
    });
    const cached = join(folder, "hub", "models--somebody--base", "snapshots", "0123");
    cpSync(base, cached, { recursive: true });
    expect((await run(...beside(named, cached))).stderr).not.toContain("note:");
    expect((await run(...beside(named, twin))).stderr).toContain("trained on somebody/base");
  });
});
