import { didYouMean } from "../../util/nearest.ts";
import { GenerateError } from "../errors.ts";
import { FORMAT_PATTERNS } from "./formats.ts";
import { choice, EMPTY, literal, NOTHING, repeat, sequence } from "./grammar.ts";
import type { Grammar, Rule } from "./grammar.ts";
import {
  ANY_LIST,
  ANY_OBJECT,
  ANY_VALUE,
  BOOLEAN,
  INTEGER,
  jsonList,
  jsonObject,
  jsonText,
  listed,
  NULL,
  NUMBER,
  otherKey,
  pair,
  SPACE,
} from "./json-grammar.ts";
import { integersWithin, numbersWithin } from "./number-ranges.ts";
import { PatternProblem, patternText } from "./pattern.ts";
import { isRecord } from "../../util/is-record.ts";

type JsonObject = Readonly<Record<string, unknown>>;

/** Keywords that say nothing of what a value may be. */
const ANNOTATIONS = [
  ...["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"],
  ...["$schema", "$id", "$comment", "$defs", "definitions", "discriminator"],
] as const;
const OF_OBJECTS = ["properties", "required", "additionalProperties"] as const;
const OF_LISTS = ["items", "prefixItems", "minItems", "maxItems"] as const;
const OF_TEXTS = ["minLength", "maxLength", "pattern", "format"] as const;
const OF_NUMBERS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] as const;
const COMBINING = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"] as const;

/** The keywords of JSON schema that are kept; every other one is refused. */
export const SCHEMA_KEYWORDS: readonly string[] = [
  ...COMBINING,
  ...OF_OBJECTS,
  ...OF_LISTS,
  ...OF_TEXTS,
  ...OF_NUMBERS,
  ...ANNOTATIONS,
];

const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
type TypeName = (typeof TYPES)[number];

/** Keywords that a type listens to. */
const LISTENS: Readonly<Record<TypeName, readonly string[]>> = {
  object: OF_OBJECTS,
  array: OF_LISTS,
  string: OF_TEXTS,
  number: OF_NUMBERS,
  integer: OF_NUMBERS,
  boolean: [],
  null: [],
};

const MOST_DEPTH = 200;
const MOST_SCHEMAS = 10_000;
const MOST_VALUES = 10_000;
const LONGEST_PATTERN = 2_000;

/**
 * The values that a JSON schema lets through, as texts. All of them fit the schema; of those that fit, some are left out:
 * properties come in the schema's order, and none is made up where the schema does not speak of others. Throws
 * `GenerateError` `generate.schema.unsupported` for what cannot be kept, by its place in the schema,
 * `generate.schema.invalid` for what is no schema, `generate.schema.large` for more than can be held.
 */
export function schemaGrammar(schema: unknown, where = "schema"): Grammar {
  return new SchemaReader(schema, where).read();
}

class SchemaReader {
  readonly #root: unknown;
  readonly #where: string;
  /** By the place they point to. */
  readonly #rules = new Map<string, Rule>();
  #count = 0;

  constructor(root: unknown, where: string) {
    this.#root = root;
    this.#where = where;
  }

  read(): Grammar {
    return this.#rule("#", this.#root, this.#where, 0);
  }

  /** Of a place that references point to: what stands there may hold itself. */
  #rule(pointer: string, schema: unknown, where: string, depth: number): Grammar {
    const known = this.#rules.get(pointer);
    if (known !== undefined) return known;
    const rule: Rule = { kind: "rule", body: undefined };
    this.#rules.set(pointer, rule);
    rule.body = this.#value(schema, where, depth);
    return rule;
  }

  #value(schema: unknown, where: string, depth: number): Grammar {
    if (depth > MOST_DEPTH) throw large(where, `schemas within schemas deeper than ${MOST_DEPTH}`);
    if (++this.#count > MOST_SCHEMAS) throw large(where, `more than ${MOST_SCHEMAS} schemas`);
    if (schema === true) return ANY_VALUE;
    if (schema === false) return NOTHING;
    if (!isRecord(schema)) throw invalid(where, "a schema is an object, true or false");
    for (const key of Object.keys(schema)) {
      if (SCHEMA_KEYWORDS.includes(key)) continue;
      throw unsupported(
        `${where}.${key}`,
        `the keyword "${key}" is not supported.${didYouMean(key, SCHEMA_KEYWORDS)}`,
      );
    }
    const combined = COMBINING.slice(1).filter((key) => schema[key] !== undefined);
    const [first, second] = combined;
    if (first === undefined) return this.#typed(schema, where, depth);
    if (second !== undefined)
      throw unsupported(where, `"${first}" and "${second}" in one schema are not supported`);
    return this.#combined(first, schema, where, depth);
  }

  #combined(
    key: (typeof COMBINING)[number],
    schema: JsonObject,
    where: string,
    depth: number,
  ): Grammar {
    const beside = Object.keys(schema).filter(
      (other) => other !== key && !ANNOTATIONS.some((name) => name === other),
    );
    const at = `${where}.${key}`;
    const refuseBeside = (allowed: readonly string[] = []): void => {
      const other = beside.find((name) => !allowed.includes(name));
      if (other !== undefined)
        throw unsupported(where, `"${other}" beside "${key}" is not supported`);
    };
    switch (key) {
      case "type":
        return this.#typed(schema, where, depth);
      case "const":
      case "enum": {
        refuseBeside(["type"]);
        const values = key === "const" ? [schema["const"]] : listOf(schema["enum"], at);
        if (values.length > MOST_VALUES) throw large(at, `more than ${MOST_VALUES} values`);
        const types = typesOf(schema, where);
        const fitting = values.filter(
          (value) => types?.some((type) => isOfType(value, type)) ?? true,
        );
        return choice([...new Set(fitting.map((value) => JSON.stringify(value)))].map(literal));
      }
      case "anyOf": {
        refuseBeside();
        const options = listOf(schema["anyOf"], at);
        return choice(
          options.map((option, index) => this.#value(option, `${at}[${index}]`, depth + 1)),
        );
      }
      case "oneOf": {
        refuseBeside();
        const options = listOf(schema["oneOf"], at);
        this.#requireDisjoint(options, at);
        return choice(
          options.map((option, index) => this.#value(option, `${at}[${index}]`, depth + 1)),
        );
      }
      case "allOf": {
        refuseBeside();
        const parts = listOf(schema["allOf"], at);
        if (parts.length !== 1)
          throw unsupported(at, "allOf of several schemas is not supported; write them as one");
        return this.#value(parts[0], `${at}[0]`, depth + 1);
      }
      case "$ref": {
        refuseBeside();
        const pointer = schema["$ref"];
        if (typeof pointer !== "string") throw invalid(at, "a reference is a text");
        return this.#rule(pointer, this.#resolve(pointer, at), pointer, depth + 1);
      }
    }
  }

  #resolve(pointer: string, at: string): unknown {
    if (pointer !== "#" && !pointer.startsWith("#/"))
      throw unsupported(
        at,
        `references point into the schema itself (#/$defs/NAME), not to ${pointer}`,
      );
    let value = this.#root;
    for (const part of pointer.split("/").slice(1)) {
      const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      const isThere = isRecord(value)
        ? Object.hasOwn(value, key)
        : Array.isArray(value) && /^\d+$/.test(key);
      if (!isThere) throw invalid(at, `${pointer} points to nothing`);
      value = (value as JsonObject)[key];
    }
    return value;
  }

  /** Throws where a value might fit two of the schemas: exactly one of them must hold. */
  #requireDisjoint(options: readonly unknown[], at: string): void {
    const shapes = options.map((option) => this.#shapeOf(option, at));
    for (const [index, shape] of shapes.entries()) {
      const other = shapes.findIndex((each, at) => at > index && mayOverlap(shape, each));
      if (other >= 0)
        throw unsupported(
          at,
          `a value might fit both ${at}[${index}] and ${at}[${other}], and oneOf wants exactly one: use anyOf, or a required property with another const in each`,
        );
    }
  }

  #shapeOf(option: unknown, at: string): Shape {
    let schema = option;
    for (let hops = 0; isRecord(schema) && typeof schema["$ref"] === "string"; hops++) {
      if (hops > MOST_DEPTH) return {};
      schema = this.#resolve(schema["$ref"], at);
    }
    if (!isRecord(schema)) return {};
    const values = schema["const"] !== undefined ? [schema["const"]] : schema["enum"];
    if (Array.isArray(values))
      return { values: new Set(values.map((value) => JSON.stringify(value))) };
    const types = typesOf(schema, at);
    const properties = isRecord(schema["properties"]) ? schema["properties"] : {};
    const required = Array.isArray(schema["required"]) ? schema["required"] : [];
    const marks = new Map<string, ReadonlySet<string>>();
    for (const name of required) {
      const property = properties[String(name)];
      if (!isRecord(property)) continue;
      const marked = property["const"] !== undefined ? [property["const"]] : property["enum"];
      if (Array.isArray(marked))
        marks.set(String(name), new Set(marked.map((value) => JSON.stringify(value))));
    }
    return { types: types ?? impliedTypes(schema), marks };
  }

  /** A schema that lists no values: by its types, or by those that its keywords speak of. */
  #typed(schema: JsonObject, where: string, depth: number): Grammar {
    const types = typesOf(schema, where) ?? impliedTypes(schema) ?? [];
    if (types.length === 0) return ANY_VALUE;
    for (const key of [...OF_OBJECTS, ...OF_LISTS, ...OF_TEXTS, ...OF_NUMBERS]) {
      if (schema[key] === undefined || types.some((type) => LISTENS[type].includes(key))) continue;
      // It holds of values of another type, of which there are none; surely something else was meant.
      throw invalid(`${where}.${key}`, `"${key}" says nothing of the type ${types.join(" or ")}`);
    }
    return choice(types.map((type) => this.#ofType(type, schema, where, depth)));
  }

  #ofType(type: TypeName, schema: JsonObject, where: string, depth: number): Grammar {
    switch (type) {
      case "object":
        return this.#object(schema, where, depth);
      case "array":
        return this.#list(schema, where, depth);
      case "string":
        return textOf(schema, where);
      case "number":
      case "integer": {
        const bounds = Object.fromEntries(
          OF_NUMBERS.flatMap((key) =>
            schema[key] === undefined ? [] : [[key, numberOf(schema, key, where)]],
          ),
        );
        const isBound = Object.keys(bounds).length > 0;
        if (type === "integer") return isBound ? integersWithin(bounds) : INTEGER;
        return isBound ? numbersWithin(bounds) : NUMBER;
      }
      case "boolean":
        return BOOLEAN;
      case "null":
        return NULL;
    }
  }

  #object(schema: JsonObject, where: string, depth: number): Grammar {
    const properties = schema["properties"] ?? {};
    if (!isRecord(properties)) throw invalid(`${where}.properties`, "properties are an object");
    const required = schema["required"] ?? [];
    if (!Array.isArray(required) || required.some((name) => typeof name !== "string"))
      throw invalid(`${where}.required`, "required is a list of names");
    const others = schema["additionalProperties"];
    if (schema["properties"] === undefined && required.length === 0 && others === undefined)
      return ANY_OBJECT;
    const otherValue = (): Grammar =>
      this.#value(others ?? true, `${where}.additionalProperties`, depth + 1);
    const names = Object.keys(properties);
    const pairs = names.map((name) => ({
      isRequired: required.includes(name),
      pair: pair(
        literal(JSON.stringify(name)),
        this.#value(properties[name], `${where}.properties.${name}`, depth + 1),
      ),
    }));
    for (const name of required as readonly string[])
      if (!names.includes(name))
        pairs.push({ isRequired: true, pair: pair(literal(JSON.stringify(name)), otherValue()) });
    const known = [...names, ...(required as readonly string[])];
    const extra =
      others === undefined || others === false ? NOTHING : pair(otherKey(known), otherValue());
    return jsonObject(propertyList(pairs, extra));
  }

  #list(schema: JsonObject, where: string, depth: number): Grammar {
    const minimum = countOf(schema, "minItems", where) ?? 0;
    const maximum = countOf(schema, "maxItems", where) ?? Infinity;
    const prefix =
      schema["prefixItems"] === undefined
        ? []
        : listOf(schema["prefixItems"], `${where}.prefixItems`);
    const { items } = schema;
    if (Array.isArray(items))
      throw unsupported(`${where}.items`, "a list of items is written as prefixItems");
    const isAny = prefix.length === 0 && items === undefined;
    if (isAny && minimum === 0 && maximum === Infinity) return ANY_LIST;
    // Where the schema does not speak of further items, none is made up unless there have to be some.
    const hasMore = items !== undefined || prefix.length === 0 || minimum > prefix.length;
    const item = hasMore ? this.#value(items ?? true, `${where}.items`, depth + 1) : NOTHING;
    const first = prefix.map((each, index) =>
      this.#value(each, `${where}.prefixItems[${index}]`, depth + 1),
    );
    if (first.length === 0) return jsonList(listed(item, minimum, maximum));
    const comma = sequence(literal(","), SPACE);
    let rest: Grammar = repeat(
      sequence(comma, item),
      Math.max(0, minimum - first.length),
      Math.max(0, maximum - first.length),
    );
    for (let index = first.length - 1; index >= 0; index--) {
      const own = sequence(index === 0 ? EMPTY : comma, first[index] ?? NOTHING, rest);
      rest = choice([...(index >= minimum ? [EMPTY] : []), ...(index < maximum ? [own] : [])]);
    }
    return jsonList(rest);
  }
}

interface Shape {
  /** Values as JSON. */
  readonly values?: ReadonlySet<string>;
  readonly types?: readonly TypeName[] | undefined;
  /** Values of required properties. */
  readonly marks?: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Whether a value may have both shapes, as far as can be told. */
function mayOverlap(a: Shape, b: Shape): boolean {
  if (a.values !== undefined && b.values !== undefined) {
    const { values } = b;
    return [...a.values].some((value) => values.has(value));
  }
  const [types, others] = [a, b].map((shape) => shape.types ?? typesOfValues(shape.values));
  if (types === undefined || others === undefined) return true;
  const shared = types.filter((type) => others.some((other) => isSameKind(type, other)));
  if (shared.length === 0) return false;
  if (shared.some((type) => type !== "object")) return true;
  for (const [name, values] of a.marks ?? []) {
    const same = b.marks?.get(name);
    if (same !== undefined && ![...values].some((value) => same.has(value))) return false;
  }
  return true;
}

function typesOfValues(values: ReadonlySet<string> | undefined): readonly TypeName[] | undefined {
  if (values === undefined) return undefined;
  return TYPES.filter((type) => [...values].some((value) => isOfType(JSON.parse(value), type)));
}

function isSameKind(a: TypeName, b: TypeName): boolean {
  const kind = (type: TypeName): string => (type === "integer" ? "number" : type);
  return kind(a) === kind(b);
}

/** Pairs in their order, those that may be left out included, then others, with commas between what is there. */
function propertyList(
  pairs: readonly { readonly isRequired: boolean; readonly pair: Grammar }[],
  extra: Grammar,
): Grammar {
  const comma = sequence(literal(","), SPACE);
  let asFirst: Grammar = listed(extra);
  let asLater: Grammar = repeat(sequence(comma, extra));
  for (const { isRequired, pair: own } of [...pairs].reverse()) {
    const [first, later] = [sequence(own, asLater), sequence(comma, own, asLater)];
    asFirst = isRequired ? first : choice([first, asFirst]);
    asLater = isRequired ? later : choice([later, asLater]);
  }
  return asFirst;
}

function textOf(schema: JsonObject, where: string): Grammar {
  const minimum = countOf(schema, "minLength", where) ?? 0;
  const maximum = countOf(schema, "maxLength", where) ?? Infinity;
  const isMeasured = minimum > 0 || maximum < Infinity;
  const { pattern, format } = schema;
  const given = [
    isMeasured && "a length",
    pattern !== undefined && "pattern",
    format !== undefined && "format",
  ].filter((name) => name !== false);
  if (given.length > 1)
    throw unsupported(where, `${given.join(" and ")} of one text are not supported together`);
  if (pattern !== undefined) {
    if (typeof pattern !== "string") throw invalid(`${where}.pattern`, "a pattern is a text");
    if (pattern.length > LONGEST_PATTERN)
      throw large(`${where}.pattern`, `more than ${LONGEST_PATTERN} characters`);
    return quoted(pattern, `${where}.pattern`);
  }
  if (format !== undefined) {
    const known = Object.keys(FORMAT_PATTERNS);
    const own =
      typeof format === "string" && known.includes(format) ? FORMAT_PATTERNS[format] : undefined;
    if (own === undefined)
      throw unsupported(
        `${where}.format`,
        `the format ${JSON.stringify(format)} is not supported; formats are ${known.join(", ")}`,
      );
    return quoted(own, `${where}.format`);
  }
  return isMeasured ? jsonText(minimum, maximum) : jsonText();
}

function quoted(pattern: string, where: string): Grammar {
  try {
    return sequence(literal('"'), patternText(pattern), literal('"'));
  } catch (error) {
    if (error instanceof PatternProblem)
      throw unsupported(
        where,
        `the pattern ${JSON.stringify(pattern)} is not supported: ${error.message}`,
      );
    throw error;
  }
}

/** Types that a schema names; nothing where it names none. */
function typesOf(schema: JsonObject, where: string): readonly TypeName[] | undefined {
  const given = schema["type"];
  if (given === undefined) return undefined;
  const names: readonly unknown[] = Array.isArray(given) ? given : [given];
  return names.map((name) => {
    const type = TYPES.find((each) => each === name);
    if (type !== undefined) return type;
    throw invalid(
      `${where}.type`,
      `there is no type ${JSON.stringify(name)}.${didYouMean(String(name), TYPES)}`,
    );
  });
}

/** Types that a schema's keywords speak of. */
function impliedTypes(schema: JsonObject): readonly TypeName[] | undefined {
  const types = (["object", "array", "string", "number"] as const).filter((type) =>
    LISTENS[type].some((key) => schema[key] !== undefined),
  );
  return types.length === 0 ? undefined : types;
}

function isOfType(value: unknown, type: TypeName): boolean {
  switch (type) {
    case "object":
      return isRecord(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    case "string":
    case "number":
    case "boolean":
      return typeof value === type;
  }
}

function numberOf(schema: JsonObject, key: string, where: string): number {
  const value = schema[key];
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw invalid(`${where}.${key}`, `${key} is a number`);
}

function countOf(schema: JsonObject, key: string, where: string): number | undefined {
  const value = schema[key];
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  throw invalid(`${where}.${key}`, `${key} is a whole number, 0 or more`);
}

function listOf(value: unknown, where: string): readonly unknown[] {
  if (Array.isArray(value) && value.length > 0) return value;
  throw invalid(where, "it has to be a list of one or more");
}

function invalid(where: string, problem: string): GenerateError {
  return new GenerateError("generate.schema.invalid", `${where}: ${problem}`);
}

function unsupported(where: string, problem: string): GenerateError {
  return new GenerateError("generate.schema.unsupported", `${where}: ${problem}`);
}

function large(where: string, what: string): GenerateError {
  return new GenerateError("generate.schema.large", `${where}: the schema has ${what}`);
}
