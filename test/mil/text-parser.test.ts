import { describe, expect, it } from "vitest";
import { MilError } from "../../src/mil/errors.ts";
import type { Literal, Program } from "../../src/mil/program.ts";
import { MilSyntaxError, parseProgram, printProgram } from "../../src/mil/text/index.ts";
import { nastyTexts } from "../../bench/reader-mutator.mjs";

function body(operations: string, outputs = "x", inputs = "tensor<fp32, [2]> x"): string {
  return `program(1.3)\n{\n    func main<ios18>(${inputs}) {\n${operations}\n        } -> (${outputs});\n}`;
}

function syntaxError(text: string): MilSyntaxError {
  try {
    parseProgram(text, { fileName: "model.mil" });
  } catch (error) {
    if (error instanceof MilSyntaxError) return error;
    throw error;
  }
  throw new Error("the text was read");
}

function attribute(program: Program, name = "a"): Literal {
  const literal = program.attributes.get(name);
  if (literal === undefined) throw new Error("no attribute");
  return literal;
}

describe("parseProgram", () => {
  it("tells file, line, column, the line itself and what was expected", () => {
    const error = syntaxError(
      body('            tensor<fp32, [2]> y = add(x = x] y = x)[name = string("y")];'),
    );
    expect(error).toBeInstanceOf(MilError);
    expect(error.code).toBe("mil.syntax");
    expect([error.fileName, error.line, error.column]).toEqual(["model.mil", 4, 44]);
    expect(error.message).toBe(
      'model.mil:4:44: expected "," or ")", found "]"\n' +
        '  4 |             tensor<fp32, [2]> y = add(x = x] y = x)[name = string("y")];\n' +
        "    |                                            ^",
    );
  });

  it("counts columns in characters and shows a part of a long line", () => {
    const long = `            tensor<fp32, [2]> y = op(a = string("${"é".repeat(500)}"), b = )`;
    const error = syntaxError(body(long));
    expect(error.column).toBe(long.length);
    expect(error.message).toContain('expected a value, found ")"');
    const [, line = "", mark = ""] = error.message.split("\n");
    expect(line.length).toBeLessThan(200);
    expect(line.charAt(mark.indexOf("^"))).toBe(")");
  });

  it.each([
    ["program(1.3)\n{", "the end of the text"],
    ["program(1.3)\n{\n} x", 'expected the end of the text, found "x"'],
    ["func main", 'expected "program", found "func"'],
    [body("y = add(x = x);"), 'expected "(", found "="'],
    [
      body("tensr<fp32, [2]> y = add(x = x);"),
      'expected a type, found "tensr". Did you mean "tensor"?',
    ],
    [body("tensor<fp33, [2]> y = add(x = x);"), 'found "fp33". Did you mean "fp32"?'],
    [body("tensor<fp32, [-2]> y = add(x = x);"), 'expected a size or "?", found "-"'],
    [body("int32 y = const()[val = int32(1)]"), 'expected ";" after the operation, found "}"'],
    [body("int32 y = const()[val = int32(true)];"), 'expected a whole number, found "true"'],
    [body("string y = const()[val = string(valid)];"), "expected a string in double quotes"],
    [body('string y = const()[val = string("valid)];'), "this string has no closing quote"],
    [body('string y = const()[val = string("\\q")];'), 'unknown escape "\\q"'],
    [body("tensor<fp32, [2]> x = add(x = x);"), 'there is a value "x" already'],
    [body("tensor<fp32, [2]> y = add(x = x, x = x);"), 'parameter "x" is given twice'],
    [body("int32 y = const()[val = int32(1), val = int32(1)];"), 'attribute "val" is given twice'],
    [body("tensor<fp32, [2]> wide = add(x = wode);"), 'there is no value "wode" here.'],
    [body("tensor<fp32, [2]> wide = relu(x = x);", "wode"), 'Did you mean "wide"?'],
    [body("int32 y = const()[val = tensor<int32, [2]>([1, 2, 3])];"), "more than the 2 elements"],
    [
      body("int32 y = const()[val = tensor<int32, [3]>([1, 2])];"),
      "needs 3 elements in dimension 0, here are 2",
    ],
    [
      body("int32 y = const()[val = tensor<int32, [2, 2]>([[1, 2], [3]])];"),
      "rows of 2 and of 1 elements",
    ],
    [
      body("int32 y = const()[val = list<int32, 4000000000>([1])];"),
      "a list of 4000000000 holds 1",
    ],
    [body("int32 y = const()[val = tuple<int32, bool>((1))];"), 'expected "," and 2 items'],
    [
      body("int32 y = const()[val = fp16(BLOBFILE(offset = uint64(64)))];"),
      "BLOBFILE needs a path and an offset",
    ],
    [
      "program(1.3)\n{\nfunc a<ios18>() {\n} -> ();\nfunc a<ios18>() {\n} -> ();\n}",
      'there is a function "a" already',
    ],
  ])("refuses %j", (text, problem) => {
    expect(syntaxError(text).message).toContain(problem);
  });

  it("refuses nasty texts with its own error and reads those that are only strange", () => {
    for (const text of nastyTexts()) {
      try {
        parseProgram(text);
      } catch (error) {
        expect(error).toBeInstanceOf(MilSyntaxError);
      }
    }
  });

  it("refuses nesting without end instead of overflowing the stack", () => {
    const deep = (text: string): string => syntaxError(`program(1.3)\n[a = ${text}`).message;
    expect(deep("list<".repeat(10_000))).toContain("nested more than 128 levels deep");
    const blocks = `program(1.3)\n{\nfunc main<ios18>() {\n${"cond() {\n".repeat(10_000)}`;
    expect(syntaxError(blocks).message).toContain("nested more than 128 levels deep");
  });

  it("keeps keys that objects treat specially", () => {
    const program = parseProgram(
      `program(1.3)\n[a = dict<string, int32>({{"__proto__", 1}, {"constructor", 2}}), __proto__ = int32(3)]\n{\n` +
        `func main<ios18>(int32 __proto__) {\n int32 y = add(__proto__ = __proto__, constructor = __proto__);\n} -> (y);\n}`,
    );
    expect([...program.attributes.keys()]).toEqual(["a", "__proto__"]);
    expect([...(program.functions[0]?.operations[0]?.inputs.keys() ?? [])]).toEqual([
      "__proto__",
      "constructor",
    ]);
    expect(parseProgram(printProgram(program))).toEqual(program);
  });

  it("reads what people write by hand", () => {
    const program = parseProgram(
      `// by hand\nprogram ( 1.3 )[buildInfo=dict<string,string>({{"a","b"}})]{func main<ios18>(tensor<fp16,[1,2]>x){` +
        `tensor<fp16,[1,2]>y=mul(y=fp16(0.00001),x=x)[name=string("y")];// no more\n` +
        `tensor<fp16,[2,2]>w=const()[val=tensor<fp16,[2,2]>([1,2.5,-3e-1,0x1p0])];}->(y)}`,
    );
    expect(printProgram(program)).toBe(
      `program(1.3)\n[buildInfo = dict<string, string>({{"a", "b"}})]\n{\n` +
        `    func main<ios18>(tensor<fp16, [1, 2]> x) {\n` +
        `            tensor<fp16, [1, 2]> y = mul(x = x, y = fp16(0x1.5p-17))[name = string("y")];\n` +
        `            tensor<fp16, [2, 2]> w = const()[val = tensor<fp16, [2, 2]>([[0x1p+0, 0x1.4p+1], [-0x1.334p-2, 0x1p+0]])];\n` +
        `        } -> (y);\n}`,
    );
  });

  it("gives the results of const ops their literal, and names the scope of nested blocks", () => {
    const program = parseProgram(
      body(
        `bool p = const()[val = bool(true)];
         tensor<fp32, [2]> y = cond(pred = p) { tensor<fp32, [2]> a = relu(x = x); } -> (a), { tensor<fp32, [2]> a = abs(x = x); } -> (a);`,
        "y",
      ),
    );
    const [constant, cond] = program.functions[0]?.operations ?? [];
    expect(constant?.outputs[0]?.constant).toBe(constant?.attributes.get("val"));
    expect(cond?.inputs.get("pred")).toBe(constant?.outputs[0]);
    expect(cond?.blocks.map((block) => block.operations[0]?.type)).toEqual(["relu", "abs"]);
    expect(() =>
      parseProgram(body("bool p = cond() { bool q = a(); } -> (q);\nbool r = b(x = q);")),
    ).toThrow('there is no value "q"');
    expect(parseProgram(printProgram(program))).toEqual(program);
  });

  it("reads nested blocks that have names or stand after the semicolon", () => {
    const block = "tensor<fp32, [2]> a = relu(x = x); } -> (a)";
    const spellings = [
      `tensor<fp32, [2]> y = cond(pred = p) { ${block}, { ${block};`,
      `tensor<fp32, [2]> y = cond(pred = p) block0() { ${block} block1() { ${block};`,
      `tensor<fp32, [2]> y = cond(pred = p);\nblock() { ${block};\nblock() { ${block};`,
    ];
    const programs = spellings.map((text) =>
      parseProgram(body(text, "y", "bool p, tensor<fp32, [2]> x")),
    );
    expect(programs[0]?.functions[0]?.operations[0]?.blocks).toHaveLength(2);
    expect(programs[1]).toEqual(programs[0]);
    expect(programs[2]).toEqual(programs[0]);
  });

  it("keeps the shape of a literal whose type leaves it open", () => {
    const text = "tensor<int32, [?, ?]>([[1, 2, 3], [4, 5, 6]])";
    const program = parseProgram(`program(1.3)\n[a = ${text}]\n{\n}`);
    expect(attribute(program).data).toMatchObject({ shape: [2, 3] });
    expect(printProgram(program)).toContain(text);
  });

  it("reads a program from bytes, with or without a mark of their order", () => {
    const text = body('tensor<fp32, [2]> y = relu(x = x)[name = string("ÿ→")];', "y");
    const program = parseProgram(Buffer.from(text));
    expect(parseProgram(`\uFEFF${text}`)).toEqual(program);
    expect(parseProgram(printProgram(program))).toEqual(program);
    expect(() => parseProgram(Buffer.from(text, "latin1"))).toThrow("this string is not UTF-8");
  });

  it("puts large tensors into one typed array", () => {
    const count = 20_000;
    const numbers = Array.from({ length: count }, (_, i) =>
      i % 2 === 0 ? `${i}` : `-0x${i.toString(16)}p-3`,
    );
    const program = parseProgram(
      `program(1.3)\n[a = tensor<fp32, [${count}]>([${numbers.join(", ")}])]\n{\n}`,
    );
    const { data } = attribute(program);
    if (data.kind !== "numbers") throw new Error("numbers are needed");
    expect(data.numbers).toBeInstanceOf(Float32Array);
    expect(data.numbers.buffer.byteLength).toBe(count * 4);
    expect([data.numbers[4], data.numbers[5]]).toEqual([4, -5 / 8]);
  });
});
