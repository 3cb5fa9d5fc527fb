import { TextError } from "../errors.ts";
import { isLowSurrogate } from "../surrogates.ts";
import type { IdList } from "./id-list.ts";
import type { PieceStream } from "./word-model.ts";

/** A stretch of text with the symbols it begins as and the ids that these become. */
export interface EncodedWindow {
  readonly symbols: Int32Array;
  /** Where in the text each symbol ends, -1 inside a character. */
  readonly symbolEnds: Int32Array;
  readonly ids: Int32Array;
  /** How many symbols each id is made of. */
  readonly sizes: Int32Array;
}

export interface WindowEncoder {
  readonly encode: (text: string) => EncodedWindow;
  /** Whether these symbols become two ids, the one of the first `first` of them and the one of the rest. */
  readonly staysApart: (symbols: Int32Array, first: number) => boolean;
  readonly isUnknown: (id: number) => boolean;
}

const WINDOW_LENGTH = 1 << 13;
const LONGEST_WINDOW = 1 << 22;
/** Ends of ids that are tried for the beginning of the next window. */
const TRIES = 64;

interface Boundary {
  readonly idCount: number;
  readonly symbolCount: number;
  readonly offset: number;
}

/**
 * Byte-pair encoding of one word of any length, window by window.
 *
 * A sequence of ids is the encoding of its text exactly if each two neighbours are the encoding of theirs: a merge
 * across a boundary depends only on the two ids that meet there, since nothing was merged across their far ends. So the
 * next window begins where an id of this one ends, and the two ids that meet there are encoded together to see that
 * they stay apart.
 */
export class BpeStream implements PieceStream {
  readonly #encoder: WindowEncoder;
  #text = "";
  /** Of the beginning of `#text`; its first id already stands after the last one that was given out. */
  #window: EncodedWindow | undefined;
  #windowLength = WINDOW_LENGTH;
  /** Symbols of the last id that was given out. */
  #last: Int32Array | undefined;

  constructor(encoder: WindowEncoder) {
    this.#encoder = encoder;
  }

  push(text: string, ids: IdList): void {
    this.#text += text;
    this.#advance(ids, false);
  }

  end(ids: IdList): void {
    this.#advance(ids, true);
    if (this.#text !== "") this.#give(this.#window ?? this.#encoder.encode(this.#text), ids);
    this.#text = "";
    this.#window = undefined;
    this.#windowLength = WINDOW_LENGTH;
    this.#last = undefined;
  }

  #give({ ids: found }: EncodedWindow, ids: IdList, count = found.length): void {
    for (let at = 0; at < count; at++) ids.push(found[at] ?? 0);
  }

  /** Gives out ids while there is a window and one more behind it; at the end, up to the last window. */
  #advance(ids: IdList, isEnd: boolean): void {
    for (;;) {
      const length = this.#windowLength;
      if (this.#text.length <= length || (!isEnd && this.#text.length < 3 * length)) return;
      if (this.#window === undefined) {
        const text = this.#slice(0, length);
        this.#window = this.#encoder.encode(text);
        this.#windowLength = text.length;
      }
      const found = this.#nextWindow(this.#window);
      if (found === undefined) {
        this.#widen(length);
        continue;
      }
      const { idCount, symbolCount } = found.boundary;
      this.#give(this.#window, ids, idCount);
      const lastSize = this.#window.sizes[idCount - 1] ?? 0;
      this.#last = this.#window.symbols.slice(symbolCount - lastSize, symbolCount);
      this.#text = this.#text.slice(found.boundary.offset);
      this.#window = found.window;
      this.#windowLength = found.length;
      if (found.isLast) return;
    }
  }

  #nextWindow(window: EncodedWindow):
    | {
        readonly boundary: Boundary;
        readonly window: EncodedWindow;
        readonly length: number;
        readonly isLast: boolean;
      }
    | undefined {
    const boundaries = this.#boundariesOf(window);
    for (const boundary of boundaries) {
      const rest = this.#text.length - boundary.offset;
      const isLast = rest <= WINDOW_LENGTH;
      const text = this.#slice(boundary.offset, isLast ? rest : WINDOW_LENGTH);
      const next = this.#encoder.encode(text);
      if (this.#meets(window, boundary, next)) {
        return { boundary, window: next, length: text.length, isLast };
      }
    }
    return undefined;
  }

  /** Ends of ids near the end of a window but not at it, the last ones first. */
  #boundariesOf({ symbolEnds, sizes }: EncodedWindow): readonly Boundary[] {
    const found: Boundary[] = [];
    let symbolCount = 0;
    const margin = Math.floor(sizes.length / 8);
    for (let at = 0; at + 1 < sizes.length - margin; at++) {
      symbolCount += sizes[at] ?? 0;
      const offset = symbolEnds[symbolCount - 1] ?? -1;
      if (offset > 0) found.push({ idCount: at + 1, symbolCount, offset });
    }
    return found.slice(-TRIES).reverse();
  }

  #meets(window: EncodedWindow, { idCount, symbolCount }: Boundary, next: EncodedWindow): boolean {
    const size = window.sizes[idCount - 1] ?? 0;
    return (
      !this.#encoder.isUnknown(window.ids[idCount - 1] ?? 0) &&
      this.#follows(window.symbols.subarray(symbolCount - size, symbolCount), next)
    );
  }

  /** Whether the id of these symbols and a window's first id stay apart. */
  #follows(symbols: Int32Array, next: EncodedWindow): boolean {
    if (this.#encoder.isUnknown(next.ids[0] ?? 0)) return false;
    const nextSize = next.sizes[0] ?? 0;
    const pair = new Int32Array(symbols.length + nextSize);
    pair.set(symbols);
    pair.set(next.symbols.subarray(0, nextSize), symbols.length);
    return this.#encoder.staysApart(pair, symbols.length);
  }

  /** Encodes more at once where no id's end would do. */
  #widen(length: number): void {
    const text = this.#slice(0, 2 * length);
    const wider = length > LONGEST_WINDOW ? undefined : this.#encoder.encode(text);
    if (wider === undefined || (this.#last !== undefined && !this.#follows(this.#last, wider))) {
      throw new TextError(
        "text.document",
        `more than ${length} characters in a row without a place to cut them`,
      );
    }
    this.#window = wider;
    this.#windowLength = text.length;
  }

  #slice(start: number, length: number): string {
    const end = start + length;
    return this.#text.slice(start, isLowSurrogate(this.#text, end) ? end + 1 : end);
  }
}
