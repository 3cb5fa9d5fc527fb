/** A block of memory needed from step `first` to step `last`, both included. */
export interface Block {
  readonly byteLength: number;
  readonly first: number;
  readonly last: number;
}

export interface PackedPlace {
  readonly arena: number;
  readonly offset: number;
}

export interface Packing<Packed extends Block> {
  /** In the order of need. */
  readonly places: readonly (Packed & PackedPlace)[];
  /** Bytes of every arena. */
  readonly arenas: readonly number[];
}

/** Buffers begin at multiples of a cache line. */
export const ALIGNMENT = 64;

/** The largest arena: what addresses of 32 bits reach, with a margin. */
const ARENA_CAPACITY = 2 ** 32 - 65536;

export function alignUp(byteLength: number): number {
  return Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
}

/**
 * Places blocks so that those alive at one time lie apart: the largest first, each in the tightest gap that is
 * free while it lives, in as few arenas of at most `capacity` bytes as that gives.
 */
export function packBlocks<Packed extends Block>(
  blocks: readonly Packed[],
  capacity: number = ARENA_CAPACITY,
): Packing<Packed> {
  const arenas: { readonly placed: (Packed & PackedPlace)[]; byteLength: number }[] = [];
  const bySize = blocks.toSorted((a, b) => b.byteLength - a.byteLength || a.first - b.first);
  for (const block of bySize) {
    const size = alignUp(block.byteLength);
    let arena = 0;
    let offset = 0;
    for (; arena < arenas.length; arena++) {
      offset = tightestGap(block, size, arenas[arena]?.placed ?? []);
      if (offset + size <= capacity) break;
    }
    if (arena === arenas.length) offset = 0;
    const held = (arenas[arena] ??= { placed: [], byteLength: 0 });
    held.placed.push({ ...block, arena, offset });
    held.byteLength = Math.max(held.byteLength, offset + size);
  }
  return {
    places: arenas
      .flatMap(({ placed }) => placed)
      .toSorted((a, b) => a.first - b.first || a.arena - b.arena || a.offset - b.offset),
    arenas: arenas.map(({ byteLength }) => byteLength),
  };
}

/** The start of the smallest gap that fits between the blocks alive at the same time, else behind them all. */
function tightestGap(block: Block, size: number, placed: readonly (Block & PackedPlace)[]): number {
  const rivals = placed
    .filter((other) => other.first <= block.last && block.first <= other.last)
    .toSorted((a, b) => a.offset - b.offset);
  let best: number | undefined;
  let bestGap = Infinity;
  let position = 0;
  for (const rival of rivals) {
    const gap = rival.offset - position;
    if (gap >= size && gap < bestGap) {
      best = position;
      bestGap = gap;
    }
    position = Math.max(position, rival.offset + alignUp(rival.byteLength));
  }
  return best ?? position;
}
