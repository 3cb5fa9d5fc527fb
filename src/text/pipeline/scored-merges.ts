import { takesAny } from "./merge-table.ts";
import type { BpeMerges, Merges } from "./merge-table.ts";

/** Ranks that a merger takes. */
const RANK_LIMIT = 2 ** 27;

/** A vocabulary that joins the neighbours whose piece has the best score. */
export interface JoinedPieces {
  /** By id. */
  readonly pieces: readonly string[];
  readonly scores: readonly number[];
  /** Pieces that are put together from others and that others are put together from. */
  readonly isJoinable: (id: number) => boolean;
  /** The id that text becomes; of two pieces that are spelt alike, only one has its own. */
  readonly vocab: ReadonlyMap<string, number>;
}

/** One way to put a piece together. */
interface Way {
  readonly left: number;
  readonly right: number;
}

/**
 * Merges by the scores of what they make: every way to put a piece together from two others, the best piece first, of
 * equal ones the first; of the ways of one piece, the one whose left half has the lower id.
 */
export class ScoredMerges implements BpeMerges {
  readonly single: Merges | undefined;
  readonly #pieces: readonly string[];
  readonly #scores: readonly number[];
  readonly #isJoinable: (id: number) => boolean;
  readonly #vocab: ReadonlyMap<string, number>;
  /** By spelling, the last joinable piece at least. */
  readonly #ids: ReadonlyMap<string, number>;
  #triples: Int32Array | undefined;

  constructor({ pieces, scores, isJoinable, vocab }: JoinedPieces) {
    this.#pieces = pieces;
    this.#scores = scores;
    this.#isJoinable = isJoinable;
    this.#vocab = vocab;
    let longest = 0;
    let isEachItsOwn = true;
    for (let id = 0; id < pieces.length; id++) {
      const piece = pieces[id];
      if (piece === undefined || !isJoinable(id)) continue;
      longest = Math.max(longest, piece.length);
      isEachItsOwn &&= vocab.get(piece) === id;
    }
    this.#ids = isEachItsOwn
      ? vocab
      : new Map(pieces.flatMap((piece, id) => (isJoinable(id) ? [[piece, id] as const] : [])));
    const isWithinRanks = pieces.length * longest < RANK_LIMIT;
    this.single = isWithinRanks ? this.#found(longest) : undefined;
  }

  takes(ids: ReadonlySet<number>): boolean {
    const isPiece = (id: number): boolean => this.#own(this.#pieces[id] ?? "") !== undefined;
    // Few vocabularies join what they mean for bytes and unknown text: these are looked at whole.
    return [...ids].some(isPiece) && takesAny(this.triples(), ids);
  }

  triples(): Int32Array {
    if (this.#triples !== undefined) return this.#triples;
    const triples: number[] = [];
    for (const id of this.#bestFirst()) {
      const piece = this.#pieces[id] ?? "";
      for (const { left, right } of this.#waysOf(piece))
        triples.push(this.#textId(left), this.#textId(right), this.#textId(id));
    }
    this.#triples = Int32Array.from(triples);
    return this.#triples;
  }

  #own(piece: string): number | undefined {
    const id = this.#ids.get(piece);
    return id !== undefined && this.#isJoinable(id) ? id : undefined;
  }

  /** The id that the text of a piece becomes. */
  #textId(id: number): number {
    return this.#vocab.get(this.#pieces[id] ?? "") ?? id;
  }

  /** Joinable pieces by score, the best first; of equal ones, the first in the vocabulary. */
  #bestFirst(): readonly number[] {
    const ids = [...this.#ids.values()].filter((id) => this.#isJoinable(id));
    const scoreOf = (id: number): number => this.#scores[id] ?? 0;
    // SentencePiece writes them so.
    const isOrdered = ids.every(
      (id, index) => index === 0 || scoreOf(ids[index - 1] ?? 0) >= scoreOf(id),
    );
    return isOrdered ? ids : ids.toSorted((a, b) => scoreOf(b) - scoreOf(a));
  }

  /** Ways to put a piece together, the first one first. */
  #waysOf(piece: string): readonly Way[] {
    const ways: Way[] = [];
    for (let cut = 1; cut < piece.length; cut++) {
      const left = this.#own(piece.slice(0, cut));
      if (left === undefined) continue;
      const right = this.#own(piece.slice(cut));
      if (right !== undefined) ways.push({ left, right });
    }
    return ways.length < 2 ? ways : ways.toSorted((a, b) => a.left - b.left || a.right - b.right);
  }

  /** `longest`: of all joinable pieces, more than a piece has ways. */
  #found(longest: number): Merges {
    const ranks: number[] = [];
    const merged: number[] = [];
    let places: Int32Array | undefined;
    return {
      find: (leftId, rightId) => {
        const [first, second] = [this.#pieces[leftId], this.#pieces[rightId]];
        if (first === undefined || second === undefined) return -1;
        const [left, right] = [this.#own(first), this.#own(second)];
        const id = this.#own(first + second);
        if (left === undefined || right === undefined || id === undefined) return -1;
        places ??= this.#placesOf();
        const ways = this.#waysOf(first + second);
        const way = ways.findIndex((one) => one.left === left && one.right === right);
        ranks.push((places[id] ?? 0) * longest + way);
        merged.push(this.#textId(id));
        return ranks.length - 1;
      },
      rankAt: (slot) => ranks[slot] ?? 0,
      mergedAt: (slot) => merged[slot] ?? 0,
    };
  }

  #placesOf(): Int32Array {
    const places = new Int32Array(this.#pieces.length);
    for (const [place, id] of this.#bestFirst().entries()) places[id] = place;
    return places;
  }
}
