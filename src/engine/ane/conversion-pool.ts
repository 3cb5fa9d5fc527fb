import { Worker } from "node:worker_threads";
import { compiledUrl } from "../../util/source-layout.ts";
import { HalfConverter } from "../host/half-converter.ts";
import { EngineError } from "../errors.ts";
import { ItemConverter } from "./conversion-item.ts";
import type { ConversionItem } from "./conversion-item.ts";
import type { ConversionReply } from "./conversion-worker.ts";

/** Elements of the host that one item covers at most. */
const PART = 1 << 15;
/** Fewer elements are converted on the calling thread: waking another takes some 50 µs, this takes some 20. */
const AWAY = 1 << 15;

/**
 * Threads that convert numbers while the engine works and the calling thread waits for either. Items of one call
 * must not overlap; how they fall to threads changes no bit.
 */
export class ConversionPool {
  readonly #threads: number;
  readonly #away: number;
  readonly #workers = new Map<number, Worker>();
  #converter: HalfConverter | undefined;
  #here: ItemConverter | undefined;
  #idle: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** `away`: elements from which on other threads convert. */
  constructor(threads: number, away = AWAY) {
    this.#threads = Math.max(1, threads);
    this.#away = away;
  }

  /** For the calling thread. */
  get converter(): HalfConverter {
    this.#converter ??= new HalfConverter();
    return this.#converter;
  }

  convert(items: readonly ConversionItem[]): Promise<void> {
    if (items.length === 0) return Promise.resolve();
    const done = this.#idle.then(() => this.#convert(items));
    this.#idle = done.catch(() => undefined);
    return done;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#workers.values()].map((worker) => worker.terminate()));
    this.#workers.clear();
  }

  async #convert(items: readonly ConversionItem[]): Promise<void> {
    const parts = items.flatMap(split);
    const total = parts.reduce((sum, part) => sum + sizeOf(part), 0);
    if (total < this.#away) {
      this.#here ??= new ItemConverter(this.converter);
      for (const part of parts) this.#here.convert(part);
      return;
    }
    const shares = this.#sharesOf(parts, total);
    await Promise.all(shares.map((share, at) => this.#send(this.#worker(at), share)));
  }

  /** Neighbouring parts to the same thread, about as many numbers to each. */
  #sharesOf(parts: readonly ConversionItem[], total: number): readonly ConversionItem[][] {
    const shares: ConversionItem[][] = [];
    let before = 0;
    for (const part of parts) {
      const at = Math.min(this.#threads - 1, Math.floor((before * this.#threads) / total));
      (shares[at] ??= []).push(part);
      before += sizeOf(part);
    }
    return shares.filter((share) => share.length > 0);
  }

  #worker(at: number): Worker {
    const known = this.#workers.get(at);
    if (known !== undefined) return known;
    if (this.#isClosed)
      throw new EngineError("engine.closed", "the engine's conversions have ended");
    const made = new Worker(compiledUrl("engine/ane/conversion-worker.ts"));
    made.unref();
    // Told to whoever waits for it; a thread that ended is not used again.
    made.on("error", () => {
      if (this.#workers.get(at) === made) this.#workers.delete(at);
    });
    this.#workers.set(at, made);
    return made;
  }

  #send(worker: Worker, items: readonly ConversionItem[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string): void =>
        reject(new EngineError("engine.ane.conversions", `numbers were not converted: ${reason}`));
      const end = (): void => {
        worker.unref();
        worker.off("message", onMessage).off("error", onError).off("exit", onExit);
      };
      const onMessage = ({ problem }: ConversionReply): void => {
        end();
        if (problem === undefined) resolve();
        else fail(problem);
      };
      const onError = (error: Error): void => {
        end();
        fail(error.message);
      };
      const onExit = (): void => {
        end();
        fail("the thread ended");
      };
      worker.ref();
      worker.on("message", onMessage).on("error", onError).on("exit", onExit);
      worker.postMessage(items);
    });
  }
}

function sizeOf(item: ConversionItem): number {
  return item.kind === "one-hot" ? item.count * item.depth : item.count;
}

function split(item: ConversionItem): readonly ConversionItem[] {
  const width = item.kind === "one-hot" ? item.depth : 1;
  const rows = Math.max(1, Math.floor(PART / width));
  if (item.count <= rows) return [item];
  const parts: ConversionItem[] = [];
  for (let at = 0; at < item.count; at += rows) {
    parts.push({
      ...item,
      hostByteOffset: item.hostByteOffset + 4 * at,
      start: item.start + at * width,
      count: Math.min(rows, item.count - at),
    });
  }
  return parts;
}
