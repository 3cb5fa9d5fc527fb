import { describe, expect, it } from "vitest";
import { Automaton } from "../../../src/generate/constraint/automaton.ts";
import type { AutomatonState } from "../../../src/generate/constraint/automaton.ts";
import { ConstraintCompiler } from "../../../src/generate/constraint/constraint-compiler.ts";
import { ANY_OBJECT } from "../../../src/generate/constraint/json-grammar.ts";
import { schemaGrammar } from "../../../src/generate/constraint/json-schema.ts";
import { TokenBytes, TokenMasks } from "../../../src/generate/constraint/token-masks.ts";
import { characterTokenizer, trainBpe } from "../../../src/text/index.ts";
import { Random } from "../../../src/util/random.ts";

const SCHEMA = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 8 },
    size: { type: "number" },
    kinds: { type: "array", items: { enum: ["red", "rear", "blue"] } },
  },
  required: ["name", "size"],
  additionalProperties: false,
};

/** Tokens of several bytes, as a text of JSON and umlauts makes them. */
const { tokenizer } = trainBpe(
  [
    Array.from({ length: 40 }, (_, index) =>
      JSON.stringify(
        { name: `größe ${index}`, size: index * 1.5, kinds: ["red", "blue"], more: [[{}]] },
        undefined,
        index % 3,
      ),
    ).join("\n"),
  ],
  { vocabularySize: 420 },
);
const end = tokenizer.special.endOfText ?? -1;

function behind(automaton: Automaton, state: AutomatonState, id: number): AutomatonState | null {
  const bytes = tokenizer.bytesOf(id);
  if (bytes === undefined || bytes.length === 0) return null;
  let at: AutomatonState | null = state;
  for (const byte of bytes) {
    at = automaton.step(at, byte);
    if (at === null) return null;
  }
  return at;
}

describe("token masks", () => {
  it("let exactly the tokens through whose bytes may follow", () => {
    const tokens = new TokenBytes(tokenizer);
    for (const [seed, grammar] of [schemaGrammar(SCHEMA), ANY_OBJECT].entries()) {
      const automaton = new Automaton(grammar);
      const masks = new TokenMasks(tokens, automaton);
      const random = new Random(seed);
      let state = automaton.start;
      for (let step = 0; step < 150; step++) {
        const mask = masks.of(state);
        const next: AutomatonState[] = [];
        for (let id = 0; id < tokenizer.vocabularySize; id++) {
          const at = behind(automaton, state, id);
          const isIn = ((mask[id >>> 5] ?? 0) & (1 << (id & 31))) !== 0;
          expect([step, tokenizer.tokenOf(id), isIn]).toEqual([
            step,
            tokenizer.tokenOf(id),
            at !== null,
          ]);
          if (at !== null) next.push(at);
        }
        state = next[random.below(next.length)] ?? automaton.start;
      }
    }
  });

  it("make whole JSON of whatever scores there are", () => {
    const compiler = new ConstraintCompiler(tokenizer, [end]);
    for (let seed = 0; seed < 20; seed++) {
      const constraint = compiler.compile({ kind: "schema", schema: SCHEMA });
      const random = new Random(seed);
      const ids: number[] = [];
      while (!constraint.isComplete) {
        const scores = Float32Array.from({ length: tokenizer.vocabularySize + 5 }, () =>
          random.normal(),
        );
        // What ends a text is far likelier, and wins as soon as it may.
        for (const sign of ['"', "}", "]"]) scores[tokenizer.idOf(sign) ?? 0] = 50;
        constraint.ruleOut(scores);
        const best = scores.reduce(
          (at, score, id) => (score > (scores[at] ?? -Infinity) ? id : at),
          0,
        );
        expect(best).toBeLessThan(tokenizer.vocabularySize);
        constraint.accept(best);
        ids.push(best);
      }
      const value = JSON.parse(tokenizer.decode(ids)) as Record<string, unknown>;
      expect(Object.keys(value).slice(0, 2)).toEqual(["name", "size"]);
      expect(value["size"]).toBeTypeOf("number");
    }
  });

  it("let a text end only where it may", () => {
    const compiler = new ConstraintCompiler(tokenizer, [end]);
    const constraint = compiler.compile({ kind: "schema", schema: { type: "integer" } });
    const scores = (): Float32Array => {
      const all = new Float32Array(tokenizer.vocabularySize);
      constraint.ruleOut(all);
      return all;
    };
    expect(scores()[end]).toBe(-Infinity);
    for (const id of tokenizer.encode("12")) constraint.accept(id);
    const [minus = 0] = tokenizer.encode("-");
    expect([scores()[end], scores()[minus], constraint.isComplete]).toEqual([0, -Infinity, false]);
  });

  it("tells of vocabularies that cannot spell JSON", () => {
    const { tokenizer: letters } = characterTokenizer("abcdefg ");
    const compiler = new ConstraintCompiler(letters, []);
    expect(() => compiler.compile({ kind: "json" })).toThrow(/no tokens for \{ \}/);
  });
});
