import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { readEvents } from "../../src/runs/event-log.ts";
import { runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";
import { needsMpi, runCluster, WITHOUT_MPI } from "../helpers/mpi.ts";

// Several processes a test, each of which starts a runtime of its own.
vi.setConfig({ testTimeout: 240_000 });

/** A llama without a table of two uses: a pipeline adds nothing up in another order. */
const UNTIED = {
  model_type: "llama",
  vocab_size: 257,
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 16,
  tie_word_embeddings: false,
};

const FOUR = [
  ...["--gradient-accumulation-steps", "4", "--max-steps", "6", "--logging-steps", "1"],
  ...["--eval-steps", "3", "--eval-batches", "2", "--seed", "3", "--engine", "cpu"],
];

function numbers(run: string): readonly (readonly number[])[] {
  return readEvents(join(run, "events.ndjson")).flatMap((event) => {
    if (event.kind === "step") return [[event.step, event.train_loss, event.gradient_norm]];
    return event.kind === "eval" ? [[event.step, event.eval_loss]] : [];
  });
}

/** The largest difference of two series of numbers, relative to the second. */
function drift(run: string, other: string): number {
  const [a, b] = [numbers(run).flat(), numbers(other).flat()];
  expect(a).toHaveLength(b.length);
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? NaN)) / Math.abs(b[i] ?? NaN)));
}

function weights(run: string, step: number, file = "model.safetensors"): string {
  return readFileSync(join(run, `checkpoint-${step}`, file)).toString("base64");
}

describe.skipIf(WITHOUT_MPI !== undefined)(needsMpi("several processes hold one model"), () => {
  it("as a pipeline, with the bits of one process but for the norm; with each a part of the optimizer's state; and checkpoints are anybody's", async () => {
    const folder = temporaryFolder();
    const config = join(folder, "untied.json");
    writeFileSync(config, JSON.stringify(UNTIED));
    const run = (name: string): string => join(folder, name);
    // The norm clips, and is a sum over stages: where nothing is clipped the weights have the same bits.
    const args = (name: string, more: readonly string[] = []): string[] =>
      tinyTraining(folder, run(name), [
        ...[...FOUR, "--model-config", config, "--max-grad-norm", "1000"],
        ...["--save-steps", "3", ...more],
      ]);
    expect((await runCli(args("one"))).code).toBe(0);
    const three = await runCluster(3, args("three", ["--pipeline-stages", "3"]));
    expect(three).toMatchObject({ code: 0 });
    expect(three.stdout + three.stderr).toContain(
      "1 pipeline of 3 stages with 1, 1, 1 blocks (by floating-point operations)",
    );
    expect(drift(run("three"), run("one"))).toBeLessThan(1e-6);
    expect(weights(run("three"), 6)).toBe(weights(run("one"), 6));
    // From the middle on with two that share unevenly what three have begun.
    rmSync(join(run("three"), "checkpoint-6"), { recursive: true });
    const uneven = ["--resume", "--pipeline-stages", "1", "--shard-optimizer", "--shares", "1,3"];
    const sharded = await runCluster(2, args("three", uneven));
    expect(sharded).toMatchObject({ code: 0 });
    expect(sharded.stdout + sharded.stderr).toContain("1, 3 micro-batches of 2 rows");
    expect(drift(run("three"), run("one"))).toBeLessThan(1e-6);
  });

  it("of a tied table too, which both ends sum; adapters on quantized bases to the bit", async () => {
    const folder = temporaryFolder();
    const run = (name: string): string => join(folder, name);
    expect((await runCli(tinyTraining(folder, run("base"), FOUR))).code).toBe(0);
    // Two pipelines, each process with its part of the optimizer's state.
    const both = ["--pipeline-stages", "2", "--shard-optimizer", "--check-steps", "2"];
    const tied = await runCluster(4, tinyTraining(folder, run("tied"), [...FOUR, ...both]));
    expect(tied).toMatchObject({ code: 0 });
    expect(drift(run("tied"), run("base"))).toBeLessThan(1e-5);
    const args = (name: string, more: readonly string[] = []): string[] => {
      const words = tinyTraining(folder, run(name), [...FOUR, "--model", run("base"), ...more]);
      const drop = ["--model-config", "--tokenizer"];
      return words.filter((word, i) => !drop.includes(word) && !drop.includes(words[i - 1] ?? ""));
    };
    const method = ["--method", "qlora", "--base-group-size", "16"];
    expect((await runCli(args("one", method))).code).toBe(0);
    const { code, stderr } = await runCluster(
      2,
      args("two", [...method, "--pipeline-stages", "2"]),
    );
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(weights(run("two"), 6, "adapter_model.safetensors")).toBe(
      weights(run("one"), 6, "adapter_model.safetensors"),
    );
  });

  it("refuses samples of a model that no process has, and pipelines longer than the model", async () => {
    const folder = temporaryFolder();
    const args = (more: readonly string[]): string[] =>
      tinyTraining(folder, join(folder, "run"), [...FOUR, ...more]);
    const samples = await runCluster(2, args(["--pipeline-stages", "2", "--final-samples", "1"]));
    expect(samples.stderr).toContain("--final-samples needs the whole model in one process");
    const short = join(folder, "short.json");
    writeFileSync(short, JSON.stringify({ ...UNTIED, num_hidden_layers: 1 }));
    const long = await runCluster(2, args(["--pipeline-stages", "2", "--model-config", short]));
    expect(long.stderr).toContain("2 processes are to hold 1 blocks");
    expect([samples.code, long.code]).not.toContain(0);
  });
});
