import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { AnecdoteError } from "../../util/errors.ts";
import { compiledUrl } from "../../util/source-layout.ts";
import { GenerateError } from "../errors.ts";
import type {
  FromWorker,
  ServiceCounts,
  ServiceFacts,
  ServiceSettings,
  TextRequest,
  TextResult,
  ToWorker,
} from "./messages.ts";
import type { TextListener } from "./text-writer.ts";

/** What a service is opened with beside its settings. */
export interface ServiceOptions extends ServiceSettings {
  /** Texts that may wait for their turn; one more is refused. */
  readonly maximumWaiting: number;
  /** Told what is being done until the service is ready. */
  readonly onProgress?: (text: string) => void;
}

/** Something that was asked for and cannot be had: a prompt that is too long, an unknown token. */
export class RefusedText extends AnecdoteError {}

/** All places are taken, those to wait at included. */
export class TooManyTexts extends AnecdoteError {}

interface Outstanding {
  readonly textCount: number;
  readonly listener: TextListener;
  readonly resolve: (result: TextResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Writes texts with a model in a thread of its own, so that the calling thread stays responsive. Texts that are asked for
 * at the same time are written together.
 */
export class TextService {
  readonly facts: ServiceFacts;
  readonly #worker: Worker;
  readonly #maximumTexts: number;
  readonly #maximumWaiting: number;
  readonly #outstanding = new Map<number, Outstanding>();
  #nextId = 1;
  #counts: ServiceCounts = { running: 0, waiting: 0 };
  #failure: Error | undefined;
  #isClosing = false;

  private constructor(
    worker: Worker,
    facts: ServiceFacts,
    { maximumTexts, maximumWaiting }: ServiceOptions,
  ) {
    this.#worker = worker;
    this.facts = facts;
    this.#maximumTexts = maximumTexts;
    this.#maximumWaiting = maximumWaiting;
  }

  /** Opens a model folder. Rejects with what is wrong in it, or with an engine that cannot be had. */
  static async open(options: ServiceOptions): Promise<TextService> {
    const { onProgress, ...settings } = options;
    const worker = new Worker(compiledUrl("generate/service/text-worker.ts"), {
      workerData: settings,
    });
    let service: TextService | undefined;
    return new Promise<TextService>((resolve, reject) => {
      const end = (error: Error): void => {
        if (service === undefined) reject(error);
        else service.#end(error);
      };
      worker.on("message", (message: FromWorker) => {
        if (service !== undefined) service.#hear(message);
        else if (message.kind === "progress") onProgress?.(message.text);
        else if (message.kind === "failed") reject(revive(message));
        else if (message.kind === "ready") {
          service = new TextService(worker, message.facts, options);
          resolve(service);
        }
      });
      worker.on("error", end);
      worker.on("exit", () => end(gone()));
    });
  }

  /** Texts that are asked for and not written. */
  get load(): ServiceCounts & { readonly outstanding: number } {
    return { ...this.#counts, outstanding: this.#textCount };
  }

  /** Why nothing can be written any more, if so. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Writes what a request asks for. Rejects with `TooManyTexts` where no more may wait, `RefusedText` for what cannot be
   * written (before the listener hears anything), and the signal's reason once it is aborted.
   */
  async write(
    request: TextRequest,
    listener: TextListener,
    signal: AbortSignal,
  ): Promise<TextResult> {
    if (this.#failure !== undefined) throw this.#failure;
    signal.throwIfAborted();
    const most = this.#maximumTexts + this.#maximumWaiting;
    if (this.#textCount + request.count > most)
      throw new TooManyTexts(
        "generate.busy",
        `${this.#textCount} texts are being written or wait, of ${most} that may`,
        { remedy: "Ask again in a moment." },
      );
    const id = this.#nextId++;
    const abort = (): void => {
      this.#post({ kind: "abort", id });
      this.#take(id)?.reject(signal.reason);
    };
    try {
      return await new Promise<TextResult>((resolve, reject) => {
        this.#outstanding.set(id, { textCount: request.count, listener, resolve, reject });
        signal.addEventListener("abort", abort, { once: true });
        this.#post({ kind: "write", id, request });
      });
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Ends the thread; what is still written is rejected. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#end(new GenerateError("generate.closed", "the server stops"));
    const exit = once(this.#worker, "exit");
    this.#post({ kind: "close" });
    await exit;
  }

  get #textCount(): number {
    let count = 0;
    for (const { textCount } of this.#outstanding.values()) count += textCount;
    return count;
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #take(id: number): Outstanding | undefined {
    const found = this.#outstanding.get(id);
    this.#outstanding.delete(id);
    return found;
  }

  #hear(message: FromWorker): void {
    switch (message.kind) {
      case "progress":
      case "ready":
        return;
      case "begun":
        this.#outstanding.get(message.id)?.listener.onBegun(message.begin);
        return;
      case "pieces":
        this.#counts = message.counts;
        for (const { id, piece } of message.pieces)
          this.#outstanding.get(id)?.listener.onPiece(piece);
        return;
      case "ended":
        this.#counts = message.counts;
        this.#take(message.id)?.resolve(message.result);
        return;
      case "failed":
        this.#counts = message.counts ?? this.#counts;
        if (message.id === undefined) this.#end(revive(message));
        else this.#take(message.id)?.reject(revive(message));
    }
  }

  /** Nothing is written from now on. */
  #end(error: Error): void {
    this.#failure ??= error;
    const all = [...this.#outstanding.values()];
    this.#outstanding.clear();
    for (const { reject } of all) reject(error);
  }
}

function gone(): GenerateError {
  return new GenerateError("generate.service", "the thread that writes texts has ended");
}

function revive({ code, message, isRefused }: FromWorker & { readonly kind: "failed" }): Error {
  if (isRefused) return new RefusedText(code ?? "generate.refused", message);
  return code === undefined ? new Error(message) : new AnecdoteError(code, message);
}
