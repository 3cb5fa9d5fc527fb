import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readEvents } from "../../../src/train/event-log.ts";
import { parseEvents, runCli, tinyTraining } from "../../helpers/cli.ts";
import type { CliResult } from "../../helpers/cli.ts";
import { buildDouble, NO_COMPILER } from "./double-library.ts";

/** Each test starts several processes. */
const TIMEOUT_MS = 300_000;
/** Evaluations, samples and the step itself need more programs than BUDGET together, and no more each. */
const BUDGET = "6";

describe.skipIf(NO_COMPILER !== undefined)(
  `a run through the in-memory driver (${NO_COMPILER ?? "cc"})`,
  { timeout: TIMEOUT_MS },
  () => {
    const folder = mkdtempSync(join(tmpdir(), "anecdote-in-memory-"));
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    const environment = (): Record<string, string> => ({
      ANECDOTE_ANE_LIBRARY: buildDouble("objc"),
      ANECDOTE_CACHE_DIR: join(folder, "cache"),
      ANECDOTE_ANE_CHIP: "m4",
      TMPDIR: folder,
    });
    const args = (run: string, ...more: readonly string[]): string[] =>
      tinyTraining(folder, join(folder, run), [
        ...["--engine", "ane", "--ane-driver", "in-memory", "--json", "--max-steps", "6"],
        ...["--save-steps", "4", "--logging-steps", "1", "--eval-steps", "2"],
        ...["--eval-batches", "1", "--sample-steps", "3", "--sample-tokens", "4"],
        ...["--final-samples", "1", ...more],
      ]);
    /** Everything a run is judged by. */
    const series = (run: string): readonly unknown[] =>
      readEvents(join(folder, run, "events.ndjson")).flatMap((event): readonly unknown[] => {
        if (event.kind === "step")
          return [["step", event.step, event.train_loss, event.gradient_norm]];
        if (event.kind === "eval") return [["eval", event.step, event.eval_loss]];
        return event.kind === "sample" ? [["sample", event.step, event.text]] : [];
      });
    const kinds = ({ stdout }: CliResult): readonly unknown[] =>
      parseEvents(stdout).map(({ kind, reason }) => (reason === "compile_budget" ? reason : kind));

    beforeAll(async () => {
      const { code, stderr } = await runCli(args("whole"), environment());
      expect(code, stderr).toBe(0);
      expect(stderr).not.toContain("protocol:");
    }, TIMEOUT_MS);

    test("that compiles more than its budget goes on in new processes, bit for bit, as one command", async () => {
      const run = await runCli(args("parts"), {
        ...environment(),
        ANECDOTE_ANE_COMPILE_BUDGET: BUDGET,
      });
      expect(run.code, run.stderr).toBe(0);
      expect(run.stderr).not.toContain("protocol:");
      const seen = kinds(run);
      expect(seen.filter((kind) => kind === "start").length).toBeGreaterThan(2);
      expect(seen.filter((kind) => kind === "compile_budget").length).toBeGreaterThan(1);
      expect(seen.at(-1)).toBe("end");
      expect(series("parts")).toEqual(series("whole"));
      const weights = (name: string): Buffer =>
        readFileSync(join(folder, name, "checkpoint-6", "model.safetensors"));
      expect(weights("parts").equals(weights("whole"))).toBe(true);
      expect(existsSync(join(folder, "parts", "continue.json"))).toBe(false);
    });

    test("whose step alone is over the budget says so, and starts no other process", async () => {
      const run = await runCli(args("never"), {
        ...environment(),
        ANECDOTE_ANE_COMPILE_BUDGET: "3",
      });
      expect(run.code).toBe(1);
      expect(kinds(run)).toEqual(["error"]);
      expect(run.stdout).toMatch(/engine\.ane\.budget.*a new process does not help.*compilation 4/);
    });
  },
);
