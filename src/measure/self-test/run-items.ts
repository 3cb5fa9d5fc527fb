import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Chip, Driver } from "../../chip/chip.ts";
import type { AneLibrary } from "../../engine/ane/probe.ts";
import { runTasks } from "./child-process.ts";
import type { EndedTask } from "./child-process.ts";
import { TIME_LIMIT_MS } from "./items.ts";
import type { Item } from "./items.ts";
import type { ProbeResult } from "./outcome.ts";
import type { ResultStore } from "./result-store.ts";

/** Starting Node and loading what a probe needs. */
const START_MS = 500;
/** Of an item that shares a process. */
const JOIN_MS = 20;

/** A process that was started is given so long, however little of the test's time is left. */
const LEAST_LIMIT_MS = 2000;
const TIME_IS_UP =
  "not tried: the time of the test is over; the next one goes on here (or give it more with --total-time)";

/** The probe that a healthy engine answers. */
const HEALTHY = "program.runs";
/** macOS starts a service that died anew when it is next asked; so long is waited for that. */
const SERVICE_PAUSES_MS: readonly number[] = [0, 500, 1000, 2000, 4000];
const SERVICE_IS_GONE =
  "not tried: the engine's service did not come back after an earlier answer ended in a death; start the Mac anew and run it again";

const isDeath = (result: ProbeResult | undefined): boolean =>
  result?.ended === "signal" || result?.ended === "exit" || result?.ended === "time limit";

/** How far a self-test is. */
export interface Progress {
  readonly done: number;
  readonly total: number;
  /** What is asked now. */
  readonly title: string;
  /** Estimated. */
  readonly remainingMs: number;
}

export interface RunContext {
  readonly driver: Driver;
  readonly library: AneLibrary;
  readonly chip: Chip;
  readonly store: ResultStore;
  /** What one item may take at most, whatever its own limit. */
  readonly timeLimitMs?: number;
  /** What the whole test may take: what has no room left is not tried, and said to be so. */
  readonly totalMs?: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly onResult?: (result: ProbeResult, isKept: boolean) => void;
}

/** The items of one test, asked in order, one process at a time. */
export class Run {
  readonly results = new Map<string, ProbeResult>();
  readonly #items: readonly Item[];
  readonly #context: RunContext;
  readonly #signal: AbortSignal;
  readonly #startedAt = performance.now();
  #expectedDoneMs = 0;
  #spentMs = 0;
  #leftOutCount = 0;

  constructor(items: readonly Item[], context: RunContext) {
    this.#items = items;
    this.#context = context;
    this.#signal = context.signal;
  }

  /** Items that had no room in the time of the whole test. */
  get leftOutCount(): number {
    return this.#leftOutCount;
  }

  async all(): Promise<void> {
    const { store, onResult } = this.#context;
    const open: Item[] = [];
    for (const item of this.#items) {
      const kept = store.get(item.id);
      // What told nothing is asked again.
      if (kept === undefined || kept.verdict === "unknown") open.push(item);
      else {
        this.results.set(item.id, kept);
        onResult?.(kept, true);
      }
    }
    while (open.length > 0 && !this.#signal.aborted) {
      const [first] = open;
      if (first === undefined) break;
      const why = this.#hindrance(first);
      if (why !== undefined) {
        open.shift();
        this.#take(first.notTried(why), false);
        continue;
      }
      if (this.#remainingMs() < START_MS + first.expectedMs * this.#pace()) {
        open.shift();
        this.#leftOutCount++;
        this.#take(first.notTried(TIME_IS_UP), false);
        continue;
      }
      let count = 1;
      if (first.batch !== undefined) {
        const { name, limit } = first.batch;
        let batchMs = START_MS + first.expectedMs;
        while (count < limit && open[count]?.batch?.name === name && this.#canJoin(open[count])) {
          batchMs += open[count]?.expectedMs ?? 0;
          if (this.#remainingMs() < batchMs * this.#pace()) break;
          count++;
        }
      }
      const batch = open.splice(0, count);
      const isKnownToRun = this.results.get(HEALTHY)?.verdict === "held";
      this.#show(first, open);
      const started = performance.now();
      await this.#runBatch(batch, open);
      // A death may have taken the system's service with it, and what is asked of a dead one fails for another's sake.
      if (isKnownToRun && batch.some(({ id }) => isDeath(this.results.get(id)))) {
        const waitedMs = await this.#awaitService();
        for (const { id } of batch) this.#tellService(id, waitedMs);
        if (waitedMs === undefined) {
          for (const item of open.splice(0)) this.#take(item.notTried(SERVICE_IS_GONE), false);
        }
      }
      this.#spentMs += performance.now() - started;
      this.#expectedDoneMs += START_MS + sum(batch.map(({ expectedMs }) => expectedMs));
    }
  }

  /** Why an item would tell nothing. Needs that are not part of the test do not count. */
  #hindrance(item: Item): string | undefined {
    for (const id of item.needs) {
      const result = this.results.get(id);
      if (result !== undefined && result.verdict !== "held")
        return `not tried: "${result.title}" ${result.verdict === "unknown" ? "is unknown" : "did not hold"}`;
    }
    return undefined;
  }

  /** In one process with others: whatever it needs is known by now. */
  #canJoin(item: Item | undefined): boolean {
    if (item === undefined) return false;
    const unknowns = item.needs.filter((id) => this.#items.some((other) => other.id === id));
    return unknowns.every((id) => this.results.has(id)) && this.#hindrance(item) === undefined;
  }

  async #runBatch(batch: readonly Item[], rest: readonly Item[]): Promise<void> {
    const again: Item[] = [];
    const isAlone = batch.length === 1;
    await withScratch(async (scratch) => {
      for (let round = 0; round < (batch[0]?.rounds ?? 1); round++) {
        const isLast = round === (batch[0]?.rounds ?? 1) - 1;
        let failed = false;
        await this.#spawn(batch, round, scratch, (item, ended) => {
          const isLost = ended.end.ended !== "told";
          if (!isLast && !isLost) return;
          failed ||= isLost;
          // Another program of the process may have spoilt it.
          if (isLost && !isAlone) again.push(item);
          else this.#take(item.result(ended), true);
          const next = batch[batch.indexOf(item) + 1];
          if (next !== undefined) this.#show(next, rest);
        });
        if (failed) break;
      }
    });
    for (const item of again) if (!this.#signal.aborted) await this.#runBatch([item], rest);
  }

  /**
   * Runs the program that ran before until it runs again. Milliseconds until then, 0 where nothing was amiss;
   * `undefined` where the service did not come back.
   */
  async #awaitService(): Promise<number | undefined> {
    const item = this.#items.find(({ id }) => id === HEALTHY);
    if (item === undefined) return 0;
    const started = performance.now();
    for (const [attempt, pauseMs] of SERVICE_PAUSES_MS.entries()) {
      if (this.#signal.aborted) return 0;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      let isHeld = false;
      await withScratch((scratch) =>
        this.#spawn([item], 0, scratch, (_, ended) => {
          isHeld = item.result(ended).verdict === "held";
        }),
      );
      if (isHeld) return attempt === 0 ? 0 : performance.now() - started;
    }
    return undefined;
  }

  /** Adds to an answer that ended in a death what became of the service. */
  #tellService(id: string, waitedMs: number | undefined): void {
    const result = this.results.get(id);
    if (result === undefined || !isDeath(result) || waitedMs === 0) return;
    const words =
      waitedMs === undefined
        ? "after it the engine's service did not answer any more"
        : `after it the engine's service did not answer for ${(waitedMs / 1000).toFixed(1)} s, and then did again`;
    this.#take({ ...result, detail: `${result.detail}; ${words}` }, true);
  }

  #remainingMs(): number {
    return (this.#context.totalMs ?? Infinity) - (performance.now() - this.#startedAt);
  }

  /** How much longer than expected things take here; at first as long. What went quickly says little of the next. */
  #pace(): number {
    if (this.#expectedDoneMs === 0) return 1;
    return Math.max(0.5, Math.min(4, this.#spentMs / this.#expectedDoneMs));
  }

  async #spawn(
    batch: readonly Item[],
    round: number,
    scratch: string,
    onEnd: (item: Item, ended: EndedTask) => void,
  ): Promise<void> {
    const { driver, library, chip, timeLimitMs } = this.#context;
    const byId = new Map(batch.map((item) => [item.id, item]));
    await runTasks({
      job: {
        driver,
        library: { ...library },
        chip: chip.id,
        scratch,
        tasks: batch.map((item) => item.task(round)),
      },
      limitOf: ({ id }) =>
        Math.min(
          byId.get(id)?.limitMs ?? TIME_LIMIT_MS,
          timeLimitMs ?? Infinity,
          // What hangs may not take the whole test beyond its time.
          Math.max(this.#remainingMs(), LEAST_LIMIT_MS),
        ),
      signal: this.#signal,
      onEnd: (ended) => {
        const item = byId.get(ended.task.id);
        if (item !== undefined) onEnd(item, ended);
      },
    });
  }

  #take(result: ProbeResult, isTried: boolean): void {
    this.results.set(result.id, result);
    if (isTried) this.#context.store.add(result);
    this.#context.onResult?.(result, false);
  }

  #show(item: Item, rest: readonly Item[]): void {
    const expectedMs =
      START_MS +
      item.expectedMs +
      sum(rest.map((one) => one.expectedMs + (one.batch === undefined ? START_MS : JOIN_MS)));
    const paceMs =
      expectedMs * (this.#expectedDoneMs > 0 ? this.#spentMs / this.#expectedDoneMs : 1);
    this.#context.onProgress?.({
      done: this.results.size,
      total: this.#items.length,
      title: item.title,
      remainingMs: Math.min(paceMs, Math.max(0, this.#remainingMs())),
    });
  }
}

async function withScratch(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-doctor-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
