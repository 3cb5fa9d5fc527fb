import { writeSync } from "node:fs";
import { hostname } from "node:os";
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import type { Collective, Exchange, ExchangedArray, WireFormat } from "../engine/collective.ts";
import type { BufferView } from "../engine/engine.ts";
import { compiledUrl } from "../util/source-layout.ts";
import { ClusterError } from "./errors.ts";
import { launchedProcess } from "./launched.ts";
import {
  CONTROL_WORDS,
  DOORBELL,
  FAILED,
  INSIDE,
  PENDING,
  STEP,
  TURNS,
  WAITING_CALLS,
  WORKING,
  WORLD,
} from "./protocol.ts";
import type { Answer, Job, MpiThreadData, Traffic, Work } from "./protocol.ts";

/** How long the training thread waits at a time before its event loop gets a turn. */
const WAIT_TURN_MS = 10;
const BLOCKED_TURN_MS = 1000;
const FP32: WireFormat = { kind: "fp32" };

/** How a group of processes is formed. */
export interface ClusterOptions {
  /** After how many seconds a member that stalls is told of; 0: never. Default 60. */
  readonly stallSeconds?: number;
}

/** Where the training thread's time went that exchanges took. */
export interface CommunicationTimes extends Traffic {
  /** Milliseconds the training thread waited for exchanges: what did not fit beside its own work. */
  readonly waitedMs: number;
}

/**
 * The processes that mpirun started together, seen from one of them. A thread of its own owns MPI; this side hands it
 * work through shared memory, so that exchanges move while the calling thread is inside the engine.
 */
export class Cluster {
  readonly rank: number;
  readonly size: number;
  /** "Open MPI v4.1.4". */
  readonly version: string;
  readonly world: Collective;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #words: Int32Array;
  readonly #life: ThreadLife;
  #waitedMs = 0;

  private constructor(
    worker: Worker,
    port: MessagePort,
    words: Int32Array,
    life: ThreadLife,
    { rank, size, version }: Extract<Answer, { readonly kind: "opened" }>,
  ) {
    this.#worker = worker;
    this.#port = port;
    this.#words = words;
    this.#life = life;
    this.rank = rank;
    this.size = size;
    this.version = version;
    this.world = this.#collective(WORLD, rank, size);
  }

  /** Forms the group. Throws `ClusterError` where Open MPI is missing, or is another MPI. */
  static async open({ stallSeconds = 60 }: ClusterOptions = {}): Promise<Cluster> {
    const control = new SharedArrayBuffer(4 * CONTROL_WORDS);
    const opened = new Int32Array(new SharedArrayBuffer(4));
    const { port1, port2 } = new MessageChannel();
    const data: MpiThreadData = { control, opened, port: port2, stallSeconds };
    const worker = new Worker(compiledUrl("cluster/mpi-worker.ts"), {
      workerData: data,
      transferList: [port2],
    });
    const words = new Int32Array(control);
    const life = new ThreadLife(worker, words, stallSeconds);
    await life.settled(opened);
    const told = nextAnswer(port1);
    if (told?.kind !== "opened") {
      await worker.terminate();
      throw failure(told);
    }
    return new Cluster(worker, port1, words, life, told);
  }

  /** The members who give the same color, in the order of their ranks. Everybody calls it. */
  async split(color: number): Promise<Collective> {
    const told = await this.#ask({ kind: "split", group: WORLD, color });
    if (told?.kind !== "formed") throw failure(told);
    return this.#collective(told.group, told.rank, told.size);
  }

  /** What others are told of this member: the updates it has done. */
  noteStep(step: number): void {
    Atomics.store(this.#words, STEP, step);
  }

  /**
   * Whether this member is at work with the others. Then one that does not come to an exchange for `stallSeconds` is told
   * of; while it works on its own, as before training or while it writes, nobody wonders.
   */
  noteWork(isWorking: boolean): void {
    Atomics.store(this.#words, WORKING, isWorking ? 1 : 0);
  }

  /** Milliseconds for which this thread has waited for exchanges. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  async times(): Promise<CommunicationTimes> {
    const told = await this.#ask({ kind: "traffic" });
    if (told?.kind !== "traffic") throw failure(told);
    return { ...told.traffic, waitedMs: this.#waitedMs };
  }

  /** Ends every process of the group, this one included, with an exit code. */
  async abort(code = 1): Promise<never> {
    const job = this.#submit({ kind: "abort", code });
    // Nothing else may go on in this thread meanwhile.
    for (;;) Atomics.wait(job, 0, PENDING, 1000);
  }

  /** Leaves in good order, together with all others. */
  async close(): Promise<void> {
    const state = this.#submit({ kind: "close" });
    await this.#life.settled(state);
    this.#life.isEnding = true;
    this.#port.close();
    await this.#worker.terminate();
  }

  async #ask(work: Work): Promise<Answer | undefined> {
    const state = this.#submit(work);
    await this.#life.settled(state);
    return nextAnswer(this.#port);
  }

  #submit(work: Work): Int32Array {
    const state = new Int32Array(new SharedArrayBuffer(4));
    const job: Job = { work, state };
    this.#port.postMessage(job);
    Atomics.add(this.#words, DOORBELL, 1);
    Atomics.notify(this.#words, DOORBELL);
    return state;
  }

  #exchange(make: (arrays: readonly BufferView[]) => Work, given: readonly BufferView[]): Exchange {
    const shared = given.map(onSharedMemory);
    const state = this.#submit(make(shared));
    let isTaken = false;
    const take = (): void => {
      if (isTaken) return;
      isTaken = true;
      shared.forEach((array, index) => {
        const target = given[index];
        if (array !== target) target?.set(array);
      });
    };
    const finish = (startedMs: number): void => {
      this.#waitedMs += performance.now() - startedMs;
      if (Atomics.load(state, 0) === FAILED) throw failure(nextAnswer(this.#port));
      take();
    };
    return {
      isDone: () => Atomics.load(state, 0) !== PENDING,
      wait: async () => {
        const startedMs = performance.now();
        await this.#life.settled(state);
        finish(startedMs);
      },
      block: () => {
        const startedMs = performance.now();
        this.#life.block(state);
        finish(startedMs);
      },
    };
  }

  #collective(group: number, rank: number, size: number): Collective {
    const begin = this.#exchange.bind(this);
    const member = (peer: number): number => {
      if (Number.isInteger(peer) && peer >= 0 && peer < size && peer !== rank) return peer;
      throw new ClusterError(
        "cluster.member",
        `member ${rank} of ${size} cannot exchange with member ${peer}`,
      );
    };
    return {
      rank,
      size,
      allReduce: (buffers: readonly ExchangedArray[], wire = FP32) =>
        begin((arrays) => ({ kind: "allReduce", group, arrays, wire }), buffers),
      reduceScatter: (buffers: readonly ExchangedArray[], wire = FP32) =>
        begin((arrays) => ({ kind: "reduceScatter", group, arrays, wire }), buffers),
      allGather: (buffers) => begin((arrays) => ({ kind: "allGather", group, arrays }), buffers),
      broadcast: (buffers, from) =>
        begin((arrays) => ({ kind: "broadcast", group, arrays, from }), buffers),
      send: (buffers, to, tag = 0) =>
        begin((arrays) => ({ kind: "send", group, arrays, peer: member(to), tag }), buffers),
      receive: (buffers, from, tag = 0) =>
        begin((arrays) => ({ kind: "receive", group, arrays, peer: member(from), tag }), buffers),
      barrier: () => begin(() => ({ kind: "barrier", group }), []),
    };
  }
}

/** Waits for the thread of MPI, which may end, or be in a call that does not come back. */
class ThreadLife {
  readonly #words: Int32Array;
  readonly #stallMs: number;
  /** Set when it has ended although nobody ended it. */
  #end: string | undefined;
  isEnding = false;

  constructor(worker: Worker, words: Int32Array, stallSeconds: number) {
    this.#words = words;
    this.#stallMs = 1000 * stallSeconds;
    // What it catches itself comes as an answer.
    worker.once("error", (error) => (this.#end = error.message));
    worker.once("exit", () => (this.#end ??= "it has ended"));
  }

  /** Waits for a word that it sets, with turns for this thread's event loop. Throws where it has ended instead. */
  async settled(state: Int32Array): Promise<void> {
    const watch = new TurnWatch(this.#words, this.#stallMs);
    while (Atomics.load(state, 0) === PENDING) {
      if (Atomics.wait(state, 0, PENDING, WAIT_TURN_MS) !== "timed-out") return;
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (this.#end !== undefined && !this.isEnding && Atomics.load(state, 0) === PENDING)
        throw new ClusterError("cluster.thread", `the thread of MPI has ended: ${this.#end}`);
      watch.look();
    }
  }

  /** As `settled`, without turns. */
  block(state: Int32Array): void {
    const watch = new TurnWatch(this.#words, this.#stallMs);
    while (Atomics.load(state, 0) === PENDING) {
      Atomics.wait(state, 0, PENDING, BLOCKED_TURN_MS);
      watch.look();
    }
  }
}

/** Tells once where the thread of MPI has not gone on for too long. While it goes on it tells of others itself. */
class TurnWatch {
  readonly #words: Int32Array;
  readonly #stallMs: number;
  #turns: number;
  #sinceMs = performance.now();
  #isTold = false;

  constructor(words: Int32Array, stallMs: number) {
    this.#words = words;
    this.#stallMs = stallMs;
    this.#turns = Atomics.load(words, TURNS);
  }

  look(): void {
    const turns = Atomics.load(this.#words, TURNS);
    const nowMs = performance.now();
    if (turns !== this.#turns) {
      this.#turns = turns;
      this.#sinceMs = nowMs;
      this.#isTold = false;
    }
    const stillMs = nowMs - this.#sinceMs;
    if (this.#isTold || this.#stallMs === 0 || stillMs < this.#stallMs) return;
    this.#isTold = true;
    const inside = Atomics.load(this.#words, INSIDE);
    const call = WAITING_CALLS[inside] ?? WAITING_CALLS[0];
    const others = inside === 0 ? "" : ": not all others have come to it";
    writeSync(
      2,
      `anecdote: rank ${launchedProcess()?.rank ?? 0} on ${hostname()} has been inside ${call} of MPI for ${(stillMs / 1000).toFixed(1)} s${others}\n`,
    );
  }
}

/** Arrays on memory that another thread can have; copies of those that are not. */
function onSharedMemory(array: BufferView): BufferView {
  if (array.buffer instanceof SharedArrayBuffer) return array;
  const Kind = array.constructor as new (memory: SharedArrayBuffer) => BufferView;
  const copy = new Kind(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
}

function nextAnswer(port: MessagePort): Answer | undefined {
  return receiveMessageOnPort(port)?.message as Answer | undefined;
}

function failure(answer: Answer | undefined): ClusterError {
  return answer?.kind === "failed"
    ? new ClusterError(answer.code, answer.message)
    : new ClusterError("cluster.thread", "the thread of MPI has ended without a word");
}
