/** What a text may go on with, token by token. */
export interface TokenConstraint {
  /** Sets scores [V] to -Infinity of tokens that may not follow, ends of text where the text may not end included. */
  ruleOut(scores: Float32Array): void;
  /** A token was written that was not ruled out. */
  accept(id: number): void;
  /** Whether the text is whole, and nothing may follow. */
  readonly isComplete: boolean;
}
