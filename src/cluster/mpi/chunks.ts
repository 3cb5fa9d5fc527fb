import { partOf } from "../../engine/collective.ts";
import type { ExchangedArray } from "../../engine/collective.ts";

/** A run of elements of one of a job's arrays. */
export interface Piece {
  readonly array: number;
  readonly first: number;
  readonly end: number;
}

/** What travels at once: for each member the elements of its parts, in the order of the arrays. */
export interface Chunk {
  /** By member. */
  readonly segments: readonly (readonly Piece[])[];
  /** Elements of each member's segment. */
  readonly counts: readonly number[];
}

/**
 * Cuts arrays into chunks of about `elementCount`: small arrays travel together, large ones in turns. Every member's
 * chunks are the same. A member's part of an array is `partOf`.
 */
export function chunksOf(
  arrays: readonly Pick<ExchangedArray, "length">[],
  size: number,
  elementCount: number,
): readonly Chunk[] {
  const chunks: Chunk[] = [];
  let segments = fresh(size);
  let held = 0;
  const finish = (): void => {
    if (held > 0) chunks.push({ segments, counts: segments.map(countOf) });
    segments = fresh(size);
    held = 0;
  };
  arrays.forEach(({ length }, array) => {
    const perTurn = Math.max(1, Math.floor(elementCount / size));
    const largestPart = Math.ceil(length / size);
    for (let done = 0; done < largestPart; done += perTurn) {
      for (let member = 0; member < size; member++) {
        const [partFirst, partEnd] = partOf(length, member, size);
        const first = Math.min(partEnd, partFirst + done);
        const end = Math.min(partEnd, first + perTurn);
        if (end === first) continue;
        segments[member]?.push({ array, first, end });
        held += end - first;
      }
      if (held >= elementCount) finish();
    }
  });
  finish();
  return chunks;
}

function fresh(size: number): Piece[][] {
  return Array.from({ length: size }, () => []);
}

function countOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { first, end }) => sum + end - first, 0);
}
