import { readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCli, temporaryFolder } from "../helpers/cli.ts";

const STORIES = ["train", "--preset", "storyteller", "--story-count", "100", "--vocab-size", "300"];
const SMALL = [
  "--batch-size",
  "1",
  "--max-seq-length",
  "32",
  "--threads",
  "1",
  "--save-steps",
  "1",
];
const QUIET = ["--eval-batches", "1", "--eval-steps", "0", "--final-samples", "0"];

it("a run on the built-in stories goes on with the stories and the model it began with", async () => {
  const run = join(temporaryFolder(), "run");
  const args = [...STORIES, ...SMALL, ...QUIET, "--output-dir", run];
  const first = await runCli([...args, "--max-steps", "2"]);
  expect(first, first.stderr).toMatchObject({ code: 0 });
  // As another version of the grammar would have named them.
  const [corpus = ""] = readdirSync(join(run, "data")).filter((name) =>
    name.startsWith("stories-"),
  );
  renameSync(join(run, "data", corpus), join(run, "data", "stories-100-00000000"));
  const second = await runCli([...args, "--max-steps", "3", "--resume"]);
  expect(second, second.stderr).toMatchObject({ code: 0 });
  expect(readdirSync(join(run, "data")).filter((name) => name.startsWith("stories-"))).toEqual([
    "stories-100-00000000",
  ]);
  const configOf = (step: number): unknown =>
    JSON.parse(readFileSync(join(run, `checkpoint-${step}`, "config.json"), "utf8"));
  expect(configOf(3)).toEqual(configOf(2));
}, 240_000);
