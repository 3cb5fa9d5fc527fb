import { byteIn, choice, literal, NOTHING, sequence } from "./grammar.ts";
import type { Grammar } from "./grammar.ts";

/** Code points from a first to a last one. */
export type Range = readonly [first: number, last: number];

const LAST = 0x10ffff;
const SURROGATES: Range = [0xd800, 0xdfff];

/** Ranges in order, without overlaps. */
export function merged(ranges: readonly Range[]): readonly Range[] {
  const result: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = result.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else result.push([first, last]);
  }
  return result;
}

/** All other code points. */
export function complement(ranges: readonly Range[]): readonly Range[] {
  const result: Range[] = [];
  let next = 0;
  for (const [first, last] of merged(ranges)) {
    if (first > next) result.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= LAST) result.push([next, LAST]);
  return result;
}

/** What both have. */
export function intersection(a: readonly Range[], b: readonly Range[]): readonly Range[] {
  return complement([...complement(a), ...complement(b)]);
}

/** One character of some ranges in UTF-8; surrogates are no characters. */
export function characterIn(ranges: readonly Range[]): Grammar {
  const whole = intersection(ranges, complement([SURROGATES]));
  return choice(whole.flatMap(([first, last]) => encodedRanges(first, last)));
}

/** First and last code points of encodings of 1 to 4 bytes. */
const LENGTHS: readonly Range[] = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xffff],
  [0x10000, LAST],
];

/** Sequences of bytes in ranges that together are the encodings of a range of code points. */
function encodedRanges(first: number, last: number): readonly Grammar[] {
  return LENGTHS.flatMap(([low, high]) => {
    const from = Math.max(first, low);
    const to = Math.min(last, high);
    return from > to ? [] : sameLength(encode(from), encode(to));
  });
}

function encode(code: number): readonly number[] {
  return Array.from(new TextEncoder().encode(String.fromCodePoint(code)));
}

/** Byte strings of one length from `low` to `high`, which end as the encodings of neighbours do. */
function sameLength(low: readonly number[], high: readonly number[]): readonly Grammar[] {
  const [a = 0, ...lowRest] = low;
  const [b = 0, ...highRest] = high;
  if (low.length === 1) return [byteIn([a, b])];
  if (a === b) return sameLength(lowRest, highRest).map((rest) => sequence(byteIn([a, a]), rest));
  const least = lowRest.map(() => 0x80);
  const most = lowRest.map(() => 0xbf);
  const isWhole = (bytes: readonly number[], ends: readonly number[]): boolean =>
    bytes.every((byte, index) => byte === ends[index]);
  const lowIsWhole = isWhole(lowRest, least);
  const highIsWhole = isWhole(highRest, most);
  const from = lowIsWhole ? a : a + 1;
  const to = highIsWhole ? b : b - 1;
  return [
    ...(lowIsWhole ? [] : sameLength(lowRest, most).map((rest) => sequence(byteIn([a, a]), rest))),
    ...(from > to ? [] : [sequence(byteIn([from, to]), ...least.map(() => byteIn([0x80, 0xbf])))]),
    ...(highIsWhole
      ? []
      : sameLength(least, highRest).map((rest) => sequence(byteIn([b, b]), rest))),
  ];
}

/** Characters that stand for themselves in a JSON text: all but quotes, backslashes and controls. */
export const PLAIN: readonly Range[] = complement([
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
]);

/** Of characters that have to be escaped. */
const SHORT: Readonly<Record<number, string>> = {
  8: "\\b",
  9: "\\t",
  10: "\\n",
  12: "\\f",
  13: "\\r",
  0x22: '\\"',
  0x5c: "\\\\",
};

/** One character of some ranges as it stands in a JSON text, escaped where it has to be. */
export function jsonCharacterIn(ranges: readonly Range[]): Grammar {
  const plain = intersection(ranges, PLAIN);
  const escaped = intersection(ranges, complement(PLAIN)).flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, index) => {
      const code = first + index;
      return literal(SHORT[code] ?? `\\u${code.toString(16).padStart(4, "0")}`);
    }),
  );
  return plain.length === 0 && escaped.length === 0
    ? NOTHING
    : choice([...(plain.length === 0 ? [] : [characterIn(plain)]), ...escaped]);
}
