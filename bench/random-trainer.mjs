// A trainer over random tokens, for benchmarks of steps.
import { initialiseWeights } from "../dist/model/index.js";
import { WindowBatches } from "../dist/text/index.js";
import { Trainer } from "../dist/train/step/trainer.js";
import { Random } from "../dist/util/random.js";

/** `size` has vocab, batch and context; `options` are further ones of the trainer. */
export function randomTrainer(loaded, model, size, options = {}) {
  initialiseWeights(model.parameters.weights, 1, (name) => loaded.view(name));
  const tokens = {
    name: "random tokens",
    tokenCount: 1_000_000,
    read(position, target) {
      const random = new Random(position);
      for (let i = 0; i < target.length; i++) target[i] = random.below(size.vocab);
    },
  };
  return new Trainer({
    loaded,
    batches: new WindowBatches(tokens, {
      batchSize: size.batch,
      contextLength: size.context,
      sampling: "random",
      seed: 1,
    }),
    schedule: {
      kind: "constant",
      learningRate: 3e-4,
      minimumLearningRate: 3e-4,
      warmupSteps: 0,
      maxSteps: 1e9,
    },
    accumulationSteps: 1,
    beta1: 0.9,
    beta2: 0.95,
    weightDecay: 0.1,
    maxGradientNorm: 1,
    ...options,
  });
}
