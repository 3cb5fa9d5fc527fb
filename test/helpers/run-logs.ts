import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { EventLog, eventsPath } from "../../src/runs/event-log.ts";
import type { UntimedEvent } from "../../src/runs/events.ts";

export const START: Extract<UntimedEvent, { kind: "start" }> = {
  ...{ kind: "start", version: 2, step: 0, max_steps: 100, run: "r", engine: "cpu", device: "d" },
  ...{ runtime: "r", threads: 1, parameters: 7, tokens_per_step: 1, train_tokens: 1 },
  ...{ eval_tokens: 1, plan_bytes: 1, preset: "storyteller" },
};

export function report(step: number, loss = 1 / step): Extract<UntimedEvent, { kind: "step" }> {
  return {
    ...{ kind: "step", step, train_loss: loss, learning_rate: 1e-3, gradient_norm: 1 },
    ...{ tokens_per_second: 100, iterations_per_second: 1, trained_tokens: step * 10 },
    eta_seconds: 1,
  };
}

export function evaluation(step: number, loss: number): Extract<UntimedEvent, { kind: "eval" }> {
  return {
    ...{ kind: "eval", step, eval_loss: loss, perplexity: Math.exp(loss), eval_tokens: 1 },
    elapsed_seconds: 1,
  };
}

/** Goes on with a run's log, whose folder is made where there is none. */
export function appendRun(runsFolder: string, id: string, events: readonly UntimedEvent[]): string {
  const folder = join(runsFolder, id);
  mkdirSync(folder, { recursive: true });
  const log = new EventLog(eventsPath(folder));
  for (const event of events) log.append(event);
  log.close();
  return folder;
}
