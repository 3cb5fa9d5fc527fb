// The thread that makes a run's step and prices it: seconds for a large model, in which the server would not answer.
import { parentPort, workerData } from "node:worker_threads";
import { AnecdoteError } from "../../util/errors.ts";
import { runPlan } from "./run-plan.ts";
import type { PlanAnswer } from "./plans.ts";

const { folder, chip } = workerData as { readonly folder: string; readonly chip?: string };

function answer(message: PlanAnswer): void {
  parentPort?.postMessage(message);
}

try {
  answer({ kind: "plan", plan: runPlan(folder, chip) });
} catch (error) {
  const code = error instanceof AnecdoteError ? error.code : undefined;
  answer({ kind: "error", code, message: error instanceof Error ? error.message : String(error) });
}
