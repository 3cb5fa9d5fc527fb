// Trains a small model on the built-in stories from code, then lets it write.
//   node examples/train-and-sample.mjs
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateFromFolder, train, trainInWorker } from "anecdote";

const { config } = train.resolveTrainConfig(train.presetOf("storyteller").settings, [
  {
    origin: "example",
    values: {
      output_dir: mkdtempSync(join(tmpdir(), "anecdote-example-")),
      story_count: 1000,
      max_steps: 30,
      eval_batches: 2,
      final_samples: 0,
    },
  },
]);

const end = await trainInWorker(config, {
  onEvent: (event) => {
    if (event.kind === "step")
      console.log(`step ${event.step}: loss ${event.train_loss.toFixed(3)}`);
  },
});
if (end.kind !== "end") throw new Error(`the run ended with ${end.kind}`);
console.log(`eval_loss ${end.eval_loss?.toFixed(3)}, model in ${end.model}`);

const { text } = await generateFromFolder(end.model, "Once upon a time", {
  maxTokens: 40,
  temperature: 0.8,
  seed: 1,
});
console.log(`Once upon a time${text}`);
