/** Ids that are appended one after the other. */
export class IdList {
  #ids: Uint32Array;
  #length = 0;

  constructor(capacity = 256) {
    this.#ids = new Uint32Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow(this.#length + 1);
    this.#ids[this.#length++] = id;
  }

  append(ids: Uint32Array): void {
    // Most words are one or two ids, where set() costs more than the copy.
    if (ids.length === 1) {
      this.push(ids[0] ?? 0);
      return;
    }
    if (this.#length + ids.length > this.#ids.length) this.#grow(this.#length + ids.length);
    this.#ids.set(ids, this.#length);
    this.#length += ids.length;
  }

  /** The ids from one on, in memory of their own. */
  from(first: number): Uint32Array {
    return this.#ids.slice(first, this.#length);
  }

  #grow(least: number): void {
    const grown = new Uint32Array(Math.max(least, 2 * this.#ids.length));
    grown.set(this.#ids.subarray(0, this.#length));
    this.#ids = grown;
  }
}
