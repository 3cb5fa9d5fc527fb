import type { TokenConstraint } from "./constraint/token-constraint.ts";

/** What changes the model's scores before a token is drawn, beside the settings of sampling. */
export interface ScoreChanges {
  /** Rules out what does not fit what was written before. */
  readonly constraint?: TokenConstraint;
  /** Added to scores, by token id. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** Taken from a token's score for each time it was written. */
  readonly frequencyPenalty?: number;
  /** Taken from a token's score once it was written. */
  readonly presencePenalty?: number;
}

/** The scores that tokens of one text are drawn by. */
export class ChangedScores {
  readonly #changes: ScoreChanges;
  /** Ids that no text can hold. */
  readonly #ruledOut: readonly number[];
  readonly #counts = new Map<number, number>();
  /** [V], of the last call that changed some. */
  #changed: Float32Array | undefined;

  constructor(changes: ScoreChanges, ruledOut: readonly number[]) {
    this.#changes = changes;
    this.#ruledOut = ruledOut;
  }

  /** Logits [V] as they are where nothing changes them, or a changed copy that stays valid until the next call. */
  of(logits: Float32Array): Float32Array {
    const { constraint, logitBias } = this.#changes;
    const { frequencyPenalty = 0, presencePenalty = 0 } = this.#changes;
    const isPenalized = (frequencyPenalty !== 0 || presencePenalty !== 0) && this.#counts.size > 0;
    const isBiased = logitBias !== undefined && logitBias.size > 0;
    if (constraint === undefined && this.#ruledOut.length === 0 && !isPenalized && !isBiased)
      return logits;
    const scores = (this.#changed ??= new Float32Array(logits.length));
    scores.set(logits);
    const add = (id: number, change: number): void => {
      const score = scores[id];
      if (score !== undefined) scores[id] = score + change;
    };
    for (const [id, bias] of logitBias ?? []) add(id, bias);
    if (isPenalized)
      for (const [id, count] of this.#counts)
        add(id, -(presencePenalty + frequencyPenalty * count));
    for (const id of this.#ruledOut) scores[id] = -Infinity;
    constraint?.ruleOut(scores);
    return scores;
  }

  /** A token was written. */
  take(id: number): void {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    this.#changes.constraint?.accept(id);
  }

  /** Whether nothing may follow any more. */
  get isComplete(): boolean {
    return this.#changes.constraint?.isComplete === true;
  }
}
