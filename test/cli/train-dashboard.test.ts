import { join } from "node:path";
import { expect, it } from "vitest";
import { finished, runCli, startCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

it("train --dashboard serves its run's folder while it trains, and no longer", async () => {
  const folder = temporaryFolder();
  const child = startCli([
    ...tinyTraining(folder, join(folder, "runs", "first"), ["--max-steps", "100000"]),
    ...["--logging-steps", "1", "--save-steps", "0", "--dashboard"],
  ]);
  const ended = finished(child);
  const address = await new Promise<string>((resolve) => {
    let text = "";
    child.stderr?.on("data", (piece: Buffer) => {
      text += piece.toString();
      const [, found] = /dashboard: (\S+)/.exec(text) ?? [];
      if (found !== undefined) resolve(found);
    });
  });
  const [url = ""] = address.split("/#key=");
  const firstRun = async (): Promise<unknown> => {
    const answer = await fetch(`${url}/api/runs`);
    return ((await answer.json()) as { runs: { id: string; state: string; step: number }[] })
      .runs[0];
  };
  await expect.poll(firstRun, { timeout: 20_000 }).toMatchObject({ id: "first", state: "running" });
  // Before its first step there is nothing to save.
  await expect
    .poll(async () => ((await firstRun()) as { step: number }).step, { timeout: 20_000 })
    .toBeGreaterThan(2);
  child.kill("SIGINT");
  expect((await ended).code).toBe(130);
  await expect(fetch(url)).rejects.toThrow();
});

it("--dashboard is refused where nothing runs", async () => {
  const { code, stderr } = await runCli(["train", "--print-config", "--dashboard"]);
  expect([code, stderr]).toEqual([2, expect.stringContaining("--dashboard does nothing")]);
});
