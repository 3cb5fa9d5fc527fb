import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeWholeFile } from "../../src/util/atomic-file.ts";
import { runCli, temporaryFolder } from "../helpers/cli.ts";
import { run } from "./in-process.ts";

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

test("doctor saves its findings on machines without an engine", async (context) => {
  if (process.platform === "darwin") context.skip();
  const file = join(temporaryFolder(), "r.json");
  const told = await runCli(["doctor", "--report", file], { ANECDOTE_ANE_LIBRARY: "" });
  expect(told.code, told.stderr).toBe(0);
  expect(told.stderr).not.toContain("this takes some minutes");
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
