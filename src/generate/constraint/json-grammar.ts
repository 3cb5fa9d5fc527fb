import { jsonCharacterIn, characterIn, PLAIN } from "./characters.ts";
import { byteIn, choice, EMPTY, literal, optional, repeat, sequence } from "./grammar.ts";
import type { Grammar, Rule } from "./grammar.ts";

/** Spaces that a line is moved in by at most. */
const MOST_INDENT = 24;
/** Digits that a number has at most before and behind its point, and in its exponent: all of them are doubles. */
export const MOST_DIGITS = 15;
const MOST_EXPONENT_DIGITS = 2;

/** What may stand between the parts of an object or list: nothing, a space, or a new line with its indent. */
export const SPACE: Grammar = optional(
  choice([literal(" "), sequence(literal("\n"), repeat(literal(" "), 0, MOST_INDENT))]),
);

const digit = byteIn([0x30, 0x39]);
const hex = byteIn([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);
const d = byteIn([0x44, 0x44], [0x64, 0x64]);

/** `\uXXXX` of a character, or of the two halves of one. */
const unicodeEscape = sequence(
  literal("\\u"),
  choice([
    sequence(
      byteIn([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]),
      hex,
      hex,
      hex,
    ),
    sequence(d, byteIn([0x30, 0x37]), hex, hex),
    sequence(
      ...[d, byteIn([0x38, 0x39], [0x41, 0x42], [0x61, 0x62]), hex, hex],
      ...[literal("\\u"), d, byteIn([0x43, 0x46], [0x63, 0x66]), hex, hex],
    ),
  ]),
);

/** One character of a text, escaped or not. */
export const TEXT_CHARACTER: Grammar = choice([
  characterIn(PLAIN),
  sequence(literal("\\"), choice(Array.from('"\\/bfnrt', (sign) => literal(sign)))),
  unicodeEscape,
]);

/** A text of JSON with so many characters. */
export function jsonText(minimum = 0, maximum = Infinity): Grammar {
  return sequence(literal('"'), repeat(TEXT_CHARACTER, minimum, maximum), literal('"'));
}

/** A whole number in so many digits at most, without a sign. */
const wholeDigits = choice([
  literal("0"),
  sequence(byteIn([0x31, 0x39]), repeat(digit, 0, MOST_DIGITS - 1)),
]);

export const INTEGER: Grammar = sequence(optional(literal("-")), wholeDigits);

export const NUMBER: Grammar = sequence(
  INTEGER,
  optional(sequence(literal("."), repeat(digit, 1, MOST_DIGITS))),
  optional(
    sequence(
      byteIn([0x45, 0x45], [0x65, 0x65]),
      optional(byteIn([0x2b, 0x2b], [0x2d, 0x2d])),
      repeat(digit, 1, MOST_EXPONENT_DIGITS),
    ),
  ),
);

export const BOOLEAN: Grammar = choice([literal("true"), literal("false")]);
export const NULL: Grammar = literal("null");

/** Parts of an object or list, with commas between them. */
export function listed(item: Grammar, minimum = 0, maximum = Infinity): Grammar {
  if (maximum <= 0) return minimum > 0 ? { kind: "choice", options: [] } : EMPTY;
  const some = sequence(
    item,
    repeat(sequence(literal(","), SPACE, item), Math.max(0, minimum - 1), maximum - 1),
  );
  return minimum > 0 ? some : optional(some);
}

export function jsonObject(inside: Grammar): Grammar {
  return sequence(literal("{"), SPACE, inside, SPACE, literal("}"));
}

export function jsonList(inside: Grammar): Grammar {
  return sequence(literal("["), SPACE, inside, SPACE, literal("]"));
}

/** A key, and its value. */
export function pair(key: Grammar, value: Grammar): Grammar {
  return sequence(key, literal(":"), optional(literal(" ")), value);
}

const anyValue: Rule = { kind: "rule", body: undefined };

/** Any value of JSON. */
export const ANY_VALUE: Grammar = anyValue;
export const ANY_OBJECT: Grammar = jsonObject(listed(pair(jsonText(), anyValue)));
export const ANY_LIST: Grammar = jsonList(listed(anyValue));
anyValue.body = choice([ANY_OBJECT, ANY_LIST, jsonText(), NUMBER, BOOLEAN, NULL]);

/** A key that is none of some names; it is written without escapes, so that no name can hide in them. */
export function otherKey(names: readonly string[]): Grammar {
  interface Place {
    isName: boolean;
    readonly next: Map<number, Place>;
  }
  const root: Place = { isName: false, next: new Map() };
  for (const name of names) {
    let place = root;
    for (const character of name) {
      const code = character.codePointAt(0) ?? 0;
      const known = place.next.get(code);
      const next = known ?? { isName: false, next: new Map<number, Place>() };
      if (known === undefined) place.next.set(code, next);
      place = next;
    }
    place.isName = true;
  }
  const rest = sequence(repeat(characterIn(PLAIN)), literal('"'));
  const from = ({ isName, next }: Place): Grammar => {
    const codes = [...next.keys()];
    return choice([
      ...(isName ? [] : [literal('"')]),
      ...[...next].map(([code, place]) => sequence(jsonCharacterIn([[code, code]]), from(place))),
      sequence(characterIn(withoutCodes(codes)), rest),
    ]);
  };
  return sequence(literal('"'), from(root));
}

function withoutCodes(codes: readonly number[]): readonly (readonly [number, number])[] {
  let ranges = PLAIN;
  for (const code of codes)
    ranges = ranges.flatMap(([first, last]) =>
      code < first || code > last
        ? [[first, last] as const]
        : [
            ...(code > first ? [[first, code - 1] as const] : []),
            ...(code < last ? [[code + 1, last] as const] : []),
          ],
    );
  return ranges;
}
