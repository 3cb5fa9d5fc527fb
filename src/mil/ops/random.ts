import { Random } from "../../util/random.ts";
import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, runtime, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { DataType, TensorType } from "../types.ts";
import { commonDataType } from "./dimensions.ts";
import { shapeSetting } from "./tensor-transformation.ts";

/**
 * The generator of one call: that of `seed`, or of the run's own seed where it is absent or -1. The language
 * names no generator, so the numbers are Anecdote's; only their distribution is the language's.
 */
function generatorOf(call: OpCall): Random {
  const seed = call.int("seed");
  return new Random(seed === -1 ? (call.environment?.seed ?? 0) : seed);
}

/** The seed of a call in a run without a seed of its own; `name` is its first result's. */
export function seedOfCall(call: OpCall, name: string): number {
  const seed = call.int("seed");
  return seed === -1 ? namedSeed(0, name) : seed;
}

/** FNV-1a over the name, so that two random ops of one program draw different numbers. */
export function namedSeed(seed: number, name: string): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < name.length; i++)
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** Numbers of a generator, in the order of a result's elements. */
export function drawsOf(
  random: Random,
  count: number,
  draw: (random: Random) => number,
): Float64Array {
  const numbers = new Float64Array(count);
  for (let i = 0; i < count; i++) numbers[i] = draw(random);
  return numbers;
}

function drawnType(call: OpCall, ...settings: readonly [string, ...string[]]): TensorType {
  const given = settings.filter((name) => call.has(name));
  const dataType: DataType = given.length === 0 ? "fp32" : commonDataType(call, ...given);
  return tensorType(dataType, shapeSetting(call));
}

function draw(call: OpCall, type: TensorType, next: (random: Random) => number) {
  const shape = staticShape(type);
  const numbers = drawsOf(generatorOf(call), elementCount(shape), next);
  return [hostTensor(type.dataType, shape, numbers)];
}

const SEED = { seed: optional("int", -1) } as const;

const MODES = ["logits", "probs"] as const;

function categoricalType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const size = call.int("size");
  call.choice("mode", MODES);
  if (shape.length === 0) throw call.fail("x must have rank 1 or more");
  if (size < 1) throw call.fail("size must be 1 or more");
  return tensorType(call.dataType("x"), [...shape.slice(0, -1), size]);
}

export const RANDOM = {
  random_bernoulli: defineOp({
    kind: "costly",
    impure: true,
    parameters: { shape: runtime("ints"), prob: optional("float", 0.5), ...SEED },
    infer: (call) => [drawnType(call, "prob")],
    evaluate: (call) => {
      const probability = call.float("prob");
      return draw(call, drawnType(call, "prob"), (random) =>
        random.uniform() < probability ? 1 : 0,
      );
    },
  }),

  random_categorical: defineOp({
    kind: "costly",
    impure: true,
    parameters: {
      x: tensor(),
      mode: optional("string", "logits"),
      size: optional("int", 1),
      ...SEED,
    },
    infer: (call) => [categoricalType(call)],
    evaluate: (call) => {
      const type = categoricalType(call);
      const x = call.tensor("x");
      const random = generatorOf(call);
      const logits = call.choice("mode", MODES) === "logits";
      const classes = x.shape.at(-1) ?? 1;
      const samples = call.int("size");
      const output = hostTensor(type.dataType, staticShape(type));
      for (let row = 0; row < elementCount(x.shape.slice(0, -1)); row++) {
        const values = x.data.subarray(row * classes, (row + 1) * classes);
        const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
        const weights = logits ? values.map((value) => Math.exp(value - largest)) : values;
        const total = weights.reduce((a, b) => a + b, 0);
        for (let s = 0; s < samples; s++) {
          let rest = random.uniform() * total;
          let pick = 0;
          while (pick < classes - 1 && rest >= (weights[pick] ?? 0)) rest -= weights[pick++] ?? 0;
          output.data[row * samples + s] = pick;
        }
      }
      return [output];
    },
  }),

  random_normal: defineOp({
    kind: "costly",
    impure: true,
    parameters: {
      shape: runtime("ints"),
      mean: optional("float", 0),
      stddev: optional("float", 1),
      ...SEED,
    },
    infer: (call) => [drawnType(call, "mean", "stddev")],
    evaluate: (call) => {
      const mean = call.float("mean");
      const deviation = call.float("stddev");
      return draw(
        call,
        drawnType(call, "mean", "stddev"),
        (random) => mean + deviation * random.normal(),
      );
    },
  }),

  random_uniform: defineOp({
    kind: "costly",
    impure: true,
    parameters: {
      shape: runtime("ints"),
      low: optional("float", 0),
      high: optional("float", 1),
      ...SEED,
    },
    infer: (call) => [drawnType(call, "low", "high")],
    evaluate: (call) => {
      const low = call.float("low");
      const range = call.float("high") - low;
      return draw(call, drawnType(call, "low", "high"), (random) => low + range * random.uniform());
    },
  }),
} as const;
