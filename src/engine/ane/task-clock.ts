import type { DispatchTiming, EngineUsage } from "../engine.ts";
import type { Lane } from "./task-graph.ts";
import { DispatchTimes } from "../host/plan-record.ts";

/** What `usage` tells of a Neural Engine beside what every engine tells. */
export interface OverlapUsage extends EngineUsage {
  /** Milliseconds in which engine and host worked at the same time. */
  readonly overlapMs: number;
}

/** Adds up what runs take: by lane, and by task. */
export class TaskClock {
  readonly #sums = { engineMs: 0, hostMs: 0, overlapMs: 0, wallMs: 0, flops: 0 };
  readonly #times = new DispatchTimes();
  readonly #busy = { engine: false, host: false };
  #since = 0;

  usage(): OverlapUsage {
    return { ...this.#sums };
  }

  timings(): readonly DispatchTiming[] {
    return this.#times.list();
  }

  addFlops(flops: number): void {
    this.#sums.flops += flops;
  }

  /** The time between begin and end of a run. */
  async run(act: () => Promise<void>): Promise<void> {
    const started = performance.now();
    try {
      await act();
    } finally {
      this.#sums.wallMs += performance.now() - started;
    }
  }

  /** Work of one lane; a lane works on one thing at a time. */
  async work(lane: Lane, act: () => Promise<void>): Promise<void> {
    this.#turn(lane, true);
    try {
      await act();
    } finally {
      this.#turn(lane, false);
    }
  }

  /** A task that has come to a good end; `places` as `DispatchTiming` has them. */
  async task(
    section: string,
    label: string,
    places: readonly number[],
    act: () => Promise<void>,
  ): Promise<void> {
    const started = performance.now();
    await act();
    this.#times.of(section, label, places).add(performance.now() - started);
  }

  #turn(lane: Lane, isBusy: boolean): void {
    const now = performance.now();
    const elapsedMs = now - this.#since;
    const { engine, host } = this.#busy;
    if (engine) this.#sums.engineMs += elapsedMs;
    if (host) this.#sums.hostMs += elapsedMs;
    if (engine && host) this.#sums.overlapMs += elapsedMs;
    this.#busy[lane] = isBusy;
    this.#since = now;
  }
}
