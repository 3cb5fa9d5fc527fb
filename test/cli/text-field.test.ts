import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli, temporaryFolder, tinyTask, tinyTraining } from "../helpers/cli.ts";

test("the field that holds the text has a name in train, eval and tokenizer train, and its synonyms", async () => {
  const folder = temporaryFolder();
  const { data } = tinyTask(folder);
  const rows = join(folder, "c.jsonl");
  const content = readFileSync(data, "utf8").slice(0, 3000);
  writeFileSync(rows, `${JSON.stringify({ content })}\n${JSON.stringify({ content })}\n`);
  const run = join(folder, "run");
  const training = tinyTraining(folder, run, ["--max-steps", "2", "--data", rows]);
  const refused = await runCli(training);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('no field "text"; it has "content"');
  expect(refused.stderr).toContain("--text-field");
  const trained = await runCli([...training, "--text-column", "content"]);
  expect(trained.code, trained.stderr).toBe(0);
  expect(readFileSync(join(run, "config.yaml"), "utf8")).toContain("text_field: content");
  const evaluation = ["eval", "--model", run, "--data", rows, "--engine", "cpu"];
  expect((await runCli([...evaluation])).stderr).toContain("--text-field");
  expect(await runCli([...evaluation, "--dataset-text-field", "content"])).toMatchObject({
    code: 0,
  });
  const tokenizer = ["tokenizer", "train", "--data", rows, "--kind", "char", "--output"];
  expect((await runCli([...tokenizer, join(folder, "t")])).stderr).toContain("--text-field");
  expect(await runCli([...tokenizer, join(folder, "t"), "--text-field", "content"])).toMatchObject({
    code: 0,
  });

  // The record of a run is no text, whatever stands beside it.
  const again = await runCli(["tokenizer", "train", "--data", run, "--output", join(folder, "u")]);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("folder of a run") });
  copyFileSync(data, join(run, "notes.txt"));
  const beside = ["tokenizer", "train", "--kind", "char", "--data", run];
  expect((await runCli([...beside, "--output", join(folder, "v")])).code).toBe(0);
});
