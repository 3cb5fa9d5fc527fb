import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { afterAll, describe, expect, it } from "vitest";
import { ModelSchema } from "../../src/coreml/generated/model_pb.ts";
import {
  buildModel,
  CoreMlError,
  loadWeights,
  openModel,
  parseModel,
  saveModelFile,
  savePackage,
  saveText,
  serializeModel,
} from "../../src/coreml/index.ts";
import type { Model } from "../../src/coreml/index.ts";
import { FunctionBuilder, programOf, shaped } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { Program } from "../../src/mil/program.ts";
import { parseProgram, printProgram } from "../../src/mil/text/index.ts";
import { TEXT_SEEDS } from "../../bench/reader-mutator.mjs";

const scratch = mkdtempSync(join(tmpdir(), "anecdote-model-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** x [1, 4] through a linear layer of 12 weights. */
function smallProgram(): Program {
  const f = new FunctionBuilder("main", "ios16");
  const x = f.input("x", shaped("fp16", 1, 4));
  const weight = f.constant(
    tensorLiteral(
      "fp16",
      [3, 4],
      Array.from({ length: 12 }, (_, i) => i / 8),
    ),
    "weight",
  );
  const bias = f.constant(tensorLiteral("fp16", [3], [1, 2, 3]), "bias");
  const y = f.op("linear", { x, weight, bias });
  return programOf(f.finish({ y: f.op("mul", { x: y, y: 2 }) }));
}

function filesIn(folder: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[path.slice(folder.length + 1)] = readFileSync(path).toString("hex");
  }
  return files;
}

function main(program: Program) {
  const [first] = program.functions;
  if (first === undefined) throw new Error("no function");
  return first;
}

describe("savePackage and openModel", () => {
  it("write a package of the known layout, and read the same program from it", () => {
    const path = join(scratch, "small.mlpackage");
    savePackage(path, smallProgram(), {
      metadata: {
        author: "A. Uthor",
        shortDescription: "small",
        userDefined: new Map([
          ["b", "2"],
          ["a", "1"],
        ]),
      },
    });
    expect(Object.keys(filesIn(path)).toSorted()).toEqual([
      "Data/com.apple.CoreML/model.mlmodel",
      "Data/com.apple.CoreML/weights/weight.bin",
      "Manifest.json",
    ]);
    const manifest = JSON.parse(readFileSync(join(path, "Manifest.json"), "utf8"));
    expect(manifest.fileFormatVersion).toBe("1.0.0");
    expect(manifest.rootModelIdentifier).toMatch(
      /^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$/,
    );
    expect(manifest.itemInfoEntries[manifest.rootModelIdentifier].path).toBe(
      "com.apple.CoreML/model.mlmodel",
    );

    const opened = openModel(path);
    expect(opened.format).toBe("mlpackage");
    expect(opened.metadata).toMatchObject({ author: "A. Uthor", shortDescription: "small" });
    expect([...(opened.metadata.userDefined ?? [])]).toEqual([
      ["a", "1"],
      ["b", "2"],
    ]);
    expect(opened.model?.specificationVersion).toBe(7);
    const { operations, inputs, outputs, opset } = main(opened.program);
    expect(opset).toBe("ios16");
    expect([inputs[0]?.name, outputs[0]?.name]).toEqual(["x", "y"]);
    // What was written in place is a constant of its own now, as Apple's library wants it.
    expect(operations.map(({ type }) => type)).toEqual([
      "const",
      "const",
      "linear",
      "const",
      "mul",
    ]);
    const [weight, bias] = operations;
    expect(weight?.attributes.get("val")?.data).toEqual({
      kind: "blob",
      path: "@model_path/weights/weight.bin",
      offset: 64,
    });
    expect(bias?.attributes.get("val")?.data).toMatchObject({ kind: "numbers" });
    const loaded = main(loadWeights(opened.program, opened.weights));
    const original = main(smallProgram());
    expect(loaded.operations[0]?.outputs[0]?.constant).toEqual(
      original.operations[0]?.outputs[0]?.constant,
    );
    expect(loaded.operations[2]?.inputs.get("weight")).toBe(loaded.operations[0]?.outputs[0]);
    opened.close();
  });

  it("write the same bytes for the same program, over an older package as well", () => {
    const [first, second] = [join(scratch, "one.mlpackage"), join(scratch, "two.mlpackage")];
    savePackage(first, smallProgram());
    savePackage(
      second,
      parseProgram(TEXT_SEEDS[2]?.replace("tensor<bool, []> p", "tensor<int32, [1]> p") ?? ""),
    );
    savePackage(second, smallProgram());
    expect(filesIn(second)).toEqual(filesIn(first));
    expect(readdirSync(scratch).filter((name) => name.startsWith("."))).toEqual([]);
    // Opened and saved again, nothing moves.
    const opened = openModel(first);
    savePackage(second, opened.program, { weights: opened.weights, original: opened.model });
    expect(filesIn(second)).toEqual(filesIn(first));
    opened.close();
  });

  it("leave what is in the way and is not a package", () => {
    const path = join(scratch, "precious");
    mkdirSync(path);
    writeFileSync(join(path, "diary.txt"), "dear diary");
    expect(() => savePackage(path, smallProgram())).toThrow(
      "exists and is not a Core ML package; it is left as it is",
    );
    expect(readFileSync(join(path, "diary.txt"), "utf8")).toBe("dear diary");
  });

  it("write one model file with all tensors inside", () => {
    const path = join(scratch, "small.mlmodel");
    saveModelFile(path, smallProgram());
    const opened = openModel(path);
    expect(opened.format).toBe("mlmodel");
    expect(main(opened.program).operations[0]?.attributes.get("val")).toEqual(
      main(smallProgram()).operations[0]?.attributes.get("val"),
    );
    opened.close();
  });

  it("write text with its weights beside it", () => {
    const folder = join(scratch, "text");
    saveText(join(folder, "small.mil"), smallProgram());
    expect(existsSync(join(folder, "small.weights.bin"))).toBe(true);
    const opened = openModel(join(folder, "small.mil"));
    expect(opened.format).toBe("mil");
    expect(printProgram(opened.program)).toContain(
      'BLOBFILE(path = string("@model_path/small.weights.bin"), offset = uint64(64))',
    );
    expect(loadWeights(opened.program, opened.weights)).toEqual(smallProgram());
    // A compiled model is a folder of the same form.
    const compiled = join(scratch, "small.mlmodelc");
    cpSync(folder, compiled, { recursive: true });
    cpSync(join(folder, "small.mil"), join(compiled, "model.mil"));
    expect(openModel(compiled)).toMatchObject({ format: "mlmodelc" });
    opened.close();
  });

  it("keep several functions, states and flexible shapes", () => {
    const program = parseProgram(
      TEXT_SEEDS[0]?.replace(
        /tensor<fp16, \[4, 4, 1, 1\]>\(BLOBFILE.*?\)\)\)/,
        `tensor<fp16, [4, 4, 1, 1]>([${Array.from({ length: 16 }, (_, i) => i).join(", ")}])`,
      ) ?? "",
    );
    const path = join(scratch, "several.mlpackage");
    savePackage(path, program, { defaultFunction: "second" });
    const { model, program: back } = openModel(path);
    expect(model?.specificationVersion).toBe(9);
    expect(model?.description).toMatchObject({
      defaultFunctionName: "second",
      input: [],
      output: [],
    });
    const [first, second] = model?.description?.functions ?? [];
    expect(first?.input.map(({ name }) => name)).toEqual(["x"]);
    expect(first?.state.map(({ name, type }) => [name, type?.type.case])).toEqual([
      ["s", "stateType"],
    ]);
    expect(second?.input[0]?.type?.type.value).toMatchObject({
      shape: [1n, 4n],
      shapeFlexibility: {
        case: "shapeRange",
        value: {
          sizeRanges: [
            { lowerBound: 1n, upperBound: 4n },
            { lowerBound: 4n, upperBound: 4n },
          ],
        },
      },
    });
    expect(back.functions.map(({ name }) => name)).toEqual(["main", "second"]);
    expect(back.functions[1]?.attributes).toEqual(program.functions[1]?.attributes);
    expect(back.functions[0]?.inputs).toEqual(program.functions[0]?.inputs);
    expect(() => savePackage(path, program, { defaultFunction: "third" })).toThrow(
      'there is no function "third"; there are main, second',
    );
  });

  it("say which types models do not pass in and out", () => {
    const program = parseProgram(
      "program(1.3)\n{\nfunc main<ios18>(bool p) {\n bool q = identity(x = p);\n} -> (q);\n}",
    );
    expect(() => buildModel(program)).toThrow(
      'input "p" is bool[]; models pass fp16, fp32, fp64, int8, int32 in and out',
    );
    const buffer = parseProgram(TEXT_SEEDS[3] ?? "");
    expect(() => buildModel(buffer)).toThrow(CoreMlError);
    // coremltools refuses to load such a model.
    const scalar = parseProgram(
      "program(1.3)\n{\nfunc main<ios18>(fp32 p) {\n fp32 q = relu(x = p);\n} -> (q);\n}",
    );
    expect(() => savePackage(join(scratch, "scalar.mlpackage"), scalar)).toThrow(
      'input "p" of "main" is fp32[]; models take tensors with at least one dimension',
    );
  });
});

describe("parseModel", () => {
  const encode = (change: (model: Model) => void): Uint8Array => {
    const model = buildModel(smallProgram());
    change(model);
    return serializeModel(model);
  };

  it("names the kind of a model that is not an ML program", () => {
    const model = create(ModelSchema, { specificationVersion: 4 });
    model.$unknown = [{ no: 500, wireType: WireType.LengthDelimited, data: Uint8Array.of(0) }];
    expect(() => parseModel(toBinary(ModelSchema, model), "old.mlmodel")).toThrow(
      "old.mlmodel is a neuralNetwork model of specification 4; only ML programs are read",
    );
    model.$unknown = [{ no: 202, wireType: WireType.LengthDelimited, data: Uint8Array.of(0) }];
    expect(() => parseModel(toBinary(ModelSchema, model))).toThrow("is a pipeline model");
    expect(() => parseModel(new Uint8Array(), "empty.mlmodel")).toThrow(
      "empty.mlmodel holds no ML program",
    );
  });

  it("keeps fields and ops that nobody knows", () => {
    const unknown = [{ no: 900, wireType: WireType.LengthDelimited, data: Uint8Array.of(2, 7, 8) }];
    const bytes = encode((model) => {
      model.$unknown = [{ no: 77, wireType: WireType.Varint, data: Uint8Array.of(5) }];
      const body = model.mlProgram?.functions[0]?.value;
      const block = body?.blockSpecializations[0]?.value;
      const operation = block?.operations[2];
      if (model.mlProgram === undefined || body === undefined || operation === undefined)
        throw new Error("no op");
      model.mlProgram.$unknown = unknown;
      model.mlProgram.docString = "made by hand";
      body.$unknown = unknown;
      operation.$unknown = unknown;
      operation.type = "linear_of_tomorrow";
    });
    const { model, program } = parseModel(bytes);
    expect(main(program).operations[2]?.type).toBe("linear_of_tomorrow");
    expect(serializeModel(buildModel(program, { original: model }))).toEqual(bytes);
  });

  it("says where a program is wrong", () => {
    expect(() =>
      parseModel(
        encode((model) => {
          const operation =
            model.mlProgram?.functions[0]?.value?.blockSpecializations[0]?.value?.operations[2];
          const binding = operation?.inputs[0]?.value?.arguments[0];
          if (binding !== undefined) binding.binding = { case: "name", value: "biaz" };
        }),
        "small.mlmodel",
      ),
    ).toThrow(
      'small.mlmodel: function "main", op 2 (linear): there is no value "biaz"; the nearest is "bias"',
    );
    expect(() =>
      parseModel(
        encode((model) => {
          const type = model.mlProgram?.functions[0]?.value?.inputs[0]?.type?.type;
          if (type?.case === "tensorType") type.value.dataType = 99;
        }),
      ),
    ).toThrow('function "main": value "x": a tensor has the unknown element type 99');
    expect(() => parseModel(Buffer.from("not a model at all"))).toThrow("is not a Core ML model");
  });
});

describe("a package's manifest", () => {
  const path = join(scratch, "manifest.mlpackage");
  const write = (change: (manifest: Record<string, unknown>) => unknown): string => {
    rmSync(path, { recursive: true, force: true });
    savePackage(path, smallProgram());
    const manifest = JSON.parse(readFileSync(join(path, "Manifest.json"), "utf8"));
    writeFileSync(join(path, "Manifest.json"), JSON.stringify(change(manifest)));
    return path;
  };
  const message = (open: () => unknown): string => {
    try {
      open();
    } catch (error) {
      expect(error).toBeInstanceOf(CoreMlError);
      return String(error);
    }
    throw new Error("it was opened");
  };

  it("names the model by the root identifier, in any folder", () => {
    write((manifest) => ({
      ...manifest,
      itemInfoEntries: {
        "X-1": {
          path: "com.example.other/deep/net.mlmodel",
          author: "o",
          name: "n",
          description: "d",
        },
        Y: { path: "z" },
      },
      rootModelIdentifier: "X-1",
    }));
    cpSync(
      join(path, "Data", "com.apple.CoreML"),
      join(path, "Data", "com.example.other", "deep"),
      { recursive: true },
    );
    cpSync(
      join(path, "Data", "com.example.other", "deep", "model.mlmodel"),
      join(path, "Data", "com.example.other", "deep", "net.mlmodel"),
    );
    rmSync(join(path, "Data", "com.apple.CoreML"), { recursive: true });
    const opened = openModel(path);
    expect(loadWeights(opened.program, opened.weights).functions).toHaveLength(1);
    opened.close();
  });

  it("is refused without a version, a root, or when it points outside", () => {
    expect(
      message(() =>
        openModel(write((manifest) => ({ ...manifest, fileFormatVersion: undefined }))),
      ),
    ).toContain("fileFormatVersion");
    expect(
      message(() => openModel(write((manifest) => ({ ...manifest, rootModelIdentifier: "gone" })))),
    ).toContain("the root model gone is not among the items");
    expect(
      message(() =>
        openModel(write((manifest) => ({ ...manifest, rootModelIdentifier: "__proto__" }))),
      ),
    ).toContain("is not among the items");
    expect(
      message(() =>
        openModel(
          write((manifest) => ({
            ...manifest,
            itemInfoEntries: { a: { path: "../../etc/passwd" } },
            rootModelIdentifier: "a",
          })),
        ),
      ),
    ).toContain("is outside the package");
    rmSync(join(path, "Manifest.json"));
    expect(message(() => openModel(path))).toContain("it has no Manifest.json");
    expect(message(() => openModel(join(scratch, "nothing")))).toContain("does not exist");
  });
});

describe("weights", () => {
  const open = (reference: string, type = "tensor<fp16, [12]>") => {
    const path = join(scratch, "weights.mil");
    saveText(path, smallProgram());
    writeFileSync(
      path,
      `program(1.3)\n{\nfunc main<ios18>(tensor<int32, [1]> x) {\n ${type} w = const()[val = ${type}(BLOBFILE(${reference}))];\n} -> (w);\n}`,
    );
    return openModel(path);
  };

  it("are refused outside the model's folder, at wrong offsets, and of other types", () => {
    const load = (reference: string, type?: string) => () => {
      const opened = open(reference, type);
      try {
        return loadWeights(opened.program, opened.weights);
      } finally {
        opened.close();
      }
    };
    expect(
      main(load('path = string("@model_path/weights.weights.bin"), offset = uint64(64)')())
        .operations,
    ).toHaveLength(1);
    expect(load('path = string("@model_path/../x.bin"), offset = uint64(64)')).toThrow(
      "is outside the model's folder",
    );
    expect(load('path = string("/etc/passwd"), offset = uint64(64)')).toThrow(
      "is outside the model's folder",
    );
    expect(load('path = string("@model_path/gone.bin"), offset = uint64(64)')).toThrow(
      "does not exist",
    );
    expect(load('path = string("@model_path/weights.weights.bin"), offset = uint64(80)')).toThrow(
      "its mark is missing",
    );
    expect(
      load(
        'path = string("@model_path/weights.weights.bin"), offset = uint64(64)',
        "tensor<fp32, [12]>",
      ),
    ).toThrow("holds fp16, the program says fp32[12]");
    expect(
      load(
        'path = string("@model_path/weights.weights.bin"), offset = uint64(64)',
        "tensor<fp16, [13]>",
      ),
    ).toThrow("holds 12 elements, fp16[13] needs 13");
    expect(() =>
      savePackage(
        join(scratch, "no.mlpackage"),
        open('path = string("@model_path/weights.weights.bin"), offset = uint64(64)').program,
      ),
    ).toThrow("no weights were given");
  });
});
