const WORDS_REMEMBERED = 1 << 18;
const LONGEST_REMEMBERED = 64;

/** Remembers the ids of words, which repeat; forgets everything when it is full. */
export class WordMemory {
  #ids = new Map<string, Uint32Array>();

  get(word: string): Uint32Array | undefined {
    return word.length <= LONGEST_REMEMBERED ? this.#ids.get(word) : undefined;
  }

  set(word: string, ids: () => Uint32Array): void {
    if (word.length > LONGEST_REMEMBERED) return;
    if (this.#ids.size >= WORDS_REMEMBERED) this.#ids = new Map();
    // A slice of a large text would keep that text alive as the key.
    this.#ids.set(Buffer.from(word, "utf16le").toString("utf16le"), ids());
  }
}
