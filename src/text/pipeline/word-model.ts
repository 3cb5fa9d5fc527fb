import type { IdList } from "./id-list.ts";

/** Turns the pieces that a pre-tokenizer cut into ids. */
export interface WordModel {
  /** Appends the ids of a piece. Throws `TextError` `text.unknown` for what the vocabulary cannot spell. */
  readonly encode: (piece: string, ids: IdList) => void;
  /**
   * Whether a piece may be cut at `index` with the same ids; absent for models that need pieces whole.
   * `piece` is normalized text.
   */
  readonly canCutAt?: (piece: string, index: number) => boolean;
  /** Encodes a piece that arrives bit by bit; absent for models that need pieces whole. */
  readonly openStream?: () => PieceStream;
}

/** A piece of any length, encoded as it arrives in memory that does not grow. */
export interface PieceStream {
  push(text: string, ids: IdList): void;
  end(ids: IdList): void;
}
