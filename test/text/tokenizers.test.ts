import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { learnMerges } from "../../src/text/bpe-trainer.ts";
import {
  byteTokenizer,
  characterTokenizer,
  END_OF_TEXT,
  generateStories,
  loadTokenizer,
  saveTokenizer,
  TextError,
  trainBpe,
} from "../../src/text/index.ts";
import type { DescribedTokenizer, Tokenizer } from "../../src/text/index.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const stories = [...generateStories({ seed: 3, count: 200 })].map((story) => story.text);
const bpe = trainBpe(stories, { vocabularySize: 700 });
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc
    .array(
      fc.constantFrom(
        "the ",
        "fox",
        "\n\n",
        "  ",
        " it's",
        "Ünï",
        "🦊",
        "12,345",
        "<|endoftext|>",
        "\t!",
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join("")),
);
/** Lone surrogates have no UTF-8, so no tokenizer can give them back. */
const wellFormed = anyText.filter((text) => text === Buffer.from(text).toString());

function hubIds(described: DescribedTokenizer, text: string): number[] {
  return new HubTokenizer(described.json, described.config).encode(text, {
    add_special_tokens: false,
  }).ids;
}

function errorOf(action: () => unknown): TextError {
  try {
    action();
  } catch (error) {
    if (error instanceof TextError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe.each([
  ["byte", byteTokenizer()],
  ["character", characterTokenizer(stories)],
  ["trained BPE", bpe],
] as const)("the %s tokenizer", (kind, described) => {
  const { tokenizer } = described;

  it("gives the ids that Hugging Face's own implementation gives", () => {
    const hub = new HubTokenizer(described.json, described.config);
    fc.assert(
      fc.property(wellFormed, (text) => {
        expect(Array.from(tokenizer.encode(text))).toEqual(
          hub.encode(text, { add_special_tokens: false }).ids,
        );
      }),
      { numRuns: 300 },
    );
  });

  it("gives stories back, whole and id by id", () => {
    for (const text of stories.slice(0, 20)) {
      const ids = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      const stream = tokenizer.streamDecoder();
      expect(Array.from(ids, (id) => stream.push(id)).join("") + stream.end()).toBe(text);
    }
  });

  it("streams whole characters only, and the pieces make the text", () => {
    fc.assert(
      fc.property(wellFormed, (text) => {
        const stream = tokenizer.streamDecoder();
        const pieces = Array.from(tokenizer.encode(text), (id) => stream.push(id));
        pieces.push(stream.end());
        const whole = tokenizer.decode(tokenizer.encode(text));
        expect(pieces.join("")).toBe(whole);
        if (kind !== "character") expect(whole).toBe(text);
        for (const piece of pieces) {
          expect(piece).toBe(Buffer.from(piece).toString());
          if (!text.includes("\uFFFD")) expect(piece).not.toContain("\uFFFD");
        }
      }),
      { numRuns: 300 },
    );
  });

  it("encodes pieces as it encodes the whole wherever it allows a cut", () => {
    fc.assert(
      fc.property(wellFormed, fc.nat(), (text, at) => {
        const index = text.length === 0 ? 0 : at % text.length;
        if (!tokenizer.canCutAt(text, index)) return;
        const parts = [
          ...tokenizer.encode(text.slice(0, index)),
          ...tokenizer.encode(text.slice(index)),
        ];
        expect(parts).toEqual(Array.from(tokenizer.encode(text)));
      }),
      { numRuns: 1000 },
    );
  });

  it("comes back from its model folder with the same fingerprint, ids and roles", () => {
    const folder = temporaryFolder();
    saveTokenizer(folder, described);
    const loaded = loadTokenizer(folder);
    expect(loaded.tokenizer.fingerprint).toBe(tokenizer.fingerprint);
    expect(loaded.tokenizer.special).toEqual(tokenizer.special);
    expect(loaded.tokenizer.encode(stories[0] ?? "")).toEqual(tokenizer.encode(stories[0] ?? ""));
    expect(loaded.json).toEqual(JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8")));
  });

  it("knows the end of a text as one token that can be left out of the decoded text", () => {
    const { endOfText } = tokenizer.special;
    const ids = tokenizer.encode(`a${END_OF_TEXT}b`);
    expect(ids[1]).toBe(endOfText);
    expect(tokenizer.decode(ids)).toBe(`a${END_OF_TEXT}b`);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("ab");
    expect(tokenizer.vocabularySize).toBeGreaterThan(Math.max(...ids));
  });

  it("refuses an id outside the vocabulary", () => {
    expect(errorOf(() => tokenizer.decode([tokenizer.vocabularySize])).code).toBe("text.id");
    expect(errorOf(() => tokenizer.streamDecoder().push(1e9)).code).toBe("text.id");
  });
});

describe("byte and character tokenizers", () => {
  it("have the byte as the id of a byte and 257 tokens", () => {
    const { tokenizer } = byteTokenizer();
    expect(Array.from(tokenizer.encode("Aé\n"))).toEqual([65, 0xc3, 0xa9, 10]);
    expect(tokenizer.vocabularySize).toBe(257);
    expect(tokenizer.special.endOfText).toBe(256);
  });

  it("hold half a character back until its other bytes come, and show broken bytes at the end", () => {
    const stream = byteTokenizer().tokenizer.streamDecoder();
    expect([0xf0, 0x9f, 0xa6, 0x8a, 0xf0].map((byte) => stream.push(byte))).toEqual([
      "",
      "",
      "",
      "🦊",
      "",
    ]);
    expect(stream.end()).toBe("\uFFFD");
    expect(stream.push(65)).toBe("A");
  });

  it("number characters in code point order and map others to the unknown token", () => {
    const { tokenizer } = characterTokenizer(["banana 🦊"]);
    expect(Array.from(tokenizer.encode("ab n🦊z"))).toEqual([
      1,
      2,
      0,
      3,
      4,
      tokenizer.special.unknown,
    ]);
    expect(tokenizer.vocabularySize).toBe(7);
  });

  it("refuse a text without characters, or with too many", () => {
    expect(errorOf(() => characterTokenizer([])).code).toBe("text.empty");
    const everything = Array.from({ length: 70_000 }, (_, index) =>
      String.fromCodePoint(0x20000 + index),
    ).join("");
    expect(errorOf(() => characterTokenizer([everything])).code).toBe("text.characters");
  });
});

/** Merges by definition: count all pairs anew after every merge. Slow and obvious. */
function mergesByDefinition(words: ReadonlyMap<string, number>, total: number): [number, number][] {
  let spelled = [...words].map(([word, frequency]) => ({
    ids: Array.from<number>(Buffer.from(word)),
    frequency,
  }));
  const merges: [number, number][] = [];
  while (merges.length < total) {
    const counts = new Map<string, number>();
    for (const { ids, frequency } of spelled) {
      for (let at = 1; at < ids.length; at++) {
        const key = `${ids[at - 1]},${ids[at]}`;
        counts.set(key, (counts.get(key) ?? 0) + frequency);
      }
    }
    let best: [number, number] | undefined;
    let bestCount = 1;
    for (const [key, count] of counts) {
      const [left = 0, right = 0] = key.split(",").map(Number);
      const isSmaller =
        best === undefined || left < best[0] || (left === best[0] && right < best[1]);
      if (count > bestCount || (count === bestCount && best !== undefined && isSmaller)) {
        best = [left, right];
        bestCount = count;
      }
    }
    if (best === undefined) break;
    const [left, right] = best;
    const merged = 256 + merges.push(best) - 1;
    spelled = spelled.map(({ ids, frequency }) => {
      const joined: number[] = [];
      for (let at = 0; at < ids.length; at++) {
        if (ids[at] === left && ids[at + 1] === right) {
          joined.push(merged);
          at++;
        } else joined.push(ids[at] ?? 0);
      }
      return { ids: joined, frequency };
    });
  }
  return merges;
}

describe("training a BPE tokenizer", () => {
  it("finds the merges that counting everything anew after each merge finds", () => {
    const word = fc.string({
      unit: fc.constantFrom("a", "b", "c", "é"),
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(word, fc.integer({ min: 1, max: 9 })), { maxLength: 25 }),
        (entries) => {
          const counts = new Map(entries);
          expect(learnMerges(counts, 30, 2)).toEqual(mergesByDefinition(counts, 30));
        },
      ),
      { numRuns: 200 },
    );
  });

  it("gives the same tokenizer whatever the order of the texts", () => {
    const again = trainBpe(stories.toReversed(), { vocabularySize: 700 });
    expect(again.tokenizer.fingerprint).toBe(bpe.tokenizer.fingerprint);
  });

  it("reaches the asked size exactly, and stays below it when no pair occurs twice", () => {
    expect(bpe.tokenizer.vocabularySize).toBe(700);
    expect(bpe.tokenizer.special.endOfText).toBe(699);
    expect(trainBpe(["abcd"], { vocabularySize: 1000 }).tokenizer.vocabularySize).toBe(257);
  });

  it("keeps special tokens out of the merges", () => {
    const described = trainBpe([`x${END_OF_TEXT}`.repeat(50)], {
      vocabularySize: 300,
      specialTokens: [END_OF_TEXT, "<|user|>"],
    });
    expect(described.tokenizer.vocabularySize).toBe(258);
    expect(Array.from(described.tokenizer.encode("<|user|>x"))).toEqual([257, "x".charCodeAt(0)]);
  });

  it("says why a size is impossible and when there is no text", () => {
    expect(errorOf(() => trainBpe(["a"], { vocabularySize: 256 })).message).toContain(
      "it needs 257",
    );
    expect(errorOf(() => trainBpe(["a"], { vocabularySize: 300.5 })).code).toBe("text.vocabulary");
    expect(errorOf(() => trainBpe([], { vocabularySize: 300 })).code).toBe("text.empty");
  });
});

const byteLevel = (useRegex: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

/** The pre-tokenizer of Llama 3 and Qwen: a pattern of the file's own before the byte-level alphabet. */
function withPattern(normalizer: string | null): DescribedTokenizer {
  const pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const json = {
    ...bpe.json,
    normalizer: normalizer === null ? null : { type: normalizer },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
        byteLevel(false),
      ],
    },
  };
  return { json, config: bpe.config, tokenizer: runTokenizer(json, bpe.config, "test") };
}

describe("tokenizer.json files of other makers", () => {
  it.each([[null], ["NFC"]])(
    "run by words with the pattern of Llama 3 and Qwen (normalizer %s)",
    (normalizer) => {
      const described = withPattern(normalizer);
      expect(described.tokenizer.encodesInPieces).toBe(true);
      const hub = new HubTokenizer(described.json, described.config);
      fc.assert(
        fc.property(wellFormed, fc.nat(), (text, at) => {
          const ids = hub.encode(text, { add_special_tokens: false }).ids;
          expect(Array.from(described.tokenizer.encode(text))).toEqual(ids);
          const index = text.length === 0 ? 0 : at % text.length;
          if (!described.tokenizer.canCutAt(text, index)) return;
          const parts = [text.slice(0, index), text.slice(index)].flatMap((part) => [
            ...described.tokenizer.encode(part),
          ]);
          expect(parts).toEqual(ids);
        }),
        { numRuns: 500 },
      );
    },
  );

  const unigram = {
    model: {
      type: "Unigram",
      unk_id: 0,
      vocab: [
        ["<unk>", 0],
        ["</s>", 0],
        ["▁", -2],
        ["▁the", -1],
        ["▁fox", -1.5],
        ["fo", -3],
        ["x", -3],
        ["t", -4],
        ["h", -4],
        ["e", -4],
        ["é", -5],
      ],
    },
    normalizer: null,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    post_processor: null,
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    added_tokens: [{ id: 1, content: "</s>", special: true }],
  };

  it("run as Unigram models with Metaspace", () => {
    const tokenizer = runTokenizer(checkTokenizerJson(unigram, "test"), {}, "test");
    expect(tokenizer.encodesInPieces).toBe(true);
    expect(tokenizer.special.endOfText).toBe(1);
    const ids = tokenizer.encode("the fox thé");
    expect(Array.from(ids).map((id) => tokenizer.tokenOf(id))).toEqual([
      "▁the",
      "▁fox",
      "▁",
      "t",
      "h",
      "é",
    ]);
    expect(tokenizer.decode(ids)).toBe("the fox thé");
    const stream = tokenizer.streamDecoder();
    expect(Array.from(ids, (id) => stream.push(id)).join("") + stream.end()).toBe("the fox thé");
  });

  it("stream byte-fallback tokens as whole characters", () => {
    const bytes = Array.from(
      { length: 256 },
      (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    const vocab = Object.fromEntries(
      ["<unk>", ...bytes, "▁a", "b"].map((token, id) => [token, id]),
    );
    const json = checkTokenizerJson(
      {
        model: {
          type: "BPE",
          vocab,
          merges: [],
          byte_fallback: true,
          unk_token: "<unk>",
          fuse_unk: true,
        },
        normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
        decoder: {
          type: "Sequence",
          decoders: [
            { type: "Replace", pattern: { String: "▁" }, content: " " },
            { type: "ByteFallback" },
            { type: "Fuse" },
          ],
        },
      },
      "test",
    );
    const tokenizer = runTokenizer(json, {}, "test");
    const ids = tokenizer.encode("b🦊b");
    expect(ids).toHaveLength(6);
    const stream = tokenizer.streamDecoder();
    expect(Array.from(ids, (id) => stream.push(id))).toEqual(["b", "", "", "", "🦊", "b"]);
  });

  it("add the begin token of a post-processor only when asked", () => {
    const json = {
      ...bpe.json,
      post_processor: {
        type: "TemplateProcessing",
        single: [
          { SpecialToken: { id: END_OF_TEXT, type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
        ],
        pair: [],
        special_tokens: { [END_OF_TEXT]: { id: END_OF_TEXT, ids: [699], tokens: [END_OF_TEXT] } },
      },
    };
    const tokenizer = runTokenizer(json, {}, "test");
    expect(tokenizer.encode("fox")).toEqual(bpe.tokenizer.encode("fox"));
    expect(Array.from(tokenizer.encode("fox", { addSpecialTokens: true }))).toEqual([
      699,
      ...bpe.tokenizer.encode("fox"),
    ]);
  });

  it("take roles from tokenizer_config.json, spelt as text or as an object", () => {
    const folder = temporaryFolder();
    saveTokenizer(folder, {
      ...bpe,
      config: { eos_token: { content: "fox" }, pad_token: END_OF_TEXT },
    });
    const { tokenizer } = loadTokenizer(folder);
    expect(tokenizer.special.padding).toBe(699);
    expect(tokenizer.special.endOfText).toBe(tokenizer.idOf("fox") ?? 699);
  });
});

describe("a malformed tokenizer.json", () => {
  const model = { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] };
  it.each([
    ["cut off", '{"model": {"type": "BPE", "voc', "text.tokenizer.json", "not JSON"],
    ["no object", "[1]", "text.tokenizer.json", "expected an object"],
    ["without a model", '{"modle": {}}', "text.tokenizer.shape", 'Did you mean "modle"'],
    [
      "of an unknown type",
      JSON.stringify({ model: { ...model, type: "BPE2" } }),
      "text.tokenizer.model",
      'Did you mean "BPE"',
    ],
    [
      "with a vocabulary that is no object",
      JSON.stringify({ model: { ...model, vocab: 3 } }),
      "text.tokenizer.shape",
      "model.vocab must be an object",
    ],
    [
      "with an id that is no number",
      JSON.stringify({ model: { ...model, vocab: { a: "0" } } }),
      "text.tokenizer.id",
      'model.vocab["a"]',
    ],
    [
      "with an id as large as memory",
      JSON.stringify({ model: { ...model, vocab: { a: 4e9 } } }),
      "text.tokenizer.id",
      "from 0 to 16777215",
    ],
    [
      "with one id twice",
      JSON.stringify({ model: { ...model, vocab: { a: 0, b: 0 } } }),
      "text.tokenizer.id",
      'id 0 to both "a" and "b"',
    ],
    [
      "with a merge of three",
      JSON.stringify({ model: { ...model, merges: ["a b c"] } }),
      "text.tokenizer.merge",
      "model.merges[0]",
    ],
    [
      "with a merge of unknown tokens",
      JSON.stringify({ model: { ...model, merges: [["a", "c"]] } }),
      "text.tokenizer.merge",
      '"c"',
    ],
    [
      "with a merge into an unknown token",
      JSON.stringify({ model: { ...model, merges: [["b", "a"]] } }),
      "text.tokenizer.merge",
      '"ba"',
    ],
    [
      "with an added token without content",
      JSON.stringify({ model, added_tokens: [{ id: 3 }] }),
      "text.tokenizer.shape",
      "added_tokens[0].content",
    ],
    [
      "with an added token of a wild id",
      JSON.stringify({ model, added_tokens: [{ id: -1, content: "x" }] }),
      "text.tokenizer.id",
      "added_tokens[0].id",
    ],
    [
      "with a decoder that is text",
      JSON.stringify({ model, decoder: "ByteLevel" }),
      "text.tokenizer.shape",
      "decoder must be an object",
    ],
    [
      "with an unknown pre-tokenizer",
      JSON.stringify({ model, pre_tokenizer: { type: "Magic" } }),
      "text.tokenizer.component",
      "Magic",
    ],
    [
      "with a broken pattern",
      JSON.stringify({ model, pre_tokenizer: { type: "Split", pattern: { Regex: "(" } } }),
      "text.tokenizer.component",
      "cannot be set up",
    ],
    [
      "with a pattern of no kind",
      JSON.stringify({
        model,
        pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Split", pattern: {} }] },
      }),
      "text.tokenizer.shape",
      "pre_tokenizer.pretokenizers[0].pattern",
    ],
    [
      "that is empty",
      JSON.stringify({ model: { type: "BPE", vocab: {}, merges: [] } }),
      "text.tokenizer.empty",
      "empty",
    ],
  ])("%s is refused with the file, the field and a code", (_name, content, code, words) => {
    const path = join(temporaryFolder(), "tokenizer.json");
    writeFileSync(path, content);
    const error = errorOf(() => loadTokenizer(path));
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
    expect(error.message).toContain(path);
  });

  it("that is not there is told apart from one that is wrong", () => {
    expect(errorOf(() => loadTokenizer(temporaryFolder())).code).toBe("text.tokenizer.missing");
  });

  it("never throws anything but a TextError, whatever is damaged in it", () => {
    const whole = JSON.stringify(characterTokenizer(["abc"]).json);
    const folder = temporaryFolder();
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.nat(12),
        fc.string({ maxLength: 4 }),
        (at, length, inserted) => {
          const path = join(folder, "tokenizer.json");
          writeFileSync(path, whole.slice(0, at) + inserted + whole.slice(at + length));
          let tokenizer: Tokenizer | undefined;
          try {
            tokenizer = loadTokenizer(path).tokenizer;
          } catch (error) {
            if (!(error instanceof TextError)) throw error;
          }
          try {
            tokenizer?.decode(tokenizer.encode("a cab"));
          } catch (error) {
            if (!(error instanceof TextError)) throw error;
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("the word cache", () => {
  it("gives the ids that encoding without it gives", () => {
    const text = stories.join(`\n${END_OF_TEXT}\n`);
    expect(Array.from(bpe.tokenizer.encode(text))).toEqual(hubIds(bpe, text));
  });
});
