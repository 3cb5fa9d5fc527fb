/** The hash of some bytes and one more. */
export function nextHash(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}

/**
 * Gives each distinct run of bytes one string, so that a name that stands in a program a thousand times is
 * decoded and kept once, and the program does not hold on to the text it came from.
 */
export class NameTable {
  readonly #bytes: Buffer;
  /** Index into the entries plus one, or 0 for a free slot. */
  #slots = new Int32Array(1 << 10);
  readonly #hashes: number[] = [];
  readonly #starts: number[] = [];
  readonly #lengths: number[] = [];
  readonly #names: string[] = [];

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The ASCII string of the bytes from `start` to `end`; `hash` is what `nextHash` gives over them, from 0 on. */
  intern(start: number, end: number, hash: number): string {
    const mask = this.#slots.length - 1;
    let slot = (hash ^ (hash >>> 15)) & mask;
    for (;;) {
      const entry = this.#slots[slot] ?? 0;
      if (entry === 0) return this.#add(start, end, hash, slot);
      if (this.#hashes[entry - 1] === hash && this.#equals(entry - 1, start, end)) {
        return this.#names[entry - 1] ?? "";
      }
      slot = (slot + 1) & mask;
    }
  }

  #equals(entry: number, start: number, end: number): boolean {
    if (this.#lengths[entry] !== end - start) return false;
    const bytes = this.#bytes;
    const first = this.#starts[entry] ?? 0;
    for (let i = 0; i < end - start; i++) if (bytes[first + i] !== bytes[start + i]) return false;
    return true;
  }

  #add(start: number, end: number, hash: number, slot: number): string {
    const name = this.#bytes.toString("latin1", start, end);
    this.#hashes.push(hash);
    this.#starts.push(start);
    this.#lengths.push(end - start);
    this.#names.push(name);
    this.#slots[slot] = this.#names.length;
    if (this.#names.length * 2 > this.#slots.length) this.#grow();
    return name;
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let entry = 0; entry < this.#hashes.length; entry++) {
      const hash = this.#hashes[entry] ?? 0;
      let slot = (hash ^ (hash >>> 15)) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = entry + 1;
    }
    this.#slots = slots;
  }
}
