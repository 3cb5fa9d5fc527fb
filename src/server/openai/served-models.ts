import { didYouMean } from "../../util/nearest.ts";
import { Refusal } from "../errors.ts";

/** A name that requests ask by, and the adapter that it means. */
export interface ServedModel {
  readonly id: string;
  /** Absent: the model alone. */
  readonly adapter?: string;
}

/** Names of what is served: the model first, then its adapters. */
export class ServedModels {
  readonly all: readonly ServedModel[];
  readonly #createdSeconds = Math.floor(Date.now() / 1000);
  readonly #contextLength: number;

  constructor(id: string, adapters: readonly string[], contextLength: number) {
    this.all = [{ id }, ...adapters.map((adapter) => ({ id: adapter, adapter }))];
    this.#contextLength = contextLength;
  }

  /** Throws `Refusal` 404 for a name that nothing has. */
  named(id: string): ServedModel {
    const found = this.all.find((model) => model.id === id);
    if (found !== undefined) return found;
    const names = this.all.map((model) => model.id);
    throw new Refusal(
      404,
      `there is no model ${JSON.stringify(id)}; this server has ${names.join(", ")}.${didYouMean(id, names)}`,
      { param: "model", code: "model_not_found", type: "invalid_request_error" },
    );
  }

  /** A model as OpenAI's list tells it; `max_model_len` and `parent` are as vLLM tells them. */
  describe({ id, adapter }: ServedModel): Readonly<Record<string, unknown>> {
    return {
      ...{ id, object: "model", created: this.#createdSeconds, owned_by: "anecdote" },
      max_model_len: this.#contextLength,
      parent: adapter === undefined ? null : (this.all[0]?.id ?? null),
    };
  }
}
