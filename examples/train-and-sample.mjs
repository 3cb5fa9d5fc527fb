// Trains a small model on the built-in stories from code, then lets it write.
//   node examples/train-and-sample.mjs
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { train } from "anecdote";

const run = await train({
  preset: "storyteller",
  output_dir: mkdtempSync(join(tmpdir(), "anecdote-example-")),
  story_count: 1000,
  max_steps: 30,
  eval_batches: 2,
  final_samples: 0,
});
for await (const event of run) {
  if (event.kind === "step") console.log(`step ${event.step}: loss ${event.train_loss.toFixed(3)}`);
  if (event.kind === "end") console.log(`eval_loss ${event.eval_loss?.toFixed(3)}`);
}
const { text } = await run.model.generate("Once upon a time", {
  maxTokens: 40,
  temperature: 0.8,
  seed: 1,
});
console.log(`Once upon a time${text}`);
