import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readEvents } from "../../src/runs/event-log.ts";
import { crc32c } from "../../src/track/crc32c.ts";
import { CSV_COLUMNS } from "../../src/track/csv.ts";
import { trackerNames, Trackers } from "../../src/track/trackers.ts";
import { runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";

const READER = fileURLToPath(new URL("./read_tfevents.py", import.meta.url));
/** Debian's python3-protobuf belongs to Debian's Python. */
const PYTHON = ["/usr/bin/python3", "python3"].find((python) => {
  try {
    execFileSync(python, ["-c", "import google.protobuf"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});

interface ReadEvent {
  readonly step: number;
  readonly version?: string;
  readonly status?: number;
  readonly scalars: Readonly<Record<string, number>>;
  readonly texts: Readonly<Record<string, string>>;
}

/** Event files of a run, read by Google's own protobuf and a bitwise checksum. */
function readTensorBoard(run: string): readonly (readonly ReadEvent[])[] {
  const folder = join(run, "tensorboard");
  const files = readdirSync(folder)
    .sort((a, b) => readFileSync(join(folder, a)).length - readFileSync(join(folder, b)).length)
    .map((name) => join(folder, name));
  return files.map(
    (file) =>
      JSON.parse(execFileSync(PYTHON ?? "", [READER, file]).toString()) as readonly ReadEvent[],
  );
}

async function trained(folder: string, run: string, ...more: string[]): Promise<void> {
  const args = tinyTraining(folder, run, [
    ...["--logging-steps", "2", "--eval-steps", "4", "--save-steps", "4", "--sample-steps", "4"],
    ...["--sample-tokens", "4", "--report-to", "tensorboard,csv", ...more],
  ]);
  const { code, stderr } = await runCli(args);
  expect(code, stderr).toBe(0);
}

function readCsv(run: string): readonly Readonly<Record<string, number>>[] {
  const [header = "", ...lines] = readFileSync(join(run, "metrics.csv"), "utf8")
    .trimEnd()
    .split("\n");
  expect(header.split(",")).toEqual([...CSV_COLUMNS]);
  return lines.map((line) => {
    const cells = line.split(",");
    expect(cells).toHaveLength(CSV_COLUMNS.length);
    return Object.fromEntries(
      cells.flatMap((cell, index) =>
        cell === "" ? [] : [[CSV_COLUMNS[index] ?? "", Number(cell)] as const],
      ),
    );
  });
}

describe("a run that reports to others", () => {
  it("writes every report and evaluation as a row of csv, and goes on after a resume", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    await trained(folder, run, "--max-steps", "8");
    await trained(folder, run, "--max-steps", "12", "--resume");
    const rows = readCsv(run);
    const told = readEvents(join(run, "events.ndjson")).filter(
      ({ kind }) => kind === "step" || kind === "eval",
    );
    expect(rows.map(({ step }) => step)).toEqual(told.map(({ step }) => step));
    for (const [index, event] of told.entries()) {
      const row = rows[index] ?? {};
      if (event.kind === "step") expect(row["train_loss"]).toBe(event.train_loss);
      if (event.kind === "eval") expect(row["eval_loss"]).toBe(event.eval_loss);
      expect(row["time"]).toBe(event.t);
    }
  });

  it.skipIf(PYTHON === undefined)(
    "writes event files that Google's protobuf reads, checksums and all (needs python3-protobuf)",
    async () => {
      const folder = temporaryFolder();
      const run = join(folder, "run");
      await trained(folder, run, "--max-steps", "8");
      await trained(folder, run, "--max-steps", "10", "--resume");
      const files = readTensorBoard(run);
      expect(files).toHaveLength(2);
      const [resumed = [], first = []] = files;
      expect(first[0]).toMatchObject({ version: "brain.Event:2", step: 0 });
      // TensorBoard drops what earlier files say of steps from here on.
      expect(resumed[1]).toMatchObject({ status: 1, step: 9 });
      const scalars = [...first, ...resumed].flatMap(({ step, scalars: values }) =>
        Object.entries(values).map(([tag, value]) => ({ step, tag, value })),
      );
      const losses = (tag: string) => scalars.filter((entry) => entry.tag === tag);
      const told = readEvents(join(run, "events.ndjson"));
      const steps = told.flatMap((event) =>
        event.kind === "step"
          ? [{ step: event.step, tag: "train/train_loss", value: Math.fround(event.train_loss) }]
          : [],
      );
      expect(losses("train/train_loss")).toEqual(steps);
      expect(losses("train/learning_rate")).toHaveLength(steps.length);
      expect(losses("eval/eval_loss").map(({ step }) => step)).toEqual([4, 8, 10]);
      expect(losses("memory/resident_bytes").length).toBeGreaterThan(0);
      const samples = first.flatMap(({ texts }) => texts["sample"] ?? []);
      const written = told.flatMap((event) => (event.kind === "sample" ? [event.text] : []));
      expect(samples[0]).toBe(written[0]);
    },
  );

  it("refuses names that it does not know before anything is written", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const { code, stderr } = await runCli(tinyTraining(folder, run, ["--report-to", "tensorbord"]));
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /--report-to takes tensorboard, csv, none, not "tensorbord".*"tensorboard"/,
    );
    expect(existsSync(run)).toBe(false);
    expect(trackerNames("csv, tensorboard,csv")).toEqual(["csv", "tensorboard"]);
    expect(trackerNames("none")).toEqual([]);
  });

  it("goes on without a report that cannot be written, and says so once", () => {
    const runFolder = temporaryFolder();
    mkdirSync(join(runFolder, "metrics.csv"));
    writeFileSync(join(runFolder, "tensorboard"), "");
    const failures: string[] = [];
    const trackers = new Trackers(
      ["csv", "tensorboard"],
      { runFolder, before: [], step: 0 },
      (message) => failures.push(message),
    );
    trackers.add({ kind: "notice", t: 1, step: 1, message: "" });
    trackers.close();
    expect(failures).toHaveLength(2);
    for (const message of failures) expect(message).toContain("the run goes on without it");
  });

  it("sums with Castagnoli's polynomial, not with zlib's", () => {
    // The check value of CRC-32C, and RFC 3720's first example.
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  });
});
