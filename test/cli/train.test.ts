import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { trainEventSchema } from "../../src/runs/events.ts";
import {
  finished,
  parseEvents,
  runCli,
  startCli,
  temporaryFolder,
  tinyTask,
  tinyTraining,
} from "../helpers/cli.ts";

const tinyArguments = (folder: string, run: string, steps: number): string[] =>
  tinyTraining(folder, run, [
    ...["--max-steps", String(steps), "--save-steps", "10", "--eval-steps", "10"],
    ...["--eval-batches", "-1", "--logging-steps", "5"],
  ]);

describe("anecdote train", () => {
  it("writes only events of the exported schema under --json, and ends with the model's folder", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const { code, stdout, stderr } = await runCli([...tinyArguments(folder, run, 20), "--json"]);
    expect(code, stderr).toBe(0);
    const events = parseEvents(stdout).map((event) => trainEventSchema.parse(event));
    // Whether and when a power meter is found, and how long things take, is the machine's.
    const own = events.map(({ kind }) => kind).filter((kind) => !/^(power|progress)$/.test(kind));
    expect(own).toEqual([
      ...["start", "memory", "step", "timings", "step", "eval", "save"],
      ...["step", "step", "eval", "save", "memory", "timings", "end"],
    ]);
    expect(events.find(({ kind }) => kind === "timings")).toMatchObject({
      step: 5,
      dispatches: expect.arrayContaining([
        expect.objectContaining({ section: "forward_backward", runs: 5 }),
      ]) as unknown,
    });
    const end = events.at(-1);
    expect(end).toMatchObject({
      kind: "end",
      step: 20,
      model: join(run, "checkpoint-20"),
      step_ms: expect.any(Number) as number,
      predicted: { chip: "M4", driver: "e5rt" },
    });
    const logged = readFileSync(join(run, "events.ndjson"), "utf8");
    expect(logged).toBe(stdout);

    const text = await runCli([
      "generate",
      "--model",
      run,
      "--prompt",
      "the cat",
      "--max-tokens",
      "5",
      "--json",
    ]);
    expect(text.code, text.stderr).toBe(0);
    expect(JSON.parse(text.stdout)).toMatchObject({ tokens: 5 });

    const judged = await runCli([
      "eval",
      "--model",
      run,
      "--data",
      tinyTask(folder).data,
      "--json",
    ]);
    expect(judged.code, judged.stderr).toBe(0);
    expect(judged.stderr).toContain("the run was trained on most of these data");
    const report = JSON.parse(judged.stdout) as { loss: number; perplexity: number };
    expect(report.perplexity).toBeCloseTo(Math.exp(report.loss), 6);

    const heldOut = await runCli(["eval", "--model", run, "--json"]);
    expect(heldOut.code, heldOut.stderr).toBe(0);
    const judgedLast = events.findLast((event) => event.kind === "eval");
    expect((JSON.parse(heldOut.stdout) as { loss: number }).loss).toBeCloseTo(
      judgedLast?.kind === "eval" ? judgedLast.eval_loss : NaN,
      5,
    );
  });

  it("saves on Ctrl-C, says how to go on, ends with 130, and goes on from there", async () => {
    const folder = temporaryFolder();
    const run = join(folder, "run");
    const child = startCli(tinyArguments(folder, run, 100_000));
    const end = finished(child);
    let seen = "";
    await new Promise<void>((resolve) => {
      child.stdout?.on("data", (chunk: Buffer) => {
        seen += chunk.toString();
        if (seen.includes("step     10/")) resolve();
      });
      void end.then(() => resolve());
    });
    child.kill("SIGINT");
    const { code, stdout, stderr } = await end;
    expect(code, stderr).toBe(130);
    expect(stdout).toMatch(/interrupted at step \d+; saved .*checkpoint-\d+/);
    expect(stderr).toContain(`continue with: npx anecdote train --resume --output-dir ${run}`);
    const saved = Number(/checkpoint-(\d+)/.exec(readFileSync(join(run, "latest"), "utf8"))?.[1]);
    const more = await runCli([
      "train",
      "--resume",
      "--output-dir",
      run,
      "--max-steps",
      String(saved + 5),
      "--json",
    ]);
    expect(more.code, more.stderr).toBe(0);
    expect(parseEvents(more.stdout)[0]).toMatchObject({ kind: "start", step: saved });
  });

  it("starts anew and says so when there is nothing to resume", async () => {
    const folder = temporaryFolder();
    const { code, stdout, stderr } = await runCli([
      ...tinyArguments(folder, join(folder, "run"), 2),
      "--resume",
    ]);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("has no checkpoint to resume; starting anew");
  });

  it("refuses to mix a new run into the folder of another", async () => {
    const folder = temporaryFolder();
    const args = tinyArguments(folder, join(folder, "run"), 2);
    await runCli(args);
    const { code, stderr } = await runCli(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(/holds a run already\n.*--resume/);
  });

  it("prints each setting with its origin: default, preset, file, command line", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "run.yaml");
    writeFileSync(file, "learning_rate: 5e-4\niters: 77\n");
    const { stdout } = await runCli([
      ...["train", "--preset", "nanogpt-char", "--config", file, "--seed", "9", "--print-config"],
    ]);
    expect(stdout).toMatch(/^learning_rate: 0\.0005 +# .*run\.yaml$/m);
    expect(stdout).toMatch(/^max_steps: 77 +# .*run\.yaml$/m);
    expect(stdout).toMatch(/^seed: 9 +# command line$/m);
    expect(stdout).toMatch(/^batch_size: 12 +# preset$/m);
    expect(stdout).toMatch(/^adam_epsilon: 1e-8 +# default$/m);
  });

  it("prints the programs of a step as MIL, and the plan, without training", async () => {
    const folder = temporaryFolder();
    const args = tinyArguments(folder, join(folder, "run"), 2);
    const mil = await runCli([...args, "--show", "mil"]);
    expect(mil.code, mil.stderr).toBe(0);
    expect(mil.stdout).toContain("program(1.3)");
    expect(mil.stdout).toMatch(/matmul\(/);
    const plan = await runCli([...args, "--show", "plan"]);
    expect(plan.stdout).toContain("forward_backward");
  });

  it.each([
    [["train", "--max-step", "5"], /unknown option '--max-step'[\s\S]*--max-steps/],
    [["train", "--preset", "storytellr"], /no preset "storytellr"\. Did you mean "storyteller"\?/],
    [["train", "--max-steps", "many"], /--max-steps takes a number, not "many"/],
    [
      ["train", "--engine", "cpuu", "--data", "random", "--preset", "stories15M"],
      /no engine "cpuu"\. Did you mean "cpu"\?/,
    ],
    [["train", "--show", "maps"], /--show takes plan or mil/],
    [["trian"], /unknown command 'trian'[\s\S]*train/],
  ])("tells what is wrong with %j", async (args, message) => {
    const folder = temporaryFolder();
    const { code, stderr } = await runCli([
      ...args,
      ...(args[0] === "train" ? ["--output-dir", join(folder, "r")] : []),
    ]);
    expect(code, stderr).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/at .*\.js:\d+/);
  });

  it("names file and key for an unknown key in a configuration file", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "run.yaml");
    writeFileSync(file, "learnin_rate: 5e-4\n");
    const { code, stderr } = await runCli(["train", "--config", file, "--print-config"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /run\.yaml: there is no option "learnin_rate"\. Did you mean "learning_rate"\?/,
    );
  });
});
