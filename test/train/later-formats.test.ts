import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  describeProfile,
  profilePath,
  readMachineProfile,
} from "../../src/engine/ane/machine-profile.ts";
import { parseReport } from "../../src/measure/engine-bench/report.ts";
import { parseMeasuredRows, readMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { checkpointProblem, verifyCheckpoint } from "../../src/runs/checkpoint.ts";
import { readEvents } from "../../src/runs/event-log.ts";
import { readTrainerState } from "../../src/runs/state.ts";
import { newestWholeCheckpoint, pruneCheckpoints } from "../../src/runs/whole-checkpoints.ts";
import { LeftActivities } from "../../src/train/run/activities.ts";
import { runCli, temporaryFolder } from "../helpers/cli.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/first-round", import.meta.url));
const RUN = "llama-reference";
const LATER = /is of (?:format )?version 99; this Anecdote reads up to version \d/;

type Json = Record<string, unknown>;

function copied(): string {
  const root = temporaryFolder();
  cpSync(FIXTURES, root, { recursive: true });
  return root;
}

function readJson(path: string): Json {
  return JSON.parse(readFileSync(path, "utf8")) as Json;
}

/** Changes a JSON file. */
function edit(path: string, changed: Json): void {
  writeFileSync(path, JSON.stringify({ ...readJson(path), ...changed }));
}

/** Changes a file of a checkpoint and its line in the list of files. */
function editIn(checkpoint: string, name: string, changed: Json): void {
  edit(join(checkpoint, name), changed);
  const bytes = readFileSync(join(checkpoint, name));
  const list = join(checkpoint, "checksums.json");
  const files = readJson(list)["files"] as Json;
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  edit(list, { files: { ...files, [name]: { byteLength: bytes.byteLength, sha256 } } });
}

describe("a file of a later format is refused by name", () => {
  it("a checkpoint: no damage, so nothing is set aside or passed over", async () => {
    const root = copied();
    const run = join(root, RUN);
    const checkpoint = join(run, "checkpoint-8");
    verifyCheckpoint(checkpoint);
    edit(join(checkpoint, "checksums.json"), { version: 99 });
    for (const use of [
      () => verifyCheckpoint(checkpoint),
      () => checkpointProblem(checkpoint),
      () => newestWholeCheckpoint(run),
    ])
      expect(use).toThrow(LATER);
    cpSync(checkpoint, join(run, "checkpoint-6"), { recursive: true });
    expect(() => pruneCheckpoints(run, 1)).toThrow(LATER);
    const { code, stderr } = await runCli(
      ["train", "--config", join(RUN, "config.yaml"), "--resume"],
      {},
      { cwd: root },
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(LATER);
    expect(existsSync(checkpoint)).toBe(true);
  });

  it("a trainer's state", () => {
    const checkpoint = join(copied(), RUN, "checkpoint-8");
    expect(readTrainerState(checkpoint).step).toBe(8);
    editIn(checkpoint, "trainer_state.json", { version: 99 });
    expect(() => readTrainerState(checkpoint)).toThrow(LATER);
  });

  it("a run's events", () => {
    const path = join(copied(), RUN, "events.ndjson");
    expect(readEvents(path).length).toBeGreaterThan(0);
    const [first = "", ...rest] = readFileSync(path, "utf8").split("\n");
    const start = JSON.stringify({ ...(JSON.parse(first) as Json), version: 99 });
    writeFileSync(path, [start, ...rest].join("\n"));
    expect(() => readEvents(path)).toThrow(LATER);
  });

  it("a cache of tokens, which is not made anew over another version's", async () => {
    const root = copied();
    const data = join(root, RUN, "data");
    const facts = join(data, "e2f5b5927735fc6e58916df9.tokens.bin.json");
    edit(facts, { version: 99 });
    const { code, stderr } = await runCli(
      ["train", "--config", join(RUN, "config.yaml"), "--resume"],
      {},
      { cwd: root },
    );
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(LATER);
    expect(readJson(facts)["version"]).toBe(99);
  });

  it("a machine's profile: the drivers keep their defaults and say why", () => {
    const root = temporaryFolder();
    const key = { chip: "m4", osBuild: "24G84", library: "/usr/lib/e5rt.dylib" };
    cpSync(join(FIXTURES, "machine", "cache"), root, { recursive: true });
    const path = profilePath(key, root);
    mkdirSync(dirname(path), { recursive: true });
    edit(path, { schema: 99, unheardOf: true });
    const found = readMachineProfile(key, root);
    expect(found.state).toBe("ignored");
    expect(describeProfile(found)).toMatch(LATER);
  });

  it("a bench's report", () => {
    const report = readJson(join(FIXTURES, "report.json"));
    parseReport(report, "report.json");
    expect(() =>
      parseReport({ ...report, schema: "anecdote-engine-report/99" }, "report.json"),
    ).toThrow(LATER);
  });

  it("a run's settings, where they are resumed, judged and told of", async () => {
    const root = copied();
    const path = join(root, RUN, "config.yaml");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, `format_version: 99\n${text}`);
    for (const words of [
      ["train", "--resume", "--output-dir", RUN],
      ["eval", "--model", RUN],
      ["runs", "show", RUN, "--runs-dir", root],
    ]) {
      const { code, stderr } = await runCli(words, {}, { cwd: root });
      expect(stderr, words.join(" ")).toMatch(LATER);
      expect(stderr).toContain("config.yaml");
      expect(code).toBe(1);
    }
    writeFileSync(path, `format_version: 1\n${text}`);
    expect((await runCli(["eval", "--model", RUN], {}, { cwd: root })).code).toBe(0);
  });

  it("what a run has left to do", () => {
    const run = temporaryFolder();
    const times = {
      ...{ max_steps: 8, eval_steps: 4, sample_steps: 0, save_steps: 4, final_samples: 0 },
      eval_on_start: false,
    };
    const left = new LeftActivities(run);
    left.write(4, { activities: ["save"], evalLoss: 2 });
    expect(readJson(join(run, "continue.json"))).toMatchObject({ version: 1, step: 4 });
    const found = { activities: ["save"], evalLoss: 2 };
    expect(left.read(4, times)).toEqual(found);
    expect(left.read(8, times)).toBeUndefined();
    edit(join(run, "continue.json"), { version: undefined });
    expect(left.read(4, times)).toEqual(found);
    edit(join(run, "continue.json"), { version: 99 });
    expect(() => left.read(4, times)).toThrow(LATER);
    writeFileSync(join(run, "continue.json"), "{");
    expect(left.read(4, times)).toBeUndefined();
  });

  it("rows of measurements, which the first version kept as an array", () => {
    const rows = JSON.parse(readFileSync(join(FIXTURES, "rows.json"), "utf8")) as unknown[];
    const plain = parseMeasuredRows(rows);
    expect(parseMeasuredRows({ version: 1, rows })).toEqual(plain);
    expect(readMeasuredRows({ version: 1, rows }).rows).toHaveLength(plain.length);
    for (const read of [parseMeasuredRows, readMeasuredRows]) {
      expect(() => read({ version: 99, rows })).toThrow(LATER);
      expect(() => read({ version: 1 })).toThrow(/JSON array/);
    }
  });
});
