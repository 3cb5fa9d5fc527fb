// nanoGPT's character run on Shakespeare, seeds 1 to 3: eval_loss over the whole validation split.
//   node bench/nanogpt-char.mjs PATH_TO_TINYSHAKESPEARE [--seeds 1,2,3]
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { training as train } from "../dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seeds: { type: "string", default: "1,2,3" } },
});
const [data] = positionals;
if (data === undefined) throw new Error("give the path of tinyshakespeare's input.txt");
const losses = [];
for (const seed of values.seeds.split(",").map(Number)) {
  const { config } = train.resolveTrainConfig(train.presetOf("nanogpt-char").settings, [
    {
      origin: "bench",
      values: {
        data,
        seed,
        output_dir: join(mkdtempSync(join(tmpdir(), "anecdote-nanogpt-")), "run"),
      },
    },
  ]);
  const end = await train.trainInWorker(config);
  losses.push(end.eval_loss);
  console.log(
    `seed ${seed}: eval_loss ${end.eval_loss.toFixed(4)}  train_loss ${end.train_loss.toFixed(4)}  ${Math.round(end.tokens_per_second)} tokens/s`,
  );
}
const sorted = losses.toSorted((a, b) => a - b);
console.log(`median eval_loss ${sorted[sorted.length >> 1].toFixed(4)}`);
