import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder, tinyTask, tinyTraining } from "../helpers/cli.ts";
import { run } from "./in-process.ts";

describe("settings that would do nothing", () => {
  it("are errors on the command line, notes in a file, and fine where they are the run's own", async () => {
    const folder = temporaryFolder();
    const first = join(folder, "first");
    expect((await run(...tinyTraining(folder, first, ["--max-steps", "1"]))).code).toBe(0);
    const { data } = tinyTask(folder);
    const output = ["--output-dir", join(folder, "out")];
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [
        ["--model", first, "--tokenizer", "byte", "--data", data],
        /--tokenizer byte would do nothing: the model .*first has a tokenizer of its own/,
      ],
      [
        ["--tokenizer", first, "--vocab-size", "9000", "--data", data],
        /--vocab-size 9000 would do nothing: the tokenizer .*first has a vocabulary of its own/,
      ],
      [
        ["--story-count", "500", "--data", data],
        /--story-count 500 would do nothing: it counts built-in stories/,
      ],
      [
        ["--resume", "--output-dir", first, "--tokenizer", "char"],
        /--tokenizer char would do nothing: the run was begun with "byte" and keeps that/,
      ],
    ];
    for (const [args, message] of cases) {
      const folderFlags = args.includes("--output-dir") ? [] : output;
      const { code, stderr } = await run("train", ...folderFlags, ...args);
      expect(code, stderr).toBe(2);
      expect(stderr).toMatch(message);
    }
    const same = await run(...tinyTraining(folder, first, ["--max-steps", "1", "--resume"]));
    expect(same.code, same.stderr).toBe(0);
    const file = join(folder, "run.yaml");
    writeFileSync(file, `story_count: 500\ndata: ${data}\n`);
    const noted = await run("train", "--config", file, "--print-config");
    expect(noted.code).toBe(0);
    expect(noted.stderr).toMatch(/note: .*run\.yaml: story_count 500 does nothing/);
  });
});

describe("a value that a setting cannot have", () => {
  it("is told of by its flag, or by file and key, in plain words", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "run.yaml");
    writeFileSync(file, "iters: 1.5\n");
    const short = join(folder, "short.txt");
    writeFileSync(short, "twenty-eight bytes of text.\n");
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [["train", "--max-steps", "0"], /error: --max-steps must be at least 1, not 0\./],
      [["train", "--max-steps", "1.5"], /--max-steps must be a whole number, not 1\.5/],
      [
        ["train", "--validation-fraction", "2"],
        /--validation-fraction must be at most 0\.9, not 2/,
      ],
      [
        ["train", "--sampling", "documnts"],
        /--sampling must be random or .* Did you mean "documents"/,
      ],
      [["train", "--config", file], /run\.yaml: iters must be a whole number, not 1\.5/],
      [["generate", "--model", ""], /--model must not be empty/],
      [["train", "--preset", "nanogtp"], /no preset "nanogtp"\. Did you mean "nanogpt-char"\?/],
      [
        [
          ...["train", "--data", short, "--tokenizer", "byte", "--validation-fraction", "0"],
          ...["--output-dir", join(folder, "out")],
        ],
        /short\.txt has 29 tokens to train on, a context of 216 tokens needs 217\n.*--max-seq-length 28 or less/,
      ],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await run(...args);
      expect(code, stderr).toBeGreaterThan(0);
      expect(stderr).toMatch(message);
    }
  });
});
