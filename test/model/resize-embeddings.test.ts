import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModelConfig } from "../../src/model/index.ts";
import { exportModel } from "../../src/runs/export-model.ts";
import { describeModelFolder } from "../../src/runs/describe-model-folder.ts";
import { byteTokenizer, saveTokenizer } from "../../src/text/index.ts";
import { resolveModelFolder, train } from "../../src/train/index.ts";
import { runCli } from "../helpers/cli.ts";
import { forwardLogits } from "./forward-logits.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-rows-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a tokenizer with more tokens than the embedding has rows", () => {
  it.each(["llama-plain", "gemma3", "gpt2"])(
    "of %s is refused with the remedy, which leaves the tokens there were as they were",
    async (name) => {
      const from = join(folder, name);
      cpSync(join(FIXTURES, "families", name), from, { recursive: true });
      saveTokenizer(from, byteTokenizer());
      const output = join(folder, `${name}-wide`);
      expect(() => exportModel(from, output, { type: "float32" })).toThrow(
        /the tokenizer has 257 tokens, the model's embedding 40 rows[\s\S]*--resize-embeddings/,
      );
      const args = ["export", "--model", from, "--output", output, "--resize-embeddings"];
      expect((await runCli(args)).code).toBe(0);
      expect(readModelConfig(output).vocabularySize).toBe(257);
      const ids = [3, 1, 4, 1, 5];
      const before = forwardLogits(from, ids);
      const after = forwardLogits(output, ids);
      for (const [row, logits] of after.entries()) {
        expect(logits.length).toBe(257);
        expect(logits.slice(0, 40)).toEqual(before[row]);
        // Every new row is the mean of the old ones.
        expect(new Set(logits.slice(40)).size).toBe(1);
      }
    },
  );
});

describe("finetune --resize-embeddings", () => {
  it("trains beside a base of its own with rows for all tokens, which the adapter finds again", async () => {
    const model = join(folder, "own");
    cpSync(join(FIXTURES, "families", "llama-plain"), model, { recursive: true });
    saveTokenizer(model, byteTokenizer());
    const data = join(folder, "text.txt");
    writeFileSync(data, "abc ".repeat(200));
    const output = join(folder, "run");
    const settings = { model, data, output_dir: output, method: "lora", lora_rank: 2 } as const;
    const common = { max_steps: 2, batch_size: 1, max_seq_length: 8, engine: "cpu", threads: 1 };
    await expect(train({ ...settings, ...common })).rejects.toThrow(
      /257 tokens, the model's embedding 40 rows/,
    );
    const run = await train({ ...settings, ...common, resize_embeddings: true });
    await run.finished();
    expect(readModelConfig(join(output, "base")).vocabularySize).toBe(257);
    const fused = join(folder, "fused");
    exportModel(resolveModelFolder(output), fused, { type: "float32" });
    expect(forwardLogits(fused, [3, 1])[0]?.length).toBe(257);
  });
});

describe("a model of one file", () => {
  it("is described as a folder is", () => {
    const gguf = describeModelFolder(join(FIXTURES, "weight-files", "llama-q8_0.gguf"));
    expect(gguf.model?.summary.metadata).toMatchObject({ family: "llama", weights: "gguf" });
    expect(gguf.model?.summary.weights).toContainEqual(
      expect.objectContaining({ name: "blk.0.attn_q.weight", dtype: "Q8_0", bytes: 1_088 }),
    );
    const stories = describeModelFolder(join(FIXTURES, "weight-files", "stories.bin"));
    expect(stories.model?.summary.metadata).toMatchObject({
      weights: "llama2.c",
      tokenizer: "300 tokens",
    });
  });

  it("is inspected, and its forward pass converted, by commands", async () => {
    const path = join(FIXTURES, "weight-files", "llama-f16.gguf");
    const { stdout } = await runCli(["inspect", path, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ format: "model", config: { model_type: "llama" } });
    const to = join(folder, "forward.mil");
    const { code } = await runCli(["convert", path, to, "--max-seq-length", "8"]);
    expect(code).toBe(0);
  });
});
