import type { CompilationCost } from "./engine.ts";
import { EngineError } from "./errors.ts";

/** The error of what does not fit into this process; `what` is the subject of its sentence. */
export function overCompileBudget(
  { missing, left, budget }: CompilationCost,
  what: string,
): EngineError {
  return new EngineError(
    "engine.ane.budget",
    `${what} needs ${missing} ${missing === 1 ? "program that is" : "programs that are"} not compiled yet; a process may compile ${budget}, and this one ${left} more: after them the compiler may fail silently`,
    {
      remedy:
        "Use --ane-driver e5rt, which has no such limit, or set another one with ANECDOTE_ANE_COMPILE_BUDGET.",
    },
  );
}
