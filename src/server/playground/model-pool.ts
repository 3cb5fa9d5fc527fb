import { basename } from "node:path";
import { TextService } from "../../generate/service/text-service.ts";
import { listCheckpoints } from "../../runs/checkpoint.ts";
import { AnecdoteError } from "../../util/errors.ts";
import { didYouMean } from "../../util/nearest.ts";
import { belowOf } from "../below.ts";
import { Refusal } from "../errors.ts";
import { ServerMetrics } from "../metrics.ts";
import type { OpenAiParts } from "../openai/answers.ts";
import { ServedModels } from "../openai/served-models.ts";
import type { RunStore } from "../runs/run-store.ts";

/** Two stand side by side, and one more is on its way. */
const MOST_OPEN = 3;
/** A model that nobody asked for so long gives its memory back. */
const IDLE_MS = 5 * 60_000;
const IDLE_CHECK_MS = 30_000;
const CACHE_BYTES = 32 * 2 ** 20;

interface OpenModel {
  readonly parts: Promise<OpenAiParts>;
  /** Requests whose answers are not begun. */
  users: number;
  usedMs: number;
  /** Once it is open: texts that it still writes. */
  outstanding: () => number;
}

/**
 * Checkpoints of runs as models that texts can be asked of: opened when they are asked for, each in a thread of its own,
 * the ones that were not used for longest closed.
 */
export class ModelPool {
  readonly #store: RunStore;
  /** By folder, in the order of their last use. */
  readonly #open = new Map<string, OpenModel>();
  readonly #metrics = new ServerMetrics();
  readonly #timer: NodeJS.Timeout;

  constructor(store: RunStore) {
    this.#store = store;
    this.#timer = setInterval(() => this.#closeIdle(), IDLE_CHECK_MS);
    this.#timer.unref();
  }

  /**
   * Runs `use` with a model named "RUN" (its newest checkpoint) or "RUN/checkpoint-N". Throws `Refusal` 404 for a name
   * that none has, 422 for one that cannot be opened.
   */
  async with<Result>(name: string, use: (parts: OpenAiParts) => Promise<Result>): Promise<Result> {
    const folder = this.#folderOf(name);
    const model = this.#open.get(folder) ?? this.#opened(name, folder);
    this.#open.delete(folder);
    this.#open.set(folder, model);
    model.users++;
    try {
      this.#closeOver();
      return await use(await model.parts);
    } finally {
      model.users--;
      model.usedMs = Date.now();
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#open.keys()].map(async (folder) => this.#close(folder)));
  }

  #folderOf(name: string): string {
    const [run = "", checkpoint, ...more] = name.split("/");
    const isInside = belowOf(this.#store.root);
    const checkpoints = listCheckpoints(this.#store.folder(run)).filter(({ folder }) =>
      isInside(folder),
    );
    const names = checkpoints.map(({ folder }) => basename(folder));
    const found =
      checkpoint === undefined
        ? checkpoints.at(-1)
        : checkpoints.find(({ folder }) => basename(folder) === checkpoint);
    if (found !== undefined && more.length === 0) return found.folder;
    throw new Refusal(
      404,
      names.length === 0
        ? `run ${run} has no checkpoint yet`
        : `run ${run} has no ${checkpoint ?? ""}.${didYouMean(checkpoint ?? "", names)}`,
      { param: "model", code: "model_not_found" },
    );
  }

  #opened(name: string, folder: string): OpenModel {
    const parts = this.#openModel(name, folder);
    const model: OpenModel = { parts, users: 0, usedMs: Date.now(), outstanding: () => 0 };
    parts.then(
      ({ service }) => (model.outstanding = () => service.load.outstanding),
      () => this.#open.delete(folder),
    );
    return model;
  }

  async #openModel(name: string, folder: string): Promise<OpenAiParts> {
    try {
      const service = await TextService.open({
        folder,
        adapters: [],
        maximumTexts: 1,
        maximumWaiting: 8,
        prefixCacheBytes: CACHE_BYTES,
      });
      const models = new ServedModels(name, [], service.facts.contextLength);
      return { service, models, metrics: this.#metrics };
    } catch (error) {
      if (!(error instanceof AnecdoteError)) throw error;
      throw new Refusal(422, error.message, { param: "model", code: "model_not_opened" });
    }
  }

  #closeOver(): void {
    for (const [folder, model] of this.#open) {
      if (this.#open.size <= MOST_OPEN) return;
      if (!isUsed(model)) void this.#close(folder);
    }
  }

  #closeIdle(): void {
    for (const [folder, model] of this.#open)
      if (!isUsed(model) && Date.now() - model.usedMs > IDLE_MS) void this.#close(folder);
  }

  async #close(folder: string): Promise<void> {
    const model = this.#open.get(folder);
    this.#open.delete(folder);
    try {
      await (await model?.parts)?.service.close();
    } catch {
      // It was never open, or its thread ended by itself.
    }
  }
}

/** A streamed answer goes on after its request was answered. */
function isUsed({ users, outstanding }: OpenModel): boolean {
  return users > 0 || outstanding() > 0;
}
