import { RunLock } from "../../runs/run-lock.ts";
import { fetchNamedModel, resolveModelFolder } from "../../runs/model-path.ts";
import type { TrainEvent } from "../../runs/events.ts";
import type { TrainConfig, TrainSettings } from "../config/config.ts";
import { resolveRun } from "../config/run-config.ts";
import { ModelHandle } from "./open-model.ts";
import { trainInWorker } from "./session.ts";
import type { SessionOptions } from "./session.ts";

/** What a program may have a say in beside the settings. */
export type TrainRunOptions = Omit<SessionOptions, "lock">;

/**
 * A training run that has begun: its events, from the first one on, and its model. Iterating ends with the run; an
 * error of the run is thrown to everyone who waits for it.
 */
export class TrainRun implements AsyncIterable<TrainEvent> {
  /** All settings, complete. */
  readonly config: TrainConfig;
  /** Sentences about settings of files that do nothing. */
  readonly notes: readonly string[];
  /** The run's model; its methods wait until the run has ended. */
  readonly model: ModelHandle;
  readonly #stream: EventStream;
  readonly #last: Promise<TrainEvent>;
  readonly #abort: AbortController;

  private constructor(
    config: TrainConfig,
    notes: readonly string[],
    parts: {
      readonly stream: EventStream;
      readonly last: Promise<TrainEvent>;
      readonly abort: AbortController;
    },
  ) {
    this.config = config;
    this.notes = notes;
    this.#stream = parts.stream;
    this.#last = parts.last;
    this.#abort = parts.abort;
    this.model = new ModelHandle(async () => {
      await this.#last;
      return resolveModelFolder(config.output_dir);
    });
  }

  /** `train`, which says more. */
  static async begin(settings: TrainSettings, options: TrainRunOptions = {}): Promise<TrainRun> {
    for (const name of [settings.model, settings.tokenizer])
      if (name !== undefined) await fetchNamedModel(name, undefined, options.signal);
    const { config, notes } = resolveRun([{ origin: "settings", values: settings }]);
    const lock = RunLock.take(config.output_dir);
    const stream = new EventStream();
    const abort = new AbortController();
    const stop = (): void => abort.abort();
    options.signal?.addEventListener("abort", stop);
    if (options.signal?.aborted === true) stop();
    const last = trainInWorker(config, {
      ...options,
      lock,
      signal: abort.signal,
      onEvent: (event) => {
        options.onEvent?.(event);
        stream.push(event);
      },
    }).finally(() => {
      options.signal?.removeEventListener("abort", stop);
      lock.release();
    });
    last.then(
      () => stream.end(),
      (error: unknown) => stream.fail(error),
    );
    const run = new TrainRun(config, notes, { stream, last, abort });
    await stream.begun;
    return run;
  }

  /** Folder of the run: configuration, events, checkpoints. */
  get folder(): string {
    return this.config.output_dir;
  }

  /** The last event: `end`, `interrupted`, or a `notice` where a run to resume has nothing left to do. */
  async finished(): Promise<TrainEvent> {
    return await this.#last;
  }

  /** Saves a checkpoint after the current step and ends with an `interrupted` event. */
  stop(): void {
    this.#abort.abort();
  }

  /** Events from the first one on, for as many listeners as like, each at its own pace. */
  [Symbol.asyncIterator](): AsyncIterator<TrainEvent> {
    return this.#stream.read();
  }
}

/**
 * Begins a training run in a thread of its own and returns it once it has told of itself, or has ended. Settings have
 * the names of the command line (`max_steps` for `--max-steps`); all have defaults, `output_dir` is "runs/default".
 * Throws `OptionError` for wrong names and values, `TrainError`, `TextError`, `ModelError` or `EngineError` for data,
 * models and engines that cannot be used, `RunError` for a folder that another process trains in.
 */
export async function train(
  settings: TrainSettings = {},
  options: TrainRunOptions = {},
): Promise<TrainRun> {
  return await TrainRun.begin(settings, options);
}

/** Events as they come, kept for those who ask later. */
class EventStream {
  readonly #events: TrainEvent[] = [];
  #state:
    | { readonly kind: "open" | "ended" }
    | { readonly kind: "failed"; readonly error: unknown } = { kind: "open" };
  #wake: (() => void)[] = [];

  /** Settles with the first event or the end; rejects with an error before it. */
  get begun(): Promise<void> {
    return this.#at(0).then(() => undefined);
  }

  push(event: TrainEvent): void {
    this.#events.push(event);
    this.#wakeAll();
  }

  end(): void {
    this.#state = { kind: "ended" };
    this.#wakeAll();
  }

  fail(error: unknown): void {
    this.#state = { kind: "failed", error };
    this.#wakeAll();
  }

  async *read(): AsyncGenerator<TrainEvent> {
    for (let index = 0; ; index++) {
      const event = await this.#at(index);
      if (event === undefined) return;
      yield event;
    }
  }

  /** An event by its number; nothing after the last one. */
  async #at(index: number): Promise<TrainEvent | undefined> {
    while (index >= this.#events.length && this.#state.kind === "open") {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    const event = this.#events[index];
    if (event === undefined && this.#state.kind === "failed") throw this.#state.error;
    return event;
  }

  #wakeAll(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }
}
