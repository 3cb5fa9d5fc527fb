import type { Tokenizer } from "../../text/index.ts";
import { GenerateError } from "../errors.ts";
import type { Automaton, AutomatonState } from "./automaton.ts";

/** The bytes of a vocabulary's tokens, sorted, so that what begins alike is looked at once. */
export class TokenBytes {
  /** Of ids that a text may hold, by their bytes. */
  readonly ids: Int32Array;
  /** Bytes of all of them, one after the other. */
  readonly bytes: Uint8Array;
  /** Where each one's bytes begin; one more at the end. */
  readonly starts: Int32Array;
  /** Bytes that each has in common with the one before. */
  readonly shared: Int32Array;
  readonly vocabularySize: number;
  /** The place of an id among `ids`. */
  readonly #places: ReadonlyMap<number, number>;

  /** Throws `GenerateError` `generate.schema.tokenizer` where tokens have no bytes of their own. */
  constructor(tokenizer: Tokenizer) {
    this.vocabularySize = tokenizer.vocabularySize;
    const tokens: { readonly id: number; readonly bytes: Uint8Array }[] = [];
    for (let id = 0; id < tokenizer.vocabularySize; id++) {
      const bytes = tokenizer.bytesOf(id);
      if (bytes !== undefined && bytes.length > 0) tokens.push({ id, bytes });
    }
    const known = new Set(
      tokens.filter(({ bytes }) => bytes.length === 1).map(({ bytes }) => bytes[0]),
    );
    const missing = Array.from('{}[]":,0123456789').filter(
      (sign) => !known.has(sign.charCodeAt(0)),
    );
    if (missing.length > 0)
      throw new GenerateError(
        "generate.schema.tokenizer",
        `this model's vocabulary cannot spell JSON: it has no tokens for ${missing.join(" ")}`,
      );
    tokens.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
    this.ids = Int32Array.from(tokens, ({ id }) => id);
    this.#places = new Map(tokens.map(({ id }, index) => [id, index]));
    this.bytes = Buffer.concat(tokens.map(({ bytes }) => bytes));
    this.starts = new Int32Array(tokens.length + 1);
    this.shared = new Int32Array(tokens.length);
    for (const [index, { bytes }] of tokens.entries()) {
      this.starts[index + 1] = (this.starts[index] ?? 0) + bytes.length;
      const before = tokens[index - 1]?.bytes ?? new Uint8Array();
      let common = 0;
      while (common < bytes.length && bytes[common] === before[common]) common++;
      this.shared[index] = common;
    }
  }

  /** The bytes of an id; none for one that no text may hold. */
  of(id: number): Uint8Array {
    const place = this.#places.get(id);
    if (place === undefined) return new Uint8Array();
    return this.bytes.subarray(this.starts[place], this.starts[place + 1]);
  }
}

/** Bytes of masks that are kept. */
const CACHE_BYTES = 32 * 2 ** 20;

/** Which tokens may follow a state: a bit an id. */
export class TokenMasks {
  readonly #tokens: TokenBytes;
  readonly #automaton: Automaton;
  readonly #wordCount: number;
  readonly #mostMasks: number;
  /** The least recently used first. */
  readonly #masks = new Map<AutomatonState, Uint32Array>();

  constructor(tokens: TokenBytes, automaton: Automaton) {
    this.#tokens = tokens;
    this.#automaton = automaton;
    this.#wordCount = Math.ceil(tokens.vocabularySize / 32);
    this.#mostMasks = Math.max(16, Math.floor(CACHE_BYTES / (4 * this.#wordCount)));
  }

  /** Bit id % 32 of word id >> 5 is set where the token may follow. */
  of(state: AutomatonState): Uint32Array {
    const known = this.#masks.get(state);
    this.#masks.delete(state);
    const mask = known ?? this.#compute(state);
    this.#masks.set(state, mask);
    if (this.#masks.size > this.#mostMasks) {
      const [oldest] = this.#masks.keys();
      if (oldest !== undefined) this.#masks.delete(oldest);
    }
    return mask;
  }

  #compute(state: AutomatonState): Uint32Array {
    const { ids, bytes, starts, shared } = this.#tokens;
    const mask = new Uint32Array(this.#wordCount);
    /** The state behind so many bytes of the token at hand. */
    const behind: AutomatonState[] = [state];
    /** Bytes of the last token that fitted. */
    let fitted = 0;
    for (let index = 0; index < ids.length; index++) {
      const start = starts[index] ?? 0;
      const length = (starts[index + 1] ?? 0) - start;
      let depth = shared[index] ?? 0;
      // It begins as the one before did, beyond what fitted of that.
      if (depth > fitted) continue;
      let at = behind[depth];
      while (at !== undefined && depth < length) {
        const next: AutomatonState | null = this.#automaton.step(at, bytes[start + depth] ?? 0);
        if (next === null) break;
        depth++;
        behind[depth] = next;
        at = next;
      }
      fitted = depth;
      if (depth < length) continue;
      const id = ids[index] ?? 0;
      mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
    }
    return mask;
  }
}
