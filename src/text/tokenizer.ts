import type { TokenizerConfigJson, TokenizerJson } from "./tokenizer-json.ts";

/** Ids of the tokens that have a role; a role without a token is undefined. */
export interface SpecialTokenIds {
  /** Ends a document and joins documents in a training stream. */
  readonly endOfText: number | undefined;
  readonly beginOfText: number | undefined;
  readonly padding: number | undefined;
  /** Stands for text that the vocabulary cannot spell. */
  readonly unknown: number | undefined;
}

/** Ids that a tokenizer puts around a text. */
export interface Template {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * Where a text stands: at the start of all, behind a special token, or going on where the one before was cut, so that
 * nothing is put before it.
 */
export type Place = "start" | "inside" | "continues";

/** How text becomes tokens. */
export interface EncodeOptions {
  /** Adds what the tokenizer's post-processor adds, such as a begin-of-text token. Default false. */
  readonly addSpecialTokens?: boolean;
  /** Where the text stands in its document. Default: at the start. */
  readonly place?: Place;
  /**
   * A character that is no part of the text: where it stands inside the spelling of an added token, that is text like
   * any other (`guardText`). It must not stand in the text otherwise.
   */
  readonly breaker?: string;
}

/** How tokens become text. */
export interface DecodeOptions {
  /** Leaves tokens such as <|endoftext|> out of the text. Default false. */
  readonly skipSpecialTokens?: boolean;
}

export interface StreamOptions extends DecodeOptions {
  /** Ids that the text goes on from; without them the first space of a continuation would be lost. */
  readonly context?: readonly number[];
}

/** Turns ids into text as they arrive. Never gives out half a character. */
export interface StreamDecoder {
  /** The text that became certain with this id: possibly empty, always whole characters. */
  push(id: number): string;
  /** What is left; bytes that never became a character come out as U+FFFD. The decoder starts afresh. */
  end(): string;
}

/** Encodes a stretch of text of any length as it arrives. */
export interface StreamEncoder {
  /** Ids that became certain with this text. */
  push(text: string): Uint32Array;
  /** Ids of what is left. The encoder starts afresh. */
  end(): Uint32Array;
}

/** The files that a tokenizer was made of: another thread makes it again from them. */
export interface TokenizerSource {
  readonly json: TokenizerJson;
  readonly config: TokenizerConfigJson;
}

/** Text to token ids and back. Every tokenizer is described by a `tokenizer.json` in Hugging Face's format. */
export interface Tokenizer {
  /** The model's type as `tokenizer.json` spells it: BPE, Unigram, WordPiece, WordLevel. */
  readonly modelType: string;
  /** One more than the largest id: the number of rows an embedding needs. */
  readonly vocabularySize: number;
  readonly special: SpecialTokenIds;
  /** What the post-processor puts around a text, such as a begin-of-text token. */
  readonly template: Template;
  /** Hex digest of everything that decides how text is encoded; equal digests give equal ids. */
  readonly fingerprint: string;
  /** Absent where it was made of no files. */
  readonly source?: TokenizerSource;
  /** Whether text may be cut at safe places and encoded piece by piece with the same result. */
  readonly encodesInPieces: boolean;
  /** Ids of `text` [length]. Special tokens spelt in the text become their ids. */
  encode(text: string, options?: EncodeOptions): Uint32Array;
  /** Text of ids. Throws `TextError` `text.id` for an id outside the vocabulary. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** Decodes ids as they come; bytes of a character that is not whole wait for the next. */
  streamDecoder(options?: StreamOptions): StreamDecoder;
  /**
   * Encodes a stretch without special tokens that has no safe place to cut; undefined where the tokenizer needs such
   * stretches whole.
   */
  streamEncoder(place: Place): StreamEncoder | undefined;
  /** The length of the special token that stands at `index`, 0 where there is none. */
  specialLengthAt(text: string, index: number): number;
  /** How the vocabulary spells an id, byte-level alphabet included; undefined for an unused id. */
  tokenOf(id: number): string | undefined;
  /** The id of a token by its spelling in the vocabulary. */
  idOf(token: string): number | undefined;
  /**
   * The bytes that an id adds to a text that goes on; undefined for special tokens, unused ids, and where a token's text
   * depends on its neighbours.
   */
  bytesOf(id: number): Uint8Array | undefined;
  /**
   * Whether encoding `text` up to `index` and, as its continuation, from `index` on gives the ids of the whole.
   * Only asked where `encodesInPieces` is true.
   */
  canCutAt(text: string, index: number): boolean;
}
