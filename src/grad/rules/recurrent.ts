import { FunctionBuilder } from "../../mil/builder.ts";
import type { OpCall } from "../../mil/op-call.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { add, mul, reshapeTo, shapeOf, sliceAxis, sub } from "../emit.ts";
import type { GradientRule, GradientTable } from "../rule.ts";

// A recurrent op is its steps written out one after the other; the backward function runs them again.

/** The op's tensors as inputs of a function of simpler ops. */
interface Unrolled {
  readonly f: FunctionBuilder;
  readonly call: OpCall;
  /** Nothing where the parameter is left out. */
  readonly tensor: (name: string) => Value | undefined;
  readonly required: (name: string) => Value;
}

const TENSORS = ["x", "initial_h", "initial_c", "input_bias"] as const;
const DIRECTED = ["weight_ih", "weight_hh", "bias", "peephole"] as const;

function unrolled(call: OpCall): Unrolled {
  const f = new FunctionBuilder(call.type);
  const names = [...TENSORS, ...DIRECTED, ...DIRECTED.map((name) => `${name}_back`)];
  const tensors = new Map<string, Value>();
  for (const name of names) {
    if (call.has(name)) tensors.set(name, f.input(name, call.operand(name).type));
  }
  const tensor = (name: string): Value | undefined => tensors.get(name);
  const required = (name: string): Value => {
    const value = tensors.get(name);
    if (value === undefined) throw call.fail(`parameter "${name}" is missing`);
    return value;
  };
  return { f, call, tensor, required };
}

function activation({ f, call }: Unrolled, name: string, x: Value): Value {
  switch (call.string(name).toLowerCase()) {
    case "tanh":
    case "scaled_tanh":
      return f.op("tanh", { x });
    case "sigmoid":
      return f.op("sigmoid", { x });
    case "hard_sigmoid":
    case "sigmoid_hard":
      return f.op("sigmoid_hard", { x, alpha: 0.2, beta: 0.5 });
    case "relu":
      return f.op("relu", { x });
    case "linear":
      return x;
    default:
      throw call.fail(`${name} "${call.string(name)}" has no derivative`);
  }
}

/** The states after each step, in the order in which they are walked. */
interface Run {
  readonly outputs: readonly Value[];
  readonly finals: readonly Value[];
}

/** The new states from the rows [B, gates * H] of the input's product and the old states [B, H]. */
type Cell = (rows: Value, states: readonly Value[]) => readonly Value[];

function walk(
  { f, required }: Unrolled,
  suffix: string,
  initial: readonly Value[],
  reverse: boolean,
  cell: Cell,
): Run {
  const x = required("x");
  const weight = required(`weight_ih${suffix}`);
  const [steps = 1, batch = 1] = shapeOf(x);
  const rows = f.op("matmul", { x, y: weight, transpose_y: true });
  const outputs: Value[] = [];
  let states = initial;
  for (let step = 0; step < steps; step++) {
    const row = sliceAxis(f, rows, 0, reverse ? steps - 1 - step : step, 1);
    states = cell(reshapeTo(f, row, [batch, shapeOf(weight)[0] ?? 1]), states);
    const [output] = states;
    if (output !== undefined) outputs.push(output);
  }
  return { outputs, finals: states };
}

/** The op's results from the runs of one or two directions. */
function results({ f, call }: Unrolled, runs: readonly Run[]): MilFunction {
  const join = (values: readonly Value[], axis: number): Value => {
    const [first] = values;
    if (first === undefined) throw call.fail("the sequence is empty");
    return values.length === 1 ? first : f.op("concat", { values, axis });
  };
  const halves = runs.map(({ outputs, finals }, direction) => {
    if (call.bool("output_sequence")) {
      // The backward half of a bidirectional run stands at the place of its input.
      return f.op("stack", { values: direction === 1 ? outputs.toReversed() : outputs, axis: 0 });
    }
    return f.op("expand_dims", { x: join(finals.slice(0, 1), 0), axes: [0] });
  });
  const states = runs[0]?.finals.map((_, index) =>
    join(
      runs.flatMap(({ finals }) => finals.slice(index, index + 1)),
      1,
    ),
  );
  const named = [join(halves, 2), ...(states ?? [])].map((value, index): [string, Value] => [
    `result_${index}`,
    value,
  ]);
  return f.finish(Object.fromEntries(named));
}

/** [B, H] of one gate. */
function gate({ f }: Unrolled, rows: Value, index: number, hidden: number): Value {
  return sliceAxis(f, rows, 1, index * hidden, hidden);
}

function recurrentProduct(parts: Unrolled, state: Value, suffix = ""): Value {
  const { f, required } = parts;
  return f.op("matmul", { x: state, y: required(`weight_hh${suffix}`), transpose_y: true });
}

const withBias = ({ f }: Unrolled, x: Value, bias: Value | undefined): Value =>
  bias === undefined ? x : add(f, x, bias);

const lstm: GradientRule<never> = (context) => {
  const parts = unrolled(context.call);
  const { f, call, tensor, required } = parts;
  const hidden = shapeOf(required("weight_hh"))[1] ?? 1;
  const direction = call.string("direction");
  const run = (suffix: string, offset: number, reverse: boolean): Run => {
    const bias = tensor(`bias${suffix}`);
    const peephole = tensor(`peephole${suffix}`);
    const initial = ["initial_h", "initial_c"].map((name) =>
      sliceAxis(f, required(name), 1, offset, hidden),
    );
    const looking = (index: number, rows: Value, state: Value): Value => {
      const own = gate(parts, rows, index, hidden);
      if (peephole === undefined) return own;
      return add(f, own, mul(f, state, sliceAxis(f, peephole, 0, index * hidden, hidden)));
    };
    return walk(parts, suffix, initial, reverse, (fromInput, [h, c]) => {
      if (h === undefined || c === undefined) throw call.fail("two states are needed");
      const sum = add(f, fromInput, recurrentProduct(parts, h, suffix));
      const rows = withBias(parts, sum, bias);
      const input = activation(parts, "recurrent_activation", looking(0, rows, c));
      const forget = activation(parts, "recurrent_activation", looking(1, rows, c));
      const candidate = activation(parts, "cell_activation", gate(parts, rows, 3, hidden));
      const free = add(f, mul(f, forget, c), mul(f, input, candidate));
      const state = call.has("clip")
        ? f.op("clip", { x: free, alpha: -call.float("clip"), beta: call.float("clip") })
        : free;
      const open = activation(parts, "recurrent_activation", looking(2, rows, state));
      return [mul(f, open, activation(parts, "activation", state)), state];
    });
  };
  const runs = [run("", 0, direction === "reverse")];
  if (direction === "bidirectional") runs.push(run("_back", hidden, true));
  return context.through(results(parts, runs));
};

const gru: GradientRule<never> = (context) => {
  const parts = unrolled(context.call);
  const { f, call, tensor, required } = parts;
  const hidden = shapeOf(required("weight_hh"))[1] ?? 1;
  const bias = tensor("bias");
  const reverse = call.string("direction") === "reverse";
  const run = walk(parts, "", [required("initial_h")], reverse, (product, [h]) => {
    if (h === undefined) throw call.fail("a state is needed");
    const fromInput = withBias(parts, product, tensor("input_bias"));
    const recurrent = withBias(parts, recurrentProduct(parts, h), bias);
    const sum = add(f, fromInput, recurrent);
    const reset = activation(parts, "recurrent_activation", gate(parts, sum, 0, hidden));
    const update = activation(parts, "recurrent_activation", gate(parts, sum, 2, hidden));
    const gated = call.bool("reset_after")
      ? mul(f, reset, gate(parts, recurrent, 1, hidden))
      : gate(parts, withBias(parts, recurrentProduct(parts, mul(f, h, reset)), bias), 1, hidden);
    const candidate = activation(
      parts,
      "activation",
      add(f, gate(parts, fromInput, 1, hidden), gated),
    );
    return [add(f, mul(f, sub(f, 1, update), candidate), mul(f, update, h))];
  });
  return context.through(results(parts, [run]));
};

const rnn: GradientRule<never> = (context) => {
  const parts = unrolled(context.call);
  const { f, call, tensor, required } = parts;
  const reverse = call.string("direction") === "reverse";
  const run = walk(parts, "", [required("initial_h")], reverse, (fromInput, [h]) => {
    if (h === undefined) throw call.fail("a state is needed");
    const sum = withBias(parts, add(f, fromInput, recurrentProduct(parts, h)), tensor("bias"));
    return [activation(parts, "activation", sum)];
  });
  return context.through(results(parts, [run]));
};

export const RECURRENT_RULES = { lstm, gru, rnn } as const satisfies Partial<GradientTable>;
