import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { ModelProtoSchema } from "../../src/onnx/generated/onnx_pb.ts";
import type { GraphProto } from "../../src/onnx/generated/onnx_pb.ts";
import { exportOnnx } from "../../src/onnx/export-model.ts";
import { functionToOnnx } from "../../src/onnx/lower-function.ts";
import { CaseBuilder } from "../conformance/case-builder.ts";
import { OP_CASES } from "../conformance/op-cases.ts";

function graphOf(fn: MilFunction): GraphProto {
  const { graph } = fromBinary(ModelProtoSchema, functionToOnnx(fn).bytes);
  if (graph === undefined) throw new Error("the model has no graph");
  return graph;
}

const types = (fn: MilFunction): string[] => graphOf(fn).node.map(({ opType }) => opType);

describe("MIL functions as ONNX models", () => {
  it("carry the function's names, types and shapes", () => {
    const f = new FunctionBuilder("f");
    const x = f.input("x", shaped("fp16", 2, 3));
    const graph = graphOf(f.finish({ y: f.op("exp", { x }) }));
    const [input] = graph.input;
    const [output] = graph.output;
    expect(input?.name).toBe("in:x");
    expect(output?.name).toBe("out:y");
    const tensor = input?.type?.value.case === "tensorType" ? input.type.value.value : undefined;
    expect(tensor?.elemType).toBe(10);
    expect(tensor?.shape?.dim.map(({ value }) => value.value)).toEqual([2n, 3n]);
    // fp16 is computed in fp32: casts stand at the borders only.
    expect(graph.node.map(({ opType }) => opType)).toEqual(["Cast", "Exp", "Cast"]);
  });

  it("write a product with a bias, a residual or an accumulated result as one Gemm", () => {
    const f = new FunctionBuilder("f");
    const x = f.input("x", shaped("fp32", 4, 8));
    const w = f.input("w", shaped("fp32", 16, 8));
    const b = f.input("b", shaped("fp32", 16));
    const product = f.op("matmul", { x, y: w, transpose_y: true });
    expect(types(f.finish({ y: f.op("add", { x: product, y: b }) }))).toEqual(["Gemm"]);
  });

  it("write a scaled product of stacks as one FusedMatMul", () => {
    const f = new FunctionBuilder("f");
    const q = f.input("q", shaped("fp32", 2, 3, 4, 8));
    const k = f.input("k", shaped("fp32", 2, 3, 4, 8));
    const scores = f.op("mul", { x: f.op("matmul", { x: q, y: k, transpose_y: true }), y: 0.25 });
    const [node, ...rest] = graphOf(f.finish({ scores })).node;
    expect(rest).toEqual([]);
    expect(node?.opType).toBe("FusedMatMul");
    expect(node?.attribute.map(({ name, f: real, i }) => [name, real ?? i])).toEqual([
      ["transB", 1n],
      ["alpha", 0.25],
    ]);
  });

  it("keep a product that somebody else reads", () => {
    const f = new FunctionBuilder("f");
    const x = f.input("x", shaped("fp32", 4, 4));
    const b = f.input("b", shaped("fp32", 4));
    const product = f.op("matmul", { x, y: x });
    const sum = f.op("add", { x: product, y: b });
    const graph = graphOf(f.finish({ product, sum }));
    expect(graph.node.map(({ opType }) => opType)).toEqual(["Gemm", "Add"]);
  });

  it("add scattered updates to the tensor itself, without zeros in between", () => {
    const f = new FunctionBuilder("f");
    const x = f.input("x", shaped("fp32", 4, 8));
    const indices = f.input("indices", shaped("int32", 4, 1));
    const updates = f.input("updates", shaped("fp32", 4, 1));
    const zeros = f.op("fill", { shape: [4, 8], value: 0 });
    const data = f.op("scatter_along_axis", {
      data: zeros,
      indices,
      updates,
      axis: 1,
      mode: "add",
    });
    const nodes = types(f.finish({ y: f.op("add", { x, y: data }) }));
    expect(nodes).toContain("ScatterElements");
    expect(nodes).not.toContain("Add");
  });

  it("never use ScatterND, whose reductions race", () => {
    for (const recipes of Object.values(OP_CASES)) {
      for (const recipe of recipes) {
        const builder = new CaseBuilder("fp32");
        expect(types(builder.finish(recipe(builder)))).not.toContain("ScatterND");
      }
    }
  });

  it("name function, op and reason where an op has no ONNX form", () => {
    const f = new FunctionBuilder("finder");
    const places = f.op("non_zero", { x: f.input("x", shaped("fp32", 4)) }, { name: "places" });
    const fn = f.finish({ places });
    expect(() => functionToOnnx(fn)).toThrow(/finder: "non_zero" \(places\).*not known when/);
  });

  it("draw random numbers anew in files for other runtimes, unless the op names its seed", () => {
    const drawn = (seed: number): MilFunction => {
      const f = new FunctionBuilder("sampler");
      return f.finish({ noise: f.op("random_normal", { shape: [2, 2], seed }) });
    };
    const written = (seed: number): readonly string[] => {
      const { graph } = fromBinary(ModelProtoSchema, exportOnnx(drawn(seed)).bytes);
      return graph?.node.map(({ opType }) => opType) ?? [];
    };
    expect(written(-1)).toContain("RandomNormal");
    expect(written(7)).not.toContain("RandomNormal");
    expect(types(drawn(-1))).not.toContain("RandomNormal");
  });

  it("refuse unknown sizes", () => {
    const f = new FunctionBuilder("f");
    const x = f.input("x", { kind: "tensor", dataType: "fp32", shape: ["?", 3] });
    const fn = f.finish({ y: f.op("exp", { x }) });
    expect(() => functionToOnnx(fn)).toThrow(/unknown size/);
  });

  it("estimate what the runtime holds between ops", () => {
    const f = new FunctionBuilder("f");
    const x = f.input("x", shaped("fp32", 256));
    const one = f.op("sin", { x });
    const two = f.op("cos", { x });
    const fn = f.finish({ y: f.op("mul", { x: one, y: two }) });
    // sin and cos are alive at once; x and the result stand in buffers of the plan.
    expect(functionToOnnx(fn).intermediateBytes).toBe(2 * 1024);
  });
});
