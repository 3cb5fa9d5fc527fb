import type { LoadedPlan } from "../../engine/engine.ts";
import type { UntimedEvent } from "../../runs/events.ts";

const MEMORY_EVERY_MS = 10_000;
const FIRST_TIMINGS_MS = 10_000;
const LAST_TIMINGS_MS = 600_000;

/**
 * What a run's events tell of the process besides losses and costs: memory at most every ten seconds, times of
 * dispatches at the first report and then after 10 s, 20 s, 40 s and so on up to ten minutes.
 */
export class Observations {
  readonly #loaded: LoadedPlan;
  readonly #emit: (event: UntimedEvent) => void;
  #memoryMs = -Infinity;
  #timingsMs = -Infinity;
  #timingsEveryMs = FIRST_TIMINGS_MS;

  constructor(loaded: LoadedPlan, emit: (event: UntimedEvent) => void) {
    this.#loaded = loaded;
    this.#emit = emit;
  }

  /** After a report of `step`. */
  report(step: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#memoryMs >= MEMORY_EVERY_MS) this.memory(step);
    if (nowMs - this.#timingsMs < this.#timingsEveryMs) return;
    if (this.#timingsMs > 0)
      this.#timingsEveryMs = Math.min(2 * this.#timingsEveryMs, LAST_TIMINGS_MS);
    this.#timings(step);
  }

  /** Before the run's last event in this process. */
  finish(step: number): void {
    this.memory(step);
    this.#timings(step);
  }

  memory(step: number): void {
    this.#memoryMs = performance.now();
    const { persistentBytes, transientBytes, runtimeBytes } = this.#loaded.memory();
    this.#emit({
      kind: "memory",
      step,
      persistent_bytes: persistentBytes,
      transient_bytes: transientBytes,
      runtime_bytes: runtimeBytes,
      resident_bytes: process.memoryUsage.rss(),
      peak_bytes: process.resourceUsage().maxRSS * 1024,
    });
  }

  #timings(step: number): void {
    this.#timingsMs = performance.now();
    const dispatches = this.#loaded
      .timings()
      .map(({ section, label, places, runs, elapsedMs }) => ({
        ...{ section, label, places: [...places], runs },
        elapsed_ms: elapsedMs,
      }));
    if (dispatches.length > 0) this.#emit({ kind: "timings", step, dispatches });
  }
}
