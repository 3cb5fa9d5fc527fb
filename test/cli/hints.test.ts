import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeWholeFile } from "../../src/util/atomic-file.ts";
import { parseEvents, runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";
import { run, runJson } from "./in-process.ts";

test("plain text is told from a damaged model, by every command that opens files", async () => {
  const folder = temporaryFolder();
  const text = join(folder, "mytext.txt");
  writeFileSync(text, "hello, this is no model\nünd more\n");
  for (const args of [
    ["inspect", text],
    ["estimate", text],
    ["diff", text, text],
    ["convert", text, join(folder, "x.onnx")],
  ]) {
    const { code, stderr } = await run(...args);
    expect(code).not.toBe(0);
    expect(stderr).toContain("mytext.txt is text, and not MIL");
    expect(stderr).not.toContain("ONNX model");
  }
});

test("a refused write names no option that the command may lack", (context) => {
  // Nobody may write there, the superuser neither.
  if (!existsSync("/proc/self")) context.skip();
  const target = "/proc/self/nothing.svg";
  let message = "";
  try {
    writeWholeFile(target, "x");
  } catch (error) {
    message = String(error);
  }
  expect(message).toContain(`cannot write ${target}`);
  expect(message).not.toContain("--output-dir");
});

test("the name of a simulated engine suggests its chip", async () => {
  const { code, stderr } = await run("estimate", "x.mil", "--chip", "sim:m4");
  expect(code).not.toBe(0);
  expect(stderr).toContain('Did you mean "m4"?');
});

test("help of a command that there is none of is an error; options that repeat show no empty default", async () => {
  const zork = await run("help", "trian");
  expect(zork).toMatchObject({ code: 2, stderr: expect.stringContaining('Did you mean "train"?') });
  expect(await run("help", "train")).toMatchObject({ code: 0 });
  for (const command of ["run", "generate", "eval"]) {
    const { stdout } = await run(command, "--help");
    expect(stdout).not.toContain("default: []");
    expect(stdout.match(/^Options/gm)).toHaveLength(1);
  }
});

test("the two counts of tested ops add up", async () => {
  const { stdout } = await run("ops");
  const [, all, tested] = /(\d+) ops: .* (\d+) tested against/.exec(stdout) ?? [];
  const missing = await run("ops", "--missing");
  const left = missing.stdout.trim().split("\n").length;
  expect(Number(tested) + left).toBe(Number(all));
  expect(missing.stderr).toContain(`${left} of ${all} ops`);
});

test("plan and train tell the same memory for the same step", async () => {
  const folder = temporaryFolder();
  const training = tinyTraining(folder, join(folder, "run"), []);
  // What changes no plan is refused there.
  const idle = new Set(["--output-dir", "--data"]);
  const [, ...options] = training.filter(
    (word, index) => !idle.has(word) && !idle.has(training[index - 1] ?? ""),
  );
  const planned = await runJson("plan", ...options);
  expect(planned["kind"], JSON.stringify(planned)).not.toBe("error");
  const { total_bytes: total } = planned["memory"] as { readonly total_bytes: number };
  expect(total).toBeGreaterThan(0);
  const trained = await runCli([...training, "--max-steps", "1", "--json"]);
  const start = parseEvents(trained.stdout).find(({ kind }) => kind === "start");
  expect(start?.["plan_bytes"]).toBe(total);
});

test("doctor saves its findings on machines without an engine", async (context) => {
  if (process.platform === "darwin") context.skip();
  const file = join(temporaryFolder(), "r.json");
  const told = await runCli(["doctor", "--report", file], { ANECDOTE_ANE_LIBRARY: "" });
  expect(told.code, told.stderr).toBe(0);
  expect(told.stderr).not.toContain("Self-test:");
  const { findings } = JSON.parse(readFileSync(file, "utf8")) as {
    findings: readonly { what: string }[];
  };
  expect(findings.map(({ what }) => what)).toEqual(
    expect.arrayContaining(["system", "cpu engine", "neural engine", "speed"]),
  );
});

test("bench engine replaces no report without --overwrite, predicted or measured", async () => {
  const folder = join(temporaryFolder(), "bench");
  const bench = ["bench", "engine", "--engine", "sim:m4", "--suite", "latency", "--quick"];
  const first = await runCli([...bench, "--output-dir", folder]);
  expect(first.code, first.stderr).toBe(0);
  const before = readFileSync(join(folder, "report.json"));
  const again = await runCli([...bench, "--output-dir", folder]);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("--overwrite") });
  expect(readFileSync(join(folder, "report.json"))).toEqual(before);
  expect(await runCli([...bench, "--output-dir", folder, "--overwrite"])).toMatchObject({
    code: 0,
  });
});
