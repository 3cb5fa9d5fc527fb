import { hangError } from "../driver.ts";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../../util/errors.ts";
import { compiledUrl } from "../../../util/source-layout.ts";
import { noteStuckThread } from "../../../util/stuck-thread.ts";
import { EngineError } from "../../errors.ts";
import type { Attempt, AttemptsOutcome } from "./attempt.ts";

export interface EngineWorkerData {
  readonly library: string | undefined;
}
export interface EngineJob {
  readonly id: number;
  readonly attempts: readonly Attempt[];
}
export interface EngineJobAnswer extends AttemptsOutcome {
  readonly id: number;
}

interface WaitingJob {
  readonly settle: (outcome: AttemptsOutcome) => void;
  readonly fail: (error: EngineError) => void;
}

/**
 * One thread that makes all attempts of a driver, one job at a time (`in-memory.threads`). The thread that asks
 * stays free; a job that takes too long counts as hung, and then nothing is called or let go of any more.
 */
export class EngineThread {
  readonly #library: string | undefined;
  readonly #timeoutMs: number;
  #worker: Worker | undefined;
  #waiting: WaitingJob | undefined;
  #nextId = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #queued = 0;
  /** Why nothing runs any more. */
  #end: EngineError | undefined;
  #isHung = false;

  constructor(library: string | undefined, timeoutMs: number) {
    this.#library = library;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Makes attempts in order, up to the first that fails. Throws `EngineError`: `engine.ane.timeout` when they take
   * too long, `engine.ane.thread` when the thread ends.
   */
  run(doing: string, attempts: readonly Attempt[]): Promise<AttemptsOutcome> {
    return this.#enqueue(() => this.#runNow(doing, attempts));
  }

  /** Once everything asked for so far is done: an object in use must not be let go of. Never after a hang. */
  afterwards(act: () => void): void {
    if (this.#isHung) return;
    if (this.#queued === 0) act();
    else {
      void this.#enqueue(() => {
        if (!this.#isHung) act();
        return Promise.resolve();
      });
    }
  }

  /** Waits for what was asked for; a thread that hangs is left to the process's end. */
  async close(): Promise<void> {
    await this.#queue;
    if (this.#isHung) return;
    this.#end ??= new EngineError("engine.closed", "the engine is closed");
    await this.#worker?.terminate();
  }

  #enqueue<Result>(act: () => Promise<Result>): Promise<Result> {
    this.#queued++;
    const result = this.#queue.then(act);
    const done = (): void => {
      this.#queued--;
    };
    this.#queue = result.then(done, done);
    return result;
  }

  async #runNow(doing: string, attempts: readonly Attempt[]): Promise<AttemptsOutcome> {
    if (this.#end !== undefined) throw this.#end;
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const id = this.#nextId++;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<AttemptsOutcome>((settle, fail) => {
        timer = setTimeout(() => {
          this.#isHung = true;
          noteStuckThread();
          const call = attempts[0]?.selector ?? "the engine";
          this.#stop(hangError(`${doing}: ${call}`, this.#timeoutMs));
        }, this.#timeoutMs);
        this.#waiting = { settle, fail };
        worker.postMessage({ id, attempts } satisfies EngineJob);
      });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  #start(): Worker {
    const worker = new Worker(compiledUrl("engine/ane/in-memory/engine-worker.ts"), {
      workerData: { library: this.#library } satisfies EngineWorkerData,
    });
    // The timer of a job keeps the process alive, not an idle thread.
    worker.unref();
    worker.on("message", (answer: EngineJobAnswer) => this.#waiting?.settle(answer));
    worker.on("error", (error) => {
      this.#stop(
        new EngineError("engine.ane.thread", `the engine's thread failed: ${messageOf(error)}`, {
          cause: error,
        }),
      );
    });
    worker.on("exit", (code) => {
      this.#stop(
        new EngineError("engine.ane.thread", `the engine's thread ended with code ${code}`),
      );
    });
    return worker;
  }

  #stop(reason: EngineError): void {
    this.#end ??= reason;
    this.#waiting?.fail(this.#end);
  }
}
