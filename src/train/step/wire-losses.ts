/**
 * What rounding to fp16 has lost of the gradients that this process sent, by buffer: it is added to the next ones. One of
 * the members' states, like a moment: a run goes on with its bits only where every member has its own again.
 */
export class WireLosses {
  readonly #byBuffer = new Map<string, Float32Array>();
  #unit = 1;

  /** What the numbers stand for: the loss scale of the gradients they come from. */
  get unit(): number {
    return this.#unit;
  }

  /** Between exchanges: from now on gradients are of another unit. */
  useUnit(unit: number): void {
    if (unit === this.#unit) return;
    const factor = unit / this.#unit;
    for (const numbers of this.#byBuffer.values())
      for (let i = 0; i < numbers.length; i++) numbers[i] = (numbers[i] ?? 0) * factor;
    this.#unit = unit;
  }

  /** Before they are filled with numbers of a checkpoint, which are of that unit. */
  adoptUnit(unit: number): void {
    this.#unit = unit;
  }

  /** On shared memory, as long as the buffer; zeros at first. */
  of(buffer: string, length: number): Float32Array {
    const known = this.#byBuffer.get(buffer);
    if (known?.length === length) return known;
    const numbers = new Float32Array(new SharedArrayBuffer(4 * length));
    this.#byBuffer.set(buffer, numbers);
    return numbers;
  }
}
