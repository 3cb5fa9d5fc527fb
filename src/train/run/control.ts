import { TrainError } from "../errors.ts";

const INTERRUPT = 0;
/** Who may touch weights, moments and the run's files now. */
const PHASE = 1;
/** Odd while a state is being written. */
const SEQUENCE = 2;
const STEP = 3;
/** Bytes of the state's JSON; 0 before the first one. */
const STATE_LENGTH = 4;
/** 1 while the run is to wait between two steps. */
const PAUSE = 5;
/** 1 from a request to save until it is taken. */
const SAVE = 6;
/** 1 while a checkpoint is written beside the steps. */
const BESIDE = 7;
const HEADER_WORDS = 8;

const IDLE = 0;
const UPDATING = 1;
const SAVING = 2;
const FROZEN = 3;

/** Most bytes of a state as JSON. Only what is written is ever touched. */
const STATE_BYTES = 1 << 20;
/** What a state may grow by while a run goes on: its numbers get more digits. */
const GROWTH_BYTES = 4096;
/** How long a thread that waits may take to notice a request other than the one to go on. */
const PAUSE_POLL_MS = 50;
/** A writer that takes longer than this between two words has died. */
const WRITER_PATIENCE_MS = 1000;

/** A state and the step whose weights it belongs to. */
export interface PublishedState {
  readonly step: number;
  readonly state: unknown;
}

/** What stands in the way of saving from another thread. */
export type FreezeResult = "frozen" | "updating" | "saving";

/**
 * What the training thread and the main thread share besides the weights: a request to stop, whether an update is
 * under way, and the trainer's state of the last whole step. The main thread can therefore save that step while a
 * native call hangs.
 *
 * The state stands behind a sequence lock: a reader that met a writer reads again, so it never sees parts of two.
 * Its bytes are written and read as atomic words, because ordinary stores may pass an atomic one on ARM. `freeze`
 * keeps the training thread from changing weights or files while another thread saves them.
 */
export class ControlBlock {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(HEADER_WORDS * 4 + STATE_BYTES)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** The training thread saves and ends after its step. */
  requestInterrupt(): void {
    Atomics.store(this.#words, INTERRUPT, 1);
  }

  get interruptRequested(): boolean {
    return Atomics.load(this.#words, INTERRUPT) === 1;
  }

  /** The training thread waits after its step until `endPause`. */
  requestPause(): void {
    Atomics.store(this.#words, PAUSE, 1);
  }

  /** The training thread goes on. */
  endPause(): void {
    Atomics.store(this.#words, PAUSE, 0);
    Atomics.notify(this.#words, PAUSE);
  }

  get pauseRequested(): boolean {
    return Atomics.load(this.#words, PAUSE) === 1;
  }

  /** A checkpoint after the step, or in a pause. */
  requestSave(): void {
    Atomics.store(this.#words, SAVE, 1);
  }

  /** Whether one was asked for since the last call. */
  takeSaveRequest(): boolean {
    return Atomics.exchange(this.#words, SAVE, 0) === 1;
  }

  /** Blocks the calling thread while a pause holds and nothing else is asked for. */
  waitInPause(): void {
    while (this.pauseRequested && !this.interruptRequested && Atomics.load(this.#words, SAVE) === 0)
      Atomics.wait(this.#words, PAUSE, 1, PAUSE_POLL_MS);
  }

  /** Whole steps done. */
  get step(): number {
    return Atomics.load(this.#words, STEP);
  }

  /** True while weights and optimizer state are between two steps. */
  get isUpdating(): boolean {
    return Atomics.load(this.#words, PHASE) === UPDATING;
  }

  /** True while the training thread writes a checkpoint. */
  get isSaving(): boolean {
    return Atomics.load(this.#words, PHASE) === SAVING;
  }

  /** True while a thread of its own writes a checkpoint from a copy of the weights. */
  get isSavingBeside(): boolean {
    return Atomics.load(this.#words, BESIDE) === 1;
  }

  /** Called when a checkpoint begins to be written beside the steps. */
  beginSaveBeside(): void {
    Atomics.store(this.#words, BESIDE, 1);
  }

  /** Called by the thread that writes, so that it is told even where the training thread hangs. */
  endSaveBeside(): void {
    Atomics.store(this.#words, BESIDE, 0);
  }

  /** Weights change from now on. Throws `TrainError` `train.frozen` where another thread has taken the run over. */
  beginUpdate(): void {
    this.#enter(UPDATING);
  }

  /** Ends an update: the weights are those of `step`, and `state` belongs to them. */
  endUpdate(step: number, state: unknown): void {
    this.#write(step, state);
    this.#leave(UPDATING);
  }

  /** Replaces the state of a step whose weights stand already. Throws as `beginUpdate` and `requireRoom`. */
  publish(step: number, state: unknown): void {
    this.whileSaving(() => this.#write(step, state));
  }

  /** Runs what writes the run's files, or tells of them, in the training thread. Throws as `beginUpdate`. */
  whileSaving<Result>(save: () => Result): Result {
    this.#enter(SAVING);
    try {
      return save();
    } finally {
      this.#leave(SAVING);
    }
  }

  /**
   * Takes the run over for good: the training thread can neither update nor save any more. Only between updates and
   * saves; tells what goes on otherwise.
   */
  freeze(): FreezeResult {
    const before = Atomics.compareExchange(this.#words, PHASE, IDLE, FROZEN);
    switch (before) {
      case IDLE:
      case FROZEN:
        return "frozen";
      case SAVING:
        return "saving";
      default:
        return "updating";
    }
  }

  /**
   * Throws `TrainError` `train.state.size` for a state that does not fit with room to grow. Called before the first
   * step, so that no run finds out when it is to be rescued.
   */
  requireRoom(state: unknown): void {
    const byteLength = Buffer.byteLength(JSON.stringify(state));
    if (byteLength + GROWTH_BYTES > this.#capacity) throw this.#tooLarge(byteLength);
  }

  /** The last whole step and its state, or nothing inside an update and before the first one. */
  readPublished(): PublishedState | undefined {
    const startedMs = performance.now();
    do {
      const sequence = Atomics.load(this.#words, SEQUENCE);
      if (this.isUpdating) return undefined;
      if (sequence % 2 !== 0) continue;
      const step = Atomics.load(this.#words, STEP);
      const byteLength = Atomics.load(this.#words, STATE_LENGTH);
      if (byteLength === 0) return undefined;
      const bytes = this.#copy(byteLength);
      if (Atomics.load(this.#words, SEQUENCE) === sequence)
        return { step, state: JSON.parse(bytes.toString("utf8", 0, byteLength)) };
    } while (performance.now() - startedMs < WRITER_PATIENCE_MS);
    return undefined;
  }

  /** The state of `readPublished`. */
  readState(): unknown {
    return this.readPublished()?.state;
  }

  get #capacity(): number {
    return this.buffer.byteLength - HEADER_WORDS * 4;
  }

  #copy(byteLength: number): Buffer {
    const wordCount = Math.min(Math.ceil(byteLength / 4), this.#capacity >> 2);
    const copy = new Int32Array(wordCount);
    for (let index = 0; index < wordCount; index++)
      copy[index] = Atomics.load(this.#words, HEADER_WORDS + index);
    return Buffer.from(copy.buffer);
  }

  #write(step: number, state: unknown): void {
    const text = JSON.stringify(state);
    const byteLength = Buffer.byteLength(text);
    if (byteLength > this.#capacity) throw this.#tooLarge(byteLength);
    const words = new Int32Array(Math.ceil(byteLength / 4));
    Buffer.from(words.buffer).write(text, "utf8");
    Atomics.add(this.#words, SEQUENCE, 1);
    Atomics.store(this.#words, STEP, step);
    Atomics.store(this.#words, STATE_LENGTH, byteLength);
    for (const [index, word] of words.entries())
      Atomics.store(this.#words, HEADER_WORDS + index, word);
    Atomics.add(this.#words, SEQUENCE, 1);
  }

  #enter(phase: number): void {
    const before = Atomics.compareExchange(this.#words, PHASE, IDLE, phase);
    if (before === IDLE) return;
    throw new TrainError(
      "train.frozen",
      before === FROZEN
        ? "another thread has taken this run over to save it"
        : "an update or a save is under way already",
    );
  }

  #leave(phase: number): void {
    Atomics.compareExchange(this.#words, PHASE, phase, IDLE);
  }

  #tooLarge(byteLength: number): TrainError {
    return new TrainError(
      "train.state.size",
      `the run's state takes ${byteLength} bytes, and ${this.#capacity - GROWTH_BYTES} are kept for it`,
      { remedy: "Its settings are a part of it: shorten the longest, such as --sample-prompt." },
    );
  }
}
