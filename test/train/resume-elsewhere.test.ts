import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { resumeNotices } from "../../src/train/run/resume-notices.ts";
import { learningRateAt } from "../../src/train/step/schedule.ts";
import type { EngineDescription } from "../../src/engine/engine.ts";
import type { TrainerState } from "../../src/runs/state.ts";
import { parseEvents, runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

const engine = { name: "cpu", device: "x", runtime: "y", threads: 1 } as EngineDescription;

function noticesOf(before: object, now: object, data = ["a", "a"]): readonly string[] {
  const saved = { begin_tokens: "template", ...before };
  const config = { output_dir: "run", begin_tokens: "template", ...now };
  return resumeNotices({
    state: { config: saved, engine, data: data[0] } as unknown as TrainerState,
    ...{ engine, config },
    dataDigest: data[1],
  });
}

it("a resumed run tells every setting that changes its weights, and changed data", () => {
  expect(noticesOf({ weight_decay: 0.1 }, { weight_decay: 0.2 })).toEqual([
    "weight_decay was 0.1, now it is 0.2, which holds from here on",
  ]);
  expect(noticesOf({ adam_beta2: 0.9 }, { adam_beta2: 0.95, tap_bytes: 5 })).toHaveLength(2);
  expect(noticesOf({ logging_steps: 1 }, { logging_steps: 2 })).toEqual([]);
  expect(noticesOf({ model: "/x/m" }, { model: "/x/m" })).toEqual([]);
  expect(noticesOf({}, {}, ["a", "b"])[0]).toMatch(/the data are as long.*--model/);
});

it("the last step has the minimum of the learning rate", () => {
  const schedule = {
    kind: "cosine",
    ...{ learningRate: 1, minimumLearningRate: 0.25, warmupSteps: 2, maxSteps: 10, decaySteps: 9 },
  } as const;
  expect(learningRateAt(schedule, 9)).toBeCloseTo(0.25, 12);
  expect(learningRateAt(schedule, 8)).toBeGreaterThan(0.25);
});

it("the way on with other data that a resume tells of works as it is printed", async () => {
  const folder = temporaryFolder();
  const run = join(folder, "run");
  const begun = await runCli([...tinyTraining(folder, run, ["--max-steps", "2"]), "--json"]);
  expect(begun, begun.stderr).toMatchObject({ code: 0 });
  const data = join(folder, "text.txt");
  writeFileSync(data, readFileSync(data, "utf8").replaceAll("the", "teh"));
  const more = ["train", "--resume", "--output-dir", run, "--max-steps", "3", "--json"];
  const told = parseEvents((await runCli(more)).stdout).map(({ message }) => String(message));
  const way = /--model (\S+) --output-dir (\S+)/.exec(
    told.find((text) => text.includes("--model")) ?? "",
  );
  expect(way?.[1]).toBe(run);
  // As printed, with the folder that is to be named and more data than before.
  const other = join(folder, way?.[2] ?? "");
  const longer = join(folder, "longer.txt");
  writeFileSync(longer, "a warm cat and a small stove ".repeat(200));
  const args = [
    "train",
    "--model",
    run,
    "--output-dir",
    other,
    "--data",
    data,
    longer,
    "--max-steps",
    "2",
  ];
  const gone = await runCli([...args, "--batch-size", "2", "--final-samples", "0", "--json"]);
  expect(gone, gone.stderr).toMatchObject({ code: 0 });
  const events = parseEvents(gone.stdout);
  expect(events.find(({ kind }) => kind === "start")).toMatchObject({
    step: 0,
    tokenizer: expect.any(String),
  });
  expect(events.at(-1)).toMatchObject({ kind: "end", step: 2 });
  // It begins with the run's weights and tokenizer, not with new ones.
  const weightsOf = (of: string, step: number) =>
    readFileSync(join(of, `checkpoint-${step}`, "config.json"), "utf8");
  expect(weightsOf(other, 2)).toBe(weightsOf(run, 3));
  expect(readFileSync(join(other, "tokenizer", "tokenizer.json"), "utf8")).toBe(
    readFileSync(join(run, "tokenizer", "tokenizer.json"), "utf8"),
  );
}, 60_000);

it("a run goes on and is judged from another folder, and tells that its data have changed", async () => {
  const folder = temporaryFolder();
  const args = tinyTraining(folder, "run", ["--max-steps", "2"]);
  const begun = await runCli([...args, "--json"], {}, { cwd: folder });
  expect(begun, begun.stderr).toMatchObject({ code: 0 });
  const data = join(folder, "text.txt");
  writeFileSync(data, readFileSync(data, "utf8").replace("the", "teh"));
  const run = join(folder, "run");
  const more = ["train", "--resume", "--output-dir", run, "--max-steps", "3", "--json"];
  const resumed = await runCli(more, {}, { cwd: temporaryFolder() });
  expect(resumed, resumed.stderr).toMatchObject({ code: 0 });
  const events = parseEvents(resumed.stdout);
  const notices = events.filter(({ kind }) => kind === "notice").map(({ message }) => message);
  expect(notices.join("\n")).toMatch(/the data are as long as those of the checkpoint/);
  const judged = await runCli(["eval", "--model", run], {}, { cwd: temporaryFolder() });
  expect(judged, judged.stderr).toMatchObject({ code: 0 });
});
