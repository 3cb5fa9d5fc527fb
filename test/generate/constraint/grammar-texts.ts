import { Automaton } from "../../../src/generate/constraint/automaton.ts";
import type { AutomatonState } from "../../../src/generate/constraint/automaton.ts";
import type { Grammar } from "../../../src/generate/constraint/grammar.ts";
import { Random } from "../../../src/util/random.ts";

/** Whether a grammar has a text. */
export function hasText(automaton: Automaton, text: string): boolean {
  let state: AutomatonState | null = automaton.start;
  for (const byte of new TextEncoder().encode(text)) {
    state = automaton.step(state, byte);
    if (state === null) return false;
  }
  return state.accepts;
}

/** After so many bytes a text is brought to its end. */
const LONG = 60;
const LONGEST = 20_000;
/** What ends parts of a JSON text, the soonest first. */
const ENDS = Array.from('"}]@.0123456789:,eanulrtfs-{[', (sign) => sign.charCodeAt(0));

/** A text of a grammar, drawn byte by byte. Throws where a text that was begun does not go on. */
export function drawnText(grammar: Grammar, seed: number): string {
  const automaton = new Automaton(grammar);
  const random = new Random(seed);
  const bytes: number[] = [];
  let state = automaton.start;
  for (;;) {
    const next = successors(automaton, state);
    if (state.accepts && (next.length === 0 || random.uniform() < 0.3)) break;
    if (next.length === 0) throw new Error(`stuck behind ${Buffer.from(bytes).toString()}`);
    if (bytes.length > LONGEST) throw new Error("a text that does not end");
    const isEnding = bytes.length > LONG && random.uniform() < 0.8;
    const ending = isEnding
      ? ENDS.flatMap((byte) => next.find((each) => each.byte === byte) ?? [])[0]
      : undefined;
    const chosen = ending ?? next[random.below(next.length)];
    if (chosen === undefined) break;
    bytes.push(chosen.byte);
    ({ state } = chosen);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
}

interface Successor {
  readonly byte: number;
  readonly state: AutomatonState;
}

function successors(automaton: Automaton, state: AutomatonState): readonly Successor[] {
  const next: Successor[] = [];
  for (let byte = 0; byte < 256; byte++) {
    const behind = automaton.step(state, byte);
    if (behind !== null) next.push({ byte, state: behind });
  }
  return next;
}
