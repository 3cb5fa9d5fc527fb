import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder, tinyTask, tinyTraining } from "../helpers/cli.ts";
import { run } from "./in-process.ts";

describe("a run's folder where a model is asked for", () => {
  it("is the newest whole checkpoint: for train, tokenizer encode and --tokenizer as for generate", async () => {
    const folder = temporaryFolder();
    const first = join(folder, "first");
    const begun = await run(...tinyTraining(folder, first, ["--max-steps", "2"]));
    expect(begun.code, begun.stderr).toBe(0);
    const { data } = tinyTask(folder);
    const train = (output: string, ...more: readonly string[]) =>
      run(
        ...["train", "--data", data, "--output-dir", join(folder, output), "--max-steps", "1"],
        ...["--batch-size", "2", "--max-seq-length", "16", "--threads", "1", ...more],
      );
    const second = await train("second", "--model", first, "--learning-rate", "0");
    expect(second.code, second.stderr).toBe(0);
    const weights = (at: string) => readFileSync(join(folder, at, "model.safetensors"));
    expect(weights("second/checkpoint-1").equals(weights("first/checkpoint-2"))).toBe(true);

    const third = await train(
      ...(["third", "--model-config", join(folder, "tiny.json"), "--tokenizer", first] as const),
    );
    expect(third.code, third.stderr).toBe(0);
    const encoded = await run("tokenizer", "encode", "--tokenizer", first, "a cat", "--json");
    expect(JSON.parse(encoded.stdout)).toMatchObject({ ids: [97, 32, 99, 97, 116] });
  });

  it("is named where there is none, in plain words", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "run.yaml");
    writeFileSync(file, "seed: 1\n");
    mkdirSync(join(folder, "empty"));
    const output = ["--output-dir", join(folder, "out")];
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [["train", ...output, "--model", join(folder, "nope")], /there is no model folder .*nope/],
      [
        ["train", ...output, "--model", file],
        /run\.yaml is a file, and neither GGUF nor a checkpoint/,
      ],
      [["train", ...output, "--model", join(folder, "empty")], /empty is neither a model folder/],
      [
        ["train", ...output, "--config", join(folder, "run.yml")],
        /there is no file .*run\.yml\. Did you mean "run\.yaml"/,
      ],
      [
        ["train", ...output, "--config", join(file, "a")],
        /there is no file .*run\.yaml\/a: there is no folder .*run\.yaml/,
      ],
      [
        ["train", ...output, "--model-config", join(folder, "nope.json"), "--data", file],
        /there is no file .*nope\.json/,
      ],
      [
        ["train", ...output, "--data", file, "--tokenizer", "bpee"],
        /there is no tokenizer bpee\. Did you mean "bpe"/,
      ],
      [["train", ...output, "--data", join(folder, "nope.txt")], /nope\.txt/],
      [["generate", "--model", file], /run\.yaml is a file, and neither GGUF nor a checkpoint/],
      [
        ["eval", "--model", file, "--data", file],
        /run\.yaml is a file, and neither GGUF nor a checkpoint/,
      ],
      [["eval", "--model", file], /run\.yaml is a file, and neither GGUF nor a checkpoint/],
      [["tokenizer", "encode", "a", "--tokenizer", "nope"], /there is no tokenizer nope/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await run(...args);
      expect(code, stderr).toBeGreaterThan(0);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/ENOENT|ENOTDIR|bug/);
    }
  });
});
