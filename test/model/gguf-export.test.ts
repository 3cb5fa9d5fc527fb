import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gguf, GGMLQuantizationType } from "@huggingface/gguf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModelConfig } from "../../src/model/index.ts";
import { exportGguf } from "../../src/runs/export-gguf.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { characterTokenizer, loadTokenizer, trainBpe } from "../../src/text/index.ts";
import { ggufVocabulary } from "../../src/text/gguf-vocabulary.ts";
import { runCli } from "../helpers/cli.ts";
import { expectCloseRows, forwardLogits } from "./forward-logits.ts";
import type { Rows } from "./forward-logits.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-gguf-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function expectedOf(path: string): { readonly ids: readonly number[]; readonly logits: Rows } {
  return JSON.parse(readFileSync(join(FIXTURES, path), "utf8")) as {
    ids: number[];
    logits: Rows;
  };
}

/** Families whose switches the format has a place for. */
const REPRESENTED = [
  "llama-plain",
  "llama-biases",
  "llama-rope-linear",
  "llama-rope-llama3",
  "llama-rope-yarn",
  "mistral-window",
  "qwen2",
  "qwen3",
  "gemma",
  "gpt2",
];

describe("a model as a GGUF file", () => {
  it.each(REPRESENTED)("%s means the same when it is read back", (name) => {
    const from = join(FIXTURES, "families", name);
    const path = join(folder, `${name}.gguf`);
    exportGguf(from, path, { type: "f32" });
    const { ids, logits } = expectedOf(`families/${name}/expected.json`);
    expectCloseRows(forwardLogits(path, ids), logits);
  });

  it.each([
    ["llama-rope-dynamic", /frequencies change with the length/],
    ["llama-gelu-fp16", /the gate is gelu/],
    ["llama-rope-yarn-switches", /blend does not end at whole channels/],
    ["qwen2-window", /layers of a qwen2 have a sliding window/],
    ["gemma2", /query_pre_attn_scalar is 20 and not 8/],
    ["gpt2-switches", /the activation is relu/],
  ])("%s is refused by what the format cannot say", (name, message) => {
    const write = (): unknown =>
      exportGguf(join(FIXTURES, "families", name), join(folder, "no.gguf"), { type: "f16" });
    expect(write).toThrow(message);
  });

  it.each(["llama-f16", "gpt2-f16", "qwen2-f16", "gemma3-f16", "llama3-f16"])(
    "%s as F16 goes through a folder and back with equal bytes",
    (name) => {
      const at = (step: string): string => join(folder, step, `${name}.gguf`);
      exportGguf(join(FIXTURES, "weight-files", `${name}.gguf`), at("first"), { type: "f16" });
      exportGguf(at("first"), at("second"), { type: "f16" });
      expect(readFileSync(at("second"))).toEqual(readFileSync(at("first")));
      const hub = join(folder, "hub", name);
      exportModel(at("first"), hub, { type: "float32" });
      exportGguf(hub, at("third"), { type: "f16" });
      expect(readFileSync(at("third"))).toEqual(readFileSync(at("first")));
    },
  );

  it.each(["f16", "q8_0", "q4_0"] as const)("as %s opens in @huggingface/gguf", async (type) => {
    const path = join(folder, `llama-${type}.gguf`);
    exportGguf(join(FIXTURES, "weight-files", "llama-f32.gguf"), path, { type });
    const { metadata, tensorInfos } = await gguf(path, { allowLocalFile: true });
    expect(metadata).toMatchObject({
      "general.architecture": "llama",
      "llama.block_count": 2,
      "tokenizer.ggml.model": "llama",
    });
    const dtypes = { f16: "F16", q8_0: "Q8_0", q4_0: "Q4_0" } as const;
    expect(tensorInfos.find(({ name }) => name === "blk.0.attn_q.weight")).toMatchObject({
      shape: [32n, 32n],
      dtype: GGMLQuantizationType[dtypes[type]],
    });
    expect(tensorInfos.find(({ name }) => name === "output_norm.weight")?.dtype).toBe(
      GGMLQuantizationType.F32,
    );
    const { ids, logits } = expectedOf(`weight-files/llama-${type}.json`);
    // The fixture of that type was made of other numbers; what this file holds must stay what it was made of.
    const rows = forwardLogits(path, ids);
    expect(rows.length).toBe(logits.length);
    const again = join(folder, `again-${type}.gguf`);
    exportGguf(path, again, { type });
    expectCloseRows(forwardLogits(again, ids), rows);
    const [first, second] = [path, again].map((file) => loadTokenizer(file).tokenizer);
    expect(second?.encode("the hen sat")).toEqual(first?.encode("the hen sat"));
  });

  it("writes matrices of odd rows as F16, and says so", () => {
    const { notes } = exportGguf(
      join(FIXTURES, "families", "llama-plain"),
      join(folder, "odd.gguf"),
      { type: "q8_0" },
    );
    expect(notes.join(" ")).toMatch(
      /16 matrices have rows that are no multiple of 32, and are F16/,
    );
    expect(readModelConfig(join(folder, "odd.gguf")).family).toBe("llama");
  });

  it("works as a command, and refuses flags of programs", async () => {
    const from = join(FIXTURES, "weight-files", "stories.bin");
    const to = join(folder, "stories.gguf");
    const { code, stdout } = await runCli(["convert", from, to, "--dtype", "q8_0", "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ to: "gguf", dtype: "q8_0", tensors: 20 });
    const stories = loadTokenizer(from).tokenizer;
    expect(loadTokenizer(to).tokenizer.encode("the cat")).toEqual(stories.encode("the cat"));
    const refused = await runCli(["convert", from, `${to}x.gguf`, "--batch-size", "2"]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("takes --dtype and --overwrite");
  });
});

describe("a tokenizer in GGUF metadata", () => {
  it("is one that was trained here, or refused by name", () => {
    const trained = trainBpe(["the hen and the cat sat on the mat ".repeat(20)], {
      vocabularySize: 280,
    });
    const entries = new Map(ggufVocabulary(trained, 300));
    expect(entries.get("tokenizer.ggml.pre")).toEqual({ type: "string", value: "gpt-2" });
    const tokens = entries.get("tokenizer.ggml.tokens");
    expect(tokens?.type === "strings" && tokens.value.length).toBe(300);
    expect(() => ggufVocabulary(characterTokenizer(["abc"]), 5)).toThrow(
      /splits text in a way of its own/,
    );
    expect(() => ggufVocabulary(trained, 100)).toThrow(/the model's embedding 100 rows/);
  });
});
