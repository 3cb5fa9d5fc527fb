/**
 * What the training thread and the main thread share besides the weights: a request to stop, the number of
 * whole steps done, whether an update is under way, and the trainer's state as JSON at the last whole step.
 * The main thread can therefore save that step while a native call hangs.
 */
const INTERRUPT = 0;
const STEP = 1;
const UPDATING = 2;
const STATE_LENGTH = 3;
const WORDS = 4;
const STATE_CAPACITY = 1 << 16;

export class ControlBlock {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #state: Uint8Array;

  constructor(buffer = new SharedArrayBuffer(WORDS * 4 + STATE_CAPACITY)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#state = new Uint8Array(buffer, WORDS * 4);
  }

  requestInterrupt(): void {
    Atomics.store(this.#words, INTERRUPT, 1);
  }

  get interruptRequested(): boolean {
    return Atomics.load(this.#words, INTERRUPT) === 1;
  }

  /** Whole steps done. */
  get step(): number {
    return Atomics.load(this.#words, STEP);
  }

  /** True while weights and optimizer state are between two steps. */
  get isUpdating(): boolean {
    return Atomics.load(this.#words, UPDATING) === 1;
  }

  beginUpdate(): void {
    Atomics.store(this.#words, UPDATING, 1);
  }

  /** Ends an update: the weights are those of `step`, and `state` belongs to them. */
  endUpdate(step: number, state: unknown): void {
    const bytes = Buffer.from(JSON.stringify(state));
    const fits = bytes.byteLength <= STATE_CAPACITY;
    if (fits) this.#state.set(bytes);
    Atomics.store(this.#words, STATE_LENGTH, fits ? bytes.byteLength : 0);
    Atomics.store(this.#words, STEP, step);
    Atomics.store(this.#words, UPDATING, 0);
  }

  /** The state of the last whole step, or nothing inside an update and before the first one. */
  readState(): unknown {
    const length = Atomics.load(this.#words, STATE_LENGTH);
    if (this.isUpdating || length === 0) return undefined;
    return JSON.parse(Buffer.from(this.#state.slice(0, length)).toString("utf8"));
  }
}
