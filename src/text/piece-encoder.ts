import { TextError } from "./errors.ts";
import type { TextPiece } from "./text-reader.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Pieces of this length are encoded twice as fast as a whole megabyte: their words stay in the cache. */
const PIECE_LENGTH = 1 << 16;
const LONGEST_PIECE = 1 << 24;

/** Ids in order; after those of a document comes the end-of-text token, where the tokenizer has one. */
export interface EncodedPiece {
  readonly ids: Uint32Array;
  readonly endsDocument: boolean;
}

/**
 * Encodes documents that arrive in pieces. Memory is bounded: a document is cut where cutting does not change its ids.
 * Throws `TextError` `text.document` for a stretch of 16 Mi characters that cannot be cut.
 */
export function* encodeDocuments(
  pieces: Iterable<TextPiece>,
  tokenizer: Tokenizer,
  name: string,
): Generator<EncodedPiece> {
  let pending = "";
  let searched = PIECE_LENGTH;
  for (const { text, endsDocument } of pieces) {
    pending += text;
    let start = 0;
    while (tokenizer.encodesInPieces && pending.length - start > PIECE_LENGTH + 1) {
      const cut = findCut(pending, tokenizer, start, searched);
      if (cut === undefined) {
        searched = pending.length - start;
        break;
      }
      yield { ids: tokenizer.encode(pending.slice(start, cut)), endsDocument: false };
      start = cut;
      searched = PIECE_LENGTH;
    }
    if (start > 0) pending = pending.slice(start);
    if (pending.length > LONGEST_PIECE) failOnLength(tokenizer, name);
    if (!endsDocument) continue;
    yield { ids: withEnd(tokenizer.encode(pending), tokenizer.special.endOfText), endsDocument };
    pending = "";
    searched = PIECE_LENGTH;
  }
}

/** The last place to cut in the first piece, or the first one after it; `searched` characters were tried before. */
function findCut(
  text: string,
  tokenizer: Tokenizer,
  start: number,
  searched: number,
): number | undefined {
  if (searched === PIECE_LENGTH) {
    for (let index = start + PIECE_LENGTH; index > start; index--) {
      if (tokenizer.canCutAt(text, index)) return index;
    }
  }
  // Before the last character a cut cannot be judged: what follows it is not known yet.
  for (let index = start + searched; index < text.length - 1; index++) {
    if (tokenizer.canCutAt(text, index)) return index;
  }
  return undefined;
}

function withEnd(ids: Uint32Array, endOfText: number | undefined): Uint32Array {
  if (endOfText === undefined) return ids;
  const ended = new Uint32Array(ids.length + 1);
  ended.set(ids);
  ended[ids.length] = endOfText;
  return ended;
}

function failOnLength(tokenizer: Tokenizer, name: string): never {
  throw new TextError(
    "text.document",
    `${name}: more than ${LONGEST_PIECE} characters in a row without a place to cut them`,
    {
      remedy: tokenizer.encodesInPieces
        ? "The text has no spaces or line ends; is it data in the form of text?"
        : `This ${tokenizer.modelType} tokenizer takes documents whole. Split the text into documents with <|endoftext|>.`,
    },
  );
}
