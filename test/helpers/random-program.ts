import { FunctionBuilder } from "../../src/mil/builder.ts";
import { scalarLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { elementCount, tensorType } from "../../src/mil/types.ts";
import type { Random } from "../../src/util/random.ts";

export interface RandomProgramOptions {
  /** Steps, each of one op or a few that belong together. Default 12. */
  readonly steps?: number;
  readonly inputs?: number;
  readonly dataType?: "fp32" | "fp16";
  /** Kinds of steps by name; all of them unless told otherwise. */
  readonly kinds?: readonly StepKind[];
}

/**
 * A random function of float tensors of ranks 0 to 4 with sizes up to 4. Numbers stay moderate for inputs in
 * [-1, 1], nothing jumps at a point that rounding could cross, and roots, logarithms and quotients see positive
 * numbers only, so that engines and rewritten programs may be compared with a tolerance. Every value that no
 * other op reads is an output, and some others are too.
 */
export function randomProgram(random: Random, options: RandomProgramOptions = {}): MilFunction {
  const { steps = 12, inputs = 3, dataType = "fp32" } = options;
  const writer = new ProgramWriter(random, dataType);
  for (let index = 0; index < inputs; index++) writer.input(`input_${index}`);
  const kinds = options.kinds ?? STEP_KINDS;
  for (let count = 0; count < steps; count++) {
    const kind = kinds[random.below(kinds.length)];
    if (kind !== undefined) writer.keep(STEPS[kind](writer));
  }
  return writer.finish();
}

class ProgramWriter {
  readonly f = new FunctionBuilder("random");
  readonly random: Random;
  readonly dataType: "fp32" | "fp16";
  readonly #values: Value[] = [];
  readonly #read = new Set<Value>();
  #inputCount = 0;

  constructor(random: Random, dataType: "fp32" | "fp16") {
    this.random = random;
    this.dataType = dataType;
  }

  input(name: string): void {
    this.#inputCount++;
    this.#values.push(this.f.input(name, tensorType(this.dataType, this.shape(1, 3))));
  }

  keep(values: readonly Value[]): void {
    this.#values.push(...values);
  }

  below(limit: number): number {
    return this.random.below(limit);
  }

  between(low: number, high: number): number {
    return low + this.random.below(high - low + 1);
  }

  chance(probability = 0.5): boolean {
    return this.random.uniform() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.random.below(items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  shape(lowestRank: number, highestRank: number): number[] {
    return Array.from({ length: this.between(lowestRank, highestRank) }, () => this.between(1, 4));
  }

  /** An earlier value, recent ones more often, of a rank in the given range. */
  value(lowestRank = 0, highestRank = 4): Value {
    const fitting = this.#values.filter((value) => {
      const rank = this.shapeOf(value).length;
      return rank >= lowestRank && rank <= highestRank;
    });
    const recent = this.chance(0.6) ? fitting.slice(-4) : fitting;
    const found =
      recent.length > 0 ? this.pick(recent) : this.constant(this.shape(lowestRank, highestRank));
    this.#read.add(found);
    return found;
  }

  /** Something that broadcasts with `x` without changing its shape. */
  mate(x: Value): Value {
    const shape = this.shapeOf(x);
    const fitting = this.#values.filter((value) => {
      const other = this.shapeOf(value);
      const offset = shape.length - other.length;
      return (
        offset >= 0 && other.every((size, axis) => size === 1 || size === shape[axis + offset])
      );
    });
    if (fitting.length > 0 && this.chance(0.7)) {
      const found = this.pick(fitting);
      this.#read.add(found);
      return found;
    }
    const own = shape.slice(this.below(shape.length + 1));
    return this.constant(own.map((size) => (this.chance(0.3) ? 1 : size)));
  }

  constant(shape: readonly number[]): Value {
    const numbers = Array.from({ length: elementCount(shape) }, () => this.number());
    return this.f.constant(tensorLiteral(this.dataType, shape, numbers));
  }

  /** In [-1, 1), with few digits, so that both element types hold it exactly. */
  number(): number {
    return this.between(-16, 15) / 16;
  }

  shapeOf(value: Value): readonly number[] {
    return value.type.kind === "tensor" ? value.type.shape.map(Number) : [];
  }

  axis(value: Value): number {
    return this.below(Math.max(1, this.shapeOf(value).length));
  }

  axes(value: Value): number[] {
    const rank = this.shapeOf(value).length;
    const axes = Array.from({ length: rank }, (_, axis) => axis).filter(() => this.chance());
    return axes.length > 0 ? axes : [this.axis(value)];
  }

  permutation(rank: number): number[] {
    const order = Array.from({ length: rank }, (_, axis) => axis);
    for (let i = rank - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j] ?? j, order[i] ?? i];
    }
    return order;
  }

  finish(): MilFunction {
    const made = this.#values.slice(this.#inputCount);
    const outputs = made.filter((value) => !this.#read.has(value) || this.chance(0.15));
    const results = outputs.length > 0 ? outputs : this.#values.slice(-1);
    return this.f.finish(
      Object.fromEntries(results.map((value, index) => [`output_${index}`, value])),
    );
  }
}

type Step = (w: ProgramWriter) => readonly Value[];

const UNARY = [
  "tanh",
  "sigmoid",
  "silu",
  "gelu",
  "sin",
  "cos",
  "erf",
  "square",
  "softplus",
  "atan",
] as const;

/** exp, log and their kind on numbers brought into range first. */
const guarded: Step = (w) => {
  const x = w.f.op("tanh", { x: w.value() });
  const positive = w.f.op("add", { x, y: 1.5 });
  switch (w.below(6)) {
    case 0:
      return [w.f.op("exp", { x })];
    case 1:
      return [w.f.op("log", { x: positive })];
    case 2:
      return [w.f.op("sqrt", { x: positive })];
    case 3:
      return [w.f.op("rsqrt", { x: positive, epsilon: 1e-3 })];
    case 4:
      return [w.f.op("real_div", { x: w.number(), y: positive })];
    default:
      return [w.f.op("pow", { x: positive, y: w.pick([0.5, 1, 2, 3, 1.5]) })];
  }
};

const product: Step = (w) => {
  const x = w.value(2);
  const shape = w.shapeOf(x);
  const transposed = w.chance();
  const inner = shape.at(transposed ? -2 : -1) ?? 1;
  const columns = w.between(1, 4);
  const flipped = w.chance();
  const y = w.constant(flipped ? [columns, inner] : [inner, columns]);
  const sum = w.f.op("matmul", { x, y, transpose_x: transposed, transpose_y: flipped });
  return [w.f.op("mul", { x: sum, y: 0.5 })];
};

/** What simplification is for: ops that do nothing, or that undo each other. */
const redundant: Step = (w) => {
  const x = w.value();
  const shape = w.shapeOf(x);
  switch (w.below(14)) {
    case 0:
      return [w.f.op("add", { x, y: 0 })];
    case 1:
      return [w.f.op("mul", { x, y: 1 })];
    case 2:
      return [w.f.op("mul", { x: w.f.op("mul", { x, y: 0.5 }), y: w.pick([2, 3, 0.25]) })];
    case 3:
      return [w.f.op("identity", { x })];
    case 4:
      return [w.f.op("sub", { x, y: w.f.op("mul", { x: w.mate(x), y: -1 }) })];
    case 5:
      return [w.f.op("real_div", { x, y: w.pick([1, 2, 4]) })];
    case 6: {
      const order = w.permutation(shape.length);
      if (order.length === 0) return [];
      const turned = w.f.op("transpose", { x, perm: order });
      return [w.f.op("transpose", { x: turned, perm: w.permutation(order.length) })];
    }
    case 7: {
      const flat = w.f.op("reshape", { x, shape: [elementCount(shape)] });
      return [w.f.op("reshape", { x: flat, shape })];
    }
    case 8: {
      const wide = w.f.op("cast", { x, dtype: "fp32" });
      return [w.f.op("cast", { x: wide, dtype: w.dataType })];
    }
    case 9: {
      if (shape.length === 0) return [];
      const reps = shape.map((size) => (size === 1 ? w.between(1, 3) : 1));
      const spread = w.f.op("tile", { x, reps });
      return [w.f.op("add", { x: spread, y: w.mate(spread) })];
    }
    case 10: {
      if (shape.length === 0) return [];
      const spread = w.f.op("fill", { shape, value: scalarLiteral(w.dataType, w.number()) });
      return [w.f.op("mul", { x, y: spread })];
    }
    case 11: {
      // The same op twice.
      const y = w.mate(x);
      return [w.f.op("add", { x, y }), w.f.op("add", { x: y, y: x })];
    }
    case 12: {
      const half = w.f.op("square", { x: w.constant(shape.slice(-1)) });
      return [w.f.op("add", { x, y: half })];
    }
    default:
      return [w.f.op("select", { cond: tensorLiteral("bool", [], [w.below(2)]), a: x, b: x })];
  }
};

const arrangement: Step = (w) => {
  const x = w.value(1);
  const shape = w.shapeOf(x);
  const axis = w.axis(x);
  const size = shape[axis] ?? 1;
  switch (w.below(9)) {
    case 0:
      return [w.f.op("transpose", { x, perm: w.permutation(shape.length) })];
    case 1:
      return [w.f.op("reshape", { x, shape: [-1, shape.at(-1) ?? 1] })];
    case 2:
      return shape.length < 4 ? [w.f.op("expand_dims", { x, axes: [axis] })] : [];
    case 3: {
      const values = [x, w.f.op("mul", { x, y: w.number() })];
      return size <= 4 ? [w.f.op("concat", { values, axis })] : [];
    }
    case 4: {
      if (size < 2) return [];
      const first = w.between(1, size - 1);
      const parts = w.f.many("split", { x, split_sizes: [first, size - first], axis });
      return w.chance(0.3) ? [w.f.op("concat", { values: parts, axis })] : parts;
    }
    case 5: {
      const begin = w.below(size);
      return [
        w.f.op("slice_by_index", {
          x,
          begin: shape.map((_, other) => (other === axis ? begin : 0)),
          end: shape.map((all, other) => (other === axis ? w.between(begin + 1, all) : all)),
        }),
      ];
    }
    case 6:
      return [w.f.op("reverse", { x, axes: [axis] })];
    case 7: {
      if (size > 4) return [];
      const pad = shape.flatMap((_, other) => (other === axis ? [w.below(2), w.below(2)] : [0, 0]));
      return [w.f.op("pad", { x, pad, mode: "constant", constant_val: w.number() })];
    }
    default:
      return [w.f.op("squeeze", { x })];
  }
};

const REDUCTIONS = [
  "reduce_sum",
  "reduce_mean",
  "reduce_max",
  "reduce_min",
  "reduce_sum_square",
  "reduce_log_sum_exp",
] as const;

const indexing: Step = (w) => {
  const x = w.value(1, 3);
  const shape = w.shapeOf(x);
  const axis = w.axis(x);
  const size = shape[axis] ?? 1;
  const picks = w.between(1, 4);
  const indices = (wanted: readonly number[]) =>
    tensorLiteral(
      "int32",
      wanted,
      Array.from({ length: elementCount(wanted) }, () => w.below(size)),
    );
  if (w.chance()) return [w.f.op("gather", { x, indices: indices([picks]), axis })];
  const along = shape.with(axis, picks);
  const updates = w.constant(along);
  const data = w.f.op("fill", { shape, value: scalarLiteral(w.dataType, 0) });
  const sum = w.f.op("scatter_along_axis", {
    data,
    indices: indices(along),
    updates,
    axis,
    mode: "add",
  });
  return [w.chance(0.7) ? w.f.op("add", { x, y: sum }) : sum];
};

/** Activations and normalizations written out in simple ops. */
const written: Step = (w) => {
  const x = w.value(1);
  const f = w.f;
  const axes = [w.axis(x)];
  switch (w.below(5)) {
    case 0:
      return [f.op("mul", { x, y: f.op("sigmoid", { x }) })];
    case 1: {
      const share = f.op("add", {
        x: f.op("erf", { x: f.op("mul", { x, y: Math.SQRT1_2 }) }),
        y: 1,
      });
      return [f.op("mul", { x: f.op("mul", { x, y: 0.5 }), y: share })];
    }
    case 2: {
      const cube = f.op("mul", { x: f.op("pow", { x, y: 3 }), y: 0.044715 });
      const inner = f.op("mul", { x: f.op("add", { x, y: cube }), y: Math.sqrt(2 / Math.PI) });
      const share = f.op("add", { x: f.op("tanh", { x: inner }), y: 1 });
      return [f.op("mul", { x: f.op("mul", { x, y: share }), y: 0.5 })];
    }
    case 3: {
      const top = f.op("reduce_max", { x, axes, keep_dims: true });
      const power = f.op("exp", { x: f.op("sub", { x, y: top }) });
      const sum = f.op("reduce_sum", { x: power, axes, keep_dims: true });
      return [f.op("real_div", { x: power, y: sum })];
    }
    default: {
      const mean = f.op("reduce_mean", { x, axes, keep_dims: true });
      const centered = f.op("sub", { x, y: mean });
      const square = f.op("square", { x: centered });
      const variance = f.op("reduce_mean", { x: square, axes, keep_dims: true });
      const root = f.op("sqrt", { x: f.op("add", { x: variance, y: 0.125 }) });
      const normal = f.op("real_div", { x: centered, y: root });
      const spread = w.shapeOf(x).map((size, axis) => (axes.includes(axis) ? size : 1));
      return [
        f.op("add", {
          x: f.op("mul", { x: normal, y: w.constant(spread) }),
          y: w.constant(spread),
        }),
      ];
    }
  }
};

/** Comparisons whose two sides meet where they change places, so that rounding may cross the border. */
const comparison: Step = (w) => {
  const x = w.value();
  const y = w.chance(0.5) ? w.mate(x) : scalarLiteral(w.dataType, w.number());
  const type = w.pick(["greater", "greater_equal", "less", "less_equal"] as const);
  const isLarger = type.startsWith("greater");
  const cond = w.f.op(type, { x, y });
  switch (w.below(5)) {
    case 0:
      return [w.f.op("select", isLarger ? { cond, a: x, b: y } : { cond, a: y, b: x })];
    case 1: {
      const not = w.f.op("logical_not", { x: cond });
      return [w.f.op("select", isLarger ? { cond: not, a: x, b: y } : { cond: not, a: y, b: x })];
    }
    case 2: {
      // The common mask: a comparison as a factor.
      const mask = w.f.op("cast", { x: cond, dtype: w.dataType });
      return [w.f.op("mul", { x: mask, y: w.f.op("sub", { x, y }) })];
    }
    case 3: {
      const other = w.f.op(isLarger ? "less" : "greater", { x: w.f.op("sub", { x, y }), y: 0 });
      const both = w.f.op("logical_or", { x: cond, y: other });
      const mask = w.f.op("cast", { x: both, dtype: w.dataType });
      return [w.f.op("mul", { x: mask, y: w.f.op("sub", { x, y }) })];
    }
    default: {
      const near = w.f.op("clip", { x, alpha: -0.5, beta: 0.75 });
      return [w.f.op("maximum", { x: near, y: w.mate(near) })];
    }
  }
};

const STEPS = {
  unary: (w) => [w.f.op(w.pick(UNARY), { x: w.value() })],
  comparison,
  binary: (w) => {
    const x = w.value();
    return [
      w.f.op(w.pick(["add", "sub", "mul", "maximum", "minimum"] as const), { x, y: w.mate(x) }),
    ];
  },
  guarded,
  product,
  reduction: (w) => {
    const x = w.value(1);
    return [w.f.op(w.pick(REDUCTIONS), { x, axes: w.axes(x), keep_dims: w.chance() })];
  },
  softmax: (w) => {
    const x = w.value(1);
    return [w.f.op("softmax", { x, axis: w.axis(x) })];
  },
  norm: (w) => {
    const x = w.value(1);
    return [w.f.op("layer_norm", { x, axes: [w.axis(x)], epsilon: 0.125 })];
  },
  arrangement,
  indexing,
  redundant,
  written,
} as const satisfies Record<string, Step>;

export type StepKind = keyof typeof STEPS;
export const STEP_KINDS = Object.keys(STEPS) as readonly StepKind[];
