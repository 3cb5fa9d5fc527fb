import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

async function ended(child: ReturnType<typeof startCli>) {
  let stderr = "";
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.on("exit", resolve));
  return { code, stderr };
}

test("a command whose reader is gone ends quietly", async () => {
  const child = startCli(["ops"]);
  child.stdout?.destroy();
  expect(await ended(child)).toEqual({ code: 0, stderr: "" });
});

test("a training whose reader is gone saves and stops", async () => {
  const folder = temporaryFolder();
  const run = join(folder, "run");
  const steps = ["--max-steps", "100000", "--logging-steps", "1", "--eval-steps", "0"];
  const child = startCli(tinyTraining(folder, run, ["--json", "--save-steps", "0", ...steps]));
  child.stdout?.on("data", (chunk: Buffer) => {
    if (chunk.toString().includes('"kind":"step"')) child.stdout?.destroy();
  });
  const { stderr } = await ended(child);
  expect(stderr).not.toMatch(/EPIPE|Unhandled|bug/);
  expect(readdirSync(run).some((name) => name.startsWith("checkpoint-"))).toBe(true);
});
