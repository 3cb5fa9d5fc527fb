import os from "node:os";
import { Worker } from "node:worker_threads";
import { compiledUrl } from "../util/source-layout.ts";
import type { EncodeWorkerData } from "./encode-worker.ts";
import {
  allocateEncodingBuffers,
  DONE,
  FAILED,
  IDLE,
  JOB_PARTS,
  JOB_UNITS,
  openEncodingBuffers,
  PART_WORDS,
  PLACES,
  WORKING,
} from "./encoding-buffers.ts";
import type { EncodingBuffers } from "./encoding-buffers.ts";
import { encodePart } from "./piece-encoder.ts";
import type { DocumentPart, EncodedPiece } from "./piece-encoder.ts";
import type { Tokenizer, TokenizerSource } from "./tokenizer.ts";

const MOST_THREADS = 8;
/** A thread that has not answered for so long is given up; its job is done here. */
const ANSWER_LIMIT_MS = 60_000;

export function defaultThreads(): number {
  return Math.min(MOST_THREADS, os.availableParallelism());
}

/** Parts that are encoded together, in order. */
type Job = readonly DocumentPart[];

/** A job's pieces, or the thread that is at them. */
type Pending = { readonly job: Job } & (
  | { readonly pieces: readonly EncodedPiece[] }
  | { readonly thread: EncodingThread }
);

/**
 * Encodes parts of documents on this thread and `threads - 1` others. Ids and their order are those of one thread:
 * each part is encoded by itself, whoever does it. Memory is bounded by some megabytes a thread. What a thread cannot
 * do, from starting to a job that has no room, is done here. Throws what `tokenizer.encode` throws.
 */
export function* encodeParts(
  parts: Iterable<DocumentPart>,
  tokenizer: Tokenizer,
  threads: number,
): Generator<EncodedPiece> {
  const { source } = tokenizer;
  if (threads <= 1 || source === undefined) {
    for (const part of parts) yield encodePart(part, tokenizer);
    return;
  }
  const others = Array.from({ length: threads - 1 }, () => new EncodingThread(source));
  try {
    const queue: Pending[] = [];
    for (const job of jobsOf(parts)) {
      collect(queue, tokenizer);
      const thread = fits(job) ? others.find((other) => other.isIdle) : undefined;
      if (thread === undefined) queue.push({ job, pieces: encodeHere(job, tokenizer) });
      else {
        thread.begin(job);
        queue.push({ job, thread });
      }
      // What waits is bounded: the oldest job is waited for.
      while (queue.length > 2 * threads) yield* take(queue, tokenizer);
    }
    while (queue.length > 0) yield* take(queue, tokenizer);
  } finally {
    for (const other of others) other.stop();
  }
}

function* take(queue: Pending[], tokenizer: Tokenizer): Generator<EncodedPiece> {
  const first = queue.shift();
  if (first === undefined) return;
  yield* "pieces" in first
    ? first.pieces
    : (first.thread.finish(first.job) ?? encodeHere(first.job, tokenizer));
}

/** Takes what is done from the threads, so that they can go on. */
function collect(queue: Pending[], tokenizer: Tokenizer): void {
  queue.forEach((pending, index) => {
    if ("pieces" in pending || !pending.thread.isDone) return;
    const { job } = pending;
    queue[index] = { job, pieces: pending.thread.finish(job) ?? encodeHere(job, tokenizer) };
  });
}

function encodeHere(job: Job, tokenizer: Tokenizer): readonly EncodedPiece[] {
  return job.map((part) => encodePart(part, tokenizer));
}

/** Parts in groups that are worth handing over. */
function* jobsOf(parts: Iterable<DocumentPart>): Generator<Job> {
  let job: DocumentPart[] = [];
  let units = 0;
  for (const part of parts) {
    const own = "text" in part ? part.text.length : 0;
    if (job.length > 0 && (units + own > JOB_UNITS || job.length === JOB_PARTS)) {
      yield job;
      job = [];
      units = 0;
    }
    job.push(part);
    units += own;
  }
  if (job.length > 0) yield job;
}

/** A single part may be longer than a thread has room for. */
function fits(job: Job): boolean {
  return job.reduce((sum, part) => sum + ("text" in part ? part.text.length : 0), 0) <= JOB_UNITS;
}

/** Another thread with the tokenizer. */
class EncodingThread {
  readonly #worker: Worker;
  readonly #buffers: EncodingBuffers;
  #isLost = false;

  constructor(source: TokenizerSource) {
    const shared = allocateEncodingBuffers();
    this.#buffers = openEncodingBuffers(shared);
    const data: EncodeWorkerData = { source, buffers: shared };
    this.#worker = new Worker(compiledUrl("text/encode-worker.ts"), { workerData: data });
    this.#worker.on("error", () => undefined);
    this.#worker.unref();
  }

  get #state(): number {
    return Atomics.load(this.#buffers.control, 0);
  }

  get isIdle(): boolean {
    return !this.#isLost && this.#state === IDLE;
  }

  get isDone(): boolean {
    return this.#state === DONE || this.#state === FAILED;
  }

  begin(job: Job): void {
    const { control, parts, text } = this.#buffers;
    let unit = 0;
    let count = 0;
    for (const part of job) {
      if (!("text" in part)) continue;
      text.write(part.text, 2 * unit, "utf16le");
      parts[PART_WORDS * count] = part.text.length;
      parts[PART_WORDS * count + 1] = PLACES.indexOf(part.place);
      unit += part.text.length;
      count++;
    }
    control[1] = count;
    this.#become(WORKING);
  }

  /** Waits for the job's ids; nothing where the thread failed. */
  finish(job: Job): readonly EncodedPiece[] | undefined {
    const { control, parts, ids } = this.#buffers;
    const waitsUntil = performance.now() + ANSWER_LIMIT_MS;
    while (!this.isDone && performance.now() < waitsUntil)
      Atomics.wait(control, 0, WORKING, ANSWER_LIMIT_MS);
    if (!this.isDone) this.#isLost = true;
    if (this.#state !== DONE) {
      if (!this.#isLost) this.#become(IDLE);
      return undefined;
    }
    let filled = 0;
    let count = 0;
    const pieces = job.map((part): EncodedPiece => {
      if (!("text" in part)) return part;
      const length = parts[PART_WORDS * count++ + 2] ?? 0;
      const { after, endsDocument } = part;
      const own = new Uint32Array(length + after.length);
      own.set(ids.subarray(filled, filled + length));
      own.set(after, length);
      filled += length;
      return { ids: own, endsDocument };
    });
    this.#become(IDLE);
    return pieces;
  }

  stop(): void {
    void this.#worker.terminate();
  }

  #become(state: number): void {
    Atomics.store(this.#buffers.control, 0, state);
    Atomics.notify(this.#buffers.control, 0);
  }
}
