import type { Tokenizer } from "../../text/index.ts";
import { GenerateError } from "../errors.ts";
import { Automaton } from "./automaton.ts";
import type { AutomatonState } from "./automaton.ts";
import { choice, literal, sequence } from "./grammar.ts";
import type { Grammar } from "./grammar.ts";
import { ANY_OBJECT, pair, jsonObject } from "./json-grammar.ts";
import { schemaGrammar } from "./json-schema.ts";
import type { TokenConstraint } from "./token-constraint.ts";
import { TokenBytes, TokenMasks } from "./token-masks.ts";

/** What a text has to be. Plain data. */
export type ConstraintRequest =
  /** An object of JSON. */
  | { readonly kind: "json" }
  /** A value that fits a JSON schema. */
  | { readonly kind: "schema"; readonly schema: unknown }
  /** A call of one of some functions, between two texts. */
  | {
      readonly kind: "call";
      readonly before: string;
      readonly after: string;
      /** The key of the arguments. */
      readonly key: string;
      readonly functions: readonly { readonly name: string; readonly parameters: unknown }[];
    };

/** Grammars that are kept for requests that ask for the same. */
const MOST_KEPT = 32;

interface Compiled {
  readonly automaton: Automaton;
  readonly masks: TokenMasks;
  readonly tokens: TokenBytes;
}

/** Makes constraints over a tokenizer's tokens; what was found out for one text serves all that have to be the same. */
export class ConstraintCompiler {
  readonly #tokenizer: Tokenizer;
  readonly #ends: ReadonlySet<number>;
  #tokens: TokenBytes | undefined;
  /** By the request, the least recently used first. */
  readonly #kept = new Map<string, Compiled>();

  /** `ends`: tokens that end a text. */
  constructor(tokenizer: Tokenizer, ends: Iterable<number>) {
    this.#tokenizer = tokenizer;
    this.#ends = new Set(ends);
  }

  /** A constraint of one text. Throws `GenerateError` `generate.schema.*` for what cannot be kept. */
  compile(request: ConstraintRequest): TokenConstraint {
    const key = JSON.stringify(request);
    const known = this.#kept.get(key);
    this.#kept.delete(key);
    const compiled = known ?? this.#make(request);
    this.#kept.set(key, compiled);
    if (this.#kept.size > MOST_KEPT) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.#kept.delete(oldest);
    }
    return new GrammarConstraint(compiled, this.#ends);
  }

  #make(request: ConstraintRequest): Compiled {
    this.#tokens ??= new TokenBytes(this.#tokenizer);
    const automaton = new Automaton(grammarOf(request));
    const masks = new TokenMasks(this.#tokens, automaton);
    // What cannot be begun is told before anything is written.
    if (!masks.of(automaton.start).some((word) => word !== 0)) throw stuck();
    return { automaton, masks, tokens: this.#tokens };
  }
}

function grammarOf(request: ConstraintRequest): Grammar {
  switch (request.kind) {
    case "json":
      return ANY_OBJECT;
    case "schema":
      return schemaGrammar(request.schema);
    case "call": {
      const { before, after, key, functions } = request;
      const calls = functions.map(({ name, parameters }) =>
        jsonObject(
          sequence(
            pair(literal('"name"'), literal(JSON.stringify(name))),
            literal(", "),
            pair(literal(JSON.stringify(key)), schemaGrammar(parameters, `${name}.parameters`)),
          ),
        ),
      );
      return sequence(literal(before), choice(calls), literal(after));
    }
  }
}

/** A text that is written under a grammar. */
class GrammarConstraint implements TokenConstraint {
  readonly #automaton: Automaton;
  readonly #masks: TokenMasks;
  readonly #tokens: TokenBytes;
  readonly #ends: ReadonlySet<number>;
  #state: AutomatonState;

  constructor({ automaton, masks, tokens }: Compiled, ends: ReadonlySet<number>) {
    this.#automaton = automaton;
    this.#masks = masks;
    this.#tokens = tokens;
    this.#ends = ends;
    this.#state = automaton.start;
  }

  get isComplete(): boolean {
    return this.#state.accepts && this.#state.ready.length === 0;
  }

  ruleOut(scores: Float32Array): void {
    const mask = this.#masks.of(this.#state);
    let mayFollow = this.#state.accepts;
    const kept = this.#state.accepts
      ? [...this.#ends].map((id) => [id, scores[id] ?? -Infinity] as const)
      : [];
    for (let first = 0, word = 0; first < scores.length; first += 32, word++) {
      const bits = mask[word] ?? 0;
      if (bits === 0) scores.fill(-Infinity, first, first + 32);
      else {
        mayFollow = true;
        if (bits === 0xffffffff) continue;
        const last = Math.min(first + 32, scores.length);
        for (let id = first; id < last; id++)
          if ((bits & (1 << (id & 31))) === 0) scores[id] = -Infinity;
      }
    }
    for (const [id, score] of kept) if (id < scores.length) scores[id] = score;
    if (!mayFollow) throw stuck();
  }

  accept(id: number): void {
    for (const byte of this.#tokens.of(id)) {
      const next = this.#automaton.step(this.#state, byte);
      if (next === null) throw stuck();
      this.#state = next;
    }
  }
}

function stuck(): GenerateError {
  return new GenerateError(
    "generate.schema.stuck",
    "no token of this model's vocabulary fits what has to follow",
  );
}
