import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listCheckpoints, verifyCheckpoint, writeCheckpoint } from "../../src/runs/checkpoint.ts";
import {
  newestWholeCheckpoint,
  pruneCheckpoints,
  removeUnfinishedSaves,
} from "../../src/runs/whole-checkpoints.ts";
import { writeWholeFile } from "../../src/util/atomic-file.ts";

let run = "";
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), "anecdote-checkpoint-"));
});
afterEach(() => rmSync(run, { recursive: true, force: true }));

const writers = (content: string) => [
  (folder: string) => writeWholeFile(join(folder, "model.bin"), content),
  (folder: string) => writeWholeFile(join(folder, "state.json"), "{}"),
];

describe("a checkpoint", () => {
  it("appears whole, with checksums and a pointer to it", () => {
    const { folder, byteLength } = writeCheckpoint(run, 10, writers("ten"));
    expect(folder).toBe(join(run, "checkpoint-10"));
    expect(byteLength).toBe(5);
    expect(readFileSync(join(run, "latest"), "utf8")).toBe("checkpoint-10\n");
    expect(() => verifyCheckpoint(folder)).not.toThrow();
  });

  it("leaves nothing behind and the earlier one intact when a writer fails", () => {
    writeCheckpoint(run, 10, writers("ten"));
    const failing = [
      ...writers("twenty"),
      () => {
        throw new Error("disk full");
      },
    ];
    expect(() => writeCheckpoint(run, 20, failing)).toThrow("disk full");
    expect(existsSync(join(run, ".checkpoint-20.tmp"))).toBe(false);
    expect(newestWholeCheckpoint(run).checkpoint?.step).toBe(10);
  });

  it("is passed over when a byte of it changed, with the reason", () => {
    writeCheckpoint(run, 10, writers("ten"));
    writeCheckpoint(run, 20, writers("twenty"));
    writeFileSync(join(run, "checkpoint-20", "model.bin"), "twentx");
    const { checkpoint, damaged } = newestWholeCheckpoint(run);
    expect(checkpoint?.step).toBe(10);
    expect(damaged[0]?.problem).toMatch(
      /checkpoint-20 is damaged: model\.bin does not match its checksum/,
    );
  });

  it("is passed over when a file is short, missing, or the checksums are", () => {
    writeCheckpoint(run, 10, writers("ten"));
    const at = (name: string) => join(run, "checkpoint-10", name);
    writeFileSync(at("model.bin"), "te");
    expect(() => verifyCheckpoint(join(run, "checkpoint-10"))).toThrow(
      /has 2 bytes, 3 were written/,
    );
    rmSync(at("model.bin"));
    expect(() => verifyCheckpoint(join(run, "checkpoint-10"))).toThrow(/model\.bin is missing/);
    writeFileSync(at("checksums.json"), "null");
    expect(() => verifyCheckpoint(join(run, "checkpoint-10"))).toThrow(/lists no files/);
    rmSync(at("checksums.json"));
    expect(newestWholeCheckpoint(run).checkpoint).toBeUndefined();
  });

  it("does not count while it stands aside, and what a crash left aside is removed", () => {
    mkdirSync(join(run, ".checkpoint-30.tmp"));
    expect(listCheckpoints(run)).toEqual([]);
    expect(newestWholeCheckpoint(run).checkpoint).toBeUndefined();
    expect(existsSync(join(run, ".checkpoint-30.tmp"))).toBe(true);
    removeUnfinishedSaves(run);
    expect(existsSync(join(run, ".checkpoint-30.tmp"))).toBe(false);
  });

  it("is sorted by step as a number, and only the newest ones are kept", () => {
    for (const step of [5, 100, 20]) writeCheckpoint(run, step, writers(String(step)));
    expect(listCheckpoints(run).map(({ step }) => step)).toEqual([5, 20, 100]);
    pruneCheckpoints(run, 2);
    expect(listCheckpoints(run).map(({ step }) => step)).toEqual([20, 100]);
    pruneCheckpoints(run, 0);
    expect(listCheckpoints(run)).toHaveLength(2);
  });

  it("does not count towards the limit when it is damaged, and is set aside", () => {
    for (const step of [5, 10, 20, 30]) writeCheckpoint(run, step, writers(String(step)));
    writeFileSync(join(run, "checkpoint-20", "model.bin"), "");
    const notes = pruneCheckpoints(run, 2);
    expect(notes).toEqual([
      expect.stringMatching(/checkpoint-20 is damaged: .* kept as checkpoint-20\.damaged/),
    ]);
    expect(listCheckpoints(run).map(({ step }) => step)).toEqual([10, 30]);
    expect(existsSync(join(run, "checkpoint-20.damaged", "state.json"))).toBe(true);
  });

  it("is not written again when it stands there whole", () => {
    writeCheckpoint(run, 10, writers("ten"));
    expect(writeCheckpoint(run, 10, writers("other")).byteLength).toBe(0);
    expect(readFileSync(join(run, "checkpoint-10", "model.bin"), "utf8")).toBe("ten");
  });
});
