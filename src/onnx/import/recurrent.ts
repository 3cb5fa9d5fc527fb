import { OPS } from "../../mil/ops/index.ts";
import type { Operand } from "../../mil/program.ts";
import { counted } from "./site.ts";
import type { Import, ImportSite } from "./site.ts";

/** Steps of a sequence that are written out one after the other. */
const UNROLLED_STEPS = 256;

type Activation = (x: Operand) => Operand;

/** Activations by name with their constants, by direction and place. */
function activationsOf(site: ImportSite, names: readonly string[]): readonly Activation[] {
  const alphas = [...(site.floats("activation_alpha") ?? [])];
  const betas = [...(site.floats("activation_beta") ?? [])];
  return names.map((name): Activation => {
    const kind = name.toLowerCase();
    // Constants are listed for those activations alone that have some.
    const constant = (list: number[], fallback: number): number => list.shift() ?? fallback;
    switch (kind) {
      case "tanh":
      case "relu":
      case "sigmoid":
      case "softsign":
      case "softplus":
        return (x) => site.op(kind, { x });
      case "affine": {
        const [alpha, beta] = [constant(alphas, 1), constant(betas, 0)];
        return (x) => site.add(site.mul(x, alpha), beta);
      }
      case "leakyrelu": {
        const alpha = constant(alphas, 0.01);
        return (x) => site.op("leaky_relu", { x, alpha });
      }
      case "thresholdedrelu": {
        const alpha = constant(alphas, 1);
        return (x) => site.select(site.binary("greater", x, alpha), x, 0);
      }
      case "scaledtanh": {
        const [alpha, beta] = [constant(alphas, 1), constant(betas, 1)];
        return (x) => site.mul(site.op("tanh", { x: site.mul(x, beta) }), alpha);
      }
      case "hardsigmoid": {
        const [alpha, beta] = [constant(alphas, 0.2), constant(betas, 0.5)];
        return (x) => site.op("sigmoid_hard", { x, alpha, beta });
      }
      case "elu": {
        const alpha = constant(alphas, 1);
        return (x) => site.op("elu", { x, alpha });
      }
      default:
        throw site.fail(`activation "${name}" is not known`);
    }
  });
}

/** One direction's tensors: weights [G * H, I] and [G * H, H], biases [G * H], states [B, H], peepholes [3 * H]. */
interface Direction {
  readonly weight: Operand;
  readonly recurrent: Operand;
  readonly inputBias: Operand | undefined;
  readonly recurrentBias: Operand | undefined;
  readonly peephole: Operand | undefined;
  readonly states: readonly Operand[];
  readonly isReverse: boolean;
  readonly activations: readonly Activation[];
}

interface Layer {
  readonly x: Operand;
  readonly hidden: number;
  readonly clip: (x: Operand) => Operand;
  /** int32 [B]. */
  readonly lengths: Operand | undefined;
}

/** New states from products with the input [B, G * H] and old states; the first is the output. */
type Step = (
  site: ImportSite,
  layer: Layer,
  direction: Direction,
) => (row: Operand, states: readonly Operand[]) => readonly Operand[];

interface Kind {
  readonly gates: number;
  readonly stateCount: number;
  readonly activations: readonly string[];
  readonly step: Step;
  readonly own?: (
    site: ImportSite,
    layer: Layer,
    direction: Direction,
  ) => readonly Operand[] | undefined;
}

/** Adds a direction's biases where they are given. */
const biased = (site: ImportSite, x: Operand, bias: Operand | undefined): Operand =>
  bias === undefined ? x : site.add(x, bias);

const timesRecurrent = (site: ImportSite, h: Operand, { recurrent }: Direction): Operand =>
  site.op("matmul", { x: h, y: recurrent, transpose_y: true });

/** One gate's part of an axis that lists all. */
const gateOf = (site: ImportSite, x: Operand, axis: number, hidden: number, gate: number) =>
  site.sliced(x, axis, gate * hidden, (gate + 1) * hidden);

const simple: Step = (site, { clip }, direction) => {
  const [f] = direction.activations;
  return (row, [h]) => {
    if (f === undefined || h === undefined) throw site.fail("it has a state");
    const product = timesRecurrent(site, h, direction);
    return [f(clip(site.add(row, biased(site, product, direction.recurrentBias))))];
  };
};

/** The gates stand in the order update, reset, hidden. */
const gated: Step = (site, { hidden, clip }, direction) => {
  const [f, g] = direction.activations;
  const isAfter = site.flag("linear_before_reset", false);
  const { recurrent, recurrentBias } = direction;
  const candidateWeight = gateOf(site, recurrent, 0, hidden, 2);
  const candidateBias = recurrentBias && gateOf(site, recurrentBias, 0, hidden, 2);
  return (row, [h]) => {
    if (f === undefined || g === undefined || h === undefined) throw site.fail("it has a state");
    const product = biased(site, timesRecurrent(site, h, direction), recurrentBias);
    const part = (sums: Operand, gate: number): Operand => gateOf(site, sums, 1, hidden, gate);
    const update = f(clip(site.add(part(row, 0), part(product, 0))));
    const reset = f(clip(site.add(part(row, 1), part(product, 1))));
    const inner = isAfter
      ? site.mul(reset, part(product, 2))
      : biased(
          site,
          site.op("matmul", { x: site.mul(reset, h), y: candidateWeight, transpose_y: true }),
          candidateBias,
        );
    const candidate = g(clip(site.add(part(row, 2), inner)));
    const kept = site.mul(update, h);
    return [site.add(site.mul(site.sub(site.scalar(site.typeOf(h), 1), update), candidate), kept)];
  };
};

/** The gates stand in the order input, output, forget, cell; peepholes input, output, forget. */
const longShort: Step = (site, { hidden, clip }, direction) => {
  const [f, g, o] = direction.activations;
  const couples = site.flag("input_forget", false);
  const hole = (place: number, sum: Operand, c: Operand): Operand =>
    direction.peephole === undefined
      ? sum
      : site.add(sum, site.mul(c, gateOf(site, direction.peephole, 0, hidden, place)));
  return (row, [h, c]) => {
    if (f === undefined || g === undefined || o === undefined)
      throw site.fail("it has activations");
    if (h === undefined || c === undefined) throw site.fail("it has two states");
    const product = biased(site, timesRecurrent(site, h, direction), direction.recurrentBias);
    const sums = site.add(row, product);
    const part = (gate: number): Operand => gateOf(site, sums, 1, hidden, gate);
    const input = f(clip(hole(0, part(0), c)));
    const forget = couples
      ? site.sub(site.scalar(site.typeOf(input), 1), input)
      : f(clip(hole(2, part(2), c)));
    const cell = site.add(site.mul(forget, c), site.mul(input, g(clip(part(3)))));
    const output = f(clip(hole(1, part(1), cell)));
    return [site.mul(output, o(cell)), cell];
  };
};

/** Rows of a constant's gates in another order: [G * H, ...]. */
function reordered(
  site: ImportSite,
  weight: Operand,
  hidden: number,
  order: readonly number[],
): Operand {
  return site.concatenated(
    order.map((gate) => gateOf(site, weight, 0, hidden, gate)),
    0,
  );
}

const isConstant = (site: ImportSite, ...operands: readonly (Operand | undefined)[]): boolean =>
  operands.every((operand) => operand === undefined || site.known(operand) !== undefined);

/** MIL's own layer, which takes any length: constant weights, its own activations, no lengths. */
function ownLayer(type: "rnn" | "lstm", order: readonly number[]): NonNullable<Kind["own"]> {
  return (site, { x, hidden, lengths }, direction) => {
    const { weight, recurrent, inputBias, recurrentBias, peephole, states } = direction;
    const { lstm, rnn } = OPS;
    const usual =
      type === "lstm"
        ? [
            lstm.parameters.recurrent_activation.fallback,
            lstm.parameters.cell_activation.fallback,
            lstm.parameters.activation.fallback,
          ]
        : [rnn.parameters.activation.fallback];
    const names = site.strings("activations")?.map((name) => name.toLowerCase()) ?? usual;
    const isUsual = names.every((name, index) => name === usual[index % usual.length]);
    const isPlain =
      isUsual &&
      lengths === undefined &&
      !site.hasAttribute("clip") &&
      !site.flag("input_forget", false) &&
      peephole === undefined &&
      isConstant(site, weight, recurrent, inputBias, recurrentBias);
    if (!isPlain) return undefined;
    const bias =
      inputBias === undefined || recurrentBias === undefined
        ? undefined
        : reordered(site, site.add(inputBias, recurrentBias), hidden, order);
    const settings = {
      x,
      weight_ih: reordered(site, weight, hidden, order),
      weight_hh: reordered(site, recurrent, hidden, order),
      ...(bias !== undefined && { bias }),
      direction: direction.isReverse ? "reverse" : "forward",
      output_sequence: true,
    };
    const [h, c] = states;
    if (h === undefined) return undefined;
    if (type === "rnn") return site.many("rnn", { ...settings, initial_h: h });
    return c === undefined
      ? undefined
      : site.many("lstm", { ...settings, initial_h: h, initial_c: c });
  };
}

/** The steps of one direction written out: outputs [S, B, H] in the order of the input, and final states. */
function unrolled(
  site: ImportSite,
  layer: Layer,
  direction: Direction,
  step: Step,
): readonly Operand[] {
  const { x, lengths } = layer;
  const [length = 0, batch = 1, width = 1] = site.shapeOf(x);
  if (length > UNROLLED_STEPS) {
    throw site.fail(
      `its ${length} steps would be written out one by one, at most ${UNROLLED_STEPS} are`,
      "Weights that are constants, usual activations and no lengths need no writing out.",
    );
  }
  const turned = (value: Operand): Operand => {
    if (!direction.isReverse) return value;
    return lengths === undefined
      ? site.op("reverse", { x: value, axes: [0] })
      : site.op("reverse_sequence", { x: value, lengths, seq_axis: 0, batch_axis: 1 });
  };
  const rows = site.shapeOf(direction.weight)[0] ?? 1;
  const flat = site.reshape(turned(x), [length * batch, width]);
  const product = site.op("matmul", { x: flat, y: direction.weight, transpose_y: true });
  const projected = site.reshape(biased(site, product, direction.inputBias), [length, batch, rows]);
  const next = step(site, layer, direction);
  const isRunning =
    lengths === undefined
      ? undefined
      : site.binary(
          "less",
          site.reshape(counted(length), [length, 1]),
          site.reshape(lengths, [1, batch]),
        );
  let { states } = direction;
  const outputs: Operand[] = [];
  for (let place = 0; place < length; place++) {
    const made = next(site.picked(projected, 0, place), states);
    const runs =
      isRunning === undefined
        ? undefined
        : site.reshape(site.sliced(isRunning, 0, place, place + 1), [batch, 1]);
    const [output] = made;
    if (output === undefined) throw site.fail("it has an output");
    outputs.push(site.withAxis(runs === undefined ? output : site.select(runs, output, 0), 0));
    states = made.map((state, index) => {
      const before = states[index];
      return runs === undefined || before === undefined ? state : site.select(runs, state, before);
    });
  }
  return [turned(site.concatenated(outputs, 0)), ...states];
}

/** A recurrent layer of one or two directions. */
const recurrent =
  ({ gates, stateCount, activations, step, own }: Kind): Import =>
  (site) => {
    const isBatchFirst = site.int("layout", 0) === 1;
    const given = site.input(0);
    const x = isBatchFirst ? site.transpose(given, [1, 0, 2]) : given;
    const [, batch = 1] = site.shapeOf(x);
    const [count = 1, , hidden = 1] = site.shape(2);
    const spelled = site.text("direction", "forward");
    const names =
      site.strings("activations") ?? Array.from({ length: count }, () => activations).flat();
    const all = activationsOf(site, names);
    const clip = site.float("clip", 0);
    const layer: Layer = {
      x,
      hidden,
      clip: (value) => (clip > 0 ? site.op("clip", { x: value, alpha: -clip, beta: clip }) : value),
      lengths: site.has(4) ? site.cast(site.input(4), "int32") : undefined,
    };
    const part = (index: number, number: number): Operand | undefined =>
      site.has(index) ? site.picked(site.input(index), 0, number) : undefined;
    const directions = Array.from({ length: count }, (_, number) => {
      const bias = part(3, number);
      const weight = part(1, number);
      const recurrentWeight = part(2, number);
      if (weight === undefined || recurrentWeight === undefined)
        throw site.fail("it has two weights");
      const states = Array.from({ length: stateCount }, (__, state) => {
        const initial = site.optional(5 + state);
        return initial === undefined
          ? site.filledWith([batch, hidden], x, 0)
          : site.picked(initial, isBatchFirst ? 1 : 0, number);
      });
      const direction: Direction = {
        weight,
        recurrent: recurrentWeight,
        inputBias: bias && site.sliced(bias, 0, 0, gates * hidden),
        recurrentBias: bias && site.sliced(bias, 0, gates * hidden, 2 * gates * hidden),
        peephole: part(7, number),
        states,
        isReverse: spelled === "reverse" || number === 1,
        activations: all.slice(number * activations.length, (number + 1) * activations.length),
      };
      return own?.(site, layer, direction) ?? unrolled(site, layer, direction, step);
    });
    // [S, B, H] of each direction becomes [S, D, B, H], or [B, S, D, H] where the batch comes first.
    const stackedAt = (result: number, axis: number): Operand =>
      site.stacked(
        directions.map((results) => {
          const value = results[result];
          if (value === undefined) throw site.fail("a direction lacks a result");
          return value;
        }),
        axis,
      );
    const sequence = stackedAt(0, 1);
    const finals = Array.from({ length: stateCount }, (_, state) => stackedAt(1 + state, 0));
    return isBatchFirst
      ? [
          site.transpose(sequence, [2, 0, 1, 3]),
          ...finals.map((state) => site.transpose(state, [1, 0, 2])),
        ]
      : [sequence, ...finals];
  };

export const IMPORT_RECURRENT = {
  RNN: recurrent({
    gates: 1,
    stateCount: 1,
    activations: ["Tanh"],
    step: simple,
    own: ownLayer("rnn", [0]),
  }),
  GRU: recurrent({ gates: 3, stateCount: 1, activations: ["Sigmoid", "Tanh"], step: gated }),
  LSTM: recurrent({
    gates: 4,
    stateCount: 2,
    activations: ["Sigmoid", "Tanh", "Tanh"],
    step: longShort,
    // MIL's order is input, forget, output, cell.
    own: ownLayer("lstm", [0, 2, 1, 3]),
  }),
} as const satisfies Record<string, Import>;
