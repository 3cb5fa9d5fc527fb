import { TextError } from "./errors.ts";
import type { TextPiece } from "./text-reader.ts";
import type { Tokenizer } from "./tokenizer.ts";

const READY_LENGTH = 1 << 16;
const LONGEST_PIECE = 1 << 24;

/**
 * Encodes documents that arrive in pieces and ends each with the end-of-text token, where the tokenizer has one.
 * Yields ids [n] in order. Memory is bounded: a document is cut where cutting does not change its ids.
 * Throws `TextError` `text.document` for a stretch of 16 Mi characters that cannot be cut.
 */
export function* encodeDocuments(
  pieces: Iterable<TextPiece>,
  tokenizer: Tokenizer,
  name: string,
): Generator<{ readonly ids: Uint32Array; readonly endsDocument: boolean }> {
  const { endOfText } = tokenizer.special;
  let pending = "";
  let searched = 1;
  for (const { text, endsDocument } of pieces) {
    pending += text;
    while (tokenizer.encodesInPieces && pending.length >= READY_LENGTH) {
      const cut = lastCut(pending, tokenizer, searched);
      if (cut === undefined) {
        searched = pending.length;
        break;
      }
      yield { ids: tokenizer.encode(pending.slice(0, cut)), endsDocument: false };
      pending = pending.slice(cut);
      searched = 1;
    }
    if (pending.length > LONGEST_PIECE) {
      throw new TextError(
        "text.document",
        `${name}: ${LONGEST_PIECE} characters in a row without a place to cut them`,
        {
          remedy: tokenizer.encodesInPieces
            ? "The text has no spaces or line ends; is it data in the form of text?"
            : `This ${tokenizer.modelType} tokenizer takes documents whole. Split the text into documents with <|endoftext|>.`,
        },
      );
    }
    if (!endsDocument) continue;
    const ids = tokenizer.encode(pending);
    pending = "";
    searched = 1;
    if (endOfText === undefined) yield { ids, endsDocument: true };
    else {
      const ended = new Uint32Array(ids.length + 1);
      ended.set(ids);
      ended[ids.length] = endOfText;
      yield { ids: ended, endsDocument: true };
    }
  }
}

function lastCut(text: string, tokenizer: Tokenizer, from: number): number | undefined {
  // The last character has no neighbour yet, so a cut right before it is not judged.
  for (let index = text.length - 2; index >= from; index--) {
    if (tokenizer.canCutAt(text, index)) return index;
  }
  return undefined;
}
