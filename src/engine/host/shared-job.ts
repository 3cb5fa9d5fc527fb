/** What stands where in a job's shared words. */
const NEXT = 0;
const COUNT = 1;
const COMPLETED = 2;
/** Raised for every job; workers sleep on it. */
const GENERATION = 3;
const KIND = 4;
const STOPPED = 5;
const WORDS = 8;

const PART_BITS = 20;
const GENERATIONS = 1 << 11;
const NO_JOB = -1;

/**
 * A job whose parts any thread takes in any order, in shared memory. The word of the next part holds the job's
 * generation in its upper bits, so that a thread which saw an earlier job can never take a part of this one: its
 * compare-and-exchange fails.
 */
export class SharedJob {
  static readonly maximumParts = 1 << PART_BITS;
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  #jobs = 0;

  /** A job of its own, or with another thread's buffer that thread's. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(WORDS * 4);
    this.#words = new Int32Array(this.buffer);
    if (buffer === undefined) Atomics.store(this.#words, NEXT, NO_JOB);
  }

  /** What the job's parts are, in its owner's numbering. */
  get kind(): number {
    return Atomics.load(this.#words, KIND);
  }

  get isStopped(): boolean {
    return Atomics.load(this.#words, STOPPED) !== 0;
  }

  /** Raised by `wake`. */
  get generation(): number {
    return Atomics.load(this.#words, GENERATION);
  }

  /** Offers parts 0 to `count` - 1 and takes part in them; returns when all are done. */
  run(count: number, kind: number, runPart: (part: number) => void, looks = 0): void {
    const words = this.#words;
    Atomics.store(words, KIND, kind);
    Atomics.store(words, COUNT, count);
    Atomics.store(words, COMPLETED, 0);
    this.#jobs = (this.#jobs + 1) % GENERATIONS;
    Atomics.store(words, NEXT, this.#jobs << PART_BITS);
    if (count > 1) this.wake();
    this.take(runPart);
    this.#awaitCompletion(count, looks);
    Atomics.store(words, NEXT, NO_JOB);
  }

  /** Takes parts until there are none left. */
  take(runPart: (part: number) => void): void {
    const words = this.#words;
    for (;;) {
      const next = Atomics.load(words, NEXT);
      if (next === NO_JOB) return;
      const part = next & (SharedJob.maximumParts - 1);
      const count = Atomics.load(words, COUNT);
      if (part >= count) return;
      if (Atomics.compareExchange(words, NEXT, next, next + 1) !== next) continue;
      runPart(part);
      if (Atomics.add(words, COMPLETED, 1) + 1 === count) Atomics.notify(words, COMPLETED);
    }
  }

  wake(): void {
    Atomics.add(this.#words, GENERATION, 1);
    Atomics.notify(this.#words, GENERATION);
  }

  stop(): void {
    Atomics.store(this.#words, STOPPED, 1);
    this.wake();
  }

  /** Sleeps while the generation is this one; looks for so long before, because waking takes some 50 microseconds. */
  sleep(generation: number, lookMs = 0): void {
    if (lookMs > 0) {
      const until = performance.now() + lookMs;
      do {
        for (let i = 0; i < 100; i++) if (this.generation !== generation) return;
      } while (performance.now() < until);
    }
    Atomics.wait(this.#words, GENERATION, generation);
  }

  /** The others finish their last parts soon: worth `looks` looks before sleeping. */
  #awaitCompletion(count: number, looks: number): void {
    for (let i = 0; i < looks; i++) if (Atomics.load(this.#words, COMPLETED) >= count) return;
    for (;;) {
      const completed = Atomics.load(this.#words, COMPLETED);
      if (completed >= count) return;
      Atomics.wait(this.#words, COMPLETED, completed, 100);
    }
  }
}
