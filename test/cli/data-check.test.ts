import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { byteTokenizer, saveTokenizer } from "../../src/text/index.ts";
import { run, runJson } from "./in-process.ts";

describe("anecdote data check", () => {
  let folder: string;
  let model: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-check-"));
    model = join(folder, "model");
    mkdirSync(model);
    saveTokenizer(model, byteTokenizer());
    writeFileSync(
      join(model, "config.json"),
      JSON.stringify({
        ...{ model_type: "gpt2", vocab_size: 257, n_embd: 16, n_layer: 1, n_head: 2 },
        ...{ n_positions: 64, activation_function: "gelu_new" },
      }),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const write = (name: string, rows: readonly unknown[]): string => {
    const path = join(folder, name);
    const lines = rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row)));
    writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
    return path;
  };

  it("shows what is learned, counts, cuts and leaves out by name, and tells duplicates", async () => {
    const path = write("pairs.jsonl", [
      { prompt: "one? ", completion: "1" },
      { prompt: "two? ", completion: "2" },
      { prompt: "one? ", completion: "1" },
      { prompt: "long? ", completion: "x".repeat(90) },
      { prompt: "p".repeat(90), completion: "x" },
    ]);
    const check = ["data", "check", path, "--model", model, "--mask-prompt"];
    const { code, stdout } = await run(...check);
    expect(code).toBe(0);
    expect(stdout).toContain("⟨one? ⟩1<|endoftext|>");
    expect(stdout).toContain("5 rows, 4 examples, 118 tokens");
    expect(stdout).toMatch(/cut off: 1\n {4}.*row 5/);
    expect(stdout).toMatch(/longer than 64 tokens, cut there: 1\n {4}.*row 4/);
    expect(stdout).toMatch(/duplicates: 1\n {4}.*row 3 of .*row 1/);
    const json = await runJson(...check, "--show", "1");
    expect(json).toMatchObject({ form: "completions", sequenceLength: 64 });
    expect(json["shown"]).toEqual([
      {
        where: `${path}, row 1`,
        ...{ tokens: 7, truncated: false },
        pieces: [
          { text: "one? ", learned: false },
          { text: "1<|endoftext|>", learned: true },
        ],
      },
    ]);
  });

  it("finds rows of one split in another, and all rows that cannot be read", async () => {
    const data = join(folder, "data");
    mkdirSync(data);
    const messages = (text: string) => ({
      messages: [
        { role: "user", content: text },
        { role: "assistant", content: "yes" },
      ],
    });
    write("data/train.jsonl", [messages("a"), { messages: 3 }, messages("b"), { text: "c" }, "{"]);
    write("data/val.jsonl", [messages("a")]);
    const check = ["data", "check", data, "--model", model, "--chat-template", "plain"];
    const { code, stdout } = await run(...check, "--mask-prompt");
    expect(code).toBe(1);
    expect(stdout).toContain("⟨### User\na\n### Assistant\n⟩yes<|endoftext|>");
    expect(stdout).toMatch(/cannot be read: 3\n.*row 2.*\n.*row 4.*\n.*row 5: not JSON/);
    expect(stdout).toMatch(/duplicates: 1\n {4}.*val\.jsonl, row 1 of .*train\.jsonl, row 1/);
    const without = await run("data", "check", data, "--model", model);
    expect(without.stdout).toContain("the model has no chat template");
  });

  it("takes a text as one stream, and needs a model", async () => {
    const path = join(folder, "text.txt");
    writeFileSync(path, "some words");
    const { stdout } = await run("data", "check", path, "--model", model);
    expect(stdout).toContain("text, one stream to a run");
    expect(await run("data", "check", path)).toMatchObject({ code: 2 });
  });
});
