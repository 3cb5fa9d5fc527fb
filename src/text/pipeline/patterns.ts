import * as library from "@huggingface/tokenizers";
import type { ComponentJson } from "../tokenizer-json.ts";
import { refuseComponent } from "./component.ts";

/** The library's types name no more than its tokenizer. */
const { SplitPreTokenizer } = library as unknown as {
  readonly SplitPreTokenizer: new (component: object) => { readonly pattern: RegExp | null };
};

/** What becomes of the places where a pattern matches. */
export type SplitBehavior =
  | "Removed"
  | "Isolated"
  | "MergedWithPrevious"
  | "MergedWithNext"
  | "Contiguous";

const BEHAVIORS: readonly SplitBehavior[] = [
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
];

/** A stretch of a text from `start` to `end`, which the pattern matches or does not. */
interface Stretch {
  start: number;
  end: number;
  readonly isMatch: boolean;
}

/** Pieces of a text, empty ones left out; `atStart` where the first one begins where the text began. */
export interface Pieces {
  readonly list: readonly string[];
  readonly atStart: boolean;
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}

/**
 * The `pattern` field of a component as a JavaScript pattern with the flags `gu`. Patterns are Oniguruma's; the
 * translation is the library's.
 */
export function compilePattern(part: string, component: ComponentJson): RegExp {
  const pattern = component["pattern"];
  const fields =
    typeof pattern === "object" && pattern !== null ? (pattern as Record<string, unknown>) : {};
  const { String: literal, Regex: source } = fields;
  if (typeof literal === "string") {
    if (literal === "") return refuseComponent(part, component, "its pattern is empty");
    return new RegExp(escapePattern(literal), "gu");
  }
  if (typeof source !== "string") {
    return refuseComponent(part, component, 'its pattern is neither a "Regex" nor a "String"');
  }
  const { pattern: compiled } = new SplitPreTokenizer({
    type: "Split",
    pattern: { Regex: source },
    behavior: "Isolated",
    invert: false,
  });
  if (compiled === null) return refuseComponent(part, component, "its pattern cannot be run");
  return compiled;
}

/** The literal text of a `{"String": …}` pattern. */
export function literalPattern(component: ComponentJson): string | undefined {
  const pattern = component["pattern"];
  if (typeof pattern !== "object" || pattern === null || !("String" in pattern)) return undefined;
  return typeof pattern.String === "string" ? pattern.String : undefined;
}

export function behaviorOf(
  part: string,
  component: ComponentJson,
  fallback?: SplitBehavior,
): SplitBehavior {
  const value = component["behavior"] ?? fallback;
  const found = BEHAVIORS.find((behavior) => behavior === value);
  return (
    found ?? refuseComponent(part, component, `"behavior" must be one of ${BEHAVIORS.join(", ")}`)
  );
}

/** The matches of a pattern and what stands between them, as Oniguruma's iteration gives them. */
function stretchesOf(text: string, pattern: RegExp, invert: boolean): Stretch[] {
  const stretches: Stretch[] = [];
  let previous = 0;
  let lastMatchEnd = -1;
  for (const match of text.matchAll(pattern)) {
    const start = match.index;
    const end = start + match[0].length;
    // An empty match right behind another one is not one.
    if (start === end && start === lastMatchEnd) continue;
    if (previous !== start) stretches.push({ start: previous, end: start, isMatch: invert });
    stretches.push({ start, end, isMatch: !invert });
    previous = lastMatchEnd = end;
  }
  if (previous !== text.length) {
    stretches.push({ start: previous, end: text.length, isMatch: invert });
  }
  return stretches;
}

/** Joins stretches as the behaviour says; those to remove are left out. */
function arranged(stretches: readonly Stretch[], behavior: SplitBehavior): readonly Stretch[] {
  const joined: Stretch[] = [];
  let previousMatch = false;
  switch (behavior) {
    case "Isolated":
      return stretches;
    case "Removed":
      return stretches.filter(({ isMatch }) => !isMatch);
    case "MergedWithPrevious":
      for (const stretch of stretches) {
        const last = joined.at(-1);
        if (stretch.isMatch && !previousMatch && last !== undefined) last.end = stretch.end;
        else joined.push(stretch);
        previousMatch = stretch.isMatch;
      }
      return joined;
    case "Contiguous":
      for (const stretch of stretches) {
        const last = joined.at(-1);
        if (stretch.isMatch === previousMatch && last !== undefined) last.end = stretch.end;
        else joined.push(stretch);
        previousMatch = stretch.isMatch;
      }
      return joined;
    case "MergedWithNext":
      for (const stretch of stretches.toReversed()) {
        const last = joined.at(-1);
        if (stretch.isMatch && !previousMatch && last !== undefined) last.start = stretch.start;
        else joined.push(stretch);
        previousMatch = stretch.isMatch;
      }
      return joined.reverse();
  }
}

/** Splits a text where a pattern matches (`invert`: where it does not). */
export function splitText(
  text: string,
  pattern: RegExp,
  behavior: SplitBehavior,
  invert = false,
): Pieces {
  if (behavior === "Isolated") {
    // Patterns in use match everything; then the matches alone are the pieces, found much faster.
    const whole = text.match(pattern);
    if (whole !== null) {
      let length = 0;
      let hasEmpty = false;
      for (const piece of whole) {
        length += piece.length;
        hasEmpty ||= piece.length === 0;
      }
      if (length === text.length && !hasEmpty) return { list: whole, atStart: true };
    }
  }
  const kept = arranged(stretchesOf(text, pattern, invert), behavior).filter(
    ({ start, end }) => end > start,
  );
  return {
    list: kept.map(({ start, end }) => text.slice(start, end)),
    atStart: kept[0]?.start === 0,
  };
}
