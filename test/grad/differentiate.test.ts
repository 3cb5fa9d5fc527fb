import { assert, integer, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { differentiate } from "../../src/grad/differentiate.ts";
import type { Derivative } from "../../src/grad/differentiate.ts";
import { GradError } from "../../src/grad/errors.ts";
import { reverseSweep } from "../../src/grad/reverse.ts";
import { chooseTaps } from "../../src/grad/taps.ts";
import { valueAndGradient } from "../../src/grad/value-and-gradient.ts";
import { planOf, valueGraph } from "../../src/grad/value-graph.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { formatType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { Random } from "../../src/util/random.ts";
import { CaseBuilder, checkGradients } from "../helpers/finite-differences.ts";
import { inputsFor, randomInputs, relativeDifference } from "../helpers/tensors.ts";
import { BLOCK_WEIGHTS, transformerBlock } from "../helpers/transformer-block.ts";

const ALL = ["hidden", ...BLOCK_WEIGHTS];
const block = transformerBlock();
const LARGE_BLOCK = { batch: 4, rows: 64, heads: 4, headSize: 32, inner: 344 };

function gradientsOf(
  derivative: Derivative,
  inputs: ReadonlyMap<string, HostTensor>,
): ReadonlyMap<string, HostTensor> {
  const forward = evaluateFunction(derivative.forward, inputsFor(derivative.forward, inputs), {
    precision: "float64",
  });
  const available = new Map([...inputs, ...forward]);
  return evaluateFunction(derivative.backward, inputsFor(derivative.backward, available), {
    precision: "float64",
  });
}

function blockInputs(seed: number): Map<string, HostTensor> {
  const random = new Random(seed);
  const inputs = randomInputs(block, random);
  const { type } = block.outputs[0] ?? { type: shaped("fp32") };
  const shape = type.kind === "tensor" ? type.shape.map(Number) : [];
  const seeds = new Float64Array(shape.reduce((a, b) => a * b, 1)).map(() => random.normal());
  return inputs.set("d_hidden_out", hostTensor("fp32", shape, seeds));
}

describe("the derivative of a transformer block", () => {
  test("is what finite differences give", () => {
    const random = new Random(5);
    const tiny = transformerBlock({ batch: 1, rows: 3, heads: 2, headSize: 2, inner: 3 });
    const check = checkGradients(tiny, randomInputs(tiny, random), ALL, random);
    expect(check?.worstError).toBeLessThan(1e-7);
    expect(check?.elements).toBe(12 + 2 * 4 + 4 * 16 + 3 * 12);
  });

  test("is the same however much is recomputed, and taps take fewer bytes", () => {
    const inputs = blockInputs(7);
    const whole = evaluateFunction(valueAndGradient(block, { withRespectTo: ALL }), inputs, {
      precision: "float64",
    });
    const derivatives = (["none", "auto", "full"] as const).map((recompute) =>
      differentiate(block, { withRespectTo: ALL, recompute }),
    );
    for (const derivative of derivatives) {
      verifyFunction(derivative.forward);
      verifyFunction(derivative.backward);
      const gradients = gradientsOf(derivative, inputs);
      expect([...gradients.keys()]).toEqual(ALL.map((name) => `d_${name}`));
      for (const [name, gradient] of gradients) {
        const expected = whole.get(name);
        expect(expected && relativeDifference(gradient, expected), name).toBeLessThan(1e-13);
      }
    }
    const [none, auto, full] = derivatives;
    expect(none?.tapBytes).toBeGreaterThan(auto?.tapBytes ?? Infinity);
    expect(auto?.tapBytes).toBeGreaterThan(full?.tapBytes ?? Infinity);
    expect(full?.taps).toEqual([]);
    expect(none?.recomputeFlops).toBe(0);
    expect(auto?.recomputeFlops).toBeGreaterThan(0);
    expect(full?.recomputeFlops).toBeGreaterThan(auto?.recomputeFlops ?? Infinity);
  });

  test("keeps products and softmax by default and computes elementwise ops again", () => {
    const { report } = differentiate(transformerBlock(LARGE_BLOCK), {
      withRespectTo: ALL,
      recompute: "auto",
    });
    const kept = report.filter((line) => line.kept).map((line) => line.operation);
    // Products (the mixed heads already transposed), softmax, the two sums of rows, and the residual stream.
    const costly = ["matmul", "reshape", "transpose", "softmax", "rsqrt", "add"];
    expect(kept.filter((operation) => !costly.includes(operation))).toEqual([]);
    const again = report.filter((line) => line.reason.startsWith("computed again"));
    expect(again.map((line) => line.operation)).toEqual(expect.arrayContaining(["silu", "mul"]));
    for (const line of report) expect(line.reason).not.toBe("");
  });

  test("stays within every budget and recomputes less the more it may keep", () => {
    const request = { withRespectTo: ALL, heldInputs: ["hidden"], recompute: "auto" } as const;
    const free = differentiate(block, { ...request, recompute: "none" });
    const { smallestBytes } = free;
    expect(smallestBytes).toBe(4 * 6 * 8);
    const inputs = blockInputs(11);
    let flops = Infinity;
    for (let step = 0; step <= 12; step++) {
      const byteBudget = Math.round(smallestBytes + ((free.tapBytes - smallestBytes) * step) / 12);
      const derivative = differentiate(block, { ...request, byteBudget });
      expect(derivative.tapBytes).toBeLessThanOrEqual(byteBudget);
      const tapBytes = derivative.report
        .filter((line) => line.kept)
        .reduce((sum, line) => sum + line.byteLength, 0);
      const reads = derivative.backward.inputs.some(({ name }) => name === "hidden");
      expect(derivative.tapBytes).toBe(tapBytes + (reads ? smallestBytes : 0));
      expect(derivative.recomputeFlops).toBeLessThanOrEqual(flops);
      flops = derivative.recomputeFlops;
      if (step % 6 === 0) {
        const expected = gradientsOf(free, inputs);
        for (const [name, gradient] of gradientsOf(derivative, inputs)) {
          const other = expected.get(name);
          expect(other && relativeDifference(gradient, other)).toBeLessThan(1e-13);
        }
      }
    }
    expect(flops).toBe(0);
  });

  test("names the smallest possible number of bytes when the budget is below it", () => {
    const tooSmall = () =>
      differentiate(block, {
        withRespectTo: ALL,
        heldInputs: ["hidden"],
        recompute: "auto",
        byteBudget: 100,
      });
    expect(tooSmall).toThrow(GradError);
    expect(tooSmall).toThrow(/100 bytes .* smallest possible number is 192/);
    expect(() =>
      differentiate(block, { withRespectTo: ALL, recompute: "none", byteBudget: 500 }),
    ).toThrow(/recompute "none" .* more than the 500 allowed/);
  });

  test("never keeps a value beside its own view", () => {
    for (const recompute of ["none", "auto"] as const) {
      const derivative = differentiate(block, { withRespectTo: ALL, recompute });
      const kept = new Set(derivative.report.filter((line) => line.kept).map(({ value }) => value));
      for (const operation of block.operations) {
        if (!["reshape", "transpose", "split"].includes(operation.type)) continue;
        const source = operation.inputs.get("x");
        if (source === undefined || !("name" in source) || !kept.has(source.name)) continue;
        expect(operation.outputs.filter(({ name }) => kept.has(name))).toEqual([]);
      }
    }
  });
});

/** A random chain of ops with branches, small enough to try every choice of taps. */
function randomGraph(seed: number): MilFunction {
  const random = new Random(seed);
  const f = new FunctionBuilder("graph");
  const values: Value[] = [f.input("x", shaped("fp32", 4, 4)), f.input("w", shaped("fp32", 4, 4))];
  for (let count = 0; count < 9; count++) {
    const pick = (): Value => values[random.below(values.length)] ?? raise();
    const recent = values.at(-1) ?? raise();
    switch (random.below(5)) {
      case 0:
        values.push(f.op("matmul", { x: recent, y: pick() }));
        break;
      case 1:
        values.push(f.op("mul", { x: recent, y: pick() }));
        break;
      case 2:
        values.push(f.op("tanh", { x: recent }));
        break;
      case 3:
        values.push(f.op("transpose", { x: recent, perm: [1, 0] }));
        break;
      default:
        values.push(f.op("softmax", { x: recent, axis: 0 }));
    }
  }
  return f.finish({ y: values.at(-1) ?? raise() });
}

function raise(): never {
  throw new RangeError("no value");
}

test("auto with a budget finds the best of all choices, or nearly so", () => {
  let cases = 0;
  let exact = 0;
  for (let seed = 0; seed < 24; seed++) {
    const fn = randomGraph(seed);
    const sweep = reverseSweep(fn, { withRespectTo: ["x", "w"] });
    const graph = valueGraph(fn, sweep, []);
    const candidates = [...graph.makers.keys()].filter(graph.mayKeep);
    const choices = Array.from({ length: 2 ** candidates.length }, (_, bits) =>
      planOf(graph, new Set(candidates.filter((_, index) => ((bits >> index) & 1) === 1))),
    );
    const unlimited = chooseTaps(graph, "auto", 1e9).plan;
    for (const share of [0.3, 0.6]) {
      const byteBudget = Math.floor(unlimited.byteLength * share);
      const best = Math.min(
        ...choices.filter((plan) => plan.byteLength <= byteBudget).map((plan) => plan.price),
      );
      const { price } = chooseTaps(graph, "auto", byteBudget).plan;
      expect(price).toBeGreaterThanOrEqual(best);
      expect(price).toBeLessThanOrEqual(1.35 * best);
      cases++;
      if (price === best) exact++;
    }
  }
  expect(exact / cases).toBeGreaterThan(0.8);
});

describe("differentiation", () => {
  test("of a derivative gives the second derivative", () => {
    const c = new CaseBuilder(new Random(3));
    const x = c.float("x", [2, 3]);
    const w = c.float("w", [3, 2]);
    const hidden = c.f.op("gelu", { x: c.f.op("matmul", { x, y: w }), mode: "TANH_APPROXIMATION" });
    const normal = c.f.op("layer_norm", { x: hidden, axes: [-1], epsilon: 0.5 });
    const loss = c.f.op("reduce_sum", {
      x: c.f.op("softmax", { x: normal, axis: -1 }),
      axes: [0],
      keep_dims: false,
    });
    const fn = c.f.finish({ loss });
    const first = valueAndGradient(fn, { withRespectTo: ["x", "w"] });
    const random = new Random(4);
    const inputs = randomInputs(first, random);
    const check = checkGradients(first, inputs, ["x", "w", "d_loss"], random);
    expect(check?.worstError).toBeLessThan(1e-6);
  });

  test("joins the gradients of slices by one concat", () => {
    const f = new FunctionBuilder();
    const x = f.input("x", shaped("fp32", 2, 6));
    const [a, b, c] = f.many("split", { x, num_splits: 3, axis: 1 });
    if (a === undefined || b === undefined || c === undefined) raise();
    const y = f.op("add", { x: f.op("mul", { x: a, y: b }), y: f.op("tanh", { x: c }) });
    const { backward } = differentiate(f.finish({ y }), {
      withRespectTo: ["x"],
      recompute: "none",
    });
    const types = backward.operations.map(({ type }) => type);
    expect(types.filter((type) => type === "concat")).toHaveLength(1);
    expect(types).not.toContain("pad");
    expect(types).not.toContain("add");
  });

  test("turns a shared weight's gradient into one flat product without transposes", () => {
    const f = new FunctionBuilder();
    const x = f.input("x", shaped("fp32", 2, 5, 3));
    const w = f.input("w", shaped("fp32", 4, 3));
    const fn = f.finish({ y: f.op("matmul", { x, y: w, transpose_y: true }) });
    const { backward } = differentiate(fn, { withRespectTo: ["x", "w"], recompute: "none" });
    const types = backward.operations.map(({ type }) => type);
    expect(types.toSorted()).toEqual(["matmul", "matmul", "reshape", "reshape"]);
  });

  test("gives zeros for an input that no output depends on", () => {
    const f = new FunctionBuilder();
    const x = f.input("x", shaped("fp32", 2));
    f.input("unused", shaped("fp16", 3));
    const fn = f.finish({ y: f.op("square", { x }) });
    const both = valueAndGradient(fn, { withRespectTo: ["x", "unused"] });
    verifyFunction(both);
    const outputs = evaluateFunction(both, randomInputs(both, new Random(1)));
    expect(outputs.get("d_unused")).toEqual(hostTensor("fp16", [3]));
  });

  test("passes a gradient through an output that is an input", () => {
    const f = new FunctionBuilder();
    const x = f.input("x", shaped("fp32", 2));
    const fn = f.finish({ y: x });
    const { forward, backward } = differentiate(fn, { withRespectTo: ["x"], recompute: "none" });
    verifyFunction(forward);
    verifyFunction(backward);
    const seed = hostTensor("fp32", [2], Float64Array.of(3, 4));
    expect(evaluateFunction(backward, new Map([["d_y", seed]])).get("d_x")).toEqual(seed);
  });

  test("keeps the numbers a random op drew, whatever the mode", () => {
    const f = new FunctionBuilder();
    const x = f.input("x", shaped("fp32", 2, 2));
    const noise = f.op("random_uniform", { shape: [2, 2], low: 0, high: 1 }, { name: "noise" });
    const mask = f.op("cast", { x: f.op("greater", { x: noise, y: 0.5 }), dtype: "fp32" });
    const fn = f.finish({ y: f.op("mul", { x: f.op("tanh", { x }), y: mask }) });
    const full = differentiate(fn, { withRespectTo: ["x"], recompute: "full" });
    expect(full.taps).toEqual(["noise"]);
    expect(full.smallestBytes).toBe(4);
    expect(() =>
      differentiate(fn, { withRespectTo: ["x"], recompute: "auto", byteBudget: 2 }),
    ).toThrow(/smallest possible number is 4/);
    const auto = differentiate(fn, { withRespectTo: ["x"], recompute: "auto", byteBudget: 4 });
    expect(auto.tapBytes).toBe(4);
  });

  test("computes what depends on constants alone again instead of keeping it", () => {
    const f = new FunctionBuilder();
    const x = f.input("x", shaped("fp32", 2));
    const table = f.constant(tensorLiteral("fp32", [2], [1, 2]), "table");
    const scale = f.op("exp", { x: table }, { name: "scale" });
    const fn = f.finish({ y: f.op("mul", { x, y: scale }) });
    for (const recompute of ["none", "auto", "full"] as const) {
      const { taps, backward } = differentiate(fn, { withRespectTo: ["x"], recompute });
      expect(taps).toEqual([]);
      verifyFunction(backward);
    }
  });

  test("refuses what it cannot do, and says why", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("hidden", shaped("fp32", 2));
    const i = f.input("index", shaped("int32", 1));
    const fn = f.finish({ y: f.op("square", { x }), n: f.op("add", { x: i, y: i }) });
    const none = { recompute: "none" } as const;
    expect(() => differentiate(fn, { ...none, withRespectTo: ["hiden"] })).toThrow(
      /no input "hiden"\. Did you mean "hidden"\?/,
    );
    expect(() => differentiate(fn, { ...none, withRespectTo: ["index"] })).toThrow(
      /only float tensors/,
    );
    expect(() =>
      differentiate(fn, { ...none, withRespectTo: ["hidden"], gradientOf: ["n"] }),
    ).toThrow(/only float tensors/);
    expect(() =>
      differentiate(fn, { ...none, withRespectTo: ["hidden"], gradientOf: ["z"] }),
    ).toThrow(/no output "z"/);
    const again = valueAndGradient(fn, { withRespectTo: ["hidden"] });
    const twice = { withRespectTo: ["hidden"] };
    expect(() => valueAndGradient(again, twice)).toThrow(/is the name of a gradient/);
    expect(valueAndGradient(again, { ...twice, prefix: "dd_" }).outputs.at(-1)?.name).toBe(
      "dd_hidden",
    );
  });
});

test("a function with unused, shared and passed-through values survives every mode", () => {
  assert(
    property(integer({ min: 0, max: 2 ** 30 }), (seed) => {
      const fn = randomGraph(seed);
      const request = { withRespectTo: ["x", "w"] };
      const inputs = randomInputs(valueAndGradient(fn, request), new Random(seed));
      const reference = gradientsOf(differentiate(fn, { ...request, recompute: "none" }), inputs);
      for (const recompute of ["auto", "full"] as const) {
        const gradients = gradientsOf(differentiate(fn, { ...request, recompute }), inputs);
        for (const [name, gradient] of gradients) {
          const expected = reference.get(name);
          expect(expected && relativeDifference(gradient, expected)).toBeLessThan(1e-12);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("a point on a kink is noticed by the checker, so that it can be drawn again", () => {
  const random = new Random(1);
  const c = new CaseBuilder(random);
  const fn = c.f.finish({ y: c.f.op("abs", { x: c.floats("x", [2], (index) => index * 1e-6) }) });
  expect(checkGradients(fn, c.tensors, c.checked, random)).toBeUndefined();
});

test("attention's softmax takes its sum over the channels instead of the positions", () => {
  const c = new CaseBuilder(new Random(8));
  const scores = c.float("scores", [2, 2, 3, 5]);
  const values = c.float("values", [2, 5, 4]);
  const weights = c.f.op("softmax", { x: scores, axis: -1 });
  const folded = c.f.op("reshape", { x: weights, shape: [2, 6, 5] });
  const fn = c.f.finish({ y: c.f.op("matmul", { x: folded, y: values }) });
  const { operations } = valueAndGradient(fn, { withRespectTo: ["scores"] });
  const [sum] = operations.filter(({ type }) => type === "reduce_sum");
  const x = sum?.inputs.get("x");
  expect(x !== undefined && "type" in x && formatType(x.type)).toBe("fp32[2, 6, 4]");
  const check = checkGradients(fn, c.tensors, c.checked, new Random(9));
  expect(check?.worstError).toBeLessThan(1e-7);
});

test("a softmax that is also read elsewhere takes its sum as it is", () => {
  const c = new CaseBuilder(new Random(8));
  const weights = c.f.op("softmax", { x: c.float("scores", [3, 5]), axis: -1 });
  const y = c.f.op("matmul", { x: weights, y: c.float("values", [5, 4]) });
  const fn = c.f.finish({ y, weights: c.f.op("square", { x: weights }) });
  const check = checkGradients(fn, c.tensors, c.checked, new Random(9));
  expect(check?.worstError).toBeLessThan(1e-7);
});
