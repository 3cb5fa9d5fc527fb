import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judgingFrame } from "../../src/text/index.ts";
import { encodeDocuments } from "../../src/text/piece-encoder.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";
import type { Tokenizer } from "../../src/text/index.ts";

const bytes = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);

/** Merges that join letters to long tokens, some of them across each other. */
const MERGES: readonly (readonly [string, string])[] = [
  ...[["a", "b"] as const, ["b", "a"] as const, ["a", "a"] as const, ["ab", "ab"] as const],
  ...[["ba", "b"] as const, ["aa", "b"] as const, ["▁", "a"] as const, ["▁a", "b"] as const],
  ...[["▁", "▁"] as const, ["c", "d"] as const, ["abab", "a"] as const, ["b", "aab"] as const],
];

function sentencePiece(parts: object = {}): Tokenizer {
  const letters = ["<unk>", "<s>", "</s>", ...bytes, "▁", "a", "b", "c", "d"];
  const joined = MERGES.map(([left, right]) => left + right);
  const json = {
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    added_tokens: [
      { id: 1, content: "<s>", special: true },
      { id: 2, content: "</s>", special: true },
    ],
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries([...letters, ...joined].map((token, id) => [token, id])),
      merges: MERGES,
    },
    ...parts,
  };
  return runTokenizer(checkTokenizerJson(json, "test"), {}, "test");
}

const metaspace = (split: boolean, scheme: string) => ({
  normalizer: null,
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: scheme, split },
});

const KINDS: readonly (readonly [string, Tokenizer])[] = [
  ["Llama's", sentencePiece()],
  ["Metaspace", sentencePiece(metaspace(true, "always"))],
  ["Metaspace that leaves text whole", sentencePiece(metaspace(false, "always"))],
  ["Metaspace before the first word", sentencePiece(metaspace(false, "first"))],
  [
    "Gemma's",
    sentencePiece({
      normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
      pre_tokenizer: {
        type: "Split",
        pattern: { String: " " },
        behavior: "MergedWithPrevious",
        invert: false,
      },
    }),
  ],
  [
    "tokens that take white space along",
    sentencePiece({
      added_tokens: [{ id: 1, content: "<s>", special: true, lstrip: true, rstrip: true }],
    }),
  ],
  [
    "tokens that are normalized",
    sentencePiece({ added_tokens: [{ id: 1, content: "<s>", special: true, normalized: true }] }),
  ],
];

const text = fc
  .array(
    fc.constantFrom("a", "b", "ab", " ", "  ", "\n", "cd", "é", "🦊", "<s>", "</s>", "<", "▁"),
    { maxLength: 24 },
  )
  .map((parts) => parts.join(""));

function inPieces(tokenizer: Tokenizer, chunks: readonly string[]): number[] {
  const pieces = chunks.map((chunk, index) => ({
    text: chunk,
    endsDocument: index === chunks.length - 1,
  }));
  return [...encodeDocuments(pieces, tokenizer, judgingFrame(tokenizer), "test")].flatMap(
    ({ ids }) => Array.from(ids),
  );
}

describe.each(KINDS)("with %s tokenizer", (_name, tokenizer) => {
  it("pieces have the ids of the whole wherever a cut is allowed", () => {
    let cuts = 0;
    fc.assert(
      fc.property(text, fc.nat(), (whole, at) => {
        const index = whole.length === 0 ? 0 : at % whole.length;
        if (!tokenizer.canCutAt(whole, index)) return;
        cuts++;
        const parts = [
          ...tokenizer.encode(whole.slice(0, index)),
          ...tokenizer.encode(whole.slice(index), { place: index > 0 ? "continues" : "start" }),
        ];
        expect(parts).toEqual(Array.from(tokenizer.encode(whole)));
      }),
      { numRuns: 1500 },
    );
    expect(cuts).toBeGreaterThan(100);
  });

  it("a document of many pieces has the ids of the whole", () => {
    const words = ["ab", "a", "cd ", " b", "ba\n", "🦊", "<s>", "é", " </s> "];
    const chunks = Array.from({ length: 40 }, (_, chunk) =>
      Array.from(
        { length: 2000 },
        (__, at) => words[(chunk * 7 + at * at * 3 + at) % words.length],
      ),
    ).map((parts) => parts.join(""));
    expect(inPieces(tokenizer, chunks)).toEqual(Array.from(tokenizer.encode(chunks.join(""))));
  });
});

describe("a stretch without a place to cut", () => {
  /** By definition: the pair of lowest rank, the leftmost of equals, until none is left. */
  function mergedByDefinition(symbols: readonly string[]): readonly string[] {
    const word = [...symbols];
    for (;;) {
      let best = -1;
      let bestRank = Infinity;
      for (let at = 0; at + 1 < word.length; at++) {
        const rank = MERGES.findIndex(
          ([left, right]) => left === word[at] && right === word[at + 1],
        );
        if (rank >= 0 && rank < bestRank) [best, bestRank] = [at, rank];
      }
      if (best < 0) return word;
      word.splice(best, 2, `${word[best] ?? ""}${word[best + 1] ?? ""}`);
    }
  }

  const tokenizer = sentencePiece({ normalizer: null });

  it("is merged as by definition, short or long", () => {
    const word = fc.array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 120 });
    fc.assert(
      fc.property(word, (letters) => {
        const tokens = Array.from(tokenizer.encode(letters.join("")), (id) =>
          tokenizer.tokenOf(id),
        );
        expect(tokens).toEqual(mergedByDefinition(letters));
      }),
      { numRuns: 300 },
    );
  });

  it("has the same ids window by window, and as it arrives", () => {
    let state = 5;
    let letters = "";
    while (letters.length < 200_000) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      letters += "ab"[(state >>> 16) & 1] ?? "";
    }
    const tokens = Array.from(tokenizer.encode(letters), (id) => tokenizer.tokenOf(id) ?? "");
    expect(tokens.join("")).toBe(letters);
    // Each two neighbours are the encoding of theirs, which only the encoding of the whole has.
    for (let at = 1; at < tokens.length; at++) {
      const pair = [tokens[at - 1] ?? "", tokens[at] ?? ""];
      if (at % 50 === 0) expect(mergedByDefinition(pair.join("").split(""))).toEqual(pair);
    }
    const chunks = letters.match(/.{1,30000}/g) ?? [];
    expect(inPieces(tokenizer, [letters.repeat(3), ...chunks])).toEqual(
      Array.from(tokenizer.encode(letters.repeat(4))),
    );
  });

  it("may begin and end with special tokens far from each other", () => {
    const letters = "ab".repeat(300_000);
    const chunks = [`cd<s>${letters}`, letters, `${letters}</s>${letters}`, `a</s>b`];
    expect(inPieces(tokenizer, chunks)).toEqual(Array.from(tokenizer.encode(chunks.join(""))));
  });
});
