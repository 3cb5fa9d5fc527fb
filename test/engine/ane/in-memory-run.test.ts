import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyCheckpoint } from "../../../src/runs/checkpoint.ts";
import { readEvents } from "../../../src/runs/event-log.ts";
import { finished, parseEvents, runCli, startCli, tinyTraining } from "../../helpers/cli.ts";
import type { CliResult } from "../../helpers/cli.ts";
import { buildDouble } from "./double-library.ts";

/** Each test starts several processes. */
const TIMEOUT_MS = 600_000;
/** Evaluations, samples and the step itself need more programs than BUDGET together, and no more each. */
const BUDGET = "6";
const EVALUATION = "evaluateWithModel:options:request:qos:error:";

describe("a run through the in-memory driver", { timeout: TIMEOUT_MS }, () => {
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
    const evalLoss = (name: string) =>
      readEvents(join(folder, name, "events.ndjson")).flatMap((event) =>
        event.kind === "end" ? [event.eval_loss] : [],
      );
    expect(evalLoss("parts")).toEqual(evalLoss("whole"));
  });

  test("whose step alone is over the budget says so, and starts no other process", async () => {
    const run = await runCli(args("never"), {
      ...environment(),
      ANECDOTE_ANE_COMPILE_BUDGET: "3",
    });
    expect(run.code).toBe(1);
    expect(kinds(run)).toEqual(["start", "error"]);
    expect(run.stdout).toMatch(/engine\.ane\.budget.*a new process does not help.*may compile 3/);
  });

  test("ends with an error when a new process comes no further", async () => {
    // A step of a llama needs 3 programs, a sample 4.
    const stuck = args("stuck", "--max-steps", "2", "--eval-steps", "0", "--sample-steps", "1");
    const config = stuck.at(stuck.indexOf("--model-config") + 1) ?? "";
    const llama = config.replace("tiny.json", "llama.json");
    writeFileSync(
      llama,
      JSON.stringify({
        ...{ model_type: "llama", vocab_size: 257, hidden_size: 16, intermediate_size: 32 },
        ...{ num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2 },
        max_position_embeddings: 16,
      }),
    );
    stuck[stuck.indexOf(config)] = llama;
    const run = await runCli([...stuck, "--sample-prompt", "the"], {
      ...environment(),
      ANECDOTE_ANE_COMPILE_BUDGET: "3",
    });
    expect(run.code).toBe(1);
    expect(kinds(run).filter((kind) => kind === "start")).toHaveLength(2);
    expect(run.stdout).toMatch(/"engine\.ane\.budget".*came no further than step 1/);
  });

  test.each(["SIGTERM", "SIGKILL"] as const)(
    "is saved when %s meets the first of its processes, and goes on from there",
    async (signal) => {
      const child = startCli(args(signal, "--max-steps", "400"), {
        ...environment(),
        ANECDOTE_ANE_COMPILE_BUDGET: BUDGET,
      });
      let sent = false;
      let out = "";
      child.stdout?.on("data", (chunk: Buffer) => {
        out += chunk.toString();
        const starts = out.split('"kind":"start"').length - 1;
        const steps = out.slice(out.lastIndexOf('"kind":"start"')).includes('"kind":"step"');
        if (sent || starts < 2 || !steps) return;
        sent = true;
        child.kill(signal);
      });
      const { code } = await finished(child);
      expect(code).toBe(signal === "SIGTERM" ? 130 : null);
      // The pipe ends with the last process, whichever was killed.
      const events = parseEvents(out);
      const last = events.at(-1);
      expect(last).toMatchObject({ kind: "interrupted" });
      expect(last).not.toHaveProperty("reason");
      expect(existsSync(join(folder, signal, `checkpoint-${String(last?.["step"])}`))).toBe(true);
    },
  );

  /** A run that wants a new process after its first step, and the moment when it says so. */
  const untilGap = (run: string, detached: boolean, ...more: readonly string[]) => {
    const flags = args(run, "--max-steps", "400", "--eval-steps", "1", "--sample-steps", "1");
    const child = startCli(
      [...flags.filter((flag) => flag !== "--json"), ...more],
      { ...environment(), ANECDOTE_ANE_COMPILE_BUDGET: BUDGET },
      { detached },
    );
    let out = "";
    const inGap = new Promise<void>((resolve) => {
      for (const stream of [child.stdout, child.stderr])
        stream?.on("data", (chunk: Buffer) => {
          out += chunk.toString();
          if (/compile_budget|a new one goes on/.test(out)) resolve();
        });
    });
    return { child, inGap, end: finished(child) };
  };
  const expectStopped = (run: string): void => {
    const events = readEvents(join(folder, run, "events.ndjson"));
    const last = events.at(-1);
    expect(last).toMatchObject({ kind: "interrupted" });
    expect(last).not.toHaveProperty("reason");
    expect(() => verifyCheckpoint(join(folder, run, `checkpoint-${last?.step}`))).not.toThrow();
  };

  test.each([0, 40, 400])(
    "is stopped by a signal %i ms after one process ended and before the next is at work",
    async (delayMs) => {
      const run = `gap-${delayMs}`;
      const { child, inGap, end } = untilGap(run, false, "--json");
      await inGap;
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill("SIGTERM");
      const result = await end;
      expect(result.code, result.stderr).toBe(130);
      expect(kinds(result).at(-1)).toBe("interrupted");
      expectStopped(run);
    },
  );

  test("is stopped by Ctrl-C that ends the next process before it listens, and says how to go on", async () => {
    const { child, inGap, end } = untilGap("gap-terminal", true);
    await inGap;
    await new Promise((resolve) => setTimeout(resolve, 150));
    process.kill(-(child.pid ?? 0), "SIGINT");
    const { code, stderr } = await end;
    expect(code, stderr).toBe(130);
    expect(stderr).toMatch(/continue with: .*anecdote train --resume/);
    expectStopped("gap-terminal");
  });

  test("saves the last whole step when the engine hangs, ends, and goes on with --resume", async () => {
    const env = { ...environment(), ANECDOTE_ANE_EVALUATION: "client" };
    const hung = await runCli(args("hung"), {
      ...env,
      ANECDOTE_ANE_TIMEOUT: "2",
      ANECDOTE_DOUBLE_HANG: `${EVALUATION}:50`,
    });
    const events = parseEvents(hung.stdout);
    const last = Number(events.findLast(({ kind }) => kind === "step")?.["step"]);
    expect(last).toBeGreaterThan(1);
    expect(hung.code).toBe(1);
    expect(events).toContainEqual(expect.objectContaining({ kind: "interrupted", step: last }));
    expect(hung.stdout).toMatch(/engine\.ane\.timeout.*has not come back for 2 s/);
    expect(existsSync(join(folder, "hung", `checkpoint-${last}`))).toBe(true);
    const resumed = await runCli(args("hung", "--resume"), env);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(series("hung")).toEqual(series("whole"));
  });

  test("does after --resume the evaluation, the sample and the last sample that hung, bit for bit", async () => {
    const env = { ...environment(), ANECDOTE_ANE_EVALUATION: "client" };
    const hangs = [
      { call: 20, step: 2, missing: "eval" },
      { call: 20, step: 3, missing: "sample" },
      { call: 46, step: 6, missing: "sample" },
    ] as const;
    const ofStep = (events: readonly { readonly step: number; readonly kind: string }[]) =>
      hangs.map(({ step, missing }) =>
        events.filter((event) => event.step === step && event.kind === missing).map(() => step),
      );
    for (const [index, { call, step }] of hangs.entries()) {
      const hung = await runCli(args("put-off", ...(index > 0 ? ["--resume"] : [])), {
        ...env,
        ANECDOTE_ANE_TIMEOUT: "2",
        ANECDOTE_DOUBLE_HANG: `${EVALUATION}:${call}`,
      });
      expect(hung.code, hung.stderr).toBe(1);
      expect(hung.stdout).toMatch(/engine\.ane\.timeout/);
      const events = readEvents(join(folder, "put-off", "events.ndjson"));
      expect(events.at(-1)).toMatchObject({ kind: "interrupted", step });
      // Those before have been made up for, this one and those after are missing.
      expect(ofStep(events)).toEqual(hangs.map((hang, at) => (at < index ? [hang.step] : [])));
    }
    const resumed = await runCli(args("put-off", "--resume"), env);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(series("put-off")).toEqual(series("whole"));
    const end = (run: string) => readEvents(join(folder, run, "events.ndjson")).at(-1);
    const { eval_loss: evalLoss, train_loss: trainLoss } = end("whole") as {
      eval_loss: number;
      train_loss: number;
    };
    expect(end("put-off")).toMatchObject({
      kind: "end",
      eval_loss: evalLoss,
      train_loss: trainLoss,
    });
    expect(existsSync(join(folder, "put-off", "continue.json"))).toBe(false);
  });

  test("goes on bit for bit after it was killed inside an evaluation", async () => {
    const env = { ...environment(), ANECDOTE_ANE_EVALUATION: "client" };
    const trace = join(folder, "trace");
    const child = startCli(args("killed"), {
      ...env,
      ANECDOTE_DOUBLE_TRACE: trace,
      ANECDOTE_DOUBLE_HANG: `${EVALUATION}:50`,
    });
    const end = finished(child);
    const evaluations = () =>
      existsSync(trace) ? readFileSync(trace, "utf8").split(EVALUATION).length - 1 : 0;
    while (evaluations() < 50 && child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGKILL");
    await end;
    const resumed = await runCli(args("killed", "--resume"), env);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(parseEvents(resumed.stdout)[0]).toMatchObject({ kind: "start", step: 4 });
    expect(series("killed")).toEqual(series("whole"));
  });

  test("generate ends with an error when the engine hangs", async () => {
    const run = await runCli(
      [
        ...["generate", "--model", join(folder, "whole"), "--prompt", "the", "--max-tokens", "4"],
        ...["--engine", "ane", "--ane-driver", "in-memory"],
      ],
      {
        ...environment(),
        ANECDOTE_ANE_TIMEOUT: "1",
        ANECDOTE_DOUBLE_HANG: "evaluateWithQoS:options:request:error:",
      },
    );
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/has not come back for 1 s/);
  });
});
