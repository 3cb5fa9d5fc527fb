import { cachedContextLength } from "../model/index.ts";
import type { PlannedSequence } from "./cache-growth.ts";
import { Decoder } from "./decoder.ts";
import type { DecoderOptions } from "./decoder.ts";
import type { Sequence } from "./sequence.ts";

/**
 * One sequence under a model, on a decoder of its own. Engines whose sums depend on the size of a cache round otherwise
 * in another bucket: a sequence that `begin` begins is computed the same whatever the session did before.
 */
export class DecodeSession {
  readonly #decoder: Decoder;
  readonly #contextLength: number;
  #sequence: Sequence;

  constructor(options: DecoderOptions) {
    this.#decoder = new Decoder(options);
    this.#contextLength = cachedContextLength(options.model.config);
    this.#sequence = this.#decoder.sequence();
  }

  /** Positions filled so far. */
  get length(): number {
    return this.#sequence.length;
  }

  /** Positions left of the longest text. */
  get remaining(): number {
    return this.#contextLength - this.length;
  }

  /** Begins a sequence whose length is known, in place of the one before. Throws as `Decoder.sequence`. */
  begin(planned: PlannedSequence): void {
    this.#sequence.release();
    this.#sequence = this.#decoder.sequence(planned);
  }

  /** As `Decoder.append`. */
  async append(tokens: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    return this.#decoder.append(this.#sequence, tokens, signal);
  }

  /** Forgets all positions from `length` on. Throws `GenerateError` for more than there are. */
  truncate(length = 0): void {
    this.#sequence.truncate(length);
  }

  async close(): Promise<void> {
    await this.#decoder.close();
  }
}
