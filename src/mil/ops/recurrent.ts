import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { constantTensor, optional, optionalConstantTensor, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { agree, checkRank, formatShape } from "./dimensions.ts";
import { sigmoid } from "./special-functions.ts";

type Activation = (x: number) => number;

/**
 * Constants of `hard_sigmoid` (0.2, 0.5) and `scaled_tanh` (1, 1) are those of coremltools' own tests; the
 * language's text gives none.
 */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  tanh: Math.tanh,
  scaled_tanh: Math.tanh,
  sigmoid,
  hard_sigmoid: (x) => Math.min(Math.max(0.2 * x + 0.5, 0), 1),
  sigmoid_hard: (x) => Math.min(Math.max(0.2 * x + 0.5, 0), 1),
  relu: (x) => Math.max(x, 0),
  linear: (x) => x,
};

function activationOf(call: OpCall, name: string): Activation {
  const wanted = call.string(name).toLowerCase();
  const found = Object.hasOwn(ACTIVATIONS, wanted) ? ACTIVATIONS[wanted] : undefined;
  if (found === undefined) {
    throw call.fail(`${name} "${wanted}" is none of ${Object.keys(ACTIVATIONS).join(", ")}`);
  }
  return found;
}

const ONE_DIRECTION = ["forward", "reverse"] as const;
const BOTH_DIRECTIONS = [...ONE_DIRECTION, "bidirectional"] as const;

const isReversed = (call: OpCall): boolean => call.string("direction") === "reverse";

/** Checks a pair of weights [gates * H, I] and [gates * H, H] and returns H. */
function hiddenSize(call: OpCall, gates: number, suffix = ""): number {
  const [inputRows, inputs] = call.shape(`weight_ih${suffix}`);
  const [rows, hidden, ...rest] = call.shape(`weight_hh${suffix}`);
  if (typeof hidden !== "number" || rest.length > 0 || rows !== gates * hidden) {
    throw call.fail(
      `weight_hh${suffix} ${formatShape(call.shape(`weight_hh${suffix}`))} must be [${gates} * H, H]`,
    );
  }
  const width = call.shape("x")[2] ?? 1;
  if (inputRows !== rows || inputs === undefined || !agree(inputs, width)) {
    throw call.fail(
      `weight_ih${suffix} ${formatShape(call.shape(`weight_ih${suffix}`))} must be [${rows}, ${width}]`,
    );
  }
  for (const [name, count] of [
    [`bias${suffix}`, gates * hidden],
    [`input_bias${suffix}`, gates * hidden],
    [`peephole${suffix}`, 3 * hidden],
  ] as const) {
    if (call.has(name) && call.shape(name)[0] !== count) {
      throw call.fail(`${name} must hold ${count} numbers, not ${formatShape(call.shape(name))}`);
    }
  }
  return hidden;
}

function checkState(call: OpCall, name: string, width: number): void {
  const wanted: readonly Dimension[] = [call.shape("x")[1] ?? 1, width];
  const given = call.shape(name);
  if (given.length !== 2 || !wanted.every((size, axis) => agree(size, given[axis] ?? 1))) {
    throw call.fail(`${name} must have shape ${formatShape(wanted)}, not ${formatShape(given)}`);
  }
}

/** The sequence (or its last step alone) and the final states. */
function outputTypes(call: OpCall, width: number, states: number): readonly TensorType[] {
  const [steps = 1, batch = 1] = call.shape("x");
  const dataType = call.dataType("x");
  const sequence = [call.bool("output_sequence") ? steps : 1, batch, width];
  const final = tensorType(dataType, [batch, width]);
  return [tensorType(dataType, sequence), ...Array.from({ length: states }, () => final)];
}

/** weight [rows, n] times the vector at `start` of `vectors`. */
function product(weight: HostTensor, vectors: Float64Array, start: number): Float64Array {
  const [rows = 1, count = 1] = weight.shape;
  const result = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let total = 0;
    for (let i = 0; i < count; i++) {
      total += (weight.data[row * count + i] ?? 0) * (vectors[start + i] ?? 0);
    }
    result[row] = total;
  }
  return result;
}

/** One step of one batch entry: the new states from the input row and the old states. */
type Cell = (inputRow: number, states: readonly Float64Array[]) => readonly Float64Array[];

/** Runs a cell along the sequence; the first state is the output. */
function runSequence(
  steps: number,
  batch: number,
  initial: (entry: number) => readonly Float64Array[],
  cell: Cell,
  reverse: boolean,
): {
  readonly outputs: readonly (readonly Float64Array[])[];
  readonly finals: readonly (readonly Float64Array[])[];
} {
  const outputs: Float64Array[][] = Array.from({ length: steps }, () => []);
  const finals: (readonly Float64Array[])[] = [];
  for (let entry = 0; entry < batch; entry++) {
    let states = initial(entry);
    for (let step = 0; step < steps; step++) {
      const row = reverse ? steps - 1 - step : step;
      states = cell(row * batch + entry, states);
      // A reversed sequence is given in the order it was walked, as coremltools' own tests have it.
      outputs[step]?.push(states[0] ?? new Float64Array());
    }
    finals.push(states);
  }
  return { outputs, finals };
}

type Run = ReturnType<typeof runSequence>;

/** Puts the runs of one or two directions side by side into the result tensors. */
function collect(call: OpCall, runs: readonly Run[], hidden: number, states: number) {
  const x = call.tensor("x");
  const [steps = 1, batch = 1] = x.shape;
  const width = hidden * runs.length;
  const whole = call.bool("output_sequence");
  const sequence = hostTensor(x.dataType, [whole ? steps : 1, batch, width]);
  const finals = Array.from({ length: states }, () => hostTensor(x.dataType, [batch, width]));
  runs.forEach((run, direction) => {
    const offset = direction * hidden;
    for (let entry = 0; entry < batch; entry++) {
      run.finals[entry]?.forEach((state, index) => {
        finals[index]?.data.set(state, entry * width + offset);
      });
      if (!whole) {
        sequence.data.set(run.finals[entry]?.[0] ?? [], entry * width + offset);
        continue;
      }
      for (let step = 0; step < steps; step++) {
        // The backward half of a bidirectional run stands at the place of its input.
        const place = direction === 1 ? steps - 1 - step : step;
        const row = run.outputs[step]?.[entry] ?? [];
        sequence.data.set(row, (place * batch + entry) * width + offset);
      }
    }
  });
  return [sequence, ...finals];
}

function rowsOf(call: OpCall, name: string, offset: number, hidden: number) {
  const { data, shape } = call.tensor(name);
  const width = shape[1] ?? hidden;
  return (entry: number): Float64Array =>
    data.slice(entry * width + offset, entry * width + offset + hidden);
}

function lstmRun(
  call: OpCall,
  hidden: number,
  suffix: string,
  offset: number,
  reverse: boolean,
): Run {
  const x = call.tensor("x");
  const [steps = 1, batch = 1, inputs = 1] = x.shape;
  const weightInput = call.tensor(`weight_ih${suffix}`);
  const weightHidden = call.tensor(`weight_hh${suffix}`);
  const bias = call.optionalNumbers(`bias${suffix}`);
  const peephole = call.optionalNumbers(`peephole${suffix}`);
  const gate = activationOf(call, "recurrent_activation");
  const cellActivation = activationOf(call, "cell_activation");
  const outputActivation = activationOf(call, "activation");
  const clip = call.has("clip") ? call.float("clip") : Infinity;
  const initialH = rowsOf(call, "initial_h", offset, hidden);
  const initialC = rowsOf(call, "initial_c", offset, hidden);
  // The gates stand in the order input, forget, output, cell; peepholes input, forget, output.
  const cell: Cell = (row, [h = new Float64Array(), c = new Float64Array()]) => {
    const fromInput = product(weightInput, x.data, row * inputs);
    const fromHidden = product(weightHidden, h, 0);
    const at = (index: number, unit: number): number => {
      const place = index * hidden + unit;
      return (fromInput[place] ?? 0) + (fromHidden[place] ?? 0) + (bias?.[place] ?? 0);
    };
    const look = (index: number, unit: number, state: number): number =>
      (peephole?.[index * hidden + unit] ?? 0) * state;
    const nextC = new Float64Array(hidden);
    const nextH = new Float64Array(hidden);
    for (let unit = 0; unit < hidden; unit++) {
      const old = c[unit] ?? 0;
      const input = gate(at(0, unit) + look(0, unit, old));
      const forget = gate(at(1, unit) + look(1, unit, old));
      const candidate = cellActivation(at(3, unit));
      const state = Math.min(Math.max(forget * old + input * candidate, -clip), clip);
      nextC[unit] = state;
      nextH[unit] = gate(at(2, unit) + look(2, unit, state)) * outputActivation(state);
    }
    return [nextH, nextC];
  };
  return runSequence(steps, batch, (entry) => [initialH(entry), initialC(entry)], cell, reverse);
}

function gruRun(call: OpCall, hidden: number): Run {
  const x = call.tensor("x");
  const [steps = 1, batch = 1, inputs = 1] = x.shape;
  const weightInput = call.tensor("weight_ih");
  const weightHidden = call.tensor("weight_hh");
  const bias = call.optionalNumbers("bias");
  const inputBias = call.optionalNumbers("input_bias");
  const gate = activationOf(call, "recurrent_activation");
  const activation = activationOf(call, "activation");
  const resetAfter = call.bool("reset_after");
  const initial = rowsOf(call, "initial_h", 0, hidden);
  // The gates stand in the order reset, output, update.
  const cell: Cell = (row, [h = new Float64Array()]) => {
    const fromInput = product(weightInput, x.data, row * inputs);
    const fromHidden = product(weightHidden, h, 0);
    const input = (place: number): number => (fromInput[place] ?? 0) + (inputBias?.[place] ?? 0);
    const recurrent = (place: number): number => (fromHidden[place] ?? 0) + (bias?.[place] ?? 0);
    const reset = h.map((_, unit) => gate(input(unit) + recurrent(unit)));
    const gated = product(
      weightHidden,
      h.map((value, unit) => value * (reset[unit] ?? 0)),
      0,
    );
    return [
      h.map((old, unit) => {
        const candidatePlace = hidden + unit;
        const updatePlace = 2 * hidden + unit;
        const update = gate(input(updatePlace) + recurrent(updatePlace));
        // By default the reset gate acts on the state before the product (the formula of Core ML's GRU
        // layer and of coremltools' tests); with reset_after on the product and its bias, as PyTorch.
        const candidate = activation(
          input(candidatePlace) +
            (resetAfter
              ? (reset[unit] ?? 0) * recurrent(candidatePlace)
              : (gated[candidatePlace] ?? 0) + (bias?.[candidatePlace] ?? 0)),
        );
        return (1 - update) * candidate + update * old;
      }),
    ];
  };
  return runSequence(steps, batch, (entry) => [initial(entry)], cell, isReversed(call));
}

function rnnRun(call: OpCall, hidden: number): Run {
  const x = call.tensor("x");
  const [steps = 1, batch = 1, inputs = 1] = x.shape;
  const weightInput = call.tensor("weight_ih");
  const weightHidden = call.tensor("weight_hh");
  const bias = call.optionalNumbers("bias");
  const activation = activationOf(call, "activation");
  const initial = rowsOf(call, "initial_h", 0, hidden);
  const cell: Cell = (row, [h = new Float64Array()]) => {
    const fromInput = product(weightInput, x.data, row * inputs);
    return [
      product(weightHidden, h, 0).map((value, unit) =>
        activation(value + (fromInput[unit] ?? 0) + (bias?.[unit] ?? 0)),
      ),
    ];
  };
  return runSequence(steps, batch, (entry) => [initial(entry)], cell, isReversed(call));
}

function recurrentFlops(call: OpCall): number {
  const [steps = 1, batch = 1] = call.staticShape("x");
  const [rows = 1, inputs = 1] = call.staticShape("weight_ih");
  const hidden = call.staticShape("weight_hh")[1] ?? 1;
  const directions = call.has("weight_ih_back") ? 2 : 1;
  return directions * steps * batch * 2 * rows * (inputs + hidden);
}

const COMMON = {
  x: tensor(),
  initial_h: tensor(),
  weight_ih: constantTensor(),
  weight_hh: constantTensor(),
  bias: optionalConstantTensor(),
  direction: optional("string", "forward"),
  output_sequence: optional("bool", false),
} as const;

export const RECURRENT = {
  lstm: defineOp({
    kind: "costly",
    parameters: {
      ...COMMON,
      initial_c: tensor(),
      peephole: optionalConstantTensor(),
      weight_ih_back: optionalConstantTensor(),
      weight_hh_back: optionalConstantTensor(),
      bias_back: optionalConstantTensor(),
      peephole_back: optionalConstantTensor(),
      recurrent_activation: optional("string", "sigmoid"),
      cell_activation: optional("string", "tanh"),
      activation: optional("string", "tanh"),
      clip: optional("float"),
    },
    infer: (call) => {
      checkRank(call, "x", 3, 3);
      for (const name of ["recurrent_activation", "cell_activation", "activation"]) {
        activationOf(call, name);
      }
      const both = call.choice("direction", BOTH_DIRECTIONS) === "bidirectional";
      const hidden = hiddenSize(call, 4);
      if (both && hiddenSize(call, 4, "_back") !== hidden) {
        throw call.fail("both directions must have one hidden size");
      }
      const width = both ? 2 * hidden : hidden;
      checkState(call, "initial_h", width);
      checkState(call, "initial_c", width);
      return outputTypes(call, width, 2);
    },
    evaluate: (call) => {
      const hidden = hiddenSize(call, 4);
      const direction = call.string("direction");
      const runs = [lstmRun(call, hidden, "", 0, isReversed(call))];
      if (direction === "bidirectional") runs.push(lstmRun(call, hidden, "_back", hidden, true));
      return collect(call, runs, hidden, 2);
    },
    flops: recurrentFlops,
  }),

  gru: defineOp({
    kind: "costly",
    parameters: {
      ...COMMON,
      recurrent_activation: optional("string", "sigmoid"),
      activation: optional("string", "tanh"),
      reset_after: optional("bool", false),
      input_bias: optionalConstantTensor(),
    },
    infer: (call) => {
      checkRank(call, "x", 3, 3);
      call.choice("direction", ONE_DIRECTION);
      activationOf(call, "recurrent_activation");
      activationOf(call, "activation");
      const hidden = hiddenSize(call, 3);
      checkState(call, "initial_h", hidden);
      return outputTypes(call, hidden, 1);
    },
    evaluate: (call) => {
      const hidden = hiddenSize(call, 3);
      return collect(call, [gruRun(call, hidden)], hidden, 1);
    },
    flops: recurrentFlops,
  }),

  rnn: defineOp({
    kind: "costly",
    parameters: { ...COMMON, activation: optional("string", "tanh") },
    infer: (call) => {
      checkRank(call, "x", 3, 3);
      call.choice("direction", ONE_DIRECTION);
      activationOf(call, "activation");
      const hidden = hiddenSize(call, 1);
      checkState(call, "initial_h", hidden);
      return outputTypes(call, hidden, 1);
    },
    evaluate: (call) => {
      const hidden = hiddenSize(call, 1);
      return collect(call, [rnnRun(call, hidden)], hidden, 1);
    },
    flops: recurrentFlops,
  }),
} as const;
