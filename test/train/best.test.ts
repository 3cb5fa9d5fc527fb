import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listCheckpoints, resolveModelFolder, train } from "../../src/train/index.ts";
import type { TrainEvent, TrainSettings } from "../../src/train/index.ts";

describe("a run that keeps its best checkpoint", () => {
  let folder: string;
  let base: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-best-"));
    writeFileSync(join(folder, "first.txt"), "red green blue cat dog ".repeat(60));
    writeFileSync(join(folder, "second.txt"), "one two three four five six ".repeat(60));
    const run = await train({
      ...COMMON,
      ...{ data: join(folder, "first.txt"), tokenizer: "byte", layers: 1, hidden_size: 16 },
      ...{ heads: 2, ffn_size: 32, max_steps: 30, output_dir: join(folder, "base") },
    });
    await run.finished();
    base = resolveModelFolder(join(folder, "base"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const COMMON: TrainSettings = {
    ...{ max_seq_length: 16, batch_size: 4, learning_rate: 1e-2, engine: "cpu", threads: 1 },
    ...{ eval_steps: 0, save_steps: 0, lr_scheduler_type: "constant", warmup_steps: 0 },
  };
  interface Told {
    readonly end: TrainEvent;
    readonly events: readonly TrainEvent[];
  }
  const finetune = async (name: string, more: TrainSettings): Promise<Told> => {
    const events: TrainEvent[] = [];
    const run = await train(
      {
        ...COMMON,
        ...{ model: base, data: join(folder, "second.txt"), method: "lora", max_steps: 12 },
        ...{ eval_steps: 2, output_dir: join(folder, name), ...more },
      },
      { onEvent: (event) => events.push(event) },
    );
    return { end: await run.finished(), events };
  };
  const losses = (events: readonly TrainEvent[]): readonly (readonly [number, number, boolean])[] =>
    events.flatMap((event) =>
      event.kind === "eval" ? [[event.step, event.eval_loss, event.best === true] as const] : [],
    );
  const messages = (events: readonly TrainEvent[]): string =>
    events.map((event) => (event.kind === "notice" ? event.message : "")).join("\n");

  it("ends where evaluations become no better, with the best adapter, and says so", async () => {
    // Judged on what the base was made for: learning something else makes it worse.
    const judged = { eval_data: join(folder, "first.txt"), eval_on_start: true, patience: 2 };
    const { end, events } = await finetune("forgets", judged);
    const told = losses(events);
    expect(told.map(([step, , best]) => [step, best])).toEqual([
      [0, false],
      [2, true],
      [4, false],
      [6, false],
    ]);
    expect(end).toMatchObject({
      ...{ kind: "end", step: 6, best_step: 2, best_eval_loss: told[1]?.[1], stopped_early: true },
      adapter: join(folder, "forgets", "checkpoint-2"),
    });
    expect(messages(events)).toContain("2 evaluations in a row were no better than that of step 2");
    expect(messages(events)).toContain("no evaluation was better than the one before the first");
    const notes: string[] = [];
    expect(resolveModelFolder(join(folder, "forgets"), (note) => notes.push(note))).toBe(
      join(folder, "forgets", "checkpoint-2"),
    );
    expect(notes[0]).toMatch(/the best by eval_loss .*; the newest is checkpoint-6/);
    const again = await train({ output_dir: join(folder, "forgets"), resume: true });
    expect(await again.finished()).toMatchObject({
      kind: "notice",
      message: expect.stringContaining("raise --patience"),
    });
    const further = await train({
      output_dir: join(folder, "forgets"),
      ...{ resume: true, patience: 4, max_steps: 20 },
    });
    const last = await further.finished();
    expect(last.kind).toBe("end");
    expect(last.step).toBeGreaterThan(6);
  });

  it("keeps it beside the newest ones, and goes on with it after a stop as if there had been none", async () => {
    const judged = { eval_data: join(folder, "second.txt"), save_total_limit: 1 };
    const { end, events } = await finetune("learns", judged);
    const least = losses(events).reduce((best, one) => (one[1] < best[1] ? one : best));
    expect(end).toMatchObject({ step: 12, best_step: least[0], best_eval_loss: least[1] });
    await finetune("halves", { ...judged, max_steps: 5 });
    const again = await train({
      output_dir: join(folder, "halves"),
      ...{ resume: true, max_steps: 12 },
    });
    expect(await again.finished()).toMatchObject({
      ...{ step: 12, best_step: least[0], best_eval_loss: least[1] },
    });
    for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
      const [one, other] = ["learns", "halves"].map((name) =>
        readFileSync(join(folder, name, "checkpoint-12", file)),
      );
      expect(one?.equals(other ?? Buffer.alloc(0)), file).toBe(true);
    }
    const kept = [2, 4, 6, 8, 10, 12].filter((step) =>
      existsSync(join(folder, "learns", `checkpoint-${step}`)),
    );
    expect(kept).toEqual([...new Set([least[0], 12])]);
  });

  it("finds the best over equally many batches, and tells the whole split at the end", async () => {
    const { end, events } = await finetune("parts", {
      ...{ eval_data: join(folder, "second.txt"), batch_size: 1, max_steps: 4 },
    });
    const evaluations = events.filter((event) => event.kind === "eval");
    expect(evaluations.map((event) => event.kind === "eval" && event.eval_tokens)).toEqual([
      320,
      60 * 28,
    ]);
    expect(end).toMatchObject({ eval_loss: losses(events).at(-1)?.[1] });
    expect(end.kind === "end" && end.best_eval_loss).not.toBe(losses(events).at(-1)?.[1]);
  });

  it("whose loss is no number ends there, and saves nothing of it", async () => {
    const wild = { learning_rate: 1e30, max_grad_norm: 0, max_steps: 40, eval_steps: 0 };
    await expect(finetune("wild", wild)).rejects.toThrow(/the loss is NaN .*gradient norm/);
    expect(listCheckpoints(join(folder, "wild"))).toEqual([]);
  });
});
