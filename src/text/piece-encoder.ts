import type { DocumentFrame } from "./document-frame.ts";
import { TextError } from "./errors.ts";
import { isLowSurrogate } from "./surrogates.ts";
import type { TextPiece } from "./text-reader.ts";
import type { Place, StreamEncoder, Tokenizer } from "./tokenizer.ts";

/** Pieces of this length are encoded twice as fast as a whole megabyte: their words stay in the cache. */
const PIECE_LENGTH = 1 << 16;
/** From here on a stretch without a place to cut is encoded as it comes, where the tokenizer can. */
const STREAM_LENGTH = 1 << 18;
/** Characters that must follow a place to cut, so that an added token across it is seen. */
const LOOKAHEAD = 1 << 10;
/** Characters kept back from a stream, among which a place to cut may be. */
const KEPT_BACK = 1 << 12;
const LONGEST_PIECE = 1 << 24;

/** Ids in order, with those that the frame puts around a document. */
export interface EncodedPiece {
  readonly ids: Uint32Array;
  readonly endsDocument: boolean;
}

/** A stretch of a document that is encoded by itself. */
export interface TextPart {
  readonly text: string;
  readonly place: Place;
  /** What the frame puts behind it. */
  readonly after: Uint32Array;
  readonly endsDocument: boolean;
}

/** What documents are cut into: stretches that wait to be encoded, and ids that could not wait. */
export type DocumentPart = TextPart | EncodedPiece;

/** Encodes a part where it has not been. */
export function encodePart(part: DocumentPart, tokenizer: Tokenizer): EncodedPiece {
  if ("ids" in part) return part;
  const { text, place, after, endsDocument } = part;
  const ids = tokenizer.encode(text, { place });
  return { ids: after.length === 0 ? ids : joined(ids, after), endsDocument };
}

/** What is known of one document while it is encoded. */
interface OpenDocument {
  pending: string;
  /** Characters of `pending` in which no place to cut was found. */
  searched: number;
  /** Where `pending` stands in the document. */
  place: Place;
  stream: StreamEncoder | undefined;
}

function openDocument(): OpenDocument {
  return { pending: "", searched: 0, place: "start", stream: undefined };
}

/**
 * Encodes documents that arrive in pieces. Memory is bounded: a document is cut where cutting does not change its ids.
 * Throws `TextError` `text.document` for a stretch of 16 Mi characters that cannot be cut.
 */
export function* encodeDocuments(
  pieces: Iterable<TextPiece>,
  tokenizer: Tokenizer,
  frame: DocumentFrame,
  name: string,
): Generator<EncodedPiece> {
  for (const part of cutDocuments(pieces, tokenizer, frame, name))
    yield encodePart(part, tokenizer);
}

/** The same, cut and not yet encoded: the parts may be encoded in any order. */
export function* cutDocuments(
  pieces: Iterable<TextPiece>,
  tokenizer: Tokenizer,
  frame: DocumentFrame,
  name: string,
): Generator<DocumentPart> {
  const before = Uint32Array.from(frame.before);
  const after = Uint32Array.from(frame.after);
  const between = Uint32Array.from([...frame.between, ...frame.before]);
  let document: OpenDocument | undefined;
  let documentCount = 0;
  for (const { text, endsDocument } of pieces) {
    if (document === undefined) {
      document = openDocument();
      const opening = documentCount++ === 0 ? before : between;
      if (opening.length > 0) yield { ids: opening, endsDocument: false };
    }
    document.pending += text;
    yield* encodeAhead(document, tokenizer, name);
    if (!endsDocument) continue;
    yield closeDocument(document, tokenizer, after);
    document = undefined;
  }
}

/** Encodes what of a document is sure not to change with what follows. */
function* encodeAhead(
  document: OpenDocument,
  tokenizer: Tokenizer,
  name: string,
): Generator<DocumentPart> {
  if (!tokenizer.encodesInPieces) {
    if (document.pending.length > LONGEST_PIECE) failOnLength(tokenizer, name);
    return;
  }
  while (document.pending.length > PIECE_LENGTH + LOOKAHEAD) {
    const cut = findCut(document, tokenizer);
    if (cut !== undefined) {
      const { pending, place, stream } = document;
      const piece = pending.slice(0, cut);
      const part: DocumentPart =
        stream === undefined
          ? { text: piece, place, after: NOTHING, endsDocument: false }
          : { ids: joined(stream.push(piece), stream.end()), endsDocument: false };
      Object.assign(document, {
        ...openDocument(),
        pending: pending.slice(cut),
        place: "continues",
      });
      yield part;
      continue;
    }
    if (document.pending.length < STREAM_LENGTH) return;
    const leading =
      document.stream === undefined ? tokenizer.specialLengthAt(document.pending, 0) : 0;
    if (leading > 0) {
      yield { ids: tokenizer.encode(document.pending.slice(0, leading)), endsDocument: false };
      document.pending = document.pending.slice(leading);
      document.place = "inside";
      document.searched = Math.max(0, document.searched - leading);
      continue;
    }
    document.stream ??= tokenizer.streamEncoder(document.place);
    if (document.stream === undefined) {
      if (document.pending.length > LONGEST_PIECE) failOnLength(tokenizer, name);
      return;
    }
    const kept = document.pending.length - KEPT_BACK;
    const end = isLowSurrogate(document.pending, kept) ? kept - 1 : kept;
    const ids = document.stream.push(document.pending.slice(0, end));
    document.pending = document.pending.slice(end);
    document.searched = document.pending.length - LOOKAHEAD;
    yield { ids, endsDocument: false };
  }
}

const NOTHING = new Uint32Array(0);

function closeDocument(
  { pending, place, stream }: OpenDocument,
  tokenizer: Tokenizer,
  after: Uint32Array,
): DocumentPart {
  if (stream === undefined) return { text: pending, place, after, endsDocument: true };
  return { ids: joined(endStream(pending, stream, tokenizer), after), endsDocument: true };
}

function endStream(pending: string, stream: StreamEncoder, tokenizer: Tokenizer): Uint32Array {
  // What was kept back may hold added tokens: the stream ends at a place to cut, if there is one.
  for (let index = 1; index < pending.length; index++) {
    if (!tokenizer.canCutAt(pending, index)) continue;
    const first = joined(stream.push(pending.slice(0, index)), stream.end());
    return joined(first, tokenizer.encode(pending.slice(index), { place: "continues" }));
  }
  return joined(stream.push(pending), stream.end());
}

/** The last place to cut in the first piece, or the first one after it. */
function findCut(document: OpenDocument, tokenizer: Tokenizer): number | undefined {
  const { pending, searched, stream } = document;
  if (searched === 0 && stream === undefined) {
    for (let index = PIECE_LENGTH; index > 0; index--) {
      if (tokenizer.canCutAt(pending, index)) return index;
    }
  }
  const end = pending.length - LOOKAHEAD;
  const from = Math.max(1, searched, stream === undefined ? PIECE_LENGTH + 1 : 1);
  for (let index = from; index < end; index++) {
    if (tokenizer.canCutAt(pending, index)) return index;
  }
  document.searched = end;
  return undefined;
}

function joined(first: Uint32Array, second: Uint32Array): Uint32Array {
  const both = new Uint32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
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
