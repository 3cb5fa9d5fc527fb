import { AnecdoteError } from "./errors.ts";

export class PropertyListError extends AnecdoteError {}

/** Dates and data stay text. */
export type PropertyListValue =
  | string
  | number
  | boolean
  | readonly PropertyListValue[]
  | PropertyListDictionary;
export interface PropertyListDictionary {
  readonly [key: string]: PropertyListValue;
}

const MAXIMUM_DEPTH = 200;
const ENTITIES: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};
/** A tag with its name, or anything else in angle brackets: declarations, comments. */
const TAG = /<(?:!--[\s\S]*?--|[?!][^>]*|(?<close>\/?)(?<name>[A-Za-z]+)[^>]*?(?<empty>\/?))>/y;

/**
 * An XML property list, as `ioreg -a` and `powermetrics -f plist` print it. Numbers may be `nan` or `inf`. Throws
 * `PropertyListError` `plist.form`.
 */
export function parsePropertyList(text: string): PropertyListValue {
  return new Reader(text).document();
}

export function isDictionary(
  value: PropertyListValue | undefined,
): value is PropertyListDictionary {
  return typeof value === "object" && !Array.isArray(value);
}

interface Tag {
  readonly name: string;
  readonly kind: "open" | "close" | "empty";
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): PropertyListValue {
    const outer = this.#tag();
    if (outer.name !== "plist" || outer.kind !== "open")
      throw this.#error("it starts with no <plist>");
    return this.#value(this.#tag(), 0);
  }

  #value(tag: Tag, depth: number): PropertyListValue {
    if (depth > MAXIMUM_DEPTH) throw this.#error(`it is more than ${MAXIMUM_DEPTH} values deep`);
    if (tag.kind === "close") throw this.#error(`</${tag.name}> stands where a value should`);
    switch (tag.name) {
      case "dict":
        return tag.kind === "empty" ? {} : this.#dictionary(depth);
      case "array":
        return tag.kind === "empty" ? [] : this.#array(depth);
      case "true":
      case "false":
        if (tag.kind === "open") this.#content(tag.name);
        return tag.name === "true";
      case "integer":
      case "real":
        return this.#number(this.#content(tag.name));
      case "string":
      case "data":
      case "date":
        return tag.kind === "empty" ? "" : this.#content(tag.name);
      default:
        throw this.#error(`<${tag.name}> is no kind of value`);
    }
  }

  #dictionary(depth: number): PropertyListDictionary {
    const entries: [string, PropertyListValue][] = [];
    for (;;) {
      const tag = this.#tag();
      if (tag.kind === "close" && tag.name === "dict") return Object.fromEntries(entries);
      if (tag.name !== "key" || tag.kind !== "open")
        throw this.#error(`<${tag.name}> stands where a key should`);
      const key = this.#content("key");
      entries.push([key, this.#value(this.#tag(), depth + 1)]);
    }
  }

  #array(depth: number): readonly PropertyListValue[] {
    const values: PropertyListValue[] = [];
    for (;;) {
      const tag = this.#tag();
      if (tag.kind === "close" && tag.name === "array") return values;
      values.push(this.#value(tag, depth + 1));
    }
  }

  #number(text: string): number {
    const word = text.trim().toLowerCase();
    if (/^[+-]?nan$/.test(word)) return Number.NaN;
    if (/^\+?inf(?:inity)?$/.test(word)) return Number.POSITIVE_INFINITY;
    if (/^-inf(?:inity)?$/.test(word)) return Number.NEGATIVE_INFINITY;
    if (word === "" || !/^[+-]?(?:0x[\da-f]+|[\d.]+(?:e[+-]?\d+)?)$/.test(word))
      throw this.#error(`"${word.slice(0, 40)}" is no number`);
    return Number(word);
  }

  /** The text up to the closing tag. */
  #content(name: string): string {
    const end = this.#text.indexOf(`</${name}>`, this.#at);
    if (end < 0) throw this.#error(`<${name}> has no end`);
    const raw = this.#text.slice(this.#at, end);
    this.#at = end + name.length + 3;
    return raw.replaceAll(
      /&(?:#(?<code>x?[\da-f]{1,6})|(?<name>[a-z]{2,4}));/gi,
      (whole, ...parts) => {
        const groups = parts.at(-1) as { readonly code?: string; readonly name?: string };
        if (groups.name !== undefined) return ENTITIES[groups.name] ?? whole;
        const code = Number(`0${groups.code ?? ""}`);
        return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
      },
    );
  }

  #tag(): Tag {
    for (;;) {
      const next = this.#text.indexOf("<", this.#at);
      if (next < 0) throw this.#error("it ends early");
      TAG.lastIndex = next;
      const match = TAG.exec(this.#text);
      if (match === null) throw this.#error(`"${this.#text.slice(next, next + 20)}" is no tag`);
      this.#at = TAG.lastIndex;
      const { name, close, empty } = match.groups ?? {};
      if (name === undefined) continue;
      return { name, kind: close === "/" ? "close" : empty === "/" ? "empty" : "open" };
    }
  }

  #error(what: string): PropertyListError {
    return new PropertyListError("plist.form", `the property list cannot be read: ${what}`);
  }
}
