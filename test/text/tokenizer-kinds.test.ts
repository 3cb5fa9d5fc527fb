import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { TextError } from "../../src/text/index.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";
import { charactersOf, referenceTexts } from "./reference-texts.ts";

/** Hugging Face's reference implementation, in Rust. */
interface Reference {
  encode(
    text: string,
    pair: null,
    options: { readonly addSpecialTokens: boolean },
  ): Promise<{ getIds(): number[] }>;
  decode(ids: readonly number[], skipSpecialTokens: boolean): Promise<string>;
}
const { Tokenizer: ReferenceTokenizer } = createRequire(import.meta.url)(
  "@anush008/tokenizers",
) as { readonly Tokenizer: { fromString(json: string): Reference } };

const TEXTS = referenceTexts(160);

type Json = Readonly<Record<string, unknown>>;

const BASE = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [] as readonly object[],
  normalizer: null as Json | null,
  pre_tokenizer: null as Json | null,
  post_processor: null as Json | null,
  decoder: null as Json | null,
};

/** A model that shows characters and, by the last one's suffix, where pieces end. */
const vocabulary: Record<string, number> = { "<unk>": 0 };
for (const character of charactersOf(TEXTS)) {
  vocabulary[character] = Object.keys(vocabulary).length;
  vocabulary[`${character}</w>`] = Object.keys(vocabulary).length;
}
const BPE = {
  type: "BPE",
  dropout: null,
  unk_token: "<unk>" as string | null,
  continuing_subword_prefix: null as string | null,
  end_of_word_suffix: "</w>" as string | null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
  vocab: vocabulary,
  merges: [] as readonly (readonly [string, string])[],
};

const added = (more: Json = {}): readonly object[] => [
  {
    id: Object.keys(vocabulary).length,
    content: "<s>",
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
    ...more,
  },
];
const splitting = (component: Json) => ({ ...BASE, pre_tokenizer: component, model: BPE });
const normalizing = (component: Json) => ({ ...BASE, normalizer: component, model: BPE });
const sequence = (...pretokenizers: readonly Json[]) => ({ type: "Sequence", pretokenizers });
const digits = (isEach: boolean) => ({ type: "Digits", individual_digits: isEach });
const split = (pattern: Json, behavior: string, invert: boolean) => ({
  type: "Split",
  pattern,
  behavior,
  invert,
});

const BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
const PATTERNS: readonly Json[] = [
  { String: " " },
  { Regex: "\\w+|\\s" },
  { Regex: "a*" },
  { Regex: "\\s+" },
];

function* splits(): Generator<readonly [string, Json]> {
  for (const behavior of BEHAVIORS) {
    yield [`Punctuation ${behavior}`, splitting({ type: "Punctuation", behavior })];
    for (const pattern of PATTERNS) {
      for (const invert of [false, true]) {
        yield [
          `Split ${JSON.stringify(pattern)} ${behavior}${invert ? " inverted" : ""}`,
          splitting(split(pattern, behavior, invert)),
        ];
      }
    }
  }
}

function* metaspaces(): Generator<readonly [string, Json]> {
  for (const scheme of ["always", "first", "never"]) {
    for (const isSplit of [true, false]) {
      const metaspace = {
        type: "Metaspace",
        replacement: "▁",
        prepend_scheme: scheme,
        split: isSplit,
      };
      const name = `Metaspace ${scheme}${isSplit ? " split" : ""}`;
      yield [name, { ...splitting(metaspace), decoder: metaspace }];
      yield [`${name} with an added token`, { ...splitting(metaspace), added_tokens: added() }];
      yield [`Digits, then ${name}`, splitting(sequence(digits(true), metaspace))];
      yield [`${name}, then Digits`, splitting(sequence(metaspace, digits(true)))];
      yield [
        `Split removing, then ${name}`,
        splitting(sequence(split({ String: " " }, "Removed", false), metaspace)),
      ];
    }
  }
  yield [
    "Metaspace of an older file",
    splitting({ type: "Metaspace", replacement: "▁", str_rep: "▁", add_prefix_space: true }),
  ];
}

const byteLevel = (prefix: boolean, regex: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: prefix,
  trim_offsets: true,
  use_regex: regex,
});

const PRE_TOKENIZERS: readonly (readonly [string, Json])[] = [
  ...["Whitespace", "WhitespaceSplit", "BertPreTokenizer"].map((type): readonly [string, Json] => [
    type,
    splitting({ type }),
  ]),
  ["ByteLevel", splitting(byteLevel(false, true))],
  ["ByteLevel with a space", splitting(byteLevel(true, true))],
  ["ByteLevel without its pattern", splitting(byteLevel(true, false))],
  ["Digits, each", splitting(digits(true))],
  ["Digits together", splitting(digits(false))],
  ["CharDelimiterSplit", splitting({ type: "CharDelimiterSplit", delimiter: "_" })],
  ["FixedLength", splitting({ type: "FixedLength", length: 3 })],
  [
    "WhitespaceSplit, Digits, Punctuation",
    splitting(
      sequence({ type: "WhitespaceSplit" }, digits(true), {
        type: "Punctuation",
        behavior: "Isolated",
      }),
    ),
  ],
];

const bert = (lowercase: boolean, accents: boolean | null) => ({
  type: "BertNormalizer",
  clean_text: true,
  handle_chinese_chars: true,
  strip_accents: accents,
  lowercase,
});
const NORMALIZERS: readonly Json[] = [
  { type: "NFC" },
  { type: "NFKD" },
  { type: "Lowercase" },
  { type: "Strip", strip_left: true, strip_right: true },
  { type: "Strip", strip_left: true, strip_right: false },
  { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }] },
  { type: "Nmt" },
  { type: "Prepend", prepend: "▁" },
  { type: "Replace", pattern: { Regex: "\\s+" }, content: " $1" },
  { type: "Replace", pattern: { String: " " }, content: "▁" },
  { type: "ByteLevel" },
  bert(true, null),
  bert(true, false),
  bert(false, null),
  bert(false, true),
];

const ADDED: readonly Json[] = [
  { lstrip: true },
  { rstrip: true },
  { lstrip: true, rstrip: true },
  { single_word: true },
  { normalized: true, lstrip: true },
];

const byteToken = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
const llamaDecoder = {
  type: "Sequence",
  decoders: [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    { type: "Strip", content: " ", start: 1, stop: 0 },
  ],
};
const MERGES = [
  ...[["a", "b"] as const, ["t", "h"] as const, ["th", "e"] as const, ["f", "o"] as const],
  ...[["fo", "x"] as const, ["1", "2"] as const, ["▁", "a"] as const, ["▁", "the"] as const],
];
const PIECES = [
  ...["<unk>", "a", "b", "ab", "▁", "▁a", "th", "e", "the", "▁the", "t", "h", "x", "<", "s", ">"],
  ...[" ", "f", "o", "fo", "fox", "1", "2", "3", "4", "5", "12"],
];
const idsOf = (tokens: readonly string[]) =>
  Object.fromEntries(tokens.map((token, id) => [token, id]));

function* bytePairs(): Generator<readonly [string, Json]> {
  for (const fuse of [true, false]) {
    for (const unknown of ["<unk>", null]) {
      for (const fallback of [false, true]) {
        // One byte is missing, so that some characters have no bytes to fall back on.
        const bytes = Array.from({ length: 256 }, (_, byte) => byteToken(byte));
        const vocab = idsOf([...PIECES, ...(fallback ? bytes.filter((_, at) => at !== 0xe4) : [])]);
        const model = {
          ...BPE,
          ...{ end_of_word_suffix: null, fuse_unk: fuse, unk_token: unknown },
          ...{ byte_fallback: fallback, vocab, merges: MERGES },
        };
        const name = `BPE${fuse ? ", unknown fused" : ""}${unknown === null ? ", no unknown" : ""}`;
        yield [`${name}${fallback ? ", bytes" : ""}`, { ...BASE, model, decoder: llamaDecoder }];
      }
    }
  }
  const letters = "abcdefghijklmnopqrstuvwxyz".split("");
  const affixed = letters.flatMap((c) => [c, `##${c}`, `${c}</w>`, `##${c}</w>`]);
  yield [
    "BPE with affixes",
    {
      ...BASE,
      normalizer: { type: "Lowercase" },
      pre_tokenizer: { type: "Whitespace" },
      decoder: { type: "BPEDecoder", suffix: "</w>" },
      model: {
        ...BPE,
        continuing_subword_prefix: "##",
        vocab: idsOf(["<unk>", ...affixed, "th", "the</w>", "##ox</w>", "fox</w>"]),
        merges: [
          ["t", "##h"],
          ["th", "##e</w>"],
          ["##o", "##x</w>"],
          ["f", "##ox</w>"],
        ],
      },
    },
  ];
  yield [
    "BPE that takes whole words first",
    {
      ...BASE,
      pre_tokenizer: { type: "WhitespaceSplit" },
      model: {
        ...BPE,
        ...{ end_of_word_suffix: null, ignore_merges: true, merges: MERGES },
        vocab: idsOf([...PIECES, "xab", "foxab"]),
      },
    },
  ];
}

const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true };
const unigram = (more: Json = {}, vocab: readonly (readonly [string, number])[] = []) => ({
  ...BASE,
  pre_tokenizer: metaspace,
  decoder: metaspace,
  model: {
    type: "Unigram",
    unk_id: 0,
    vocab: [
      ...[["<unk>", 0] as const, ["<s>", 0] as const, ["▁", -2] as const, ["▁the", -3] as const],
      ...[["the", -3.5] as const, ["t", -5] as const, ["h", -5] as const, ["e", -5.5] as const],
      ...[["a", -4] as const, ["b", -4] as const, ["ab", -7.5] as const, ["fox", -6] as const],
      ...[["中", -8] as const, ["中文", -9] as const, ["文字", -9.5] as const, ["12", -7] as const],
      ...[["x", -6] as const, ["xx", -11] as const, ["xxx", -17] as const, ...vocab],
    ],
    ...more,
  },
});

const MODELS: readonly (readonly [string, Json])[] = [
  ["Unigram", unigram()],
  ["Unigram without a pre-tokenizer", { ...unigram(), pre_tokenizer: null }],
  [
    "Unigram with bytes",
    unigram(
      { byte_fallback: true },
      Array.from({ length: 256 }, (_, byte) => [byteToken(byte), 0] as const),
    ),
  ],
  ["Unigram without unknown", unigram({ unk_id: null })],
  [
    "WordPiece",
    {
      ...BASE,
      normalizer: bert(true, null),
      pre_tokenizer: { type: "BertPreTokenizer" },
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      post_processor: { type: "BertProcessing", sep: ["[SEP]", 2], cls: ["[CLS]", 1] },
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 100,
        vocab: idsOf([
          ...["[UNK]", "[CLS]", "[SEP]", "the", "fox", "a", "##b", "##a", "##the", "x", "##x"],
          ...["'", "it", "s", "don", "t", "12", "##3", "!", "?", ".", ",", "中", "文"],
        ]),
      },
    },
  ],
  [
    "WordLevel",
    {
      ...BASE,
      pre_tokenizer: { type: "Whitespace" },
      model: { type: "WordLevel", unk_token: "<unk>", vocab: idsOf(["<unk>", "the", "fox", "a"]) },
    },
  ],
];

describe("a tokenizer.json encodes and decodes as in the reference:", () => {
  it.each([
    ...splits(),
    ...metaspaces(),
    ...PRE_TOKENIZERS,
    ...NORMALIZERS.map((component): readonly [string, Json] => [
      `normalizer ${JSON.stringify(component)}`,
      normalizing(component),
    ]),
    ...NORMALIZERS.map((component): readonly [string, Json] => [
      `normalizer ${JSON.stringify(component)} and a normalized token`,
      { ...normalizing(component), added_tokens: added({ normalized: true, special: false }) },
    ]),
    ...ADDED.map((more): readonly [string, Json] => [
      `an added token ${JSON.stringify(more)}`,
      { ...splitting({ type: "WhitespaceSplit" }), added_tokens: added(more) },
    ]),
    ...bytePairs(),
    ...MODELS,
  ])("%s", async (name, json) => {
    const reference = ReferenceTokenizer.fromString(JSON.stringify(json));
    const tokenizer = runTokenizer(checkTokenizerJson(structuredClone(json), name), {}, name);
    let refused = 0;
    for (const text of TEXTS) {
      let ids: readonly number[];
      try {
        ids = Array.from(tokenizer.encode(text, { addSpecialTokens: true }));
      } catch (error) {
        // The reference leaves out what it cannot spell, without a word.
        if (!(error instanceof TextError) || error.code !== "text.unknown") throw error;
        refused++;
        continue;
      }
      const found = await reference.encode(text, null, { addSpecialTokens: true });
      expect(ids, JSON.stringify(text)).toEqual(found.getIds());
      expect(tokenizer.decode(ids)).toBe(await reference.decode(ids, false));
    }
    expect(refused > 0).toBe(/no unknown|without unknown/.test(name));
  });
});

describe("what cannot be run as in the reference is refused by name:", () => {
  it.each([
    ["a pre-tokenizer", { pre_tokenizer: { type: "UnicodeScripts" } }, /UnicodeScripts/],
    ["a normalizer", { normalizer: { type: "Magic" } }, /normalizer "Magic"/],
    ["a decoder", { decoder: { type: "Magic" } }, /decoder "Magic"/],
    ["a post-processor", { post_processor: { type: "Magic" } }, /post_processor "Magic"/],
    ["a behaviour", { pre_tokenizer: split({ String: " " }, "Cut", false) }, /"behavior"/],
    [
      "two prefixes that contradict each other",
      { pre_tokenizer: { ...metaspace, add_prefix_space: false } },
      /contradicts/,
    ],
    ["dropout", { model: { ...BPE, dropout: 0.1 } }, /dropout 0\.1/],
    [
      "a template with two texts",
      {
        post_processor: {
          type: "TemplateProcessing",
          single: [{ Sequence: { id: "A" } }, { Sequence: { id: "A" } }],
          special_tokens: {},
        },
      },
      /exactly once/,
    ],
  ])("%s", (_name, part, words) => {
    const json = { ...BASE, model: BPE, ...part };
    expect(() => runTokenizer(checkTokenizerJson(json, "test"), {}, "test")).toThrow(words);
  });
});
