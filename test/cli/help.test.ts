import { describe, expect, it } from "vitest";
import { COMMON_OPTIONS } from "../../src/cli/common-options.ts";
import { run } from "./in-process.ts";

const COMMANDS = [
  [],
  ["train"],
  ["generate"],
  ["eval"],
  ["plan"],
  ["estimate"],
  ["inspect"],
  ["check"],
  ["run"],
  ["convert"],
  ["diff"],
  ["ops"],
  ["chips"],
  ["bench"],
  ["bench", "engine"],
  ["bench", "paper"],
  ["data"],
  ["data", "stories"],
  ["data", "tinystories"],
  ["tokenizer"],
  ["tokenizer", "train"],
  ["tokenizer", "encode"],
  ["doctor"],
];

describe("help", () => {
  it.each(COMMANDS.map((words) => [words.join(" ") || "(none)", words] as const))(
    "of %s fits 80 columns in whole words",
    async (_, words) => {
      for (const flag of ["--help", "--help-all"]) {
        const { code, stdout } = await run(...words, flag);
        if (flag === "--help-all" && COMMON_OPTIONS[words.join(" ")] === undefined) {
          expect(code).toBe(2);
          continue;
        }
        expect(code).toBe(0);
        const lines = stdout.split("\n");
        expect(lines.filter((line) => line.length > 80)).toEqual([]);
        // Only commands of commands have no example of their own.
        if (!["bench", "data", "tokenizer"].includes(words.join(" "))) {
          expect(stdout).toMatch(/\nExamples?:\n {2}anecdote /);
          expect(stdout.search(/\nExamples?:/)).toBeLessThan(stdout.search(/\nOptions/));
        }
        if (flag === "--help") {
          const options = lines.filter((line) => /^ {2}-/.test(line));
          expect(options.length).toBeLessThanOrEqual(13);
        }
      }
    },
  );

  it.each(Object.entries(COMMON_OPTIONS))(
    "of %s shows at most ten options, each of which there is, and where the others are",
    async (name, flags) => {
      expect(flags.length).toBeLessThanOrEqual(10);
      const { stdout } = await run(...name.split(" "), "--help");
      const shown = stdout
        .split("\n")
        .flatMap((line) => /^ {2}(?:-\w, )?(--[\w-]+)/.exec(line)?.[1] ?? []);
      expect(shown).toEqual(flags);
      expect(stdout).toContain(`anecdote ${name} --help-all`);
    },
  );

  it("tells defaults and, on request, everything with its other spellings", async () => {
    const { stdout } = await run("train", "--help");
    expect(stdout).toContain("--batch-size <N>");
    expect(stdout).toContain("(default: 4)");
    expect(stdout).not.toContain("--adam-beta1");
    const all = await run("train", "--help-all");
    expect(all.code).toBe(0);
    expect(all.stdout).toContain("--adam-beta1");
    expect(all.stdout.replaceAll(/\s+/g, " ")).toContain("(also --lr)");
  });
});
