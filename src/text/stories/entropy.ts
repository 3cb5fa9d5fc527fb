import type { Tokenizer } from "../tokenizer.ts";
import { COMBINATION_COUNT, combinationCount } from "./combinations.ts";
import type { StorySplit } from "./combinations.ts";
import { generateStories } from "./generate.ts";

/** Over how many stories the entropy is taken. */
export interface StoryEntropyOptions {
  readonly tokenizer: Tokenizer;
  /** Stories to average over. Default 2000. */
  readonly sampleCount?: number;
  /** Default 1. */
  readonly seed?: number;
  /** Default "validation": stories whose combinations are held out. */
  readonly split?: StorySplit;
}

/** The entropy of the story source: the loss that no model can beat on average. */
export interface StoryEntropy {
  readonly natsPerStory: number;
  /** The end-of-text token that follows each story is counted as a token. */
  readonly natsPerToken: number;
  readonly natsPerCharacter: number;
  readonly bitsPerByte: number;
  /** Standard error of `natsPerToken` over the sample. */
  readonly standardError: number;
  /**
   * The same when all combinations count as possible: what a model reaches that has learnt the grammar but cannot
   * know which combinations were held out.
   */
  readonly natsPerTokenOverAllCombinations: number;
  readonly tokensPerStory: number;
  readonly charactersPerStory: number;
  readonly sampleCount: number;
}

/**
 * Mean of -ln p(story) over stories of a split, p being the exact probability with which the split's distribution
 * makes the story. The grammar is unambiguous, so the probability of its choices is the probability of the text.
 */
export function storyEntropy(options: StoryEntropyOptions): StoryEntropy {
  const { tokenizer, sampleCount = 2000, seed = 1, split = "validation" } = options;
  const endTokens = tokenizer.special.endOfText === undefined ? 0 : 1;
  let nats = 0;
  let tokens = 0;
  let characters = 0;
  let bytes = 0;
  const samples: { readonly nats: number; readonly tokens: number }[] = [];
  for (const story of generateStories({ seed, count: sampleCount, split })) {
    const count = tokenizer.encode(story.text).length + endTokens;
    nats += story.nats;
    tokens += count;
    characters += story.text.length;
    bytes += Buffer.byteLength(story.text);
    samples.push({ nats: story.nats, tokens: count });
  }
  const natsPerToken = nats / tokens;
  // Standard error of a ratio of means.
  let squares = 0;
  for (const sample of samples) squares += (sample.nats - natsPerToken * sample.tokens) ** 2;
  const spread = Math.log(COMBINATION_COUNT / combinationCount(split));
  return {
    natsPerStory: nats / sampleCount,
    natsPerToken,
    natsPerCharacter: nats / characters,
    bitsPerByte: nats / bytes / Math.LN2,
    standardError:
      Math.sqrt(squares / Math.max(1, sampleCount - 1)) /
      Math.sqrt(sampleCount) /
      (tokens / sampleCount),
    natsPerTokenOverAllCombinations: (nats + spread * sampleCount) / tokens,
    tokensPerStory: tokens / sampleCount,
    charactersPerStory: characters / sampleCount,
    sampleCount,
  };
}
