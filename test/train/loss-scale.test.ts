import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { resolveTrainConfig } from "../../src/train/config/config.ts";
import { ControlBlock } from "../../src/train/run/control.ts";
import type { TrainEvent } from "../../src/runs/events.ts";
import { LossScale } from "../../src/train/step/loss-scale.ts";
import { runTraining } from "../../src/train/run/run.ts";
import { readTrainerState } from "../../src/runs/state.ts";
import { Random } from "../../src/util/random.ts";
import { temporaryFolder } from "../helpers/cli.ts";

interface Run {
  readonly folder: string;
  readonly events: readonly TrainEvent[];
  readonly loss: number;
  readonly notices: readonly string[];
}

/** A gpt2 of 38,000 parameters and words in random order. */
function writeTask(folder: string): { readonly config: string; readonly data: string } {
  const config = join(folder, "tiny.json");
  const sizes = { vocab_size: 257, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 32 };
  writeFileSync(
    config,
    JSON.stringify({ model_type: "gpt2", activation_function: "gelu_new", ...sizes }),
  );
  const data = join(folder, "text.txt");
  const words = "the small cat sat by a warm old stove and slept while rain fell outside".split(
    " ",
  );
  const random = new Random(1);
  const text = Array.from({ length: 4000 }, () => words[random.uint32() % words.length]);
  writeFileSync(data, text.join(" "));
  return { config, data };
}

/** A run of that task; `name` is its folder. */
async function train(
  folder: string,
  name: string,
  settings: Readonly<Record<string, unknown>>,
): Promise<Run> {
  const { config, data } = writeTask(folder);
  const output = join(folder, name);
  const events: TrainEvent[] = [];
  await runTraining(
    resolveTrainConfig({}, [
      {
        origin: "test",
        values: {
          ...{ model_config: config, data, tokenizer: "byte", output_dir: output, threads: 1 },
          ...{ batch_size: 4, max_seq_length: 32, max_steps: 100, learning_rate: 2e-3 },
          ...{ warmup_steps: 10, eval_steps: 0, logging_steps: 20, validation_fraction: 0 },
          ...settings,
        },
      },
    ]).config,
    {
      onEvent: (event) => events.push(event),
      onProgress: () => undefined,
      control: new ControlBlock(),
    },
  );
  const end = events.findLast(({ kind }) => kind === "end");
  if (end?.kind !== "end") throw new Error("the run did not end");
  return {
    folder: output,
    events,
    loss: end.train_loss ?? Number.NaN,
    notices: events.flatMap((event) => (event.kind === "notice" ? [event.message] : [])),
  };
}

describe("training in the engine's arithmetic", () => {
  it("follows the CPU engine with loss and operand scaling and falls behind with neither", async () => {
    const folder = temporaryFolder();
    const exact = await train(folder, "cpu", { engine: "cpu" });
    const scaled = await train(folder, "scaled", { engine: "sim:m4" });
    const unscaled = await train(folder, "unscaled", { engine: "sim:m4", scaling: "off" });
    expect(Math.abs(scaled.loss / exact.loss - 1)).toBeLessThan(0.01);
    expect(unscaled.loss / exact.loss).toBeGreaterThan(1.05);
    expect(readTrainerState(join(unscaled.folder, "checkpoint-100")).config).toMatchObject({
      scaling: "off",
    });
    // The CPU engine computes in fp32: nothing is scaled there.
    expect(readTrainerState(join(exact.folder, "checkpoint-100")).lossScale).toBeUndefined();
    expect(exact.events.find(({ kind }) => kind === "step")).not.toHaveProperty("loss_scale");
  }, 120_000);

  it("does an overflowing step again with half the scale, says so, and resumes bit for bit", async () => {
    const folder = temporaryFolder();
    // Few tokens: each has a large share of the loss.
    const settings = { engine: "sim:m4", batch_size: 1, max_seq_length: 4, max_steps: 6 };
    const whole = await train(folder, "run", { ...settings, save_steps: 3 });
    expect(whole.notices[0]).toMatch(
      /overflowed; the step is done again with a loss scale of 32768/,
    );
    const last = join(whole.folder, "checkpoint-6");
    const weights = readFileSync(join(last, "model.safetensors"));
    const { lossScale } = readTrainerState(last);
    expect(lossScale?.scale).toBeLessThanOrEqual(32768);
    rmSync(last, { recursive: true });
    const resumed = await train(folder, "run", { ...settings, resume: true });
    expect(resumed.events[0]).toMatchObject({ kind: "start", step: 3 });
    expect(readFileSync(join(last, "model.safetensors")).equals(weights)).toBe(true);
    expect(readTrainerState(last).lossScale).toEqual(lossScale);
  }, 60_000);

  it("ends before any weight changes where a fixed scale overflows", async () => {
    const folder = temporaryFolder();
    const settings = { engine: "sim:m4", batch_size: 1, max_seq_length: 4, max_steps: 2 };
    await expect(train(folder, "run", { ...settings, loss_scale: 65504 })).rejects.toThrow(
      /step 1: the loss is [\d.]+ and the gradient norm (NaN|Infinity)/,
    );
  });
});

describe("a loss scale", () => {
  it("halves at once and doubles after 200 updates without an overflow", () => {
    const scale = LossScale.dynamic();
    expect(scale.scale).toBe(65536);
    expect(scale.backOff()).toBe(true);
    for (let step = 0; step < 199; step++) scale.succeed();
    expect(scale.scale).toBe(32768);
    const resumed = LossScale.dynamic(scale.state);
    resumed.succeed();
    expect(resumed.state).toEqual({ scale: 65536, stepCount: 0 });
  });

  it("is smaller for a batch of few tokens, whose gradients start from larger numbers", () => {
    const scale = LossScale.dynamic();
    expect([1, 2, 3, 4, 1000].map((count) => scale.scaleFor(count))).toEqual([
      ...[16384, 32768, 32768, 65536, 65536],
    ]);
    expect(LossScale.fixed(3).scaleFor(1)).toBe(3);
  });

  it("gives up at its smallest, and never moves where it is fixed", () => {
    const scale = LossScale.dynamic({ scale: 2 ** -7, stepCount: 5 });
    expect(scale.backOff()).toBe(true);
    expect(scale.backOff()).toBe(false);
    const fixed = LossScale.fixed(4);
    expect(fixed.backOff()).toBe(false);
    for (let step = 0; step < 500; step++) fixed.succeed();
    expect(fixed.scale).toBe(4);
  });
});
