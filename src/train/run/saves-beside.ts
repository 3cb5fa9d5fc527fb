import { Worker } from "node:worker_threads";
import { compiledUrl } from "../../util/source-layout.ts";
import { formatBytes } from "../../util/format.ts";
import { keptArray, runBuffers } from "./checkpoint-contents.ts";
import type { KeptArray, RunFiles, ViewOf } from "./checkpoint-contents.ts";
import type { ControlBlock } from "./control.ts";
import type { SavedCheckpoint, SaveOrder } from "./save-checkpoint.ts";
import { revived } from "./session-options.ts";
import type { ToldError } from "./session-options.ts";

/** What the saving thread begins with. Copies stand in shared memory. */
export interface SaveWorkerData {
  readonly files: RunFiles;
  readonly copies: ReadonlyMap<string, KeptArray>;
  readonly control: SharedArrayBuffer;
}

export type SaveAnswer =
  | { readonly kind: "saved"; readonly saved: SavedCheckpoint }
  | { readonly kind: "failed"; readonly error: ToldError };

/** Below this a checkpoint is written sooner than a thread is ready to do it. */
const LEAST_BYTES = 64 << 20;
/** A larger copy is let go of once it is written: others may want the memory until the next checkpoint. */
const KEPT_BYTES = 512 << 20;
/** What is to stay free beside the copy. */
const ROOM_BYTES = 256 << 20;

/** A checkpoint that was written beside steps, and what it took. */
export interface SavedBeside {
  readonly order: SaveOrder;
  readonly saved: SavedCheckpoint;
  readonly elapsedMs: number;
  /** In which training waited. */
  readonly waitedMs: number;
}

export interface SavesBesideParts {
  readonly files: RunFiles;
  readonly control: ControlBlock;
  readonly onSaved: (saved: SavedBeside) => void;
  /** Told once, where checkpoints of a size to be written beside have no room for their copy. */
  readonly onNoRoom: (message: string) => void;
  /** Default: 64 MiB, or what `ANECDOTE_TEST_SAVE_BESIDE_BYTES` says. */
  readonly leastBytes?: number;
  /** Bytes that this process may still take. Default: what the system says. */
  readonly freeBytes?: () => number;
}

interface Pending {
  readonly done: Promise<void>;
}

/**
 * Checkpoints written by a thread of their own from a copy of weights and optimizer state: only the copy stands in the
 * way of the next step. A checkpoint is written aside and renamed as any other, so a kill at any moment leaves the one
 * before. One is written at a time; the memory of a copy that is not large
 * is kept for the next.
 */
export class SavesBeside {
  readonly #parts: SavesBesideParts;
  readonly #names: readonly string[];
  #copies: ReadonlyMap<string, KeptArray> | undefined;
  #worker: Worker | undefined;
  #pending: Pending | undefined;
  #failure: Error | undefined;
  #isRefused = false;

  constructor(parts: SavesBesideParts) {
    this.#parts = parts;
    this.#names = runBuffers(parts.files.parameters);
  }

  /** Whether a checkpoint may be written beside steps: it is large enough, and there is room for its copy. */
  suits(viewOf: ViewOf): boolean {
    if (this.#isRefused) return false;
    if (this.#copies !== undefined) return true;
    const { leastBytes = leastBytesHere(), freeBytes = () => process.availableMemory() } =
      this.#parts;
    const byteLength = this.#names.reduce((sum, name) => sum + viewOf(name).byteLength, 0);
    if (byteLength < leastBytes) return false;
    const free = freeBytes();
    if (byteLength + ROOM_BYTES <= free) return true;
    this.#isRefused = true;
    this.#parts.onNoRoom(
      `training waits for its checkpoints: the copy they are written from beside steps takes ${formatBytes(byteLength)}, and ${formatBytes(free)} are free`,
    );
    return false;
  }

  /** Copies what a checkpoint holds, and has it written. The checkpoint before it is waited for. */
  async begin(order: SaveOrder, viewOf: ViewOf): Promise<void> {
    const startedMs = performance.now();
    await this.settle();
    const copies = this.#copy(viewOf);
    const worker = this.#thread(copies);
    this.#parts.control.beginSaveBeside();
    const waitedMs = performance.now() - startedMs;
    const answer = nextAnswer(worker);
    worker.postMessage(order);
    const done = this.#finish(order, answer, { startedMs, waitedMs });
    this.#pending = { done };
  }

  /** Never rejects: what failed is thrown by whoever asks next. */
  async #finish(
    order: SaveOrder,
    answer: Promise<SaveAnswer>,
    { startedMs, waitedMs }: { readonly startedMs: number; readonly waitedMs: number },
  ): Promise<void> {
    const told = await answer;
    try {
      if (told.kind === "failed") throw revived(told.error);
      const elapsedMs = performance.now() - startedMs;
      this.#parts.onSaved({ order, saved: told.saved, elapsedMs, waitedMs });
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    }
    await this.#letGo(KEPT_BYTES);
    this.#parts.control.endSaveBeside();
    this.#pending = undefined;
  }

  /** Throws what a checkpoint that was begun has failed with. */
  require(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Waits until what was begun is written. Throws as `require`. */
  async settle(): Promise<void> {
    await this.#pending?.done;
    this.require();
  }

  /** Ends the thread once what it writes is whole. */
  async close(): Promise<void> {
    await this.#pending?.done;
    await this.#letGo(0);
  }

  /** Gives a copy of more than so many bytes back, with the thread that reads it. */
  async #letGo(mostBytes: number): Promise<void> {
    const copies = [...(this.#copies?.values() ?? [])];
    if (copies.reduce((sum, { byteLength }) => sum + byteLength, 0) <= mostBytes) return;
    const worker = this.#worker;
    this.#copies = undefined;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #copy(viewOf: ViewOf): ReadonlyMap<string, KeptArray> {
    const copies =
      this.#copies ??
      new Map(
        this.#names.map((name) => {
          const view = keptArray(name, viewOf(name));
          const memory = new SharedArrayBuffer(view.byteLength);
          return [
            name,
            view instanceof Float32Array ? new Float32Array(memory) : new Uint16Array(memory),
          ];
        }),
      );
    this.#copies = copies;
    for (const [name, copy] of copies) copy.set(keptArray(name, viewOf(name)));
    return copies;
  }

  #thread(copies: ReadonlyMap<string, KeptArray>): Worker {
    const { files, control } = this.#parts;
    const data: SaveWorkerData = { files, copies, control: control.buffer };
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(compiledUrl("train/run/save-worker.ts"), { workerData: data });
    // Whoever waits for an answer hears of it; after the last one nobody does.
    worker.on("error", () => undefined);
    worker.once("exit", () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    this.#worker = worker;
    return worker;
  }
}

/** What a thread says next; a thread that ends instead has failed. */
async function nextAnswer(worker: Worker): Promise<SaveAnswer> {
  return await new Promise((resolve) => {
    const failed = (message: string): void =>
      answer({ kind: "failed", error: { code: "train.save.thread", message } });
    const onError = (error: Error): void => failed(`a checkpoint was not saved: ${error.message}`);
    const onExit = (): void => failed("a checkpoint was not saved: its thread has ended");
    const answer = (told: SaveAnswer): void => {
      worker.off("message", answer).off("error", onError).off("exit", onExit);
      resolve(told);
    };
    worker.on("message", answer).on("error", onError).on("exit", onExit);
  });
}

function leastBytesHere(): number {
  const given = process.env["ANECDOTE_TEST_SAVE_BESIDE_BYTES"];
  return given === undefined ? LEAST_BYTES : Number(given);
}
