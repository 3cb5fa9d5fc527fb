import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { eventsPath, readEvents } from "../../src/runs/event-log.ts";
import { RunStore } from "../../src/server/runs/run-store.ts";
import { train } from "../../src/train/index.ts";
import { appendRun } from "../helpers/run-logs.ts";

it("a run whose loss is no number says in its log what it ended by, and so does its page", async () => {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-failure-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const data = join(folder, "data.txt");
  writeFileSync(data, "red green blue cat dog ".repeat(60));
  const run = await train({
    ...{ data, tokenizer: "byte", layers: 1, hidden_size: 16, heads: 2, ffn_size: 32 },
    ...{ max_seq_length: 16, batch_size: 4, engine: "cpu", threads: 1, eval_steps: 0 },
    ...{ learning_rate: 1e30, max_grad_norm: 0, lr_scheduler_type: "constant", warmup_steps: 0 },
    ...{ save_steps: 0, max_steps: 10, output_dir: join(folder, "runs", "far") },
  });
  await expect(run.finished()).rejects.toMatchObject({ code: "train.not_finite" });
  const last = readEvents(eventsPath(join(folder, "runs", "far"))).at(-1);
  expect(last).toMatchObject({ kind: "notice", failure: true });
  const store = new RunStore(join(folder, "runs"));
  const { failure, run: row } = await store.detail("far");
  expect([row.state, failure]).toEqual(["empty", expect.stringMatching(/^step \d+: the loss is/)]);
  // Whoever goes on with it is not told of it for ever.
  appendRun(join(folder, "runs"), "far", [{ kind: "interrupted", step: 1 }]);
  expect((await store.detail("far")).failure).toBeNull();
});
