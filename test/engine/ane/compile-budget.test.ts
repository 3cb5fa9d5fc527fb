import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { modelOf } from "../../../src/model/model.ts";
import { firstCacheLength } from "../../../src/generate/cache-growth.ts";
import { buildDecodePlan } from "../../../src/generate/decode-plan.ts";
import type { CompilationCost, Engine, SectionsOfPlan } from "../../../src/engine/engine.ts";
import { parseModelConfig } from "../../../src/model/index.ts";
import { lastOnes, runCli, tinyTraining } from "../../helpers/cli.ts";
import type { CliResult } from "../../helpers/cli.ts";
import { buildDouble } from "./double-library.ts";

const TIMEOUT_MS = 300_000;
/** With the token that begins a text, one below the smallest cache. */
const PROMPT = "the small cat sat by a warm old stove and slept and then it sat".slice(0, 62);
const PROMPT_LENGTH = 62;

describe("a process that may compile few programs", { timeout: TIMEOUT_MS }, () => {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-budget-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const run = (budget: number, args: readonly string[]): Promise<CliResult> =>
    runCli(lastOnes([...args, "--engine", "ane", "--ane-driver", "in-memory", "--threads", "1"]), {
      ANECDOTE_ANE_LIBRARY: buildDouble("objc"),
      ANECDOTE_CACHE_DIR: join(folder, "cache"),
      ANECDOTE_ANE_CHIP: "m4",
      ANECDOTE_ANE_COMPILE_BUDGET: String(budget),
      TMPDIR: folder,
    });
  const generate = ["generate", "--model", join(folder, "run"), "--json", "--max-tokens", "8"];
  const write = (budget: number): Promise<CliResult> =>
    run(budget, [...generate, "--prompt", PROMPT]);

  beforeAll(async () => {
    const args = tinyTraining(folder, join(folder, "run"), [
      ...["--engine", "cpu", "--max-steps", "1", "--eval-steps", "0", "--json"],
    ]);
    const config = join(folder, "tiny.json");
    const text = readFileSync(config, "utf8");
    writeFileSync(config, text.replace('"n_positions":16', '"n_positions":256'));
    const { code, stderr } = await runCli(args);
    expect(code, stderr).toBe(0);
  }, TIMEOUT_MS);

  test("writes a text that outgrows its cache: the sizes share what they have in common", async () => {
    const [few, many] = [await write(5), await write(100)];
    expect(few.code, few.stdout).toBe(0);
    const { text, tokens } = JSON.parse(few.stdout) as { text: string; tokens: number };
    expect(tokens).toBe(8);
    expect(JSON.parse(many.stdout)).toMatchObject({ text, tokens });
  });

  test("writes the whole text in a cache of one size where the sizes on the way are too many", async () => {
    const { code, stdout } = await write(4);
    expect(code, stdout).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ tokens: 8 });
  });

  test("says before the first token that a text needs more than one may, and what to do", async () => {
    const { code, stdout, stderr } = await run(3, [
      ...["generate", "--model", join(folder, "run"), "--max-tokens", "8", "--prompt", PROMPT],
    ]);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/text of 69 tokens.* needs 4 programs.* may compile 3/);
    expect(stderr).toMatch(/--ane-driver e5rt.*ANECDOTE_ANE_COMPILE_BUDGET/);
  });

  test("judges a model with as many programs as its plan has, or says that they are too many", async () => {
    const evaluate = [
      ...["eval", "--model", join(folder, "run"), "--data", join(folder, "text.txt")],
      ...["--max-seq-length", "64", "--json"],
    ];
    const enough = await run(2, evaluate);
    expect(enough.code, enough.stdout).toBe(0);
    expect((JSON.parse(enough.stdout) as { loss: number }).loss).toBeGreaterThan(0);
    const { code, stdout } = await run(1, evaluate);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      code: "engine.ane.budget",
      message: expect.stringMatching(
        /"evaluate".*needs 2 programs.*may compile 1.*\n?.*e5rt/s,
      ) as unknown,
    });
  });
});

describe("the first cache of a sequence", () => {
  const config = parseModelConfig({
    ...{ model_type: "gpt2", vocab_size: 50, n_embd: 16, n_layer: 1, n_head: 2, n_positions: 512 },
  });
  const asked: (readonly SectionsOfPlan[])[] = [];
  /** Counts sections as programs. */
  const engineWith = (budget: number, left: number): Engine => ({
    description: { name: "ane", device: "", runtime: "", threads: 1 },
    compilationCost: (needs): CompilationCost => {
      asked.push(needs);
      const programs = needs.reduce((sum, { sections }) => sum + sections.length, 0);
      return { programs, missing: programs, left, budget };
    },
    load: () => Promise.reject(new Error("not asked for")),
    close: () => Promise.resolve(),
  });
  const first = (promptLength: number, length: number, budget: number, left = budget): number =>
    firstCacheLength(
      { promptLength, length },
      {
        engine: engineWith(budget, left),
        contextLength: config.contextLength,
        planOf: (bucket) =>
          buildDecodePlan({ model: modelOf(config), bucket, prefillRowCount: 32 }),
        sectionsOfPrompt: () => ["prefill"],
      },
    );

  test("grows along while all sizes on the way fit, and else is the last one", () => {
    expect(first(PROMPT_LENGTH, 300, 5)).toBe(0);
    expect(first(PROMPT_LENGTH, 300, 4)).toBe(300);
    expect(first(PROMPT_LENGTH, PROMPT_LENGTH, 1)).toBe(0);
    expect(() => first(PROMPT_LENGTH, 300, 1)).toThrow(/needs 2 programs/);
  });

  test("is the same whatever the process has compiled before, or the process may not begin", () => {
    expect(() => first(PROMPT_LENGTH, 300, 5, 4)).toThrow(/may compile 5, and this one 4 more/);
    expect(first(PROMPT_LENGTH, 300, 4, 2)).toBe(300);
  });

  test("is found without building a plan where there is room for anything", () => {
    asked.length = 0;
    expect(first(PROMPT_LENGTH, 300, 100)).toBe(0);
    expect(asked).toEqual([[]]);
  });
});
