import { describe, expect, it } from "vitest";
import {
  byteTokenizer,
  combinationCount,
  COMBINATION_COUNT,
  generateStories,
  NgramIndex,
  ngramOverlap,
  judgeStory,
  recogniseStory,
  storyEntropy,
  trainBpe,
} from "../../src/text/index.ts";
import { ENTITIES, ENTITY_OF, GRAMMAR } from "../../src/text/stories/grammar.ts";
import { wordsInText } from "../../src/text/stories/ngram-overlap.ts";
import { articleOf, inForm, parseTemplate } from "../../src/text/stories/template.ts";
import type { TemplateNode } from "../../src/text/stories/template.ts";
import { WORDS } from "../../src/text/stories/words.ts";

const training = [...generateStories({ seed: 1, count: 3000 })];
const heldOut = [...generateStories({ seed: 2, count: 600, split: "validation" })];
const keyOf = (story: { readonly name: string; readonly wish: string; readonly mishap: string }) =>
  `${story.name}|${story.wish}|${story.mishap}`;

function* nodesOf(nodes: readonly TemplateNode[]): Generator<TemplateNode> {
  for (const node of nodes) {
    yield node;
    if (node.kind === "choose") for (const option of node.options) yield* nodesOf(option);
  }
}

describe("the story grammar", () => {
  it("is made again by the same seed, and begins alike however many stories are taken", () => {
    const again = [...generateStories({ seed: 1, count: 20 })];
    expect(again).toEqual(training.slice(0, 20));
    expect([...generateStories({ seed: 4, count: 1 })][0]?.text).not.toBe(training[0]?.text);
  });

  it("has stories of 100 to 185 words, 140 to 160 in the middle", () => {
    const lengths = [...training, ...heldOut]
      .map((story) => story.text.split(/\s+/).length)
      .toSorted((a, b) => a - b);
    expect(lengths[0]).toBeGreaterThanOrEqual(100);
    expect(lengths.at(-1)).toBeLessThanOrEqual(185);
    expect(lengths[Math.floor(lengths.length * 0.02)]).toBeGreaterThan(100);
    expect(lengths[Math.floor(lengths.length * 0.98)]).toBeLessThan(178);
    const median = lengths[lengths.length >> 1] ?? 0;
    expect(median).toBeGreaterThan(140);
    expect(median).toBeLessThan(160);
  });

  it("knows more than two thousand words", () => {
    const words = new Set(training.flatMap((story) => wordsInText(story.text)));
    expect(words.size).toBeGreaterThan(2000);
  });

  it("uses every list, and every slot names a list or a variable that is bound before", () => {
    const used = new Set<string>();
    const bound = new Set(["look", "kin", "flavor", "snack"]);
    for (const node of nodesOf(GRAMMAR)) {
      if (node.kind === "pick") {
        used.add(node.list);
        expect(Object.keys(WORDS)).toContain(node.list);
      }
      if (node.kind === "copy")
        expect(ENTITY_OF[node.variable] !== undefined || bound.has(node.variable)).toBe(true);
    }
    expect([...used].toSorted()).toEqual(Object.keys(WORDS).toSorted());
    expect(training.filter((story) => /[{}[\]|#]|undefined| {2}| [,.!?]/.test(story.text))).toEqual(
      [],
    );
  });

  it("has no word twice in a list, so that every choice counts once", () => {
    for (const [list, words] of Object.entries(WORDS))
      expect(new Set(words).size, list).toBe(words.length);
    for (const [entity, entries] of Object.entries(ENTITIES)) {
      expect(new Set(entries.map((entry) => JSON.stringify(entry))).size, entity).toBe(
        entries.length,
      );
      expect(
        entries.every((entry) => Object.values(entry).every((value) => value !== "")),
        entity,
      ).toBe(true);
    }
    const heroes = new Set(ENTITIES.hero.map((hero) => hero["name"]));
    expect(ENTITIES.helper.filter((helper) => heroes.has(helper["helper"]))).toEqual([]);
  });

  it("puts a or an by sound, and capitals where sentences begin", () => {
    expect(
      ["owl", "unicorn", "useful box", "honest man", "unusual hat", "ukulele", "hero", "eagle"].map(
        articleOf,
      ),
    ).toEqual(["an", "a", "a", "an", "an", "a", "a", "an"]);
    expect(inForm("owl", { article: true, capital: true })).toBe("An owl");
    for (const { text } of training.slice(0, 500)) {
      expect(text).not.toMatch(/\b[Aa] [aeio]/);
      expect(text).not.toMatch(/\b[Aa]n [^aeiouh]/);
      expect(text).not.toMatch(/(?:\."? |\n\n|^)[a-z]/);
    }
  });

  it("keeps to the hero's pronouns where only the hero is about", () => {
    for (const { text, name } of training.slice(0, 500)) {
      const [first = ""] = text.split("\n\n");
      const isGirl = ENTITIES.hero.some((hero) => hero["name"] === name && hero["he"] === "she");
      const wrong = isGirl ? /\b(?:[Hh]e|[Hh]is|[Hh]im)\b/ : /\b(?:[Ss]he|[Hh]er)\b/;
      expect(first).not.toMatch(wrong);
      expect(first).toContain(name);
    }
  });

  it("refuses a template with stray brackets or slots", () => {
    for (const template of ["{", "{}", "a]", "{a b c}", "[a|{]}"])
      expect(() => parseTemplate(template)).toThrow(/template|slot|bracket/);
  });
});

describe("held-out combinations", () => {
  it("are a tenth of all, and no combination of one split is ever in the other", () => {
    expect(combinationCount("train") + combinationCount("validation")).toBe(COMBINATION_COUNT);
    // A hash decides for each of them with probability 1/10: six standard errors.
    const share = combinationCount("validation") / COMBINATION_COUNT;
    expect(Math.abs(share - 0.1)).toBeLessThan(6 * Math.sqrt(0.09 / COMBINATION_COUNT));
    const seen = new Set(training.map(keyOf));
    expect(heldOut.filter((story) => seen.has(keyOf(story)))).toEqual([]);
    expect(
      training.slice(0, 150).every((story) => recogniseStory(story.text).split === "train"),
    ).toBe(true);
    expect(
      heldOut.slice(0, 150).every((story) => recogniseStory(story.text).split === "validation"),
    ).toBe(true);
  });

  it("are made of names, wishes and mishaps that training knows", () => {
    for (const field of ["name", "wish", "mishap"] as const) {
      const known = new Set(training.map((story) => story[field]));
      expect(heldOut.filter((story) => !known.has(story[field]))).toEqual([]);
    }
  });
});

describe("the entropy of the corpus", () => {
  it("is exact: every story has one derivation, whose probability the generator reports", () => {
    for (const story of [...training.slice(150, 450), ...heldOut.slice(150, 350)]) {
      const found = recogniseStory(story.text);
      expect(found.derivationCount).toBe(1);
      expect(found.nats).toBeCloseTo(story.nats, 9);
    }
  });

  it("agrees with how often stories begin as they do", () => {
    // p(first sentence template "There once was") is 1/8; 3000 stories, six standard errors.
    const share =
      training.filter((story) => story.text.startsWith("There once was")).length / training.length;
    expect(Math.abs(share - 1 / 8)).toBeLessThan(
      6 * Math.sqrt(((1 / 8) * (7 / 8)) / training.length),
    );
    const names = new Map<string, number>();
    for (const story of training) names.set(story.name, (names.get(story.name) ?? 0) + 1);
    expect(names.size).toBe(ENTITIES.hero.length);
  });

  it("is reported a token, a character and a story, with its standard error", () => {
    const { tokenizer } = trainBpe(
      training.slice(0, 1000).map((story) => story.text),
      { vocabularySize: 1024 },
    );
    const found = storyEntropy({ tokenizer, sampleCount: 400 });
    expect(found.natsPerToken * found.tokensPerStory).toBeCloseTo(found.natsPerStory, 6);
    expect(found.natsPerCharacter * found.charactersPerStory).toBeCloseTo(found.natsPerStory, 6);
    expect(found.natsPerStory).toBeGreaterThan(150);
    expect(found.natsPerStory).toBeLessThan(190);
    const other = storyEntropy({ tokenizer, sampleCount: 400, seed: 9 });
    expect(Math.abs(other.natsPerToken - found.natsPerToken)).toBeLessThan(
      6 * Math.hypot(found.standardError, other.standardError),
    );
    const spread =
      (found.natsPerTokenOverAllCombinations - found.natsPerToken) * found.tokensPerStory;
    expect(spread).toBeCloseTo(Math.log(COMBINATION_COUNT / combinationCount("validation")), 6);
  });

  it("does not depend on the tokenizer when counted a story", () => {
    const bytes = storyEntropy({ tokenizer: byteTokenizer().tokenizer, sampleCount: 50 });
    expect(bytes.tokensPerStory).toBeCloseTo(bytes.charactersPerStory + 1, 6);
    expect(bytes.bitsPerByte * Math.LN2).toBeCloseTo(bytes.natsPerCharacter, 9);
  });
});

describe("recognising stories", () => {
  const story = training[0]?.text ?? "";

  it("finds where a text leaves the grammar", () => {
    expect(recogniseStory("Once upon a time, there was nothing.")).toMatchObject({
      derivationCount: 0,
      split: undefined,
      nats: Infinity,
    });
    const words = story.split(" ");
    words[40] = "banana";
    const broken = recogniseStory(words.join(" "));
    expect(broken.derivationCount).toBe(0);
    expect(broken.explainedLength).toBeGreaterThanOrEqual(words.slice(0, 30).join(" ").length);
    expect(broken.explainedLength).toBeLessThanOrEqual(words.slice(0, 41).join(" ").length);
  });

  it("does not take a story whose hero changes name, or that breaks off", () => {
    const { name = "", text = "" } =
      training.find((candidate) => candidate.text.split(candidate.name).length > 3) ?? {};
    const other =
      ENTITIES.hero.map((hero) => hero["name"] ?? "").find((candidate) => candidate !== name) ?? "";
    const at = text.lastIndexOf(name);
    expect(
      recogniseStory(text.slice(0, at) + other + text.slice(at + name.length)).derivationCount,
    ).toBe(0);
    expect(recogniseStory(text.slice(0, -1)).derivationCount).toBe(0);
    expect(recogniseStory(`${text} `).derivationCount).toBe(0);
  });
});

describe("judging stories", () => {
  const [story] = training;

  it("finds every story of the corpus consistent, and all its sentences in the grammar", () => {
    for (const { text } of [...training.slice(0, 300), ...heldOut.slice(0, 100)]) {
      const judged = judgeStory(text);
      expect(judged, text).toMatchObject({ consistent: true, problems: [] });
      expect(judged.grammaticalCount).toBe(judged.sentenceCount);
    }
  });

  it("says who changed: hero, helper, wish or place", () => {
    if (story === undefined) throw new Error("the corpus has no story");
    const { text, name, wish } = story;
    const { helpers, places } = judgeStory(text);
    const other = (entity: "hero" | "helper" | "wish" | "place", variable: string, not: string) =>
      ENTITIES[entity].map((bindings) => bindings[variable] ?? "").find((word) => word !== not) ??
      "";
    const lastReplaced = (word: string, by: string): string => {
      const at = text.lastIndexOf(word);
      return text.slice(0, at) + by + text.slice(at + word.length);
    };
    const [helper = ""] = helpers;
    const [place = ""] = places;
    expect(judgeStory(lastReplaced(name, other("hero", "name", name))).problems.join()).toContain(
      "hero:",
    );
    expect(
      judgeStory(lastReplaced(helper, other("helper", "helper", helper))).problems.join(),
    ).toContain("helper:");
    expect(judgeStory(lastReplaced(wish, other("wish", "wish", wish))).problems.join()).toContain(
      "wish:",
    );
    expect(
      judgeStory(lastReplaced(place, other("place", "place", place))).problems.join(),
    ).toContain("place:");
  });

  it("does not find consistent what has no hero, no helper or no wish", () => {
    expect(judgeStory("Once upon a time, there was nothing.").problems).toEqual([
      "no hero",
      "no helper",
      "no wish",
    ]);
    expect(judgeStory("").consistent).toBe(false);
  });
});

describe("n-gram overlap", () => {
  it("is the share of a text's word n-grams that the corpus has", () => {
    const corpus = ["The quick brown fox jumps.", "over the lazy dog"];
    expect(ngramOverlap("the QUICK, brown fox", corpus, 3)).toBe(1);
    expect(ngramOverlap("quick brown fox sleeps here", corpus, 3)).toBe(1 / 3);
    expect(ngramOverlap("jumps over the", corpus, 2)).toBe(1 / 2);
    expect(ngramOverlap("too short", corpus, 3)).toBe(0);
  });

  it("agrees with counting strings", () => {
    const index = new NgramIndex(5);
    const strings = new Set<string>();
    for (const { text } of training.slice(0, 300)) {
      index.add(text);
      const words = wordsInText(text);
      for (let at = 0; at + 5 <= words.length; at++) strings.add(words.slice(at, at + 5).join(" "));
    }
    expect(index.size).toBe(strings.size);
    for (const { text } of heldOut.slice(0, 50)) {
      const words = wordsInText(text);
      const grams = words.slice(4).map((_, at) => words.slice(at, at + 5).join(" "));
      expect(ngramOverlap(text, index, 5)).toBeCloseTo(
        grams.filter((gram) => strings.has(gram)).length / grams.length,
        12,
      );
    }
  });

  it("of 12 words between independent stories stays far below a half", () => {
    const index = new NgramIndex(12);
    for (const { text } of training) index.add(text);
    const shares = heldOut.map((story) => index.overlap(story.text));
    expect(shares.reduce((sum, share) => sum + share, 0) / shares.length).toBeLessThan(0.03);
    expect(Math.max(...shares)).toBeLessThan(0.25);
  });
});
