import type { BindingInput, PlanBuilder } from "../plan/builder.ts";
import type { Parameters, StageInstance } from "./parameters.ts";
import { initialRms } from "./weights.ts";

/** A model's weights as buffers of a plan, under their own names: training and decoding plans may share them. */
export class PlanWeights {
  constructor(builder: PlanBuilder, { stages }: Pick<Parameters, "stages">) {
    for (const { weights, group } of stages) {
      for (const { name, type, borrowed, initialisation } of weights) {
        if (!borrowed) builder.buffer(name, type, "weight", group, initialRms(initialisation));
      }
    }
  }

  /** Weights as a stage function's inputs. A table bound to a smaller input gives its first rows. */
  inputs({ weights }: StageInstance): Record<string, BindingInput> {
    return Object.fromEntries(weights.map(({ parameter, name }) => [parameter, name]));
  }
}
