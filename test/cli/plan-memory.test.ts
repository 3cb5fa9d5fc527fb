import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { mayBeNeuralEngine } from "../../src/engine/auto.ts";
import { temporaryFolder } from "../helpers/cli.ts";
import { run, runJson } from "./in-process.ts";

const SIZES = ["--preset", "stories15M", "--batch-size", "1", "--max-seq-length", "64"];

interface Fit {
  readonly fits: boolean;
  readonly fewestMachines?: number;
  readonly asked: { readonly byteLength: number; readonly residentByteLength: number };
  readonly fromFile?: { readonly residentByteLength: number };
}

it("plan --memory says what a step takes, whether it fits, and on how many machines", async () => {
  const fitOf = async (...more: readonly string[]): Promise<Fit> =>
    (await runJson("plan", ...SIZES, ...more))["fit"] as Fit;
  const whole = await fitOf("--memory", "64GiB");
  expect(whole).toMatchObject({ fits: true, fewestMachines: 1 });
  const lora = await fitOf("--method", "lora", "--memory", "64GiB");
  const qlora = await fitOf("--method", "qlora", "--base-group-size", "32", "--memory", "64GiB");
  expect(lora.asked.byteLength).toBeLessThan(0.6 * whole.asked.byteLength);
  expect(qlora.asked.byteLength).toBeLessThan(lora.asked.byteLength);
  // Programs and the process take what they take on any machine.
  const { byteLength, residentByteLength } = whole.asked;
  expect(residentByteLength - byteLength).toBeGreaterThan(2e8);
  const four = residentByteLength - Math.floor(byteLength * 0.2);
  const small = await fitOf("--memory", `${four}`);
  expect(small.fits).toBe(false);
  expect(small.fewestMachines).toBeGreaterThan(1);
  expect((await fitOf("--memory", "1MB")).fewestMachines).toBeUndefined();
  // Masks of dropout are for one process that has every layer.
  const dropout = ["--method", "lora", "--lora-dropout", "0.1"];
  expect(await fitOf(...dropout, "--memory", "64GiB")).toMatchObject({ fewestMachines: 1 });
  const { stdout: undivided } = await run("plan", ...SIZES, ...dropout, "--memory", "290MB");
  expect(undivided).toMatch(/does not fit 277 MiB[\s\S]*layers cannot be split over machines/);
  const { layouts } = await runJson("plan", ...SIZES, ...dropout, "--machines", "4");
  expect(layouts).toMatchObject([{ layout: "data" }, { layout: "sharded" }]);
  const { stdout: cramped } = await run("plan", ...SIZES, "--method", "lora", "--memory", "290MB");
  expect(cramped).toMatch(/does not fit 277 MiB; it is limited by: weight/);
  expect(cramped).toMatch(/with the base's matrices in their file .* about \d+ MiB resident/);
  const { stdout: timed } = await run("plan", ...SIZES, "--memory", "16GB", "--measure");
  expect(timed).toMatch(/about [\d.]+ m?s a step here on cpu: one to three layers were timed/);
  expect(await run("plan", ...SIZES, "--measure")).toMatchObject({ code: 2 });
  const { stdout } = await run("plan", ...SIZES, "--memory", "16GB", "--chip", "m4");
  expect(stdout).toMatch(/fits 14\.9 GiB; most is taken by: optimizer/);
  expect(stdout).toMatch(/predicted on m4: [\d.]+ ms a step of 64 tokens/);
  expect(await run("plan", ...SIZES, "--memory", "much")).toMatchObject({ code: 2 });
});

it("plan --memory knows shapes of 30 and 70 billion numbers", async () => {
  const sizes = ["--method", "qlora", "--target-modules", "q_proj,v_proj", "--memory", "64GB"];
  for (const [preset, billions, gibibytes] of [
    ["llama-2-70b", 69, 36],
    ["qwen2.5-32b", 32.8, 17],
  ] as const) {
    const report = await runJson("plan", "--preset", preset, "--max-seq-length", "128", ...sizes);
    const { parameters } = report["model"] as { parameters: number };
    expect(Math.abs(parameters / 1e9 - billions)).toBeLessThan(0.3);
    // Four bits and half a bit of scales and offsets a number, tables in fp32.
    const { asked } = report["fit"] as Fit;
    expect(asked.byteLength / 2 ** 30).toBeGreaterThan(gibibytes);
    expect(asked.byteLength / 2 ** 30).toBeLessThan(1.7 * gibibytes);
  }
});

const NARROW = ["--preset", "nanogpt-char", "--layers", "1", "--hidden-size", "32", "--heads", "2"];

it("plan tells whether a frozen base's matrices are constants or inputs, both prices, and what nobody priced", async () => {
  const lora = [...NARROW, "--method", "lora"];
  const told =
    /a frozen base on M4: .*matrices .*ms with inputs, .* ms with constants \(predicted\)/;
  expect((await run("plan", ...lora, "--engine", "sim:m4")).stdout).toMatch(told);
  expect((await run("plan", ...lora, "--chip", "m4")).stdout).toMatch(told);
  const asked = await runJson("plan", ...lora, "--chip", "m2", "--base-weights", "constants");
  const base = asked["base_weights"] as { constants: number; of: number; not_priced: number };
  expect(base).toMatchObject({ chip: "M2", reason: "asked for", not_priced: 0 });
  expect(base.constants).toBe(base.of);
  const sizes = ["--batch-size", "1", "--max-seq-length", "64", "--method", "lora"];
  const { base_weights: large } = await runJson(
    ...["plan", "--preset", "llama-2-70b", ...sizes, "--chip", "m4"],
  );
  expect(large).toMatchObject({
    constants: 0,
    reason: "all of them are too large to be priced unasked",
  });
  expect(large).not.toHaveProperty("constants_ms");
  expect((large as { not_priced: number }).not_priced).toBeGreaterThan(500);
});

it("plan and estimate price nonlinear ops on the host beside all that the engine can", async () => {
  const args = [...NARROW, "--placement", "linear-only"];
  interface Price {
    readonly ms: number;
    readonly host_ms: number;
    readonly crossings: number;
  }
  const { placement } = await runJson("plan", ...args, "--chip", "m4");
  const { engine, linear_only: linear } = placement as { engine: Price; linear_only: Price };
  expect(linear.crossings).toBeGreaterThan(4 * engine.crossings);
  expect(linear.host_ms).toBeGreaterThan(engine.host_ms);
  expect(linear.ms).toBeGreaterThan(engine.ms);
  expect((await run("estimate", ...args)).stdout).toMatch(
    /linear-only placement on M4, predicted for an update: .* \d+ crossings; with all that the engine can on the engine/,
  );
});

it("plan says where a run under --engine auto refuses what the plan is asked for", async (context) => {
  if (mayBeNeuralEngine()) context.skip("--engine auto may be a Neural Engine here");
  const asked = [
    ["--placement", "linear-only"],
    ["--method", "lora", "--base-weights", "constants"],
  ];
  for (const flags of asked) {
    const { code, stdout, stderr } = await run("plan", ...NARROW, ...flags, "--json");
    expect(code).toBe(0);
    expect(() => JSON.parse(stdout) as unknown).not.toThrow();
    const flag = flags.slice(-2).join(" ");
    expect(stderr.trim()).toBe(
      `note: ${flag} is a Neural Engine's, and --engine auto is cpu on this machine: a run would be refused there; take --engine sim:m4 or ane`,
    );
    expect((await run("plan", ...NARROW, ...flags, "--engine", "sim:m4")).stderr).toBe("");
  }
  const output = join(temporaryFolder(), "run");
  const placed = ["train", ...NARROW, "--placement", "linear-only", "--output-dir", output];
  const { code, stdout, stderr } = await run(...placed, "--max-steps", "1");
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(
    /^error: --placement linear-only divides a step .* this run has the engine cpu\n {2}Leave --placement out, or take --engine sim:m4 or ane\.\n$/,
  );
  expect(existsSync(output)).toBe(false);
});
