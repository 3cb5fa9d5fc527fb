import type { Sequence } from "./sequence.ts";

/** A sequence and the tokens that it holds. */
export interface KeptSequence {
  readonly tokens: readonly number[];
  readonly sequence: Sequence;
}

/** What of a prompt is computed already. */
export interface FoundPrefix {
  readonly sequence: Sequence;
  /** Tokens of the prompt that the sequence holds: all but the last at most, whose logits are wanted. */
  readonly count: number;
}

/** Fewer tokens in common than this are sooner computed than copied. */
const WORTHWHILE = 8;

/** Whether so many tokens are sooner copied than computed. */
export function isWorthCopying(tokenCount: number): boolean {
  return tokenCount >= WORTHWHILE;
}

/** How many tokens two texts begin with in common. */
export function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const length = Math.min(a.length, b.length);
  let count = 0;
  while (count < length && a[count] === b[count]) count++;
  return count;
}

/** Sequences that nobody writes any more, for prompts that begin like them; the least recently used go first. */
export class PrefixCache {
  readonly #byteLimit: number;
  #kept: KeptSequence[] = [];

  constructor(byteLimit: number) {
    this.#byteLimit = byteLimit;
  }

  get byteLength(): number {
    return this.#kept.reduce((sum, { sequence }) => sum + sequence.byteLength, 0);
  }

  /**
   * The longest beginning of a prompt that is kept. A sequence that the prompt goes on from is given away; of one that
   * went another way a copy, so that it serves others still. `moreThan`: tokens that are found elsewhere.
   */
  take(tokens: readonly number[], moreThan = 0): FoundPrefix | undefined {
    let best: KeptSequence | undefined;
    let count = moreThan;
    for (const kept of this.#kept) {
      const common = Math.min(commonPrefix(kept.tokens, tokens), tokens.length - 1);
      if (common > count) [best, count] = [kept, common];
    }
    if (best === undefined || !isWorthCopying(count)) return undefined;
    const found = best;
    this.#kept = this.#kept.filter((kept) => kept !== found);
    const goesOn = count === found.tokens.length;
    if (!goesOn) this.#kept.push(found);
    return { sequence: goesOn ? found.sequence : found.sequence.fork(count), count };
  }

  /** Keeps a sequence that nobody else holds; it is released as it goes. */
  put(kept: KeptSequence): void {
    if (kept.sequence.byteLength > this.#byteLimit) {
      kept.sequence.release();
      return;
    }
    // What the new one holds as well needs no place of its own.
    const isHeld = ({ tokens }: KeptSequence): boolean =>
      commonPrefix(tokens, kept.tokens) === tokens.length;
    for (const old of this.#kept) if (isHeld(old)) old.sequence.release();
    this.#kept = this.#kept.filter((old) => !isHeld(old));
    this.#kept.push(kept);
    while (this.byteLength > this.#byteLimit) this.#kept.shift()?.sequence.release();
  }
}
