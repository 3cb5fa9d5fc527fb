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
  #expectedDoneMs = 0;
  #spentMs = 0;

  constructor(items: readonly Item[], context: RunContext) {
    this.#items = items;
    this.#context = context;
    this.#signal = context.signal;
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
      let count = 1;
      if (first.batch !== undefined) {
        const { name, limit } = first.batch;
        while (count < limit && open[count]?.batch?.name === name && this.#canJoin(open[count]))
          count++;
      }
      const batch = open.splice(0, count);
      this.#show(first, open);
      const started = performance.now();
      await this.#runBatch(batch, open);
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
    const scratch = mkdtempSync(join(tmpdir(), "anecdote-doctor-"));
    try {
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
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
    for (const item of again) if (!this.#signal.aborted) await this.#runBatch([item], rest);
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
        Math.min(byId.get(id)?.limitMs ?? TIME_LIMIT_MS, timeLimitMs ?? Infinity),
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
    const pace = this.#expectedDoneMs > 0 ? this.#spentMs / this.#expectedDoneMs : 1;
    this.#context.onProgress?.({
      done: this.results.size,
      total: this.#items.length,
      title: item.title,
      remainingMs: expectedMs * pace,
    });
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
