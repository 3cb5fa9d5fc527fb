import { isLowSurrogate } from "../surrogates.ts";
import { TextError } from "../errors.ts";
import type { TokenizerFrame } from "../tokenizer-json.ts";
import { BpeStream } from "./bpe-stream.ts";
import type { EncodedWindow } from "./bpe-stream.ts";
import type { IdList } from "./id-list.ts";
import { MergeTable } from "./merge-table.ts";
import type { BpeMerges } from "./merge-table.ts";
import { Merger } from "./merger.ts";
import type { PieceStream, WordModel } from "./word-model.ts";
import { WordMemory } from "./word-memory.ts";

/** Longer stretches without a place to cut are encoded window by window. */
const LONGEST_WORD = 1 << 13;
const JOIN_BITS = 20;
/** Characters that are encoded before everything is prepared that makes many of them quick. */
const FEW_CHARACTERS = 2048;

export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

function lastCharacter(text: string): number {
  const isPair = text.length > 1 && isLowSurrogate(text, text.length - 1);
  return text.codePointAt(text.length - (isPair ? 2 : 1)) ?? 0;
}

/**
 * Byte-pair encoding with the meaning of the reference implementation: unknown and byte-fallback characters, affixes,
 * merges by rank and then from the left.
 *
 * Two neighbouring characters are only ever joined by a merge whose left token ends with the one and whose right token
 * begins with the other. Where there is none, a piece can be cut without changing its ids, however long it is.
 */
export class BpeModel implements WordModel {
  readonly openStream?: () => PieceStream;
  readonly canCutAt?: (piece: string, index: number) => boolean;
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #merges: BpeMerges;
  #merger: Merger | undefined;
  #few: Merger | undefined;
  readonly #prefix: string;
  readonly #suffix: string;
  readonly #ignoreMerges: boolean;
  readonly #fusesUnknown: boolean;
  /** Id of the unknown token; -1 where there is none, -2 where the one that is named does not exist. */
  readonly #unknownId: number;
  readonly #byteIds: Int32Array | undefined;
  /** Id of each character of the basic plane as a word of its own, -1 where it has none. */
  readonly #basicIds = new Int32Array(1 << 16).fill(-1);
  /** A bit for each pair of characters that some merge may join; pairs share bits, which only forgoes a cut. */
  #joins: Uint32Array | undefined;
  /** Characters that may still be encoded unprepared. */
  #fewLeft = FEW_CHARACTERS;
  readonly #cuts: boolean;
  /** Whether every character has an id or the ids of its bytes. */
  readonly #spellsAll: boolean;
  readonly #memory = new WordMemory();
  #symbols = new Int32Array(256);
  #sizes = new Int32Array(256);

  /** `model`: its fields but for vocabulary and merges, which are given. */
  constructor(
    model: TokenizerFrame["model"],
    vocab: ReadonlyMap<string, number>,
    merges: BpeMerges,
  ) {
    this.#vocab = vocab;
    this.#merges = merges;
    this.#prefix = affix(model["continuing_subword_prefix"]);
    this.#suffix = affix(model["end_of_word_suffix"]);
    this.#ignoreMerges = model["ignore_merges"] === true;
    this.#fusesUnknown = model["fuse_unk"] === true;
    const unknown = model["unk_token"];
    this.#unknownId = typeof unknown === "string" ? (vocab.get(unknown) ?? -2) : -1;
    const { dropout } = model;
    if (typeof dropout === "number" && dropout > 0) {
      throw new TextError(
        "text.tokenizer.dropout",
        `model.dropout ${dropout} draws other tokens for the same text each time`,
        { remedy: "Set it to null for the tokens of the whole vocabulary." },
      );
    }
    for (const [token, id] of vocab) {
      if (token.length === 1) this.#basicIds[token.charCodeAt(0)] = id;
    }
    this.#byteIds = model["byte_fallback"] === true ? this.#idsOfBytes() : undefined;
    this.#spellsAll = this.#byteIds?.includes(-1) === false;
    // Merges of tokens that stand for no text of their own join what no pair of characters shows.
    const isPlain = !merges.takes(new Set([...(this.#byteIds ?? []), this.#unknownId]));
    this.#cuts = this.#prefix === "" && this.#suffix === "" && isPlain;
    if (this.#cuts) {
      this.openStream = () => new BpeStream(this.#windows());
      if (!this.#ignoreMerges) this.canCutAt = (piece, index) => this.#canCutAt(piece, index);
    }
  }

  encode(piece: string, ids: IdList): void {
    if (this.#ignoreMerges) {
      const whole = this.#vocab.get(piece);
      if (whole !== undefined) {
        ids.push(whole);
        return;
      }
    }
    // Cuts change no id: a few characters do without, and what finds them is not prepared for a prompt alone.
    if (!this.#cuts || piece.length <= this.#fewLeft) {
      this.#fewLeft -= piece.length;
      this.#encodeWord(piece, ids);
      return;
    }
    this.#fewLeft = 0;
    let start = 0;
    let before = piece.codePointAt(0) ?? 0;
    for (let at = before > 0xffff ? 2 : 1; at < piece.length;) {
      const here = piece.codePointAt(at) ?? 0;
      if (this.#canSeparate(before, here)) {
        this.#encodeRemembered(piece, start, at, ids);
        start = at;
      }
      before = here;
      at += here > 0xffff ? 2 : 1;
    }
    this.#encodeRemembered(piece, start, piece.length, ids);
  }

  #encodeRemembered(piece: string, start: number, end: number, ids: IdList): void {
    if (end - start === 1) {
      const id = this.#basicIds[piece.charCodeAt(start)] ?? -1;
      if (id >= 0) {
        ids.push(id);
        return;
      }
    }
    const word = start === 0 && end === piece.length ? piece : piece.slice(start, end);
    if (word.length > LONGEST_WORD) {
      const stream = new BpeStream(this.#windows());
      stream.push(word, ids);
      stream.end(ids);
      return;
    }
    const known = this.#memory.get(word);
    if (known !== undefined) {
      ids.append(known);
      return;
    }
    const first = ids.length;
    this.#encodeWord(word, ids);
    this.#memory.set(word, () => ids.from(first));
  }

  #encodeWord(word: string, ids: IdList): void {
    this.#reserve(word);
    const count = this.#symbolsOf(word);
    const length = this.#mergerOf().merge(this.#symbols, this.#sizes, count);
    for (let at = 0; at < length; at++) ids.push(this.#symbols[at] ?? 0);
  }

  /** Over all merges, or for a few characters over those that are found one by one. */
  #mergerOf(): Merger {
    const { single } = this.#merges;
    const isFew = single !== undefined && this.#fewLeft > 0;
    if (isFew) {
      this.#few ??= new Merger(single);
      return this.#few;
    }
    this.#merger ??= new Merger(new MergeTable(this.#merges.triples()));
    return this.#merger;
  }

  #windows() {
    // Streams are for many characters.
    this.#fewLeft = 0;
    return {
      encode: (text: string): EncodedWindow => {
        this.#reserve(text);
        const ends = new Int32Array(this.#symbols.length);
        const count = this.#symbolsOf(text, ends);
        const symbols = this.#symbols.slice(0, count);
        const length = this.#mergerOf().merge(this.#symbols, this.#sizes, count);
        return {
          symbols,
          symbolEnds: ends.subarray(0, count),
          ids: this.#symbols.slice(0, length),
          sizes: this.#sizes.slice(0, length),
        };
      },
      staysApart: (symbols: Int32Array, first: number): boolean => {
        const work = symbols.slice();
        const sizes = new Int32Array(work.length);
        return this.#mergerOf().merge(work, sizes, work.length) === 2 && sizes[0] === first;
      },
      isUnknown: (id: number): boolean => id === this.#unknownId,
    };
  }

  /** The symbols that a word begins with, into `#symbols`; `ends`: where each one ends in the word, -1 within. */
  #symbolsOf(word: string, ends?: Int32Array): number {
    const symbols = this.#symbols;
    let count = 0;
    let pendingUnknown = false;
    const add = (id: number, end: number): void => {
      if (ends !== undefined) ends[count] = end;
      symbols[count++] = id;
    };
    for (let at = 0; at < word.length;) {
      const character = word.codePointAt(at) ?? 0;
      const end = at + (character > 0xffff ? 2 : 1);
      const id = this.#idOfCharacter(word, character, at, end);
      if (id >= 0) {
        if (pendingUnknown) add(this.#unknownId, at);
        pendingUnknown = false;
        add(id, end);
      } else if (!this.#addBytes(word.slice(at, end), end, add)) {
        if (this.#unknownId < 0) failOnUnknown(word, at, end);
        if (pendingUnknown && !this.#fusesUnknown) add(this.#unknownId, at);
        pendingUnknown = true;
      }
      at = end;
    }
    if (pendingUnknown) add(this.#unknownId, word.length);
    return count;
  }

  #idOfCharacter(word: string, character: number, at: number, end: number): number {
    const isPrefixed = this.#prefix !== "" && at > 0;
    const isSuffixed = this.#suffix !== "" && end === word.length;
    if (isPrefixed || isSuffixed) {
      const spelled = `${isPrefixed ? this.#prefix : ""}${word.slice(at, end)}${isSuffixed ? this.#suffix : ""}`;
      return this.#vocab.get(spelled) ?? -1;
    }
    if (character <= 0xffff) return this.#basicIds[character] ?? -1;
    return this.#vocab.get(word.slice(at, end)) ?? -1;
  }

  #addBytes(character: string, end: number, add: (id: number, end: number) => void): boolean {
    const byteIds = this.#byteIds;
    if (byteIds === undefined) return false;
    const bytes = Buffer.from(character);
    if (bytes.some((byte) => byteIds[byte] === -1)) return false;
    bytes.forEach((byte, index) => add(byteIds[byte] ?? 0, index === bytes.length - 1 ? end : -1));
    return true;
  }

  #reserve(word: string): void {
    // A character of one unit is at most three bytes, and so three symbols; affixes add none.
    const most = 3 * word.length + 1;
    if (this.#symbols.length >= most) return;
    this.#symbols = new Int32Array(2 * most);
    this.#sizes = new Int32Array(2 * most);
  }

  #idsOfBytes(): Int32Array {
    return Int32Array.from({ length: 256 }, (_, byte) => this.#vocab.get(byteToken(byte)) ?? -1);
  }

  #joinsOf(): Uint32Array {
    const joins = new Uint32Array((1 << JOIN_BITS) / 32);
    const firsts: number[] = [];
    const lasts: number[] = [];
    for (const [token, id] of this.#vocab) {
      firsts[id] = token.codePointAt(0) ?? 0;
      lasts[id] = lastCharacter(token);
    }
    const triples = this.#merges.triples();
    for (let at = 0; at < triples.length; at += 3) {
      const bit = joinBit(lasts[triples[at] ?? 0] ?? 0, firsts[triples[at + 1] ?? 0] ?? 0);
      joins[bit >>> 5] = (joins[bit >>> 5] ?? 0) | (1 << (bit & 31));
    }
    return joins;
  }

  #canSeparate(before: number, after: number): boolean {
    const bit = joinBit(before, after);
    this.#joins ??= this.#joinsOf();
    if ((((this.#joins[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1) return false;
    // Unknown characters are fused with their unknown neighbours.
    if (this.#spellsAll || (!this.#fusesUnknown && this.#byteIds === undefined)) return true;
    return this.#hasId(before) && this.#hasId(after);
  }

  #hasId(character: number): boolean {
    if (character <= 0xffff) return this.#basicIds[character] !== -1;
    return this.#vocab.has(String.fromCodePoint(character));
  }

  #canCutAt(piece: string, index: number): boolean {
    if (index <= 0 || index >= piece.length) return true;
    return this.#canSeparate(lastCharacter(piece.slice(0, index)), piece.codePointAt(index) ?? 0);
  }
}

function joinBit(before: number, after: number): number {
  const mixed = Math.imul(before, 0x9e3779b1) ^ Math.imul(after, 0x85ebca6b);
  return (mixed ^ (mixed >>> 13)) & ((1 << JOIN_BITS) - 1);
}

function affix(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function failOnUnknown(word: string, at: number, end: number): never {
  throw new TextError(
    "text.unknown",
    `the vocabulary cannot spell ${JSON.stringify(word.slice(at, end))} (in ${JSON.stringify(word.slice(Math.max(0, at - 20), end + 20))}) and has no token for unknown text`,
    { remedy: "Take the character out of the text, or use a tokenizer with byte fallback." },
  );
}
