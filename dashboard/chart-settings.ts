// How curves are shown, the same in every view and kept from one visit to the next.
import { effect, signal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { formatDuration } from "../src/util/format.ts";
import type { RunAxis } from "../src/runs/run-record.ts";
import type { Range } from "./parts/chart.tsx";

function kept<Value extends string | number | boolean>(
  name: string,
  fallback: Value,
): Signal<Value> {
  const text = localStorage.getItem(`anecdote.${name}`);
  let value = fallback;
  try {
    const known: unknown = text === null ? fallback : JSON.parse(text);
    if (typeof known === typeof fallback) value = known as Value;
  } catch {
    // Somebody else's entry.
  }
  const made = signal(value);
  effect(() => localStorage.setItem(`anecdote.${name}`, JSON.stringify(made.value)));
  return made;
}

export const smoothing = kept<number>("smoothing", 0.6);
export const isLogScale = kept<boolean>("log", false);
export const axis = kept<RunAxis>("axis", "step");
/** What of x is shown. */
export const shownRange = signal<Range | null>(null);

export const AXIS_NAMES: readonly (readonly [RunAxis, string])[] = [
  ["step", "steps"],
  ["tokens", "tokens"],
  ["seconds", "time"],
];

/** How places on an axis are written; undefined for the default. */
export function formatAxis(name: RunAxis): ((value: number) => string) | undefined {
  return name === "seconds" ? formatDuration : undefined;
}
