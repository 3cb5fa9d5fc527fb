import { GenerateError } from "../errors.ts";
import { productiveParts } from "./grammar.ts";
import type { Grammar } from "./grammar.ts";

/** What may follow a text that was begun. */
export interface AutomatonState {
  /** Stacks whose first part is a byte, by number, in order. */
  readonly ready: readonly number[];
  /** Whether the text may end here. */
  readonly accepts: boolean;
  /** By byte; null where it may not follow, absent where nobody has asked. */
  readonly next: (AutomatonState | null | undefined)[];
}

/** Stacks that are looked at for one byte: more is a grammar that says the same in too many ways. */
const MOST_STACKS = 20_000;
/** States that are kept for others that come by; beyond it they are forgotten. */
const MOST_STATES = 20_000;

/** The stack of a text that is whole. */
const DONE = 0;

/**
 * Reads a text byte by byte under a grammar. A state is a set of stacks of what is still to come; states and their
 * successors are made when they are first needed, and the same one is the same object, so that what was found out about
 * one counts for all texts that come by.
 */
export class Automaton {
  readonly start: AutomatonState;
  readonly #productive: ReadonlySet<Grammar>;
  /** Parts of stacks, by number. */
  readonly #heads: (Grammar | undefined)[] = [undefined];
  readonly #tails: number[] = [DONE];
  readonly #stacks = new Map<Grammar, Map<number, number>>();
  /** Repetitions with fewer times left: by the item, then by the times. */
  readonly #repeats = new Map<Grammar, Map<string, Grammar>>();
  readonly #states = new Map<string, AutomatonState>();

  /** Throws `GenerateError` `generate.schema.empty` for a grammar that no text has. */
  constructor(root: Grammar) {
    this.#productive = productiveParts(root);
    if (!this.#productive.has(root))
      throw new GenerateError("generate.schema.empty", "no text can be what the schema asks for");
    this.start = this.#stateOf([this.#stack(root, DONE)]);
  }

  /**
   * The state behind a byte; null where it may not follow. Throws `GenerateError` `generate.schema.complex` for a grammar
   * that says the same in too many ways.
   */
  step(state: AutomatonState, byte: number): AutomatonState | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const tails: number[] = [];
    for (const stack of state.ready) {
      const head = this.#heads[stack];
      if (head?.kind === "byte" && head.set[byte] === 1) tails.push(this.#tails[stack] ?? DONE);
    }
    const next = tails.length === 0 ? null : this.#stateOf(tails);
    state.next[byte] = next;
    return next;
  }

  #stack(head: Grammar, tail: number): number {
    let byTail = this.#stacks.get(head);
    if (byTail === undefined) this.#stacks.set(head, (byTail = new Map()));
    const known = byTail.get(tail);
    if (known !== undefined) return known;
    const stack = this.#heads.length;
    this.#heads.push(head);
    this.#tails.push(tail);
    byTail.set(tail, stack);
    return stack;
  }

  /** The state of some stacks: each is taken apart until it begins with a byte. */
  #stateOf(stacks: readonly number[]): AutomatonState {
    const seen = new Set<number>();
    const ready: number[] = [];
    const waiting = [...stacks];
    let accepts = false;
    for (let stack = waiting.pop(); stack !== undefined; stack = waiting.pop()) {
      if (stack === DONE) {
        accepts = true;
        continue;
      }
      if (seen.has(stack)) continue;
      seen.add(stack);
      if (seen.size > MOST_STACKS)
        throw new GenerateError(
          "generate.schema.complex",
          `the schema leaves more than ${MOST_STACKS} ways to go on at once`,
          { remedy: "Use fewer alternatives that begin alike." },
        );
      const head = this.#heads[stack];
      if (head === undefined) continue;
      if (head.kind === "byte") ready.push(stack);
      else this.#open(head, this.#tails[stack] ?? DONE, waiting);
    }
    ready.sort((a, b) => a - b);
    const key = `${ready.join()}${accepts ? "." : ""}`;
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    // Whoever holds a state goes on with it; only that others find the same one is forgotten.
    if (this.#states.size >= MOST_STATES) this.#states.clear();
    const state: AutomatonState = { ready, accepts, next: [] };
    this.#states.set(key, state);
    return state;
  }

  /** Puts what the first part of a stack stands for in its place. */
  #open(head: Grammar, tail: number, opened: number[]): void {
    if (!this.#isProductive(head)) return;
    switch (head.kind) {
      case "byte":
        return;
      case "sequence": {
        let stack = tail;
        for (let index = head.parts.length - 1; index >= 0; index--) {
          const part = head.parts[index];
          if (part !== undefined) stack = this.#stack(part, stack);
        }
        opened.push(stack);
        return;
      }
      case "choice":
        for (const option of head.options)
          if (this.#isProductive(option)) opened.push(this.#stack(option, tail));
        return;
      case "repeat": {
        if (head.minimum === 0) opened.push(tail);
        if (head.maximum === 0 || !this.#isProductive(head.item)) return;
        opened.push(this.#stack(head.item, this.#stack(this.#onceLess(head), tail)));
        return;
      }
      case "rule":
        if (head.body !== undefined) opened.push(this.#stack(head.body, tail));
    }
  }

  #isProductive(node: Grammar): boolean {
    // Repetitions that were counted down are made here: as productive as what they repeat.
    if (this.#productive.has(node)) return true;
    return node.kind === "repeat" && (node.minimum === 0 || this.#productive.has(node.item));
  }

  #onceLess(node: Grammar & { readonly kind: "repeat" }): Grammar {
    const { item } = node;
    const minimum = Math.max(0, node.minimum - 1);
    const maximum = node.maximum - 1;
    if (minimum === node.minimum && maximum === node.maximum) return node;
    let byTimes = this.#repeats.get(item);
    if (byTimes === undefined) this.#repeats.set(item, (byTimes = new Map()));
    const key = `${minimum}-${maximum}`;
    const known = byTimes.get(key);
    if (known !== undefined) return known;
    const less: Grammar = { kind: "repeat", item, minimum, maximum };
    byTimes.set(key, less);
    return less;
  }
}
