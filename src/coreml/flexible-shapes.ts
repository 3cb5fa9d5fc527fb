import { int32sLiteral, literalNumbers, literalString, stringLiteral } from "../mil/literal.ts";
import type { Literal, LiteralData, MilFunction, Program } from "../mil/program.ts";
import { scalarType, tensorType } from "../mil/types.ts";
import type { DictionaryType, ListType, MilType, TupleType } from "../mil/types.ts";
import { carryOver } from "./carried.ts";
import { CoreMlError } from "./errors.ts";
import type { FeatureDescription, ModelDescription } from "./generated/model_pb.ts";

// Text says how far shapes may change in the function attribute FlexibleShapeInformation, models say it in their
// description (facts: formats, section 5.4).

const ATTRIBUTE = "FlexibleShapeInformation";

/** Shapes an input may have: ranges with both ends included (a negative upper end: no end), or a list. */
export interface FlexibleShape {
  readonly defaultShape: readonly number[];
  readonly ranges?: readonly (readonly [number, number])[];
  readonly shapes?: readonly (readonly number[])[];
}

/** The flexible shapes that a function's attribute names, by input. Throws `CoreMlError` where it is not as known. */
export function readFlexibleShapes(milFunction: MilFunction): ReadonlyMap<string, FlexibleShape> {
  const attribute = milFunction.attributes.get(ATTRIBUTE);
  if (attribute === undefined) return new Map();
  try {
    return readAttribute(attribute);
  } catch (error) {
    throw new CoreMlError(
      "coreml.flexible",
      `function "${milFunction.name}": ${ATTRIBUTE} is not of a known form`,
      { cause: error },
    );
  }
}

function readAttribute(attribute: Literal): ReadonlyMap<string, FlexibleShape> {
  const sections = new Map(
    itemsOf(attribute).map((pair) => {
      const [name, contents] = itemsOf(pair);
      if (name === undefined || contents === undefined) throw new TypeError("a pair is needed");
      return [literalString(name), pairsOf(contents)] as const;
    }),
  );
  const shapes = new Map<string, FlexibleShape>();
  for (const [name, shape] of sections.get("DefaultShapes") ?? []) {
    shapes.set(literalString(name), { defaultShape: literalNumbers(shape) });
  }
  for (const [name, ranges] of sections.get("RangeDims") ?? []) {
    const key = literalString(name);
    shapes.set(key, {
      defaultShape: shapes.get(key)?.defaultShape ?? [],
      ranges: itemsOf(ranges).map((range) => {
        const [lower = 0, upper = -1] = literalNumbers(range);
        return [lower, upper];
      }),
    });
  }
  const enumerated = new Map<string, number[][]>();
  for (const [, choice] of sections.get("EnumeratedShapes") ?? []) {
    for (const [name, shape] of pairsOf(choice)) {
      const list = enumerated.get(literalString(name)) ?? [];
      list.push([...literalNumbers(shape)]);
      enumerated.set(literalString(name), list);
    }
  }
  for (const [key, list] of enumerated) {
    shapes.set(key, { defaultShape: shapes.get(key)?.defaultShape ?? list[0] ?? [], shapes: list });
  }
  return shapes;
}

function itemsOf(literal: Literal): readonly Literal[] {
  if (literal.data.kind !== "items") throw new TypeError("items are needed");
  return literal.data.items;
}

function pairsOf(literal: Literal): readonly (readonly [Literal, Literal])[] {
  if (literal.data.kind !== "pairs") throw new TypeError("pairs are needed");
  return literal.data.pairs;
}

/** The program with the flexible shapes of a model's description written as attributes, as its text form has them. */
export function withFlexibleShapes(program: Program, description: ModelDescription): Program {
  const functions = program.functions.map((milFunction) => {
    if (milFunction.attributes.has(ATTRIBUTE)) return milFunction;
    const own = description.functions.find(({ name }) => name === milFunction.name);
    const attribute = writeAttribute((own ?? description).input);
    if (attribute === undefined) return milFunction;
    const attributes = new Map(milFunction.attributes).set(ATTRIBUTE, attribute);
    const flexible: MilFunction = Object.freeze({ ...milFunction, attributes });
    carryOver(milFunction, flexible);
    return flexible;
  });
  if (functions.every((milFunction, index) => milFunction === program.functions[index])) {
    return program;
  }
  const flexible: Program = Object.freeze({ ...program, functions: Object.freeze(functions) });
  carryOver(program, flexible);
  return flexible;
}

const STRING = scalarType("string");
const SIZES = tensorType("int32", ["?"]);
const RANGES: ListType = { kind: "list", element: tensorType("int32", [2]), length: "?" };
const SHAPES_BY_NAME: DictionaryType = { kind: "dict", key: STRING, value: SIZES };

function writeAttribute(features: readonly FeatureDescription[]): Literal | undefined {
  const defaults: [Literal, Literal][] = [];
  const ranges: [Literal, Literal][] = [];
  const choices = new Map<number, [Literal, Literal][]>();
  const sorted = features.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (const { name, type } of sorted) {
    if (type?.type.case !== "multiArrayType") continue;
    const { shape, shapeFlexibility } = type.type.value;
    if (shapeFlexibility.case === undefined) continue;
    const key = stringLiteral(name);
    if (shapeFlexibility.case === "shapeRange") {
      const { sizeRanges } = shapeFlexibility.value;
      const items = sizeRanges.map(({ lowerBound, upperBound }) =>
        int32sLiteral([clamp(lowerBound), clamp(upperBound)]),
      );
      ranges.push([key, literal(RANGES, { kind: "items", items })]);
      const sizes = shape.length > 0 ? shape : sizeRanges.map(({ lowerBound }) => lowerBound);
      defaults.push([key, sizesLiteral(sizes)]);
    } else {
      const { shapes } = shapeFlexibility.value;
      for (const [index, choice] of shapes.entries()) {
        const list = choices.get(index) ?? [];
        list.push([key, sizesLiteral(choice.shape)]);
        choices.set(index, list);
      }
      defaults.push([key, sizesLiteral(shape.length > 0 ? shape : (shapes[0]?.shape ?? []))]);
    }
  }
  if (defaults.length === 0) return undefined;
  const sections = [section("DefaultShapes", SHAPES_BY_NAME, defaults)];
  if (choices.size > 0) {
    const type: DictionaryType = { kind: "dict", key: STRING, value: SHAPES_BY_NAME };
    const pairs = Array.from(choices.values(), (list): [Literal, Literal] => [
      stringLiteral(shapeKey(list)),
      literal(SHAPES_BY_NAME, { kind: "pairs", pairs: list }),
    ]);
    sections.push(section("EnumeratedShapes", type, pairs));
  }
  if (ranges.length > 0) {
    sections.push(section("RangeDims", { kind: "dict", key: STRING, value: RANGES }, ranges));
  }
  const type: TupleType = { kind: "tuple", items: sections.map((item) => item.type) };
  return literal(type, { kind: "items", items: sections });
}

function section(
  name: string,
  type: MilType,
  pairs: readonly (readonly [Literal, Literal])[],
): Literal {
  const contents = literal(type, { kind: "pairs", pairs });
  return literal(
    { kind: "tuple", items: [STRING, type] },
    { kind: "items", items: [stringLiteral(name), contents] },
  );
}

function literal(type: MilType, data: LiteralData): Literal {
  return Object.freeze({ kind: "literal", type, data: Object.freeze(data) });
}

function sizesLiteral(sizes: readonly bigint[]): Literal {
  return literal(SIZES, int32sLiteral(sizes.map(clamp)).data);
}

function clamp(size: bigint): number {
  const limited = size > 0x7fffffffn ? 0x7fffffffn : size < -1n ? -1n : size;
  return Number(limited);
}

/** Eight hexadecimal digits that tell enumerated shapes apart (FNV-1a; Apple's own hash is not known). */
function shapeKey(list: readonly (readonly [Literal, Literal])[]): string {
  let hash = 0x811c9dc5;
  const text = list
    .map(([name, sizes]) => `${literalString(name)}:${literalNumbers(sizes).join(",")}`)
    .join(";");
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
