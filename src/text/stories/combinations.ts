import type { Random } from "../../util/random.ts";
import { ENTITIES } from "./grammar.ts";
import type { Bindings } from "./grammar.ts";

/** Stories to train on, and stories whose (name, wish, mishap) training never sees. */
export type StorySplit = "train" | "validation";

/** Who wishes for what and what goes wrong. */
export interface Combination {
  readonly hero: Bindings;
  readonly wish: Bindings;
  readonly mishap: Bindings;
}

/** One combination in ten is held out. */
const HELD_OUT_ONE_IN = 10;

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

function mix(a: number, b: number): number {
  let hash = Math.imul(a ^ (b + 0x9e3779b9 + (a << 6) + (a >>> 2)), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function heldOut(name: number, wish: number, mishap: number): boolean {
  return mix(mix(name, wish), mishap) % HELD_OUT_ONE_IN === 0;
}

/** Decided by a hash of the three texts, so it does not change when a list grows. */
export function isHeldOut(combination: Combination): boolean {
  const { hero, wish, mishap } = combination;
  return heldOut(
    fnv1a(hero["name"] ?? ""),
    fnv1a(wish["wish"] ?? ""),
    fnv1a(mishap["event"] ?? ""),
  );
}

/** Combinations of the story corpus. */
export const COMBINATION_COUNT =
  ENTITIES.hero.length * ENTITIES.wish.length * ENTITIES.mishap.length;

let heldOutCount: number | undefined;

/** How many combinations a split has, counted one by one. */
export function combinationCount(split: StorySplit): number {
  if (heldOutCount === undefined) {
    const hashes = (entries: readonly Bindings[], field: string): number[] =>
      entries.map((entry) => fnv1a(entry[field] ?? ""));
    const wishes = hashes(ENTITIES.wish, "wish");
    const mishaps = hashes(ENTITIES.mishap, "event");
    let count = 0;
    for (const name of hashes(ENTITIES.hero, "name")) {
      for (const wish of wishes)
        for (const mishap of mishaps) if (heldOut(name, wish, mishap)) count++;
    }
    heldOutCount = count;
  }
  return split === "validation" ? heldOutCount : COMBINATION_COUNT - heldOutCount;
}

function anyOf(entries: readonly Bindings[], random: Random): Bindings {
  return entries[random.below(entries.length)] ?? {};
}

/** A combination of a split, all of them equally likely. */
export function drawCombination(split: StorySplit, random: Random): Combination {
  for (;;) {
    const combination = {
      hero: anyOf(ENTITIES.hero, random),
      wish: anyOf(ENTITIES.wish, random),
      mishap: anyOf(ENTITIES.mishap, random),
    };
    if (isHeldOut(combination) === (split === "validation")) return combination;
  }
}
