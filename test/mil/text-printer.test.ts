import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FunctionBuilder, programOf, shaped } from "../../src/mil/builder.ts";
import { allocateNumbers, stringLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import type { Literal, LiteralData, NumericData, Program } from "../../src/mil/program.ts";
import { floatFormat, roundToFormat } from "../../src/mil/float-format.ts";
import { parseProgram, printProgram, printType } from "../../src/mil/text/index.ts";
import { DATA_TYPE_BITS, scalarType, tensorType } from "../../src/mil/types.ts";
import type { DataType, MilType } from "../../src/mil/types.ts";
import { TEXT_SEEDS } from "../../bench/reader-mutator.mjs";

const DATA_TYPES = Object.keys(DATA_TYPE_BITS) as DataType[];

/** Numbers that the type can hold. */
function numbersOf(dataType: DataType, values: readonly number[]): NumericData {
  const numbers = allocateNumbers(dataType, values.length);
  const format = floatFormat(dataType);
  const bits = DATA_TYPE_BITS[dataType];
  for (const [index, value] of values.entries()) {
    if (numbers instanceof BigInt64Array || numbers instanceof BigUint64Array) {
      numbers[index] = BigInt(Math.trunc(value * 1e6)) * 9007199254740993n;
    } else if (format !== undefined) {
      numbers[index] = format.hasInfinity
        ? roundToFormat(value, format)
        : roundToFormat(value % 448, format);
    } else if (dataType === "bool") numbers[index] = Math.abs(Math.trunc(value)) % 2;
    else {
      const range = 2 ** bits;
      const wrapped = ((Math.trunc(value) % range) + range) % range;
      numbers[index] =
        dataType.startsWith("int") && wrapped >= range / 2 ? wrapped - range : wrapped;
    }
  }
  return numbers;
}

const tensorLiterals: fc.Arbitrary<Literal> = fc
  .record({
    dataType: fc.constantFrom(...DATA_TYPES),
    shape: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }),
    seed: fc.array(fc.double({ noNaN: true, min: -1e5, max: 1e5 }), {
      minLength: 81,
      maxLength: 81,
    }),
    text: fc.string({ unit: "grapheme" }),
  })
  .map(({ dataType, shape, seed, text }): Literal => {
    let count = 1;
    for (const size of shape) count *= size;
    const data: LiteralData =
      dataType === "string"
        ? { kind: "strings", strings: Array.from({ length: count }, (_, i) => `${text}${i}`) }
        : { kind: "numbers", numbers: numbersOf(dataType, seed.slice(0, count)) };
    return { kind: "literal", type: tensorType(dataType, shape), data };
  });

const blobLiterals: fc.Arbitrary<Literal> = fc
  .record({ path: fc.string(), offset: fc.nat() })
  .map(({ path, offset }) => ({
    kind: "literal",
    type: tensorType("fp16", [64, 64]),
    data: { kind: "blob", path: `@model_path/${path}`, offset },
  }));

const literals: fc.Arbitrary<Literal> = fc.letrec<{ literal: Literal }>((tie) => ({
  literal: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tensorLiterals,
    blobLiterals,
    fc.array(tie("literal"), { maxLength: 3 }).map((items): Literal => ({
      kind: "literal",
      type: { kind: "tuple", items: items.map((item) => item.type) },
      data: { kind: "items", items },
    })),
    fc
      .tuple(tie("literal"), fc.integer({ min: 0, max: 3 }), fc.boolean())
      .map(([item, length, isOpen]): Literal => ({
        kind: "literal",
        type: { kind: "list", element: item.type, length: isOpen ? "?" : length },
        data: { kind: "items", items: Array.from({ length }, () => item) },
      })),
    fc
      .tuple(fc.array(fc.string(), { maxLength: 3 }), tie("literal"))
      .map(([keys, item]): Literal => ({
        kind: "literal",
        type: { kind: "dict", key: scalarType("string"), value: item.type },
        data: { kind: "pairs", pairs: keys.map((key) => [stringLiteral(key), item]) },
      })),
  ),
})).literal;

function withAttribute(literal: Literal): Program {
  return { version: "1.3", attributes: new Map([["a", literal]]), functions: [] };
}

describe("printProgram", () => {
  it("prints any literal so that it reads the same, in both dialects", () => {
    fc.assert(
      fc.property(literals, fc.constantFrom("1.0", "1.3"), (literal, version) => {
        const program = { ...withAttribute(literal), version };
        expect(parseProgram(printProgram(program))).toEqual(program);
      }),
      { numRuns: 400 },
    );
  });

  it("prints what it printed with the same bytes", () => {
    for (const text of TEXT_SEEDS) {
      const printed = printProgram(parseProgram(text));
      expect(printProgram(parseProgram(printed))).toBe(printed);
      expect(parseProgram(printed)).toEqual(parseProgram(text));
    }
  });

  it("writes scalars as the dialect does", () => {
    const f = new FunctionBuilder("main", "ios16");
    const x = f.input("x", shaped("fp32", 1, 2));
    const program = programOf(f.finish({ y: f.op("mul", { x, y: 0.5 }) }));
    expect(printProgram(program)).toBe(
      `program(1.3)\n{\n    func main<ios16>(tensor<fp32, [1, 2]> x) {\n` +
        `            tensor<fp32, [1, 2]> y = mul(x = x, y = fp32(0x1p-1));\n        } -> (y);\n}`,
    );
    expect(printProgram(program, { version: "1.0" })).toBe(
      `program(1.0)\n{\n    func main<ios16>(tensor<fp32, [1, 2]> x) {\n` +
        `            tensor<fp32, [1, 2]> y = mul(x = x, y = tensor<fp32, []>(0x1p-1));\n        } -> (y);\n}\n`,
    );
  });

  it("gives the runtime the header and the names it insists on", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x", shaped("fp16", 4));
    const w = f.constant(tensorLiteral("fp16", [4], [1, 2, 3, 4]), "w");
    const text = printProgram(programOf(f.finish({ y: f.op("add", { x, y: w }) })), {
      forRuntime: true,
    });
    expect(text.split("\n")[1]).toBe(
      '[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3520.4.1"}, {"coremlc-version", "3520.5.1"}})]',
    );
    expect(text).toContain('const()[name = string("w"), val = ');
    expect(text).toContain('add(x = x, y = w)[name = string("y")];');
  });

  it("replaces names that the language cannot spell by near ones, all distinct", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x.1", shaped("fp16", 4));
    const y = f.input("x_1", shaped("fp16", 4));
    const z = f.input("1/é", shaped("fp16", 4));
    const text = printProgram(
      programOf(f.finish({ "sum:0": f.op("add", { x: f.op("mul", { x, y }), y: z }) })),
    );
    expect(text).toContain(
      "(tensor<fp16, [4]> x_1_2, tensor<fp16, [4]> x_1, tensor<fp16, [4]> _1__)",
    );
    expect(text).toContain("-> (sum_0);");
    expect(parseProgram(text).functions[0]?.operations).toHaveLength(2);
  });

  it("refuses names of parameters that the language cannot spell", () => {
    const program = withAttribute(stringLiteral("x"));
    const bad = { ...program, attributes: new Map([["a b", stringLiteral("x")]]) };
    expect(() => printProgram(bad)).toThrow(
      'the attribute name "a b" cannot be written in MIL text',
    );
  });

  it("prints every kind of type", () => {
    const types: readonly (readonly [MilType, string])[] = [
      [tensorType("fp16", [1, "?"]), "tensor<fp16, [1, ?]>"],
      [{ kind: "state", wrapped: tensorType("fp16", [2]) }, "state<tensor<fp16, [2]>>"],
      [{ kind: "list", element: scalarType("string"), length: "?" }, "list<string, ?>"],
      [{ kind: "tuple", items: [] }, "tuple<>"],
      [
        {
          kind: "tensor_buffer",
          dataType: "fp16",
          shape: [1],
          strides: [32],
          interleaveFactors: [1],
        },
        "tensor_buffer<fp16, shape=[1], strides=[32], interleave_factors=[1]>",
      ],
    ];
    for (const [type, text] of types) expect(printType(type)).toBe(text);
  });
});
