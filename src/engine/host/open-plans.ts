import type { LoadedPlan } from "../engine.ts";

/** The plans of an engine that are open. A plan that is closed is let go of, and its memory with it. */
export class OpenPlans {
  readonly #open = new Set<LoadedPlan>();

  /** Watches a plan until it is closed, by whomever. */
  add(loaded: LoadedPlan): void {
    this.#open.add(loaded);
    const close = loaded.close.bind(loaded);
    loaded.close = () => {
      this.#open.delete(loaded);
      return close();
    };
  }

  /** Closes those that are left. */
  async close(): Promise<void> {
    for (const loaded of this.#open) await loaded.close();
  }
}
