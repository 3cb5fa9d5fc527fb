import type { ExchangedArray } from "../../engine/collective.ts";
import type { BufferView } from "../../engine/engine.ts";
import { ScaledHalves } from "../../engine/host/scaled-halves.ts";
import type { Work } from "../protocol.ts";
import { chunksOf } from "./chunks.ts";
import { LARGEST_MESSAGE_BYTES, mpiMemory } from "./mpi.ts";
import type { Communicator, Mpi, MpiRequest } from "./mpi.ts";
import { ChunkGather, ChunkSum, keeping, summed } from "./sums.ts";
import type { Channels, Task } from "./task.ts";

/** Elements that travel at once: 4 MiB of fp32, 4 ms of a 10-gigabit link, so that adding and sending overlap. */
const CHUNK_ELEMENTS = 1 << 20;
/** Chunks of which the exchange is under way at once. */
const CHUNKS_AT_ONCE = 3;

interface Waiting {
  readonly job: { left: number; readonly finish: () => void };
  readonly sum: ChunkSum | undefined;
  readonly gather: (() => Task) | undefined;
  task: Task | undefined;
}

/**
 * The exchanges of one group. MPI wants the members to begin collectives of one communicator in one order, whatever
 * their times: the two halves of a sum, and all else, have communicators of their own, each with a queue.
 */
export class GroupChannels implements Channels {
  readonly rank: number;
  readonly size: number;
  readonly communicator: Communicator;
  readonly scatter: Communicator;
  readonly gather: Communicator;
  readonly #other: Communicator;
  readonly #between: Communicator;
  readonly #mpi: Mpi;
  readonly #onSent: (byteLength: number) => void;
  #halves: ScaledHalves | undefined;
  #scatterQueue: Waiting[] = [];
  #scattering: Waiting[] = [];
  #gatherQueue: Waiting[] = [];
  #gathering: Waiting[] = [];
  #others: { readonly begin: () => MpiRequest; readonly end: () => void; request?: MpiRequest }[] =
    [];
  #letters: { readonly request: MpiRequest; readonly finish: () => void }[] = [];

  constructor(mpi: Mpi, communicator: Communicator, onSent: (byteLength: number) => void) {
    this.#mpi = mpi;
    this.communicator = communicator;
    this.rank = mpi.rank(communicator);
    this.size = mpi.size(communicator);
    this.scatter = mpi.duplicate(communicator);
    this.gather = mpi.duplicate(communicator);
    this.#other = mpi.duplicate(communicator);
    this.#between = mpi.duplicate(communicator);
    this.#onSent = onSent;
  }

  count(byteLength: number): void {
    this.#onSent(byteLength);
  }

  get halves(): ScaledHalves {
    return (this.#halves ??= new ScaledHalves());
  }

  get isIdle(): boolean {
    return (
      this.#scatterQueue.length +
        this.#scattering.length +
        this.#gatherQueue.length +
        this.#gathering.length +
        this.#others.length +
        this.#letters.length ===
      0
    );
  }

  begin(work: Extract<Work, { readonly group: number }>, finish: () => void): void {
    switch (work.kind) {
      case "allReduce":
      case "reduceScatter":
        this.#sum(work.arrays.map(summed), work, finish);
        return;
      case "allGather":
        this.#allGather(work.arrays.map(summed), finish);
        return;
      case "broadcast":
        this.#broadcast(work.arrays, work.from, finish);
        return;
      case "barrier":
        this.#others.push({ begin: () => this.#mpi.barrier(this.#other), end: finish });
        return;
      case "send":
      case "receive":
        this.#letter(work, finish);
        return;
      case "split":
        return;
    }
  }

  /** Drives everything on. Returns whether anything ended. */
  step(): boolean {
    let hasMoved = false;
    while (this.#scatterQueue.length > 0 && this.#scattering.length < CHUNKS_AT_ONCE) {
      const next = this.#scatterQueue.shift();
      if (next === undefined) break;
      next.sum?.start();
      this.#scattering.push(next);
      hasMoved = true;
    }
    const summedNow = this.#scattering.filter(({ sum }) => sum?.isSummed() !== false);
    if (summedNow.length > 0) {
      hasMoved = true;
      this.#scattering = this.#scattering.filter((one) => !summedNow.includes(one));
      for (const one of summedNow) if (one.gather === undefined) end(one);
    }
    while (this.#gatherQueue.length > 0 && this.#gathering.length < CHUNKS_AT_ONCE) {
      const [next] = this.#gatherQueue;
      if (next === undefined || this.#isUnsummed(next)) break;
      this.#gatherQueue.shift();
      next.task = next.gather?.();
      this.#gathering.push(next);
      hasMoved = true;
    }
    const gathered = this.#gathering.filter(({ task }) => task?.isDone() !== false);
    if (gathered.length > 0) {
      hasMoved = true;
      this.#gathering = this.#gathering.filter((one) => !gathered.includes(one));
      for (const one of gathered) end(one);
    }
    return this.#stepOthers() || hasMoved;
  }

  #isUnsummed(waiting: Waiting): boolean {
    return this.#scatterQueue.includes(waiting) || this.#scattering.includes(waiting);
  }

  #stepOthers(): boolean {
    let hasMoved = false;
    for (;;) {
      const [first] = this.#others;
      if (first === undefined) break;
      first.request ??= first.begin();
      if (!first.request.isDone()) break;
      this.#others.shift();
      first.end();
      hasMoved = true;
    }
    const arrived = this.#letters.filter(({ request }) => request.isDone());
    if (arrived.length > 0) {
      this.#letters = this.#letters.filter((letter) => !arrived.includes(letter));
      for (const { finish } of arrived) finish();
      hasMoved = true;
    }
    return hasMoved;
  }

  #sum(
    arrays: readonly ExchangedArray[],
    work: Extract<Work, { readonly kind: "allReduce" | "reduceScatter" }>,
    finish: () => void,
  ): void {
    const chunks = chunksOf(arrays, this.size, CHUNK_ELEMENTS);
    if (chunks.length === 0) finish();
    const job = { left: chunks.length, finish };
    const gathers = work.kind === "allReduce";
    for (const chunk of chunks) {
      const options = { wire: work.wire, gathers };
      const sum = new ChunkSum(this.#mpi, this, arrays, chunk, options);
      const gather = (): Task => {
        sum.startGather();
        return sum;
      };
      const waiting: Waiting = { job, sum, gather: gathers ? gather : undefined, task: undefined };
      this.#scatterQueue.push(waiting);
      if (gathers) this.#gatherQueue.push(waiting);
    }
  }

  #allGather(arrays: readonly ExchangedArray[], finish: () => void): void {
    const chunks = chunksOf(arrays, this.size, CHUNK_ELEMENTS);
    if (chunks.length === 0) finish();
    const job = { left: chunks.length, finish };
    for (const chunk of chunks) {
      const gather = (): Task => new ChunkGather(this.#mpi, this, arrays, chunk);
      this.#gatherQueue.push({ job, sum: undefined, gather, task: undefined });
    }
  }

  #broadcast(arrays: readonly BufferView[], from: number, finish: () => void): void {
    const pieces = arrays.flatMap((array) => messagesOf(array));
    if (pieces.length === 0) finish();
    pieces.forEach((piece, index) => {
      const isLast = index === pieces.length - 1;
      let memory: ReturnType<typeof mpiMemory> | undefined;
      this.#others.push({
        begin: () => {
          memory = mpiMemory(piece.length);
          if (this.rank === from) {
            memory.bytes.set(piece);
            this.count(piece.length);
          }
          return this.#mpi.broadcast(this.#other, memory, piece.length, from);
        },
        end: () => {
          if (this.rank !== from && memory !== undefined)
            piece.set(memory.bytes.subarray(0, piece.length));
          if (isLast) finish();
        },
      });
    });
  }

  #letter(
    { kind, arrays, peer, tag }: Extract<Work, { readonly kind: "send" | "receive" }>,
    finish: () => void,
  ): void {
    const pieces = arrays.flatMap((array) => messagesOf(array));
    let left = pieces.length;
    if (left === 0) finish();
    for (const piece of pieces) {
      const memory = mpiMemory(piece.length);
      if (kind === "send") memory.bytes.set(piece);
      const request =
        kind === "send"
          ? this.#mpi.send(this.#between, memory, piece.length, peer, tag)
          : this.#mpi.receive(this.#between, memory, piece.length, peer, tag);
      if (kind === "send") this.count(piece.length);
      this.#letters.push({
        request: keeping(request, memory),
        finish: () => {
          if (kind === "receive") piece.set(memory.bytes.subarray(0, piece.length));
          if (--left === 0) finish();
        },
      });
    }
  }
}

function end({ job }: Waiting): void {
  if (--job.left === 0) job.finish();
}

/** An array's bytes in as many messages as MPI needs for them. */
function messagesOf(array: BufferView): readonly Uint8Array[] {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const messages: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += LARGEST_MESSAGE_BYTES)
    messages.push(bytes.subarray(at, at + LARGEST_MESSAGE_BYTES));
  return messages;
}
