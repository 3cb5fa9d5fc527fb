import { boolLiteral, int32Literal } from "../../../src/mil/literal.ts";
import type { OpName } from "../../../src/mil/ops/index.ts";
import type { CaseBuilder } from "../../helpers/finite-differences.ts";
import type { DrawCase } from "./case.ts";

const ACTIVATIONS = ["tanh", "sigmoid", "hard_sigmoid", "relu", "linear"] as const;

function sizes(c: CaseBuilder) {
  return { steps: c.between(1, 3), batch: c.between(1, 2), inputs: 2, hidden: c.between(1, 2) };
}

const weight = (c: CaseBuilder, name: string, shape: readonly number[]) =>
  c.float(name, shape, -0.8, 0.8);

const lstm: DrawCase = (c) => {
  const { steps, batch, inputs, hidden } = sizes(c);
  const direction = c.pick(["forward", "reverse", "bidirectional"] as const);
  const both = direction === "bidirectional";
  const width = both ? 2 * hidden : hidden;
  const withBias = c.chance();
  const withPeephole = c.chance();
  const weights = (suffix: string) => ({
    input: weight(c, `weight_ih${suffix}`, [4 * hidden, inputs]),
    hidden: weight(c, `weight_hh${suffix}`, [4 * hidden, hidden]),
    bias: withBias ? weight(c, `bias${suffix}`, [4 * hidden]) : undefined,
    peephole: withPeephole ? weight(c, `peephole${suffix}`, [3 * hidden]) : undefined,
  });
  const ahead = weights("");
  const back = both ? weights("_back") : undefined;
  return c.f.many("lstm", {
    x: c.float("x", [steps, batch, inputs]),
    initial_h: c.float("initial_h", [batch, width]),
    initial_c: c.float("initial_c", [batch, width]),
    weight_ih: ahead.input,
    weight_hh: ahead.hidden,
    bias: ahead.bias,
    peephole: ahead.peephole,
    weight_ih_back: back?.input,
    weight_hh_back: back?.hidden,
    bias_back: back?.bias,
    peephole_back: back?.peephole,
    direction,
    output_sequence: c.chance(),
    activation: c.pick(ACTIVATIONS),
    clip: c.chance(0.3) ? 0.5 : undefined,
  });
};

const gru: DrawCase = (c) => {
  const { steps, batch, inputs, hidden } = sizes(c);
  return c.f.many("gru", {
    x: c.float("x", [steps, batch, inputs]),
    initial_h: c.float("initial_h", [batch, hidden]),
    weight_ih: weight(c, "weight_ih", [3 * hidden, inputs]),
    weight_hh: weight(c, "weight_hh", [3 * hidden, hidden]),
    bias: c.chance() ? weight(c, "bias", [3 * hidden]) : undefined,
    input_bias: c.chance() ? weight(c, "input_bias", [3 * hidden]) : undefined,
    direction: c.pick(["forward", "reverse"]),
    output_sequence: c.chance(),
    reset_after: c.chance(),
  });
};

const rnn: DrawCase = (c) => {
  const { steps, batch, inputs, hidden } = sizes(c);
  return c.f.many("rnn", {
    x: c.float("x", [steps, batch, inputs]),
    initial_h: c.float("initial_h", [batch, hidden]),
    weight_ih: weight(c, "weight_ih", [hidden, inputs]),
    weight_hh: weight(c, "weight_hh", [hidden, hidden]),
    bias: c.chance() ? weight(c, "bias", [hidden]) : undefined,
    direction: c.pick(["forward", "reverse"]),
    output_sequence: c.chance(),
    activation: c.pick(ACTIVATIONS),
  });
};

const einsum: DrawCase = (c) => {
  const sizes = Array.from({ length: 5 }, () => c.between(1, 3));
  const [n = 1, h = 1, w = 1, channels = 1, u = 1] = sizes;
  // A size of 1 broadcasts, on either side.
  const broken = (shape: readonly number[]) => shape.map((size) => (c.chance(0.2) ? 1 : size));
  if (c.chance()) {
    const x = c.float("x", broken([channels, h, w]));
    const y = c.float("y", broken([w, h, u]));
    return [c.f.op("einsum", { values: [x, y], equation: "abc,cbd->abd" })];
  }
  const x = c.float("x", broken([n, channels, h, w]));
  const y = c.float("y", broken([n, w, h, u]));
  return [c.f.op("einsum", { values: [x, y], equation: "nchw,nwhu->nchu" })];
};

export const SEQUENCE_CASES: Partial<Record<OpName, DrawCase>> = {
  lstm,
  gru,
  rnn,
  einsum,
  topk: (c) => {
    const shape = c.shape(1, 3, 4);
    const axis = c.below(shape.length);
    const withIndices = c.chance();
    const [values] = c.f.many("topk", {
      x: c.float("x", shape),
      k: c.chance(0.2) ? -1 : c.between(1, shape[axis] ?? 1),
      axis,
      ascending: c.chance(),
      return_indices: withIndices,
    });
    return values === undefined ? [] : [values];
  },
  dequantize: (c) => {
    const shape = c.shape(1, 3);
    const axis = c.below(shape.length);
    const perAxis = c.chance();
    const input = c.ints("numbers", shape, 100, -100);
    const narrow = c.f.op("cast", { x: input, dtype: "int8" });
    const zero = c.chance()
      ? c.given("zero", "int8", perAxis ? [shape[axis] ?? 1] : [], [3, -5, 7])
      : undefined;
    const scale = c.float("scale", perAxis ? [shape[axis] ?? 1] : [], 0.1, 1);
    return [
      c.f.op("dequantize", {
        input: narrow,
        zero_point: zero,
        scale,
        axis: perAxis ? axis : undefined,
      }),
    ];
  },
  reshape_like: (c) => {
    const shape = c.shape(1, 3);
    const reference = c.float("reference", shape);
    const x = c.float("x", [shape.reduce((a, b) => a * b, 1)]);
    const ints = (value: number) => [int32Literal(value)];
    const masks = [boolLiteral(false)];
    return [
      c.f.op("reshape_like", {
        x,
        ref_tensors: [reference],
        begins: ints(0),
        ends: ints(shape.length),
        end_masks: masks,
      }),
    ];
  },
};
