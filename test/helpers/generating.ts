import { afterAll, beforeAll } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import type { Engine, LoadedPlan } from "../../src/engine/engine.ts";
import { buildWeightsPlan } from "../../src/generate/decode-plan.ts";
import { Generator } from "../../src/generate/generator.ts";
import { initialiseWeights } from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";
import type { Tokenizer } from "../../src/text/index.ts";

/** A model with drawn weights in an engine, and what writes with it. */
export interface Generating {
  readonly engine: Engine;
  readonly weights: LoadedPlan;
  readonly generator: Generator;
}

/** The same for all tests of a block: made before the first, closed after the last. */
export function generatingWith(model: Model, tokenizer: Tokenizer, seed: number): () => Generating {
  let made: Generating | undefined;
  beforeAll(async () => {
    const engine = await createEngine("cpu", { threads: 1 });
    const weights = await engine.load(buildWeightsPlan(model));
    initialiseWeights(model.parameters.weights, seed, (name) => {
      const view = weights.view(name);
      if (view instanceof Float32Array) return view;
      throw new Error(`${name} is not fp32`);
    });
    made = { engine, weights, generator: new Generator({ engine, model, tokenizer, weights }) };
  });
  afterAll(async () => {
    await made?.generator.close();
    await made?.weights.close();
    await made?.engine.close();
  });
  return () => {
    if (made === undefined) throw new Error("nothing is made before the first test");
    return made;
  };
}
