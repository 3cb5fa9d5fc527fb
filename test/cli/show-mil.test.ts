import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";
import { run, runJson } from "./in-process.ts";

test("--show mil --output writes the programs as the engine takes them, each legal for the chip", async () => {
  const folder = temporaryFolder();
  const programs = join(folder, "programs");
  const show = [...tinyTraining(folder, join(folder, "run"), []), "--show", "mil"];
  const written = await runCli([...show, "--engine", "sim:m4", "--output", programs]);
  expect(written.code, written.stderr).toBe(0);
  expect(written.stdout).toMatch(/block_forward\.mil.*: for M4 through e5rt, rewritten/);
  expect(written.stdout).toMatch(/host\/embed_forward\.mil: stays on the host: .*gather/);
  expect(existsSync(join(folder, "run"))).toBe(false);
  const files = readdirSync(programs).filter((name) => name.endsWith(".mil"));
  expect(files).toEqual(expect.arrayContaining(["block_backward.mil", "block_forward.mil"]));
  for (const name of files) {
    const checked = await run("check", join(programs, name), "--chip", "m4");
    expect(checked, `${name}: ${checked.stdout}${checked.stderr}`).toMatchObject({ code: 0 });
  }
  const summary = await runJson("inspect", join(programs, "block_forward.mil"));
  expect(JSON.stringify(summary["functions"])).not.toContain("fp32");

  const again = await run(...show, "--engine", "sim:m4", "--output", programs);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("--overwrite") });
  expect(await run(...show, "--output", programs, "--overwrite")).toMatchObject({ code: 0 });
  expect(readdirSync(programs)).toContain("embed_forward.mil");
  const asPlanned = await runJson("inspect", join(programs, "block_forward.mil"));
  expect(JSON.stringify(asPlanned["functions"])).toContain("fp32");
  for (const bad of [["--show", "plan"], []]) {
    const args = [...show.slice(0, -2), ...bad, "--output", programs];
    expect(await run(...args)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--show"),
    });
  }
});
