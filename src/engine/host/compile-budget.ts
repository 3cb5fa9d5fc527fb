import type { CompilationCost } from "../engine.ts";
import { EngineError } from "../errors.ts";

const CODE = "engine.ane.budget";

/** Whether a process has come to the end of what it may compile: a new one can go on. */
export function isBudgetSpent(error: unknown): error is EngineError {
  return error instanceof EngineError && error.code === CODE;
}

export function budgetError(message: string): EngineError {
  return new EngineError(CODE, message, {
    remedy:
      "Use --ane-driver e5rt, which has no such limit, or set another one with ANECDOTE_ANE_COMPILE_BUDGET.",
  });
}

/** The error of what does not fit into this process; `what` is the subject of its sentence. */
export function overCompileBudget(
  { missing, left, budget }: CompilationCost,
  what: string,
): EngineError {
  return budgetError(
    `${what} needs ${missing} ${missing === 1 ? "program that is" : "programs that are"} not compiled yet; a process may compile ${budget}, and this one ${left} more: after them the compiler may fail silently`,
  );
}
