import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { verifyProgram } from "../../src/mil/verify.ts";
import {
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
} from "../../src/onnx/generated/onnx_pb.ts";
import { importBound, importOnnx } from "../../src/onnx/import/import-model.ts";
import type { ImportOptions } from "../../src/onnx/import/import-model.ts";
import { openOnnx, parseOnnx } from "../../src/onnx/read-model.ts";
import { graphMessage, modelBytes } from "./onnx-model.ts";
import type { TestGraph, TestTensor } from "./onnx-model.ts";

const fp32 = (...shape: readonly (number | string)[]) => ({ type: "fp32" as const, shape });
const int64 = (...shape: readonly (number | string)[]) => ({ type: "int64" as const, shape });
const bool = (...shape: readonly (number | string)[]) => ({ type: "bool" as const, shape });
const whole = (...values: readonly number[]): TestTensor => ({
  type: "int64",
  shape: [values.length],
  values,
});
const one = (type: TestTensor["type"], value: number): TestTensor => ({
  type,
  shape: [],
  values: [value],
});

function programOf(graph: TestGraph, options: ImportOptions = {}, opset = 21) {
  const program = importOnnx(parseOnnx(modelBytes(graph, opset)), options);
  verifyProgram(program);
  return program;
}

function run(
  graph: TestGraph,
  inputs: Readonly<Record<string, readonly number[]>>,
  options: ImportOptions = {},
) {
  const [fn] = programOf(graph, options).functions;
  if (fn === undefined) throw new Error("no function");
  const tensors = new Map(
    fn.inputs.map(({ name, type }) => {
      if (type.kind !== "tensor") throw new Error(name);
      return [
        name,
        hostTensor(type.dataType, type.shape.map(Number), Float64Array.from(inputs[name] ?? [])),
      ];
    }),
  );
  return Object.fromEntries(
    [...evaluateFunction(fn, tensors)].map(([name, { data }]) => [name, Array.from(data)]),
  );
}

const empty = { inputs: {}, constants: {} };

describe("control flow with conditions that are computed while the model runs", () => {
  const branch = (op: string) =>
    graphMessage({
      ...empty,
      nodes: [{ op, inputs: ["x"], outputs: [`${op}_result`] }],
      outputs: { [`${op}_result`]: "fp32" },
    });
  const graph: TestGraph = {
    inputs: { x: fp32(2), flag: bool(1) },
    constants: {},
    nodes: [
      {
        op: "If",
        inputs: ["flag"],
        outputs: ["y"],
        attributes: { then_branch: branch("Neg"), else_branch: branch("Abs") },
      },
    ],
    outputs: { y: "fp32" },
  };

  test("If becomes a cond, its condition of one element a scalar", () => {
    expect(run(graph, { x: [1, -2], flag: [1] })).toEqual({ y: [-1, 2] });
    expect(run(graph, { x: [1, -2], flag: [0] })).toEqual({ y: [1, 2] });
  });

  const doubling = (goes: string) =>
    graphMessage({
      inputs: { i: int64(), before: bool(), v: fp32(1) },
      constants: { limit: { type: "fp32", shape: [1], values: [100] } },
      nodes: [
        { op: "Add", inputs: ["v", "v"], outputs: ["next"] },
        { op: "Less", inputs: ["next", "limit"], outputs: ["small"] },
        { op: "Identity", inputs: [goes], outputs: ["after"] },
        { op: "Identity", inputs: ["next"], outputs: ["seen"] },
      ],
      outputs: { after: "bool", next: "fp32", seen: "fp32" },
    });

  test("Loop of a known number of rounds is written out and gathers what the rounds give", () => {
    const loop: TestGraph = {
      inputs: { x: fp32(1) },
      constants: { rounds: one("int64", 3), start: one("bool", 1) },
      nodes: [
        {
          op: "Loop",
          inputs: ["rounds", "start", "x"],
          outputs: ["last", "all"],
          attributes: { body: doubling("before") },
        },
      ],
      outputs: { last: "fp32", all: "fp32" },
    };
    expect(run(loop, { x: [3] })).toEqual({ last: [24], all: [6, 12, 24] });
  });

  test("Loop until a computed condition becomes a while_loop", () => {
    const body = graphMessage({
      inputs: { i: int64(), before: bool(), v: fp32(1) },
      constants: { limit: { type: "fp32", shape: [1], values: [100] } },
      nodes: [
        { op: "Add", inputs: ["v", "v"], outputs: ["next"] },
        { op: "Less", inputs: ["next", "limit"], outputs: ["after"] },
      ],
      outputs: { after: "bool", next: "fp32" },
    });
    const loop: TestGraph = {
      inputs: { x: fp32(1), rounds: int64() },
      constants: {},
      nodes: [{ op: "Loop", inputs: ["rounds", "", "x"], outputs: ["y"], attributes: { body } }],
      outputs: { y: "fp32" },
    };
    expect(run(loop, { x: [3], rounds: [99] })).toEqual({ y: [192] });
    expect(run(loop, { x: [3], rounds: [2] })).toEqual({ y: [12] });
  });

  test("Loop that gathers an unknown number of results is refused by name", () => {
    const loop: TestGraph = {
      inputs: { x: fp32(1) },
      constants: { rounds: one("int64", 30) },
      nodes: [
        {
          op: "Loop",
          inputs: ["rounds", "", "x"],
          outputs: ["last", "all"],
          attributes: { body: doubling("small") },
        },
      ],
      outputs: { last: "fp32", all: "fp32" },
    };
    expect(() => programOf(loop)).toThrow(/how many results it gathers/);
  });

  test("Scan walks a sequence backwards and puts its results where it found them", () => {
    const body = graphMessage({
      inputs: { sum: fp32(1), x: fp32(1) },
      constants: {},
      nodes: [
        { op: "Add", inputs: ["sum", "x"], outputs: ["next"] },
        { op: "Identity", inputs: ["next"], outputs: ["seen"] },
      ],
      outputs: { next: "fp32", seen: "fp32" },
    });
    const scan: TestGraph = {
      inputs: { start: fp32(1), xs: fp32(3, 1) },
      constants: {},
      nodes: [
        {
          op: "Scan",
          inputs: ["start", "xs"],
          outputs: ["total", "sums"],
          attributes: {
            body,
            num_scan_inputs: 1n,
            scan_input_directions: [1n],
            scan_output_directions: [1n],
          },
        },
      ],
      outputs: { total: "fp32", sums: "fp32" },
    };
    expect(run(scan, { start: [1], xs: [10, 20, 30] })).toEqual({
      total: [61],
      sums: [61, 51, 31],
    });
  });
});

describe("models as other writers leave them", () => {
  test("nodes are put in the order in which they can run", () => {
    const graph: TestGraph = {
      inputs: { x: fp32(2) },
      constants: {},
      nodes: [
        { op: "Neg", inputs: ["b"], outputs: ["y"] },
        { op: "Add", inputs: ["a", "x"], outputs: ["b"] },
        { op: "Abs", inputs: ["x"], outputs: ["a"] },
      ],
      outputs: { y: "fp32" },
    };
    expect(run(graph, { x: [-3, 4] })).toEqual({ y: [-0, -8] });
  });

  test("a size of -1 is one to ask for, and the remedy works", () => {
    const graph: TestGraph = {
      inputs: { x: fp32(-1, 2) },
      constants: {},
      nodes: [{ op: "Abs", inputs: ["x"], outputs: ["y"] }],
      outputs: { y: "fp32" },
    };
    expect(() => programOf(graph)).toThrow(/--shape x=1x2/);
    expect(run(graph, { x: [-1, 2, -3, 4] }, { shapes: new Map([["x", [2, 2]]]) })).toEqual({
      y: [1, 2, 3, 4],
    });
  });

  test("64-bit bounds of slices are kept, 64-bit numbers in arithmetic are refused", () => {
    const bounds: TestGraph = {
      inputs: { x: fp32(3) },
      constants: { start: whole(1), end: whole(2 ** 62), axes: whole(0) },
      nodes: [
        { op: "Concat", inputs: ["end"], outputs: ["ends"], attributes: { axis: 0n } },
        { op: "Slice", inputs: ["x", "start", "ends", "axes"], outputs: ["y"] },
      ],
      outputs: { y: "fp32" },
    };
    expect(run(bounds, { x: [1, 2, 3] })).toEqual({ y: [2, 3] });
    const sum: TestGraph = {
      inputs: { x: int64(1) },
      constants: { large: whole(2 ** 40) },
      nodes: [{ op: "Add", inputs: ["x", "large"], outputs: ["y"] }],
      outputs: { y: "int64" },
    };
    expect(() => programOf(sum)).toThrow(/"large" holds 64-bit integers beyond int32/);
  });

  test("Dropout in training mode is refused, at ratio 0 it is the identity with a mask", () => {
    const graph = (ratio: number): TestGraph => ({
      inputs: { x: fp32(2) },
      constants: { ratio: one("fp32", ratio), training: one("bool", 1) },
      nodes: [{ op: "Dropout", inputs: ["x", "ratio", "training"], outputs: ["y", "mask"] }],
      outputs: { y: "fp32", mask: "bool" },
    });
    expect(() => programOf(graph(0.5))).toThrow(/training mode/);
    expect(run(graph(0), { x: [1, 2] })).toEqual({ y: [1, 2], mask: [1, 1] });
  });

  test("an operator of another domain is not taken for ONNX's own of that name", () => {
    const graph: TestGraph = {
      inputs: { x: fp32(1, 2, 4) },
      constants: {},
      nodes: [
        { op: "Attention", inputs: ["x", "x", "x"], outputs: ["y"], domain: "com.microsoft" },
      ],
      outputs: { y: "fp32" },
    };
    expect(() => programOf(graph)).toThrow(/com\.microsoft\.Attention/);
  });

  test("inputs that MIL needs as constants are bound where their numbers are given", () => {
    const graph: TestGraph = {
      inputs: { x: fp32(2, 3), shape: int64(1), other: fp32(6) },
      constants: {},
      nodes: [
        { op: "Reshape", inputs: ["x", "shape"], outputs: ["flat"] },
        { op: "Add", inputs: ["flat", "other"], outputs: ["y"] },
      ],
      outputs: { y: "fp32" },
    };
    expect(() => programOf(graph)).toThrow(/--bind-constants --input shape=FILE\.npy/);
    const numbers = (name: string, elementType: number, data: BigInt64Array | Float32Array) => ({
      name,
      elementType,
      shape: [data.length],
      numbers: data,
    });
    const { program, bound } = importBound(parseOnnx(modelBytes(graph)), {
      bindable: new Map([
        ["shape", numbers("shape", 7, BigInt64Array.of(6n))],
        ["other", numbers("other", 1, new Float32Array(6))],
      ]),
    });
    expect(bound).toEqual(["shape"]);
    expect(program.functions[0]?.inputs.map(({ name }) => name)).toEqual(["x", "other"]);
  });
});

describe("tensors in a file beside the model", () => {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-onnx-"));
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test("are read there, and not through a link that leaves the folder", () => {
    const inside = join(folder, "model");
    mkdirSync(inside);
    writeFileSync(join(folder, "secret.bin"), Buffer.from(Float32Array.of(1, 2).buffer));
    writeFileSync(join(inside, "weights.bin"), Buffer.from(Float32Array.of(3, 4).buffer));
    symlinkSync(join(folder, "secret.bin"), join(inside, "link.bin"));
    const model = (location: string): string => {
      const message = fromBinary(
        ModelProtoSchema,
        modelBytes({
          inputs: { x: fp32(2) },
          constants: { w: { type: "fp32", shape: [2], values: [0, 0] } },
          nodes: [{ op: "Add", inputs: ["x", "w"], outputs: ["y"] }],
          outputs: { y: "fp32" },
        }),
      );
      for (const tensor of message.graph?.initializer ?? []) {
        tensor.rawData = new Uint8Array();
        tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
        tensor.externalData = [
          create(StringStringEntryProtoSchema, { key: "location", value: location }),
        ];
      }
      const path = join(inside, "model.onnx");
      writeFileSync(path, toBinary(ModelProtoSchema, message));
      return path;
    };
    const read = (location: string) => importOnnx(openOnnx(model(location), inside));
    expect(read("weights.bin").functions).toHaveLength(1);
    for (const location of ["link.bin", "../secret.bin", join(folder, "secret.bin")])
      expect(() => read(location)).toThrow(/not a file in the model's folder/);
  });
});
