import type { Model } from "../../model/index.ts";
import type { Plan } from "../../plan/index.ts";

/** The buffers that hold a model's state: weights as they are stored, and moments where training goes on. */
export function spreadNames(plan: Plan, _model: Model, isResumed: boolean): readonly string[] {
  return [...plan.buffers.values()].flatMap(({ name, role }) =>
    role === "weight" || (role === "optimizer" && isResumed) ? [name] : [],
  );
}
