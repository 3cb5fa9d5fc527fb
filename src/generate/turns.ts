/** Lets one after another work, in the order in which they ask. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` once all that asked before are done, whether or not they failed. */
  async take<Result>(work: () => Promise<Result>): Promise<Result> {
    const before = this.#last;
    const own = before.then(work);
    this.#last = own.catch(() => undefined);
    return own;
  }
}
