import { readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseEvents, runCli, temporaryFolder, tinyTask, tinyTraining } from "../helpers/cli.ts";

describe("a run whose newest checkpoint is damaged", () => {
  it("is read, judged and resumed from the older one, with the same note; the limit keeps whole ones", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const train = (steps: number, ...more: string[]) =>
      runCli(
        tinyTraining(folder, run, [
          ...["--max-steps", String(steps), "--save-steps", "4", "--save-total-limit", "2"],
          ...["--eval-batches", "1", "--json", ...more],
        ]),
      );
    const first = await train(8);
    expect(first.code, first.stderr).toBe(0);
    truncateSync(join(run, "checkpoint-8", "model.safetensors"), 100);
    const damage =
      /checkpoint-8 is damaged: model\.safetensors has 100 bytes, \d+ were written; the older checkpoint-4 is used/;

    const [written, judged] = await Promise.all([
      runCli(["generate", "--model", run, "--prompt", "the", "--max-tokens", "2", "--json"]),
      runCli(["eval", "--model", run, "--data", tinyTask(folder).data, "--json"]),
    ]);
    expect(written.stderr).toMatch(damage);
    expect(judged.stderr).toMatch(damage);
    expect(JSON.parse(judged.stdout)).toMatchObject({ loss: expect.any(Number) as number });

    const resumed = await train(11, "--resume");
    expect(resumed.code, resumed.stderr).toBe(0);
    const notices = parseEvents(resumed.stdout).filter(({ kind }) => kind === "notice");
    expect(notices.map(({ message }) => message)).toContainEqual(expect.stringMatching(damage));
    expect(
      readdirSync(run)
        .filter((name) => name.startsWith("checkpoint-"))
        .sort(),
    ).toEqual(["checkpoint-11", "checkpoint-8", "checkpoint-8.damaged"]);
  });
});
