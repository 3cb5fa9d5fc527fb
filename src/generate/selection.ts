/**
 * Keys [N] that grow as their tokens become less likely, and the weight of each token: what a draw falls on, without putting
 * the keys in order. Keys are moved about within the array.
 */
export interface Ranked {
  readonly keys: Float64Array;
  readonly weightOf: (key: number) => number;
}

/** The first `count` keys in order of a ranking, in any order among themselves, and the sum of their weights. */
export interface RankedStart {
  readonly count: number;
  readonly total: number;
}

/**
 * The shortest start of a ranking whose weights reach `target` (exceed it where `isStrict`); the whole range where none
 * does. Its keys stand before all others of the first `end` afterwards, the last of them at `count - 1`.
 */
export function startThatReaches(
  { keys, weightOf }: Ranked,
  end: number,
  target: number,
  isStrict = false,
): RankedStart {
  const reaches = (sum: number): boolean => (isStrict ? sum > target : sum >= target);
  let [low, high, before] = [0, end, 0];
  // What stands before `low` belongs to the start and weighs `before`; what stands from `high` on is not needed.
  while (high - low > 1) {
    const { middle, total } = split(keys, low, high, weightOf);
    if (reaches(before + total)) high = middle;
    else {
      before += total;
      low = middle;
    }
  }
  return { count: high, total: high > low ? before + weightOf(at(keys, low)) : before };
}

/** Sorts a range into keys up to a pivot and those above, neither empty; gives the border and the weight of the first. */
function split(
  keys: Float64Array,
  low: number,
  high: number,
  weightOf: (key: number) => number,
): { readonly middle: number; readonly total: number } {
  const pivot = medianOfThree(at(keys, low), at(keys, (low + high) >>> 1), at(keys, high - 1));
  let middle = low;
  let total = 0;
  let largest = low;
  for (let place = low; place < high; place++) {
    const key = at(keys, place);
    if (key > pivot) continue;
    keys[place] = at(keys, middle);
    keys[middle] = key;
    if (key === pivot) largest = middle;
    total += weightOf(key);
    middle++;
  }
  if (middle < high) return { middle, total };
  // The pivot was the largest: it alone makes the second part.
  keys[largest] = at(keys, high - 1);
  keys[high - 1] = pivot;
  return { middle: high - 1, total: total - weightOf(pivot) };
}

function medianOfThree(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

function at(keys: Float64Array, place: number): number {
  return keys[place] ?? Infinity;
}
