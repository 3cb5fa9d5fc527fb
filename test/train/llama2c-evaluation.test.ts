import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluateModel } from "../../src/train/evaluate/evaluate.ts";
import { loadTokenizer } from "../../src/text/index.ts";

// Checkpoint, tokenizer and text of another implementation, and what that says of them: make_llama2c_fixture.py.
const folder = join(import.meta.dirname, "..", "fixtures", "llama2c");
const model = join(folder, "model.bin");
const expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as {
  readonly ids: readonly number[];
  readonly loss: number;
  readonly tokens: number;
  readonly loss_without_begin: number;
};

describe("a foreign llama2.c model", () => {
  it("reads a text as run.c does, behind the begin token", () => {
    const { tokenizer } = loadTokenizer(model);
    const text = readFileSync(join(folder, "text.txt"), "utf8");
    expect([...tokenizer.template.before, ...tokenizer.encode(text)]).toEqual(expected.ids);
  });

  it.each(["reference", "cpu"])("is judged on a text as NumPy judges it, on %s", async (engine) => {
    const data = join(folder, "text.txt");
    const { loss, tokens } = await evaluateModel({ model, data, engine });
    expect(tokens).toBe(expected.tokens);
    expect(Math.abs(loss / expected.loss - 1)).toBeLessThan(1e-6);
    // Without the begin token it would be another number.
    expect(Math.abs(expected.loss_without_begin / expected.loss - 1)).toBeGreaterThan(1e-3);
  });
});
