// What the storyteller preset learned, from a run's folder: its loss on held-out combinations against the corpus's
// own entropy, and how much of what it writes stands in the training text.
//   node bench/storyteller.mjs runs/storyteller [--stories 3] [--temperature 0.8]
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { generation as generate, text, training as train } from "../dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    stories: { type: "string", default: "3" },
    temperature: { type: "string" },
    seed: { type: "string", default: "1" },
  },
});
const [run = "runs/storyteller"] = positionals;
const folder = train.resolveModelFolder(run);
const { tokenizer } = text.loadTokenizer(folder);
const state = JSON.parse(readFileSync(join(folder, "trainer_state.json"), "utf8"));
const entropy = text.storyEntropy({ tokenizer, split: "validation", sampleCount: 2000 });
console.log(
  `entropy of held-out stories  ${entropy.natsPerToken.toFixed(4)} nats/token (standard error ${entropy.standardError.toFixed(4)})`,
);
console.log(
  `eval_loss                    ${state.evalLoss.toFixed(4)} nats/token, ${((state.evalLoss / entropy.natsPerToken - 1) * 100).toFixed(1)} % above`,
);

const corpus = join(
  run,
  "data",
  readdirSync(join(run, "data")).find((name) => name.startsWith("stories-")),
  "train.txt",
);
const index = new text.NgramIndex(12);
for (const story of readFileSync(corpus, "utf8").split("<|endoftext|>")) index.add(story);
await generate.withGenerator(folder, {}, async (writer) => {
  for (let story = 0; story < Number(values.stories); story++) {
    const {
      text: written,
      tokensPerSecond,
      stopReason,
    } = await writer.generate("", {
      maxTokens: state.config.sample_tokens,
      temperature: Number(values.temperature ?? state.config.sample_temperature),
      seed: Number(values.seed) + story,
    });
    const words = written.split(/\s+/).filter(Boolean).length;
    console.log(
      `\n${written.trim()}\n[${words} words, ${(index.overlap(written) * 100).toFixed(1)} % of 12-grams in the training text, ${tokensPerSecond.toFixed(0)} tokens/s, ${stopReason}]`,
    );
  }
});
