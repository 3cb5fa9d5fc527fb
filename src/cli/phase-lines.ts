/** A phase of less than this is not worth a line. */
const SLOW_AFTER_MS = 2000;

/** Where no line can be rewritten in place: one line for each phase of a run's preparation that takes long. */
export class PhaseLines {
  readonly #print: (line: string) => void;
  #phase = "";
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  /** `text`: a phase, and after a colon how far it is. */
  progress(text: string): void {
    const [phase = ""] = text.split(": ");
    if (this.#isClosed || phase === this.#phase) return;
    this.end();
    this.#phase = phase;
    this.#timer = setTimeout(() => this.#print(phase), SLOW_AFTER_MS);
    this.#timer.unref();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#phase = "";
  }

  /** The preparation is over: steps tell how it goes. */
  close(): void {
    this.end();
    this.#isClosed = true;
  }
}
