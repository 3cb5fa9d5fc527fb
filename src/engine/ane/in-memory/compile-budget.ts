import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import { budgetError } from "../../host/compile-budget.ts";

const KEY = "anecdote.ane.compilations";

/**
 * Compilations of this process, all engines and threads together (`in-memory.compile-budget`): threads started
 * after this module was loaded share the count of the thread that started them.
 */
const count = sharedCount();

function sharedCount(): Int32Array {
  const known: unknown = getEnvironmentData(KEY);
  if (known instanceof SharedArrayBuffer) return new Int32Array(known);
  const buffer = new SharedArrayBuffer(4);
  // Worker threads get copies of environment data, and a copy of shared memory is the same memory.
  setEnvironmentData(KEY, buffer);
  return new Int32Array(buffer);
}

/** What is left of a budget of this process. */
export function compilationsLeft(budget: number): number {
  return Math.max(0, budget - Atomics.load(count, 0));
}

/** Takes one compilation of the process's budget. Throws `EngineError` `engine.ane.budget` where none is left. */
export function spendCompilation(budget: number, label: string): void {
  const before = Atomics.add(count, 0, 1);
  if (before < budget) return;
  Atomics.sub(count, 0, 1);
  throw budgetError(
    `program "${label}" would be compilation ${before + 1} of this process, and after ${budget} further ones may fail silently`,
  );
}
