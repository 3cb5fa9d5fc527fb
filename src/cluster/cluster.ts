import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import type { Collective, Exchange, ExchangedArray, WireFormat } from "../engine/collective.ts";
import type { BufferView } from "../engine/engine.ts";
import { compiledUrl } from "../util/source-layout.ts";
import { ClusterError } from "./errors.ts";
import { CONTROL_WORDS, DOORBELL, FAILED, PENDING, STEP, WATCHED, WORLD } from "./protocol.ts";
import type { Answer, Job, MpiThreadData, Traffic, Work } from "./protocol.ts";

/** How long the training thread waits at a time before its event loop gets a turn. */
const WAIT_TURN_MS = 10;
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
  #waitedMs = 0;

  private constructor(
    worker: Worker,
    port: MessagePort,
    words: Int32Array,
    { rank, size, version }: Extract<Answer, { readonly kind: "opened" }>,
  ) {
    this.#worker = worker;
    this.#port = port;
    this.#words = words;
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
    worker.once("error", (error) => {
      // The thread could not even be started; what it catches itself comes as an answer.
      process.stderr.write(`anecdote: the thread of MPI has ended: ${error.message}\n`);
      settle(opened, FAILED);
    });
    await settled(opened);
    const told = nextAnswer(port1);
    if (told?.kind !== "opened") {
      await worker.terminate();
      throw failure(told);
    }
    return new Cluster(worker, port1, new Int32Array(control), told);
  }

  /** The members who give the same color, in the order of their ranks. Everybody calls it. */
  async split(color: number): Promise<Collective> {
    const told = await this.#ask({ kind: "split", group: WORLD, color });
    if (told?.kind !== "formed") throw failure(told);
    return this.#collective(told.group, told.rank, told.size);
  }

  /** From here on members that do not come to an exchange are told of, with the step they are at. */
  noteStep(step: number): void {
    Atomics.store(this.#words, STEP, step);
    Atomics.store(this.#words, WATCHED, 1);
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
    await this.#ask({ kind: "close" });
    this.#port.close();
    await this.#worker.terminate();
  }

  async #ask(work: Work): Promise<Answer | undefined> {
    const state = this.#submit(work);
    await settled(state);
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
        await settled(state);
        finish(startedMs);
      },
      block: () => {
        const startedMs = performance.now();
        while (Atomics.load(state, 0) === PENDING) Atomics.wait(state, 0, PENDING);
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

/** Arrays on memory that another thread can have; copies of those that are not. */
function onSharedMemory(array: BufferView): BufferView {
  if (array.buffer instanceof SharedArrayBuffer) return array;
  const Kind = array.constructor as new (memory: SharedArrayBuffer) => BufferView;
  const copy = new Kind(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
}

/** Waits for a word that another thread sets, with turns for this thread's event loop. */
async function settled(state: Int32Array): Promise<void> {
  while (Atomics.load(state, 0) === PENDING) {
    if (Atomics.wait(state, 0, PENDING, WAIT_TURN_MS) !== "timed-out") return;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function settle(state: Int32Array, value: number): void {
  Atomics.store(state, 0, value);
  Atomics.notify(state, 0);
}

function nextAnswer(port: MessagePort): Answer | undefined {
  return receiveMessageOnPort(port)?.message as Answer | undefined;
}

function failure(answer: Answer | undefined): ClusterError {
  return answer?.kind === "failed"
    ? new ClusterError(answer.code, answer.message)
    : new ClusterError("cluster.thread", "the thread of MPI has ended without a word");
}
