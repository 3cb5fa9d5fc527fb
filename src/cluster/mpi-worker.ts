// The thread that owns MPI: it is initialised here, called here and nowhere else, and ended here. MPI moves only inside
// its calls, and the training thread is inside the engine's for long: so this thread never does anything but ask.
import { writeSync } from "node:fs";
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { AnecdoteError } from "../util/errors.ts";
import { GroupChannels } from "./mpi/group-channels.ts";
import { loadMpi } from "./mpi/library.ts";
import { Mpi } from "./mpi/mpi.ts";
import { StallWatch } from "./mpi/watch.ts";
import { DONE, DOORBELL, FAILED, INSIDE, STEP, TURNS, WAITING_CALLS, WORKING } from "./protocol.ts";
import type { Answer, Job, MpiThreadData, Work } from "./protocol.ts";

/** How long it asks without a pause after something moved, and the longest pause after that. */
const BUSY_MS = 0.2;
const SHORTEST_PAUSE_MS = 0.05;
const LONGEST_PAUSE_MS = 1;
const IDLE_PAUSE_MS = 20;

const { control, opened, port, stallSeconds } = workerData as MpiThreadData;
const words = new Int32Array(control);

function settle(state: Int32Array, value: number): void {
  Atomics.store(state, 0, value);
  Atomics.notify(state, 0);
}

function answer(state: Int32Array, told: Answer): void {
  port.postMessage(told);
  settle(state, told.kind === "failed" ? FAILED : DONE);
}

function fail(state: Int32Array, error: unknown): void {
  answer(state, {
    kind: "failed",
    code: error instanceof AnecdoteError ? error.code : "cluster.thread",
    message: error instanceof Error ? error.message : String(error),
  });
}

/** An exchange under way. */
interface Waiting {
  readonly sinceMs: number;
  readonly kind: Work["kind"];
}

class MpiThread {
  readonly #mpi = new Mpi(loadMpi(), (call) =>
    Atomics.store(words, INSIDE, call === undefined ? 0 : WAITING_CALLS.indexOf(call)),
  );
  readonly #groups: GroupChannels[] = [];
  readonly #watch: StallWatch;
  #sentBytes = 0;
  #exchangeCount = 0;
  #busyMs = 0;
  #busySinceMs = 0;
  /** Jobs under way, the oldest first. */
  readonly #open = new Map<Int32Array, Waiting>();
  #isClosed = false;

  constructor() {
    const world = this.#addGroup(this.#mpi.world);
    this.#watch = new StallWatch(
      this.#mpi,
      this.#mpi.duplicate(world.communicator),
      stallSeconds,
      (text) => writeSync(2, `anecdote: ${text}\n`),
    );
    const { rank, size } = world;
    answer(opened, { kind: "opened", rank, size, version: this.#mpi.version });
  }

  run(): void {
    let movedMs = performance.now();
    let pauseMs = SHORTEST_PAUSE_MS;
    for (;;) {
      Atomics.add(words, TURNS, 1);
      const seen = Atomics.load(words, DOORBELL);
      let hasMoved = this.#takeJobs();
      if (this.#isClosed) return;
      for (const group of this.#groups) if (!group.isIdle) hasMoved = group.step() || hasMoved;
      const nowMs = performance.now();
      this.#watch.step(nowMs, {
        begun: this.#exchangeCount,
        step: Atomics.load(words, STEP),
        waiting: this.#open.values().next().value,
        isWorking: Atomics.load(words, WORKING) === 1,
      });
      if (hasMoved) {
        movedMs = nowMs;
        pauseMs = SHORTEST_PAUSE_MS;
      } else if (nowMs - movedMs > BUSY_MS) {
        Atomics.wait(words, DOORBELL, seen, pauseMs);
        pauseMs = Math.min(2 * pauseMs, this.#open.size > 0 ? LONGEST_PAUSE_MS : IDLE_PAUSE_MS);
      }
    }
  }

  #takeJobs(): boolean {
    let hasTaken = false;
    for (;;) {
      const message = receiveMessageOnPort(port);
      if (message === undefined) return hasTaken;
      hasTaken = true;
      const job = message.message as Job;
      try {
        this.#take(job);
      } catch (error) {
        fail(job.state, error);
      }
    }
  }

  #take({ work, state }: Job): void {
    switch (work.kind) {
      case "traffic":
        answer(state, {
          kind: "traffic",
          traffic: {
            ...{ sentBytes: this.#sentBytes, busyMs: this.#busyMs },
            exchangeCount: this.#exchangeCount,
          },
        });
        return;
      case "abort":
        this.#mpi.abort(work.code);
        return;
      case "close":
        this.#mpi.finalize();
        this.#isClosed = true;
        settle(state, DONE);
        return;
      case "split": {
        const { communicator, rank } = this.#group(work.group);
        const { size, rank: own } = this.#addGroup(this.#mpi.split(communicator, work.color, rank));
        answer(state, { kind: "formed", group: this.#groups.length - 1, rank: own, size });
        return;
      }
      default:
        this.#exchangeCount++;
        if (this.#open.size === 0) this.#busySinceMs = performance.now();
        this.#open.set(state, { sinceMs: performance.now(), kind: work.kind });
        this.#group(work.group).begin(work, () => {
          this.#open.delete(state);
          if (this.#open.size === 0) this.#busyMs += performance.now() - this.#busySinceMs;
          settle(state, DONE);
        });
    }
  }

  /** Fails what is under way: after an error of MPI nothing can be trusted to end. */
  failAll(error: unknown): void {
    for (const state of this.#open.keys()) fail(state, error);
    this.#open.clear();
  }

  /** After an error: answers what still comes, and can end all processes. */
  refuse(error: unknown): void {
    for (;;) {
      const seen = Atomics.load(words, DOORBELL);
      for (
        let message = receiveMessageOnPort(port);
        message !== undefined;
        message = receiveMessageOnPort(port)
      ) {
        const { work, state } = message.message as Job;
        if (work.kind === "abort") this.#mpi.abort(work.code);
        if (work.kind === "close") {
          settle(state, DONE);
          return;
        }
        fail(state, error);
      }
      Atomics.wait(words, DOORBELL, seen, IDLE_PAUSE_MS);
    }
  }

  #addGroup(communicator: Parameters<Mpi["rank"]>[0]): GroupChannels {
    const group = new GroupChannels(this.#mpi, communicator, (byteLength) => {
      this.#sentBytes += byteLength;
    });
    this.#groups.push(group);
    return group;
  }

  #group(number: number): GroupChannels {
    const group = this.#groups[number];
    if (group === undefined) throw new Error(`there is no group ${number}`);
    return group;
  }
}

let thread: MpiThread | undefined;
try {
  thread = new MpiThread();
} catch (error) {
  fail(opened, error);
}
if (thread !== undefined) {
  try {
    thread.run();
  } catch (error) {
    thread.failAll(error);
    thread.refuse(error);
  }
}
port.close();
