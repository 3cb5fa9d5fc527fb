import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { Automaton } from "../../../src/generate/constraint/automaton.ts";
import { ANY_OBJECT, ANY_VALUE } from "../../../src/generate/constraint/json-grammar.ts";
import { schemaGrammar } from "../../../src/generate/constraint/json-schema.ts";
import { drawnText, hasText } from "./grammar-texts.ts";

type Schema = Readonly<Record<string, unknown>>;

/** Whether a value fits, by code that shares nothing with ours. */
function fits(schema: Schema, value: unknown): boolean {
  return z.fromJSONSchema(schema).safeParse(value).success;
}

function automatonOf(schema: unknown): Automaton {
  return new Automaton(schemaGrammar(schema));
}

const PERSON = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 12 },
    age: { type: "integer", minimum: 0, maximum: 130 },
    tags: { type: "array", items: { enum: ["a", "b", 3, null] }, minItems: 1, maxItems: 3 },
    size: { type: "number", exclusiveMinimum: 0.25, maximum: 2 },
    mother: { $ref: "#/$defs/parent" },
  },
  required: ["name", "age"],
  additionalProperties: false,
  $defs: {
    parent: {
      anyOf: [
        { type: "null" },
        {
          type: "object",
          properties: { name: { type: "string" }, mother: { $ref: "#/$defs/parent" } },
          required: ["name"],
          additionalProperties: false,
        },
      ],
    },
  },
} as const;

/** Schemas of the kinds that are kept, within each other. */
const schemas = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Schema>(
      { type: "boolean" },
      { type: "null" },
      { type: "integer" },
      { type: "number" },
      { type: "string" },
      { type: ["string", "null"] },
      { const: 'x\n"' },
      { enum: [1, "two", null, false] },
    ),
    fc
      .tuple(fc.integer({ min: -2000, max: 2000 }), fc.nat(3000), fc.boolean())
      .map(([minimum, span, isWhole]) => ({
        type: isWhole ? "integer" : "number",
        minimum: isWhole ? minimum : minimum / 100,
        maximum: isWhole ? minimum + span : (minimum + span) / 100,
      })),
    fc
      .tuple(fc.nat(4), fc.nat(4))
      .map(([minLength, more]) => ({ type: "string", minLength, maxLength: minLength + more })),
    fc.tuple(tie("schema"), fc.nat(2), fc.nat(3)).map(([items, minItems, more]) => ({
      ...{ type: "array", items, minItems, maxItems: minItems + more },
    })),
    fc
      .tuple(
        fc.dictionary(fc.stringMatching(/^[a-zé"]{1,3}$/), tie("schema"), { maxKeys: 4 }),
        fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
        fc.option(tie("schema"), { nil: false }),
      )
      .map(([properties, flags, additionalProperties]) => ({
        ...{ type: "object", properties, additionalProperties },
        required: Object.keys(properties).filter((_, index) => flags[index]),
      })),
    fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
  ),
})).schema;

describe("a JSON schema", () => {
  it("lets only texts through that are JSON and fit it", () => {
    for (let seed = 0; seed < 60; seed++) {
      const text = drawnText(schemaGrammar(PERSON), seed);
      expect([text, fits(PERSON, JSON.parse(text))]).toEqual([text, true]);
    }
    fc.assert(
      fc.property(schemas, fc.nat(1000), (schema, seed) => {
        const text = drawnText(schemaGrammar(schema), seed);
        expect([text, fits(schema, JSON.parse(text))]).toEqual([text, true]);
      }),
      { numRuns: 150 },
    );
  });

  it("lets values through however they are spaced, properties in its order", () => {
    const automaton = automatonOf(PERSON);
    const value = {
      ...{ name: 'Zoë "Z" \\ 😀', age: 7, tags: ["a", 3], size: 1.5 },
      mother: { name: "M\n", mother: null },
    };
    for (const indent of [0, 1, 2, 4])
      expect(hasText(automaton, JSON.stringify(value, undefined, indent))).toBe(true);
    expect(hasText(automaton, '{"name": "A", "age": 1}')).toBe(true);
    for (const wrong of [
      '{"age": 1, "name": "A"}',
      '{"name": "", "age": 1}',
      '{"name": "A", "age": 131}',
      '{"name": "A", "age": 01}',
      '{"name": "A", "age": 1, "tags": []}',
      '{"name": "A", "age": 1, "size": 0.25}',
      '{"name": "A", "age": 1, "other": 1}',
      '{"name": "A", "age": 1,}',
      '{"name": "A"}',
    ])
      expect([wrong, hasText(automaton, wrong)]).toEqual([wrong, false]);
  });

  it("lets any value through where it says nothing, and nothing that is no JSON", () => {
    const automaton = new Automaton(ANY_VALUE);
    fc.assert(
      fc.property(
        fc.jsonValue({ noUnicodeString: false }),
        fc.constantFrom(0, 2),
        (value, indent) => {
          const text = JSON.stringify(value, undefined, indent);
          fc.pre(!/\\u[dD][89a-fA-F]/.test(text) && !/e[+-]?\d{3}|\d{16}/.test(text));
          expect([text, hasText(automaton, text)]).toEqual([text, true]);
        },
      ),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom(...Array.from('{}[]":,\\ \n01-.eEtrueflsn')),
          maxLength: 8,
        }),
        (text) => {
          if (!hasText(automaton, text)) return;
          JSON.parse(text);
        },
      ),
      { numRuns: 3000 },
    );
    for (let seed = 0; seed < 40; seed++)
      expect(JSON.parse(drawnText(ANY_OBJECT, seed))).toBeTypeOf("object");
  });

  it("keeps whole numbers within any bounds, each of them", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -150, max: 150 }),
        fc.nat(200),
        fc.boolean(),
        (low, span, isExclusive) => {
          const high = low + span + 2;
          const automaton = automatonOf({
            type: "integer",
            ...(isExclusive
              ? { exclusiveMinimum: low, exclusiveMaximum: high }
              : { minimum: low, maximum: high }),
          });
          for (let value = -400; value <= 400; value++) {
            const isIn = isExclusive ? value > low && value < high : value >= low && value <= high;
            expect([value, hasText(automaton, String(value))]).toEqual([value, isIn]);
          }
          expect(hasText(automaton, "-0")).toBe(false);
        },
      ),
      { numRuns: 25 },
    );
    const open = automatonOf({ type: "integer", minimum: 100 });
    for (const [text, isIn] of [
      ["99", false],
      ["100", true],
      ["123456789", true],
    ] as const)
      expect(hasText(open, text)).toBe(isIn);
    expect(() => automatonOf({ type: "integer", minimum: 0.2, maximum: 0.8 })).toThrow(
      "no text can be",
    );
  });

  it("keeps other numbers within bounds that are no whole numbers", () => {
    const automaton = automatonOf({ type: "number", minimum: -1.25, exclusiveMaximum: 0.5 });
    for (const text of ["-1.25", "-1", "-0.001", "0", "0.0", "0.4999", "0.25"])
      expect([text, hasText(automaton, text)]).toEqual([text, true]);
    for (const text of ["-1.26", "0.5", "0.50", "1", "-2", "5e-1", "-1.2501"])
      expect([text, hasText(automaton, text)]).toEqual([text, false]);
    const tiny = automatonOf({ type: "number", minimum: 1e-7, maximum: 2e-7 });
    expect(hasText(tiny, "0.00000015")).toBe(true);
    expect(hasText(tiny, "0.00000021")).toBe(false);
  });

  it("lets further properties through where it says so, none under a name that it knows", () => {
    const schema = {
      type: "object",
      properties: { ab: { type: "integer" }, 'a"': { type: "integer" } },
      additionalProperties: { type: "boolean" },
    };
    const automaton = automatonOf(schema);
    for (const text of [
      '{"ab":1}',
      '{"a":true}',
      '{"abc":true,"b":false}',
      '{"":true}',
      '{"ä":true}',
      "{}",
    ])
      expect([text, hasText(automaton, text)]).toEqual([text, true]);
    for (const text of ['{"ab":true}', '{"a":1}', '{"\\u0061b":true}', '{"x":true,"ab":1}'])
      expect([text, hasText(automaton, text)]).toEqual([text, false]);
    // Where it does not speak of them, none is made up.
    const silent = automatonOf({ type: "object", properties: { a: { type: "null" } } });
    expect(hasText(silent, '{"b":1}')).toBe(false);
    expect(hasText(automatonOf({ type: "object" }), '{"b":[1]}')).toBe(true);
    const needed = automatonOf({ type: "object", properties: {}, required: ["z"] });
    expect(hasText(needed, '{"z": {"y": 1}}')).toBe(true);
  });

  it("keeps lists with a beginning of their own", () => {
    const prefixItems = [{ type: "integer" }, { type: "string" }];
    const automaton = automatonOf({
      type: "array",
      prefixItems,
      items: { type: "null" },
      minItems: 1,
    });
    for (const text of ["[1]", '[1, "a"]', '[1, "a", null, null]'])
      expect(hasText(automaton, text)).toBe(true);
    for (const text of ["[]", '["a"]', "[1, null]", '[1, "a", 1]'])
      expect(hasText(automaton, text)).toBe(false);
    const short = automatonOf({ type: "array", prefixItems, maxItems: 1 });
    expect([hasText(short, "[]"), hasText(short, '[1,"a"]')]).toEqual([true, false]);
  });

  it("keeps patterns as JavaScript means them", () => {
    const patterns = [
      "^[a-c]+$",
      "b",
      "^a",
      "c$",
      "^(?:ab|c)*$",
      "^a{2,3}b?$",
      "^[^a]$",
      "^\\d{1,2}[.,]\\d$",
      "^\\w+\\s\\S$",
      "^.$",
      "^a|b$",
      '^["\\\\/]$',
      "^[\\u00e0-\\u00ff😀]{2}$",
      "^(a(b(c)?)?)?$",
      "^\\n?$",
      "^[\\x61-c\\-]{2}$",
    ];
    const sign = fc.constantFrom(...Array.from('abc12.,-_ \n"\\/éÿ😀x'));
    for (const pattern of patterns) {
      const automaton = automatonOf({ type: "string", pattern });
      const expression = new RegExp(pattern, "u");
      fc.assert(
        fc.property(fc.string({ unit: sign, maxLength: 5 }), (text) => {
          const wanted = expression.test(text);
          expect([pattern, text, hasText(automaton, JSON.stringify(text))]).toEqual([
            pattern,
            text,
            wanted,
          ]);
        }),
        { numRuns: 150 },
      );
    }
  });

  it("lets exactly the values of a list through, spelt the shortest way", () => {
    const automaton = automatonOf({ enum: [{ a: [1, "é"] }, 2, "x"] });
    for (const [text, isIn] of [
      ['{"a":[1,"é"]}', true],
      ["2", true],
      ['"x"', true],
      ["3", false],
    ] as const)
      expect([text, hasText(automaton, text)]).toEqual([text, isIn]);
  });

  it("keeps formats", () => {
    const examples: Readonly<Record<string, readonly [string, string]>> = {
      date: ["2024-11-30", "2024-02-30"],
      time: ["23:59:59Z", "24:00:00Z"],
      "date-time": ["2026-11-30T08:00:00.5+01:00", "2026-11-30 08:00:00"],
      uuid: ["123e4567-e89b-42d3-a456-426614174000", "123e4567"],
      ipv4: ["192.168.0.255", "256.1.1.1"],
      email: ["a.b@example.org", "a@b"],
      hostname: ["a-b.example", "-a"],
      duration: ["P1DT2H", "P"],
      ipv6: ["2001:db8:0:0:0:0:0:1", "1:2"],
    };
    for (const [format, [right, wrong]] of Object.entries(examples)) {
      const automaton = automatonOf({ type: "string", format });
      expect([format, hasText(automaton, `"${right}"`), hasText(automaton, `"${wrong}"`)]).toEqual([
        format,
        true,
        false,
      ]);
      for (let seed = 0; seed < 10; seed++) {
        const schema = { type: "string", format };
        const text = drawnText(schemaGrammar(schema), seed);
        if (format !== "duration" && format !== "hostname")
          expect([text, fits(schema, JSON.parse(text))]).toEqual([text, true]);
      }
    }
  });

  it("takes oneOf where no value fits two", () => {
    const variant = (kind: string) => ({
      type: "object",
      properties: { kind: { const: kind }, value: { type: "integer" } },
      required: ["kind"],
    });
    const automaton = automatonOf({ oneOf: [variant("a"), variant("b"), { type: "string" }] });
    expect(hasText(automaton, '{"kind":"b","value":1}')).toBe(true);
    expect(hasText(automaton, '{"kind":"c"}')).toBe(false);
    expect(() => automatonOf({ oneOf: [{ type: "integer" }, { type: "number" }] })).toThrow(
      /might fit both/,
    );
  });

  it("refuses what it does not keep, by its place", () => {
    const cases: readonly (readonly [Schema | unknown[] | string, RegExp])[] = [
      [{ not: {} }, /^schema\.not: the keyword "not" is not supported/],
      [{ type: "object", patternProperties: {} }, /"patternProperties"/],
      [{ type: "array", uniqueItems: true }, /"uniqueItems"/],
      [{ type: "number", multipleOf: 2 }, /"multipleOf"/],
      [{ if: {} }, /"if"/],
      [
        { type: "object", properties: { a: { minLenght: 1 } } },
        /schema\.properties\.a\.minLenght.*Did you mean "minLength"/,
      ],
      [{ allOf: [{}, {}] }, /allOf of several/],
      [{ $ref: "http://x/y" }, /point into the schema itself/],
      [{ $ref: "#/$defs/no" }, /points to nothing/],
      [{ type: "strin" }, /no type "strin".*Did you mean "string"/],
      [{ type: "string", minimum: 1 }, /"minimum" says nothing of the type string/],
      [{ type: "string", pattern: "(?=a)" }, /looks around/],
      [{ type: "string", pattern: "\\bword" }, /\\b/],
      [{ type: "string", pattern: "(a)\\1" }, /\\1/],
      [{ type: "string", pattern: "a^b" }, /anchor/],
      [{ type: "string", pattern: "a", maxLength: 2 }, /not supported together/],
      [{ type: "string", format: "iri" }, /formats are date/],
      [{ anyOf: [{}], type: "object" }, /"type" beside "anyOf"/],
      [{ enum: [] }, /one or more/],
      [[], /a schema is an object/],
      ["string", /a schema is an object/],
    ];
    for (const [schema, problem] of cases) expect(() => automatonOf(schema)).toThrow(problem);
  });

  it("says where no value can fit", () => {
    for (const schema of [
      false,
      { $ref: "#" },
      { type: "string", minLength: 3, maxLength: 2 },
      { type: "array", items: false, minItems: 1 },
      { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] },
      { enum: ["a"], type: "integer" },
    ])
      expect(() => automatonOf(schema)).toThrow("no text can be what the schema asks for");
  });

  it("is bounded, whatever it is", () => {
    const startedMs = performance.now();
    const doubled: Record<string, unknown> = { d0: { type: "integer" } };
    for (let level = 1; level < 50; level++)
      doubled[`d${level}`] = {
        anyOf: [{ $ref: `#/$defs/d${level - 1}` }, { $ref: `#/$defs/d${level - 1}` }],
      };
    expect(hasText(automatonOf({ $ref: "#/$defs/d49", $defs: doubled }), "12")).toBe(true);
    let deep: unknown = {};
    for (let level = 0; level < 1000; level++) deep = { anyOf: [deep] };
    expect(() => automatonOf(deep)).toThrow(/deeper than/);
    const wide = { anyOf: Array.from({ length: 20_000 }, () => ({})) };
    expect(() => automatonOf(wide)).toThrow(/more than 10000 schemas/);
    const long = automatonOf({ type: "string", minLength: 0, maxLength: 1_000_000_000 });
    expect(hasText(long, `"${"x".repeat(2000)}"`)).toBe(true);
    const many = automatonOf({ type: "array", items: {}, minItems: 1_000_000_000 });
    expect(hasText(many, "[1,2,3]")).toBe(false);
    for (const pattern of ["^(a|a)*$", "^(a*)*b$", "^(a?){50}a{50}$", "(x+x+)+y"]) {
      const automaton = automatonOf({ type: "string", pattern });
      expect(hasText(automaton, `"${"a".repeat(60)}"`)).toBe(/\(a\?|\(a\|/.test(pattern));
    }
    expect(() => automatonOf({ type: "string", pattern: "a{1000000}" })).toThrow(/repetitions/);
    expect(performance.now() - startedMs).toBeLessThan(30_000);
  });
});
