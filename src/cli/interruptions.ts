/** What ends a command: Ctrl-C, a request to end, and a terminal that was closed or an ssh that was dropped. */
export const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Told how often a stop has been asked for so far. */
type Listener = (count: number) => void;

/**
 * How often a command was asked to stop: by signals to this process from the moment this is made until `end`, or
 * through another process that tells of those it received. A terminal tells both, so that counts are compared, never
 * added. A hangup asks once however often it is told: the shell and the system both tell of the same one.
 */
export class Interruptions {
  #count = 0;
  #own = 0;
  readonly #listeners = new Set<Listener>();
  readonly #asking: readonly NodeJS.Signals[];
  readonly #onAsked = (): void => this.hear(1);
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (signal === "SIGHUP") this.hear(1);
    else this.hear(++this.#own);
  };

  /** `more`: signals that ask once, as SIGUSR2, which mpirun hands on to what it has started. */
  constructor(more: readonly NodeJS.Signals[] = []) {
    this.#asking = more;
    for (const signal of STOP_SIGNALS) process.on(signal, this.#onSignal);
    for (const signal of more) process.on(signal, this.#onAsked);
  }

  get count(): number {
    return this.#count;
  }

  /** Another process has been asked so often. */
  hear(count: number): void {
    if (count <= this.#count) return;
    this.#count = count;
    for (const listener of this.#listeners) listener(count);
  }

  /** Tells of every further one, and at once where there were some. Returns what ends this. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (this.#count > 0) listener(this.#count);
    return () => this.#listeners.delete(listener);
  }

  /** Signals do again what they do by themselves. */
  end(): void {
    for (const signal of STOP_SIGNALS) process.off(signal, this.#onSignal);
    for (const signal of this.#asking) process.off(signal, this.#onAsked);
    this.#listeners.clear();
  }
}
