import { elementCount } from "../../mil/types.ts";
import type { Lowering, LoweringSite } from "./site.ts";

const reduce = (
  site: LoweringSite,
  opType: string,
  value: string,
  axes: readonly number[],
): string => site.node(opType, [value, site.graph.ints(axes)], { keepdims: 1n });

/** (x - mean) / sqrt(variance + epsilon) over `axes`. */
function normalize(site: LoweringSite, axes: readonly number[], epsilon: number): string {
  const x = site.value("x");
  const centered = site.node("Sub", [x, reduce(site, "ReduceMean", x, axes)]);
  const variance = reduce(site, "ReduceMean", site.node("Mul", [centered, centered]), axes);
  const deviation = site.node("Sqrt", [site.node("Add", [variance, site.scalar(epsilon)])]);
  return site.node("Div", [centered, deviation]);
}

function scaleAndShift(
  site: LoweringSite,
  value: string,
  shaped: (name: string) => string,
): string {
  const scaled = site.has("gamma") ? site.node("Mul", [value, shaped("gamma")]) : value;
  return site.has("beta") ? site.node("Add", [scaled, shaped("beta")]) : scaled;
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

export const LOWER_NORMALIZATION = {
  layer_norm: (site) => {
    const shape = site.shape("x");
    const type = site.type("x");
    const axes = site.call.axes("axes", shape.length).toSorted((a, b) => a - b);
    const epsilon = site.call.floatOf("epsilon", type);
    const first = axes[0] ?? 0;
    const normalized = axes.map((axis) => shape[axis] ?? 1);
    const isSuffix = axes.length > 0 && first + axes.length === shape.length;
    if (!isSuffix || !["fp16", "fp32"].includes(type)) {
      const broadcast = shape.map((size, axis) => (axes.includes(axis) ? size : 1));
      return scaleAndShift(site, normalize(site, axes, epsilon), (name) =>
        site.reshape(site.value(name), broadcast),
      );
    }
    const ones = (): string =>
      site.constant(type, normalized, new Float32Array(elementCount(normalized)).fill(1));
    const gamma = site.has("gamma") ? site.value("gamma") : ones();
    return site.node(
      "LayerNormalization",
      site.has("beta") ? [site.value("x"), gamma, site.value("beta")] : [site.value("x"), gamma],
      { axis: BigInt(first), epsilon },
    );
  },
  batch_norm: (site) => {
    const epsilon = site.scalar(site.call.floatOf("epsilon", site.type("x")));
    const centered = site.node("Sub", [site.value("x"), site.perChannel("mean")]);
    const deviation = site.node("Sqrt", [site.node("Add", [site.perChannel("variance"), epsilon])]);
    return scaleAndShift(site, site.node("Div", [centered, deviation]), (name) =>
      site.perChannel(name),
    );
  },
  instance_norm: (site) => {
    const axes = range(2, site.shape("x").length);
    const epsilon = site.call.floatOf("epsilon", site.type("x"));
    return scaleAndShift(site, normalize(site, axes, epsilon), (name) => site.perChannel(name));
  },
  l2_norm: (site) => {
    const x = site.value("x");
    const rank = site.shape("x").length;
    const squares = reduce(site, "ReduceSumSquare", x, range(Math.max(0, rank - 3), rank));
    const epsilon = site.scalar(site.call.floatOf("epsilon", site.type("x")));
    return site.node("Div", [x, site.node("Sqrt", [site.node("Add", [squares, epsilon])])]);
  },
  local_response_norm: (site) => {
    // ONNX's own LRN centres even windows differently, so the window sums are an average over padded channels.
    const x = site.value("x");
    const shape = site.shape("x");
    // A tensor of rank 3 is an image without a batch.
    const [batch = 1, channels = 1, ...spatial] = shape.length === 3 ? [1, ...shape] : shape;
    const inner = elementCount(spatial);
    const size = site.call.int("size");
    const before = Math.floor(size / 2);
    const after = size - 1 - before;
    const squares = site.reshape(site.node("Mul", [x, x]), [batch, 1, channels, inner]);
    const padded = site.node("Pad", [
      squares,
      site.graph.ints([0, 0, before, 0, 0, 0, after, 0]),
      site.scalar(0),
    ]);
    const means = site.node("AveragePool", [padded], { kernel_shape: [BigInt(size), 1n] });
    const type = site.type("x");
    const alpha = site.scalar(site.call.floatOf("alpha", type));
    const base = site.node("Add", [
      site.node("Mul", [site.reshape(means, shape), alpha]),
      site.scalar(site.call.floatOf("k", type)),
    ]);
    const power = site.node("Pow", [base, site.scalar(site.call.floatOf("beta", type))]);
    return site.node("Div", [x, power]);
  },
} as const satisfies Record<string, Lowering>;
