import { describe, expect, it } from "vitest";
import { COMMON_OPTIONS } from "../../src/cli/common-options.ts";
import { run } from "./in-process.ts";

const COMMANDS = [
  [],
  ["train"],
  ["finetune"],
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

  it("of finetune tells where names of mlx-lm and PEFT mean something else, option by option too", async () => {
    const plain = async (flag: string): Promise<string> =>
      (await run("finetune", flag)).stdout.replaceAll(/\s+/g, " ");
    const short = await plain("--help");
    for (const words of [
      "mlx-lm's iters and what it counts in them are micro-batches",
      "mlx-lm's scale is --lora-alpha divided by --lora-rank",
      "its --num-layers is 16",
      "PEFT adapts some of attention, and its lora_alpha is 8",
    ])
      expect(short).toContain(words);
    const all = await plain("--help-all");
    for (const [option, difference] of [
      ["max-steps", "mlx-lm's --iters counts micro-batches"],
      ["lora-alpha", "mlx-lm's scale is alpha / rank, PEFT's default alpha 8"],
      ["target-modules", "PEFT's default: some of attention"],
      ["trained-layers", "mlx-lm's default: 16"],
      ["mask-prompt", "mlx-lm: the last message only"],
    ] as const)
      expect(all).toMatch(new RegExp(`--${option} [^-](?:(?! --[a-z-]+ <).)*${difference}`));
  });

  it.each([
    ["--scale", "20", /alpha \/ rank: write --lora-alpha with the scale times the rank/],
    ["--use-dora", undefined, /Write --method dora/],
    ["--load-in-4bit", undefined, /Write --method qlora/],
    ["--grad-checkpoint", undefined, /Write --recompute full/],
    ["--modules-to-save", "lm_head", /nothing of the base is trained/],
    ["--resume-adapter-file", "a", /Write --resume/],
  ])("of a name that is theirs alone, %s, is what to write here", async (flag, value, remedy) => {
    const { code, stderr } = await run("finetune", flag, ...(value === undefined ? [] : [value]));
    expect(code).toBe(2);
    expect(stderr).toMatch(remedy);
  });
});
