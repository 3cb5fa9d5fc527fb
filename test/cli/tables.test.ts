import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { missingOps } from "../../src/mil/missing-ops.ts";
import { run, runJson } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("ops lists every op, and one with its parameters in each opset", async () => {
  const { ops, missing } = await runJson("ops");
  expect(missing).toEqual(missingOps());
  expect(ops).toContainEqual({
    name: "conv",
    since: "ios13",
    public: true,
    tested: true,
    evaluated: true,
    derivative: "rule",
    onnx: true,
  });
  expect((await run("ops", "conv")).stdout).toMatch(/from ios17\n\s+x +fp16 fp32/);
  expect((await run("ops", "cnov")).stderr).toContain('Did you mean "conv"');
  expect((await run("ops", "--missing")).stdout.trim().split("\n")).toEqual(missingOps());
});

test("chips lists all of them, and one with sources and roofline", async () => {
  expect((await run("chips")).stdout).toMatch(/^M4 Max/m);
  const chip = await runJson("chips", "m4");
  expect(chip).toMatchObject({ name: "M4", family: "H16" });
  const path = join(folder, "m4.svg");
  expect((await run("chips", "M4", "--svg", path)).code).toBe(0);
  expect(readFileSync(path, "utf8")).toMatch(/^<svg/);
  expect(await run("chips", "m99")).toMatchObject({ code: 2 });
});

test("estimate prices an adapter's step, which costs less than that of all weights", async () => {
  const sizes = ["--preset", "nanogpt-char", "--max-seq-length", "64", "--batch-size", "1"];
  const msOf = async (...more: readonly string[]): Promise<number> =>
    Number((await runJson("estimate", ...sizes, ...more))["ms"]);
  const full = await msOf();
  const lora = await msOf("--method", "lora", "--lora-rank", "4");
  const last = await msOf("--method", "lora", "--lora-rank", "4", "--trained-layers", "1");
  expect(last).toBeLessThan(lora);
  expect(last).toBeLessThan(full);
  expect((await run("estimate", ...sizes, "--token", "--method", "lora")).stderr).toContain(
    "--method says what a step trains",
  );
});

test("estimate prices a preset's step and token, and says that it predicts", async () => {
  const sizes = ["--preset", "nanogpt-char", "--max-seq-length", "32", "--batch-size", "1"];
  const step = await runJson("estimate", ...sizes);
  expect(step).toMatchObject({ chip: "M4", driver: "e5rt" });
  expect(Number(step["ms"])).toBeGreaterThan(0);
  expect(["dispatch", "compute", "streaming", "host"]).toContain(step["bound_by"]);
  const { stdout } = await run("estimate", ...sizes, "--token", "--chip", "m1");
  expect(stdout).toContain("predicted, not measured");
  expect(await run("estimate")).toMatchObject({ code: 2 });
  expect(await run("estimate", "a.mil", "--batch-size", "2")).toMatchObject({ code: 2 });
});

test("bench paper puts published beside predicted", async () => {
  const { rows } = await runJson("bench", "paper");
  expect(rows).toContainEqual(
    expect.objectContaining({ what: "Stories110M training step", published: 91, unit: "ms/step" }),
  );
});

test("data stories writes two files that share no story, the same for the same seed", async () => {
  const make = async (name: string, seed: string): Promise<readonly string[]> => {
    const output = join(folder, name);
    const flags = ["--count", "40", "--validation", "10", "--seed", seed, "--output", output];
    expect((await run("data", "stories", ...flags)).code).toBe(0);
    return ["train.txt", "validation.txt"].map((file) => readFileSync(join(output, file), "utf8"));
  };
  const [train = "", validation = ""] = await make("one", "5");
  expect(train.split("<|endoftext|>\n").filter((story) => story !== "")).toHaveLength(40);
  expect(validation.split("<|endoftext|>\n").filter((story) => story !== "")).toHaveLength(10);
  expect(await make("again", "5")).toEqual([train, validation]);
  expect((await make("other", "6"))[0]).not.toBe(train);
  const wrong = await run("data", "stories", "--count", "many", "--output", folder);
  expect(wrong.stderr).toContain('not "many"');
});
