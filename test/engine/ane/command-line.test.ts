import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readEvents } from "../../../src/runs/event-log.ts";
import {
  finished,
  parseEvents,
  runCli,
  startCli,
  temporaryFolder,
  tinyTraining,
} from "../../helpers/cli.ts";
import { buildDouble } from "./double-library.ts";

/** Each test starts several processes. */
const TIMEOUT_MS = 180_000;
const STEPS = ["--max-steps", "12", "--save-steps", "4", "--logging-steps", "1", "--json"];

function environment(folder: string): Record<string, string> {
  return {
    ANECDOTE_ANE_LIBRARY: buildDouble("e5rt"),
    ANECDOTE_CACHE_DIR: join(folder, "cache"),
    ANECDOTE_ANE_CHIP: "m4",
  };
}

/** Losses and gradient norms by step. */
function series(run: string): readonly unknown[] {
  return readEvents(join(run, "events.ndjson")).flatMap((event) =>
    event.kind === "step" ? [[event.step, event.train_loss, event.gradient_norm]] : [],
  );
}

describe("the command line through the double", () => {
  test(
    "trains with the losses of sim:m4 bit for bit, and writes from the trained model",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const env = environment(folder);
      const args = (run: string, engine: string) =>
        tinyTraining(folder, join(folder, run), [...STEPS, "--engine", engine]);
      const onEngine = await runCli(args("ane", "ane"), env);
      expect(onEngine.code, onEngine.stderr).toBe(0);
      expect(onEngine.stderr).not.toContain("protocol:");
      expect(parseEvents(onEngine.stdout)[0]).toMatchObject({ kind: "start", engine: "ane" });
      const simulated = await runCli(args("sim", "sim:m4"));
      expect(simulated.code, simulated.stderr).toBe(0);
      expect(series(join(folder, "ane"))).toEqual(series(join(folder, "sim")));
      const weights = (run: string) =>
        readFileSync(join(folder, run, "checkpoint-12", "model.safetensors"));
      expect(weights("ane").equals(weights("sim"))).toBe(true);
      const text = (engine: string) =>
        runCli(
          [
            ...["generate", "--model", join(folder, "ane"), "--prompt", "the", "--max-tokens", "6"],
            ...["--temperature", "0", "--engine", engine],
          ],
          env,
        );
      const [ours, wanted] = [await text("ane"), await text("sim:m4")];
      expect(ours.code, ours.stderr).toBe(0);
      expect(ours.stdout).toBe(wanted.stdout);
    },
  );

  test(
    "saves the last whole step when the engine hangs, says so, ends, and goes on with --resume",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const env = environment(folder);
      const args = (run: string, ...more: string[]) =>
        tinyTraining(folder, join(folder, run), [...STEPS, "--engine", "ane", ...more]);
      expect((await runCli(args("whole"), env)).code).toBe(0);
      const hung = await runCli(args("hung"), {
        ...env,
        ANECDOTE_ANE_TIMEOUT: "5",
        ANECDOTE_DOUBLE_HANG: "e5rt_execution_stream_execute_sync:18",
      });
      const events = parseEvents(hung.stdout);
      const last = Number(events.findLast(({ kind }) => kind === "step")?.["step"]);
      expect(last).toBeGreaterThan(4);
      expect(hung.code).not.toBe(0);
      expect(events).toContainEqual(expect.objectContaining({ kind: "interrupted", step: last }));
      expect(hung.stdout + hung.stderr).toMatch(/execute_sync has not come back for 5 s/);
      expect(existsSync(join(folder, "hung", `checkpoint-${last}`))).toBe(true);
      const resumed = await runCli(args("hung", "--resume"), env);
      expect(resumed.code, resumed.stderr).toBe(0);
      expect(series(join(folder, "hung"))).toEqual(series(join(folder, "whole")));
    },
  );

  test(
    "goes on bit for bit after it was killed inside a dispatch",
    { timeout: TIMEOUT_MS },
    async () => {
      const folder = temporaryFolder();
      const env = environment(folder);
      const args = (run: string, ...more: string[]) =>
        tinyTraining(folder, join(folder, run), [...STEPS, "--engine", "ane", ...more]);
      expect((await runCli(args("whole"), env)).code).toBe(0);
      const trace = join(folder, "trace");
      const child = startCli(args("killed"), {
        ...env,
        ANECDOTE_DOUBLE_TRACE: trace,
        ANECDOTE_DOUBLE_HANG: "e5rt_execution_stream_execute_sync:18",
      });
      const end = finished(child);
      const executions = () =>
        existsSync(trace) ? readFileSync(trace, "utf8").split("execute_sync").length - 1 : 0;
      while (executions() < 18 && child.exitCode === null)
        await new Promise((resolve) => setTimeout(resolve, 20));
      child.kill("SIGKILL");
      await end;
      const resumed = await runCli(args("killed", "--resume"), env);
      expect(resumed.code, resumed.stderr).toBe(0);
      expect(series(join(folder, "killed"))).toEqual(series(join(folder, "whole")));
    },
  );
});
