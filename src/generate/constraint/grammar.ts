/** Which of the 256 bytes may stand in a place. */
export type ByteSet = Uint8Array;

/** Texts, as bytes: what may be written. Plain data that may hold itself through rules. */
export type Grammar =
  /** One byte. */
  | { readonly kind: "byte"; readonly set: ByteSet }
  | { readonly kind: "sequence"; readonly parts: readonly Grammar[] }
  | { readonly kind: "choice"; readonly options: readonly Grammar[] }
  /** From `minimum` to `maximum` (or Infinity) times. */
  | {
      readonly kind: "repeat";
      readonly item: Grammar;
      readonly minimum: number;
      readonly maximum: number;
    }
  | Rule;

/** A grammar that is known once it was begun: what it stands for may hold it. */
export interface Rule {
  readonly kind: "rule";
  body: Grammar | undefined;
}

/** The empty text. */
export const EMPTY: Grammar = { kind: "sequence", parts: [] };
/** No text at all. */
export const NOTHING: Grammar = { kind: "choice", options: [] };

export function sequence(...parts: readonly Grammar[]): Grammar {
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : { kind: "sequence", parts };
}

export function choice(options: readonly Grammar[]): Grammar {
  const [only] = options;
  return options.length === 1 && only !== undefined ? only : { kind: "choice", options };
}

export function repeat(item: Grammar, minimum = 0, maximum = Infinity): Grammar {
  return { kind: "repeat", item, minimum, maximum };
}

export function optional(item: Grammar): Grammar {
  return { kind: "repeat", item, minimum: 0, maximum: 1 };
}

/** One byte of some ranges, ends included. */
export function byteIn(...ranges: readonly (readonly [low: number, high: number])[]): Grammar {
  const set = new Uint8Array(256);
  for (const [low, high] of ranges) set.fill(1, low, high + 1);
  return { kind: "byte", set };
}

const SINGLE: readonly Grammar[] = Array.from({ length: 256 }, (_, byte) => byteIn([byte, byte]));
const encoder = new TextEncoder();

/** A text as it stands, in UTF-8. */
export function literal(text: string): Grammar {
  return sequence(...Array.from(encoder.encode(text), (byte) => SINGLE[byte] ?? NOTHING));
}

/** Grammars of which a text can be written to its end. A rule that only holds itself is none of them. */
export function productiveParts(root: Grammar): ReadonlySet<Grammar> {
  const all: Grammar[] = [];
  const seen = new Set<Grammar>();
  const waiting: Grammar[] = [root];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    all.push(node);
    waiting.push(...childrenOf(node));
  }
  const productive = new Set<Grammar>();
  // Children are found behind their parents: backwards, most passes find all there is.
  for (let hasGrown = true; hasGrown;) {
    hasGrown = false;
    for (let index = all.length - 1; index >= 0; index--) {
      const node = all[index];
      if (node === undefined || productive.has(node) || !isProductive(node, productive)) continue;
      productive.add(node);
      hasGrown = true;
    }
  }
  return productive;
}

function childrenOf(node: Grammar): readonly Grammar[] {
  switch (node.kind) {
    case "byte":
      return [];
    case "sequence":
      return node.parts;
    case "choice":
      return node.options;
    case "repeat":
      return [node.item];
    case "rule":
      return node.body === undefined ? [] : [node.body];
  }
}

function isProductive(node: Grammar, known: ReadonlySet<Grammar>): boolean {
  switch (node.kind) {
    case "byte":
      return node.set.includes(1);
    case "sequence":
      return node.parts.every((part) => known.has(part));
    case "choice":
      return node.options.some((option) => known.has(option));
    case "repeat":
      return node.minimum <= node.maximum && (node.minimum === 0 || known.has(node.item));
    case "rule":
      return node.body !== undefined && known.has(node.body);
  }
}
