import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";

/** Hugging Face's reference implementation, in Rust. */
interface Reference {
  encode(
    text: string,
    pair: null,
    options: { readonly addSpecialTokens: boolean },
  ): Promise<{ getIds(): number[] }>;
}
const { Tokenizer: ReferenceTokenizer } = createRequire(import.meta.url)(
  "@anush008/tokenizers",
) as { readonly Tokenizer: { fromString(json: string): Reference } };

/**
 * SentencePiece's compiled map of replacements: a double-array trie over UTF-8, each node's children in a block of
 * their own, then the replacements, each ended by a NUL.
 */
function compiled(replacements: ReadonlyMap<string, string>): string {
  interface Node {
    readonly children: Map<number, Node>;
    value?: number;
  }
  const root: Node = { children: new Map() };
  const texts: Buffer[] = [];
  let length = 0;
  for (const [key, replacement] of replacements) {
    let node = root;
    for (const byte of Buffer.from(key)) {
      const next: Node = node.children.get(byte) ?? { children: new Map() };
      node.children.set(byte, next);
      node = next;
    }
    node.value = length;
    const bytes = Buffer.from(`${replacement}\0`);
    texts.push(bytes);
    length += bytes.length;
  }
  const units: number[] = [];
  let blockCount = 0;
  const place = (node: Node, position: number, label: number): void => {
    const base = 256 * ++blockCount;
    const isKey = node.value !== undefined;
    // The place of the children is told as what it differs in from the node's own.
    units[position] = (((position ^ base) << 10) | (isKey ? 0x100 : 0) | label) >>> 0;
    if (node.value !== undefined) units[base] = (node.value | 0x80000000) >>> 0;
    for (const [byte, child] of node.children) place(child, base ^ byte, byte);
  };
  place(root, 0, 0);
  const count = 256 * (blockCount + 1);
  const trie = Buffer.alloc(4 + 4 * count);
  trie.writeUInt32LE(4 * count, 0);
  for (const [index, unit] of Object.entries(units))
    trie.writeUInt32LE(unit, 4 + 4 * Number(index));
  return Buffer.concat([trie, ...texts]).toString("base64");
}

/** Compositions, ligatures, widths, what becomes nothing or several, and keys that begin other keys. */
const REPLACEMENTS: ReadonlyMap<string, string> = new Map([
  ["ﬁ", "fi"],
  ["\u212b", "Å"],
  ["e\u0301", "é"],
  ["a", "A"],
  ["a\u0308", "ä"],
  ["①", "1"],
  ["\u3000", " "],
  ["\t", " "],
  ["\r\n", "\n"],
  ["\u200b", ""],
  ["㈱", "(株)"],
  ["ｶ\uff9e", "ガ"],
  ["\u0301", "´"],
  ["각", "각"],
  ["👨", "man"],
]);

const PARTS = [
  ...REPLACEMENTS.keys(),
  ...["b", "e", " ", "\n", "é", "ｶ", "\uff9e", "\u0308", "\u200d", "👩", "👧", "🇩🇪", "ᄀ", "ᅡ", "ᆨ"],
  ...["क्षि", "\u0600", "\ufe0f", "x\u0301\u0302\u0303", "株", "\u00ad", "\r"],
];

describe("SentencePiece's compiled replacements", () => {
  const characters = new Set(
    [...PARTS, ...REPLACEMENTS.values()].flatMap((text) => Array.from(text)),
  );
  const vocab: Record<string, number> = { "<unk>": 0 };
  for (const character of characters) vocab[character] = Object.keys(vocab).length;
  const json = {
    ...{ version: "1.0", truncation: null, padding: null, added_tokens: [], decoder: null },
    ...{ pre_tokenizer: null, post_processor: null },
    normalizer: { type: "Precompiled", precompiled_charsmap: compiled(REPLACEMENTS) },
    model: {
      ...{ type: "BPE", dropout: null, unk_token: "<unk>", continuing_subword_prefix: null },
      ...{ end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false },
      ...{ vocab, merges: [] },
    },
  };
  const reference = ReferenceTokenizer.fromString(JSON.stringify(json));
  const own = runTokenizer(checkTokenizerJson(json, "test"), {}, "test");
  const wanted = async (text: string): Promise<readonly number[]> =>
    (await reference.encode(text, null, { addSpecialTokens: false })).getIds();

  it("replace what they say", () => {
    const texts = (ids: Iterable<number>): string =>
      Array.from(ids, (id) => own.tokenOf(id) ?? "").join("");
    expect(texts(own.encode("ﬁ①㈱\u200b\u3000"))).toBe("fi1(株) ");
    // A key that begins another is the one that counts.
    expect(texts(own.encode("a\u0308e\u0301"))).toBe("Aé");
  });

  it("give the ids of the reference implementation", async () => {
    for (const part of PARTS)
      expect(Array.from(own.encode(part)), part).toEqual(await wanted(part));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...PARTS), { maxLength: 30 }), async (parts) => {
        const text = parts.join("");
        expect(Array.from(own.encode(text))).toEqual(await wanted(text));
      }),
      { numRuns: 400 },
    );
  });
});
