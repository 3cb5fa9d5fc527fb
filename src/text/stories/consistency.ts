import { ENTITIES, SENTENCES } from "./grammar.ts";
import type { Bindings } from "./grammar.ts";
import { matchTemplates } from "./recognise.ts";

/** Who and what a story is about: each list holds what was found, in the order of appearance, each once. */
export interface StoryCast {
  readonly heroes: readonly string[];
  readonly helpers: readonly string[];
  readonly wishes: readonly string[];
  readonly places: readonly string[];
}

export interface StoryJudgement extends StoryCast {
  /** One hero, one helper, one wish and at most one place, introduced once and kept to the end. */
  readonly consistent: boolean;
  /** What is wrong, in words; empty where nothing is. */
  readonly problems: readonly string[];
  /** Sentences, and those of them that the grammar can write. */
  readonly sentenceCount: number;
  readonly grammaticalCount: number;
}

const namesOf = (entity: "hero" | "helper" | "wish", variable: string): ReadonlySet<string> =>
  new Set(ENTITIES[entity].map((bindings) => bindings[variable] ?? ""));
const HEROES = namesOf("hero", "name");
const HELPERS = namesOf("helper", "helper");
const WISHES = namesOf("wish", "wish");

/** The longest reading of a sentence at a position, as one of the grammar's sentences. */
function readSentence(
  text: string,
  position: number,
  known: Bindings,
): { readonly end: number; readonly bindings: Bindings } | undefined {
  let found: { readonly end: number; readonly bindings: Bindings } | undefined;
  for (const sentences of Object.values(SENTENCES)) {
    for (const sentence of sentences) {
      matchTemplates(
        text,
        sentence,
        position,
        (end, bindings) => {
          const isWhole = end === text.length || /\s/.test(text[end] ?? "");
          if (isWhole && end > (found?.end ?? position)) found = { end, bindings };
        },
        { known },
      );
    }
  }
  return found;
}

/**
 * Judges whether a text keeps to its hero, helper, wished-for thing and place. Names and wished-for things count
 * wherever they stand, since no other list of the grammar has them; a place counts in the sentences that the grammar
 * can write, since its word may mean something else elsewhere.
 */
export function judgeStory(story: string): StoryJudgement {
  const text = story.trim();
  const words = text.match(/[\p{L}'’-]+/gu) ?? [];
  const among = (names: ReadonlySet<string>): readonly string[] => [
    ...new Set(words.map((word) => word.replace(/['’]s$/, "")).filter((word) => names.has(word))),
  ];
  const places = new Set<string>();
  let sentenceCount = 0;
  let grammaticalCount = 0;
  /** The relative, whom no list of things that bind several variables has. */
  let known: Bindings = {};
  for (let position = 0; position < text.length;) {
    const read = readSentence(text, position, known);
    sentenceCount++;
    if (read === undefined) {
      const next = /[.!?]"?\s+/g;
      next.lastIndex = position;
      position = next.exec(text) === null ? text.length : next.lastIndex;
      continue;
    }
    grammaticalCount++;
    const { kin } = read.bindings;
    if (kin !== undefined) known = { kin };
    if (read.bindings["place"] !== undefined) places.add(read.bindings["place"]);
    position = read.end + (/^\s*/.exec(text.slice(read.end))?.[0].length ?? 0);
  }
  const cast: StoryCast = {
    heroes: among(HEROES),
    helpers: among(HELPERS),
    wishes: among(WISHES),
    places: [...places],
  };
  const problems = problemsOf(text, cast);
  return { ...cast, consistent: problems.length === 0, problems, sentenceCount, grammaticalCount };
}

function problemsOf(
  text: string,
  { heroes, helpers, wishes, places }: StoryCast,
): readonly string[] {
  const problems: string[] = [];
  const one = (what: string, found: readonly string[]): void => {
    if (found.length !== 1)
      problems.push(found.length === 0 ? `no ${what}` : `${what}: ${found.join(", ")}`);
  };
  one("hero", heroes);
  one("helper", helpers);
  one("wish", wishes);
  if (places.length > 1) problems.push(`place: ${places.join(", ")}`);
  for (const [name, isHero] of [
    [heroes[0] ?? "", true],
    [helpers[0] ?? "", false],
  ] as const) {
    const introductions =
      text.match(new RegExp(`(?<!" )\\b(?:named|called) ${name}\\b`, "g")) ?? [];
    if (name !== "" && introductions.length > 1)
      problems.push(
        `${isHero ? "hero" : "helper"} ${name} is introduced ${introductions.length} times`,
      );
  }
  return problems;
}
