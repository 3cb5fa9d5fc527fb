// What the storyteller preset learned, from a run's folder: its loss on held-out combinations against the corpus's
// own entropy, how many of its stories keep hero, helper, wish and place to the end, and how much of what it writes
// is new. Story number n is the sample of seed n; none is drawn twice, filtered or constrained.
//   node bench/storyteller.mjs runs/storyteller [--stories 3] [--temperature 0.8] [--seed 1] [--json]
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
    json: { type: "boolean", default: false },
  },
});
const [run = "runs/storyteller"] = positionals;
const folder = train.resolveModelFolder(run);
const { tokenizer } = text.loadTokenizer(folder);
const state = JSON.parse(readFileSync(join(folder, "trainer_state.json"), "utf8"));
const entropy = text.storyEntropy({ tokenizer, split: "validation", sampleCount: 2000 });
const print = values.json ? () => undefined : console.log;
print(
  `entropy of held-out stories  ${entropy.natsPerToken.toFixed(4)} nats/token (standard error ${entropy.standardError.toFixed(4)})`,
);
print(
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
const count = Number(values.stories);
let consistent = 0;
let known = 0;
await generate.withGenerator(folder, {}, async (writer) => {
  for (let story = 0; story < count; story++) {
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
    const overlap = index.overlap(written);
    const judged = text.judgeStory(written);
    if (judged.consistent) consistent++;
    known += overlap;
    print(
      `\n${written.trim()}\n[${words} words, ${(overlap * 100).toFixed(1)} % of 12-grams in the training text, ${judged.consistent ? "consistent" : judged.problems.join("; ")}, ${judged.grammaticalCount} of ${judged.sentenceCount} sentences of the grammar, ${tokensPerSecond.toFixed(0)} tokens/s, ${stopReason}]`,
    );
  }
});
print(`\n${consistent} of ${count} stories keep hero, helper, wish and place`);
if (values.json) {
  console.log(
    JSON.stringify({
      stories: count,
      consistent,
      eval_loss: state.evalLoss,
      entropy: entropy.natsPerToken,
      new_12grams: count === 0 ? 0 : 1 - known / count,
    }),
  );
}
