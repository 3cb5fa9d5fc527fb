/** Passes text on, holding back what may be the beginning of a stop string. */
export class StopWatcher {
  readonly #stops: readonly string[];
  readonly #onText: ((piece: string) => void) | undefined;
  #passed = "";
  #held = "";

  constructor(stops: readonly string[], onText?: (piece: string) => void) {
    this.#stops = stops.filter((stop) => stop !== "");
    this.#onText = onText;
  }

  /** The text that was passed on. */
  get passed(): string {
    return this.#passed;
  }

  /** Its UTF-16 units. */
  get passedLength(): number {
    return this.#passed.length;
  }

  /** Takes a piece of text; true once a stop string has appeared. */
  push(piece: string): boolean {
    this.#held += piece;
    const found = this.#stops
      .map((stop) => this.#held.indexOf(stop))
      .filter((index) => index >= 0)
      .sort((a, b) => a - b)[0];
    if (found !== undefined) {
      this.#pass(found);
      this.#held = "";
      return true;
    }
    let keep = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, this.#held.length); length > keep; length--) {
        if (this.#held.endsWith(stop.slice(0, length))) keep = length;
      }
    }
    this.#pass(this.#held.length - keep);
    return false;
  }

  finish(): string {
    this.#pass(this.#held.length);
    return this.#passed;
  }

  #pass(length: number): void {
    if (length <= 0) return;
    const piece = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    this.#passed += piece;
    this.#onText?.(piece);
  }
}
