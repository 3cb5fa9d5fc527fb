import { describe, expect, it } from "vitest";
import { encodeParts } from "../../src/text/encoding-threads.ts";
import { trainBpe } from "../../src/text/bpe-trainer.ts";
import { judgingFrame } from "../../src/text/document-frame.ts";
import { cutDocuments, encodeDocuments } from "../../src/text/piece-encoder.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";

/** Documents of all lengths: short ones, long ones that are cut, one that cannot be, halves of surrogates, empty ones. */
function* documents(): Generator<{ text: string; endsDocument: boolean }> {
  const words = [
    "once ",
    "upon",
    " a time",
    "\n\n",
    "🦊",
    "naïve ",
    "<|endoftext|>",
    "\ud83e",
    "x",
  ];
  let state = 7;
  const word = (): string => {
    state = (state * 48271) % 2147483647;
    return words[state % words.length] ?? "";
  };
  for (let document = 0; document < 160; document++) {
    const length = document % 50 === 0 ? 90_000 : document % 7 === 0 ? 0 : 300;
    yield { text: Array.from({ length }, word).join(""), endsDocument: document % 3 !== 1 };
  }
  yield { text: "y".repeat(700_000), endsDocument: true };
}

function idsOf(pieces: Iterable<{ ids: Uint32Array; endsDocument: boolean }>) {
  const ids: number[] = [];
  let documentCount = 0;
  for (const piece of pieces) {
    for (const id of piece.ids) ids.push(id);
    if (piece.endsDocument) documentCount++;
  }
  return { ids, documentCount };
}

describe("several threads", () => {
  const { tokenizer } = trainBpe(["once upon a time a naïve fox, once upon a time"], {
    vocabularySize: 300,
  });
  const frame = { ...judgingFrame(tokenizer), before: [1], after: [2], between: [3] };

  it.each([1, 2, 3])("encode documents to the ids of one: %d", (threads) => {
    const alone = idsOf(encodeDocuments(documents(), tokenizer, frame, "test"));
    expect(alone.ids.length).toBeGreaterThan(100_000);
    const parts = cutDocuments(documents(), tokenizer, frame, "test");
    expect(idsOf(encodeParts(parts, tokenizer, threads))).toEqual(alone);
  });

  it("leave to this one what a thread cannot do, and its errors", () => {
    // A thread makes the tokenizer from its files; these make none.
    const { source } = tokenizer;
    if (source === undefined) throw new Error("the tokenizer tells nothing of its files");
    const broken = { json: { ...source.json, model: undefined }, config: {} };
    const lamed: Tokenizer = Object.create(tokenizer, {
      source: { value: broken },
      encode: { value: tokenizer.encode.bind(tokenizer) },
      canCutAt: { value: tokenizer.canCutAt.bind(tokenizer) },
      streamEncoder: { value: tokenizer.streamEncoder.bind(tokenizer) },
      specialLengthAt: { value: tokenizer.specialLengthAt.bind(tokenizer) },
    }) as Tokenizer;
    const alone = idsOf(encodeDocuments(documents(), tokenizer, frame, "test"));
    const parts = cutDocuments(documents(), lamed, frame, "test");
    expect(idsOf(encodeParts(parts, lamed, 2))).toEqual(alone);
    const failing: Tokenizer = Object.create(lamed, {
      encode: {
        value: () => {
          throw new Error("no such character");
        },
      },
    }) as Tokenizer;
    const failed = cutDocuments(documents(), failing, frame, "test");
    expect(() => idsOf(encodeParts(failed, failing, 2))).toThrow("no such character");
  });
});
