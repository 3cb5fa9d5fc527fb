/** Numbers by their place, as arrays and typed arrays have them. */
export interface NumberList {
  readonly length: number;
  readonly [index: number]: number;
}

/** Points of a curve. `y` has null where a number is missing, so that a line breaks there. */
export interface Curve {
  readonly x: readonly number[];
  readonly y: readonly (number | null)[];
}

/** The first place in a growing list whose number is not below `value`. */
export function lowerBound(list: NumberList, value: number, end = list.length): number {
  let low = 0;
  let high = end;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle] ?? Number.POSITIVE_INFINITY) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The points of a curve between two places of x (growing), at most about `limit` of them: of each of `limit / 2` equal
 * parts the least and the greatest number, in their order, so that no peak is lost. The neighbours just outside are
 * taken along, so that lines run to the edges.
 */
export function downSample(
  x: NumberList,
  y: NumberList,
  options: { readonly from?: number; readonly to?: number; readonly limit: number },
): Curve {
  const { from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY, limit } = options;
  const start = Math.max(0, lowerBound(x, from) - 1);
  let end = lowerBound(x, to);
  while (end < x.length && (x[end] ?? Number.POSITIVE_INFINITY) <= to) end++;
  end = Math.min(x.length, end + 1);
  const places = end - start <= limit ? range(start, end) : extremes(y, start, end, limit);
  const numbers = places.map((place) => y[place] ?? Number.NaN);
  return {
    x: places.map((place) => x[place] ?? 0),
    y: numbers.map((value) => (Number.isFinite(value) ? value : null)),
  };
}

function range(start: number, end: number): readonly number[] {
  return Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index);
}

/** Places of the least and the greatest number of equal parts; the first and the last place always. */
function extremes(y: NumberList, start: number, end: number, limit: number): readonly number[] {
  const parts = Math.max(1, Math.floor(limit / 2) - 1);
  const places: number[] = [start];
  const add = (place: number): void => {
    if (place > (places.at(-1) ?? -1)) places.push(place);
  };
  for (let part = 0; part < parts; part++) {
    const first = start + Math.floor((part * (end - start)) / parts);
    const last = start + Math.floor(((part + 1) * (end - start)) / parts);
    let least = first;
    let greatest = first;
    let gap = -1;
    for (let place = first; place < last; place++) {
      const value = y[place] ?? Number.NaN;
      if (!Number.isFinite(value)) {
        gap = place;
        continue;
      }
      if (!(value >= (y[least] ?? Number.NaN))) least = place;
      if (!(value <= (y[greatest] ?? Number.NaN))) greatest = place;
    }
    for (const place of [least, greatest, ...(gap < 0 ? [] : [gap])].sort((a, b) => a - b))
      add(place);
  }
  add(end - 1);
  return places;
}

/**
 * A curve smoothed as TensorBoard does it: an exponential mean with the bias of its beginning taken out. `weight` from 0
 * (nothing) to below 1. Missing numbers stay missing.
 */
export function smoothed(
  y: readonly (number | null)[],
  weight: number,
): readonly (number | null)[] {
  if (weight <= 0) return y;
  let mean = 0;
  let count = 0;
  return y.map((value) => {
    if (value === null) return null;
    mean = mean * weight + (1 - weight) * value;
    count++;
    return mean / (1 - weight ** count);
  });
}

/** Places of numbers that no line leads to or from, which a curve of lines alone would hide. */
export function lonelyPoints(
  y: { readonly length: number; readonly [index: number]: number | null },
  isLog = false,
): readonly number[] {
  const isDrawn = (index: number): boolean => {
    const value = y[index] ?? null;
    return value !== null && !(isLog && value <= 0);
  };
  const places: number[] = [];
  for (let index = 0; index < y.length; index++)
    if (isDrawn(index) && !isDrawn(index - 1) && !isDrawn(index + 1)) places.push(index);
  return places;
}
