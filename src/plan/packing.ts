/** A block of memory needed from step `first` to step `last`, both included. */
export interface Block {
  readonly name: string;
  readonly byteLength: number;
  readonly first: number;
  readonly last: number;
}

export interface PackedPlace {
  readonly arena: number;
  readonly byteOffset: number;
}

export interface Packing {
  readonly places: ReadonlyMap<string, PackedPlace>;
  /** Bytes of every arena. */
  readonly arenas: readonly number[];
}

export const ALIGNMENT = 64;

export function alignUp(byteLength: number, alignment: number = ALIGNMENT): number {
  return Math.ceil(byteLength / alignment) * alignment;
}

interface Placed {
  readonly block: Block;
  readonly start: number;
  readonly end: number;
}

/** The lowest free place for a block beside those alive at the same time. */
function lowestGap(block: Block, size: number, placed: readonly Placed[]): number {
  const rivals = placed
    .filter((other) => other.block.first <= block.last && block.first <= other.block.last)
    .toSorted((a, b) => a.start - b.start);
  let start = 0;
  for (const rival of rivals) {
    if (start + size <= rival.start) break;
    start = Math.max(start, rival.end);
  }
  return start;
}

/**
 * Places blocks so that those alive at one time lie apart: the largest first, each in the lowest gap, in as few
 * arenas of at most `capacity` bytes as that gives.
 */
export function packBlocks(blocks: readonly Block[], capacity: number): Packing {
  const arenas: { readonly placed: Placed[]; byteLength: number }[] = [];
  const places = new Map<string, PackedPlace>();
  const bySize = blocks.toSorted(
    (a, b) => b.byteLength - a.byteLength || a.first - b.first || (a.name < b.name ? -1 : 1),
  );
  for (const block of bySize) {
    const size = alignUp(block.byteLength);
    let number = 0;
    let start = 0;
    for (; number < arenas.length; number++) {
      start = lowestGap(block, size, arenas[number]?.placed ?? []);
      if (start + size <= capacity) break;
    }
    if (number === arenas.length) start = 0;
    const arena = arenas[number] ?? { placed: [], byteLength: 0 };
    arenas[number] = arena;
    arena.placed.push({ block, start, end: start + size });
    arena.byteLength = Math.max(arena.byteLength, start + size);
    places.set(block.name, { arena: number, byteOffset: start });
  }
  return { places, arenas: arenas.map(({ byteLength }) => byteLength) };
}
