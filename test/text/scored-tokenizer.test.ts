import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PIECE_KINDS, scoredTokenizer } from "../../src/text/sentencepiece-json.ts";
import { checkTokenizerJson } from "../../src/text/tokenizer-json.ts";
import { runTokenizer } from "../../src/text/tokenizer-runner.ts";

const { normal, unknown, control, userDefined, unused, byte } = PIECE_KINDS;

const piece = fc.string({ unit: fc.constantFrom("a", "b", "▁", "é"), minLength: 1, maxLength: 5 });
const ordinary = fc.record({
  piece,
  kind: fc.constantFrom(normal, normal, normal, userDefined, unused, control),
  score: fc.integer({ min: -6, max: 2 }),
});
/** Bytes as SentencePiece has them, as ordinary pieces, or none. */
const bytes = fc.constantFrom<readonly number[]>([], [byte], [normal]);
const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "z"), maxLength: 40 });

describe("a vocabulary with scores", () => {
  it("gives a short text the ids that its tokenizer.json gives, and a long one those of both together", () => {
    fc.assert(
      fc.property(
        fc.array(ordinary, { minLength: 1, maxLength: 24 }),
        bytes,
        fc.array(text, { minLength: 1, maxLength: 4 }),
        (drawn, [byteKind], texts) => {
          const entries = [
            { piece: "<unk>", kind: unknown, score: 0 },
            ...(byteKind === undefined
              ? []
              : Array.from({ length: 256 }, (_, value) => ({
                  piece: `<0x${value.toString(16).toUpperCase().padStart(2, "0")}>`,
                  ...{ kind: byteKind, score: 0 },
                }))),
            ...drawn,
          ];
          const scored = {
            pieces: entries.map((entry) => entry.piece),
            scores: entries.map((entry) => entry.score),
            kinds: entries.map((entry) => entry.kind),
            ...{ addsSpace: true, before: [], after: [] },
          };
          const made = scoredTokenizer(scored, {}, "test");
          const listed = (): ReturnType<typeof runTokenizer> =>
            runTokenizer(
              checkTokenizerJson(structuredClone({ ...made.json }), "test"),
              made.config,
              "test",
            );
          for (const one of texts) expect(made.tokenizer.encode(one)).toEqual(listed().encode(one));
          // What the first characters are spared is prepared for this one.
          const long = texts.join(" ").repeat(60).padEnd(4200, "ab ");
          const short = texts.join(" ");
          const whole = listed();
          expect(made.tokenizer.encode(long)).toEqual(whole.encode(long));
          expect(made.tokenizer.encode(short)).toEqual(whole.encode(short));
          expect(made.tokenizer.fingerprint).toBe(whole.fingerprint);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("ranks by score before place, and the ways of one piece by their left half", () => {
    const pieces = ["<unk>", "a", "b", "c", "ab", "bc", "abc"];
    const kinds = pieces.map((_, id) => (id === 0 ? unknown : normal));
    const idsUnder = (scores: readonly number[]): readonly number[] => [
      ...scoredTokenizer(
        { pieces, kinds, scores, addsSpace: false, before: [], after: [] },
        {},
        "test",
      ).tokenizer.encode("abc"),
    ];
    expect(idsUnder([0, 0, 0, 0, -1, -2, -9])).toEqual([6]);
    const { json } = scoredTokenizer(
      ...([
        {
          pieces,
          kinds,
          scores: [0, 0, 0, 0, -2, -1, -3],
          addsSpace: false,
          before: [],
          after: [],
        },
        {},
        "test",
      ] as const),
    );
    expect(json.model.merges).toEqual([
      ["b", "c"],
      ["a", "b"],
      ["a", "bc"],
      ["ab", "c"],
    ]);
  });

  it("is refused without pieces", () => {
    const empty = { pieces: [], scores: [], kinds: [], addsSpace: true, before: [], after: [] };
    expect(() => scoredTokenizer(empty, {}, "test")).toThrow("test: the vocabulary is empty");
  });
});
