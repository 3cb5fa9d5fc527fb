import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, runtime, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { derive } from "./dimensions.ts";
import { spanOf } from "./strided.ts";
import { shapeLength } from "./tensor-transformation.ts";

export const PAD_MODES = ["constant", "reflect", "replicate"] as const;

/** Elements before and after every axis; `pad` speaks of the last axes. */
function padding(call: OpCall, rank: number): readonly (readonly [number, number])[] {
  const pad = call.ints("pad");
  if (pad.length % 2 !== 0 || pad.length > 2 * rank) {
    throw call.fail(`pad must hold two numbers an axis, for at most ${rank} axes`);
  }
  const skipped = rank - pad.length / 2;
  return Array.from({ length: rank }, (_, axis) => {
    const at = 2 * (axis - skipped);
    return at < 0 ? [0, 0] : [pad[at] ?? 0, pad[at + 1] ?? 0];
  });
}

function padType(call: OpCall): TensorType {
  const shape = call.shape("x");
  const mode = call.choice("mode", PAD_MODES);
  if (!call.isKnown("pad")) {
    if (shapeLength(call, "pad") !== 2 * shape.length) {
      throw call.fail(`a pad that is not constant must hold ${2 * shape.length} numbers`);
    }
    return tensorType(
      call.dataType("x"),
      shape.map((): Dimension => "?"),
    );
  }
  return tensorType(
    call.dataType("x"),
    padding(call, shape.length).map(([before, after], axis) => {
      if (before < 0 || after < 0) throw call.fail("pad must not be negative");
      return derive([shape[axis] ?? 1], (size = 0) => {
        const limit = mode === "reflect" ? size - 1 : mode === "replicate" ? size : Infinity;
        if (Math.max(before, after) > limit) {
          throw call.fail(
            `mode ${mode} can add at most ${limit} to axis ${axis} of ${size}, not ${Math.max(before, after)}`,
          );
        }
        return before + size + after;
      });
    }),
  );
}

/** Pads one axis after another. */
function padTensor(
  x: HostTensor,
  pads: readonly (readonly [number, number])[],
  mode: (typeof PAD_MODES)[number],
  constant: number,
): HostTensor {
  let current = x;
  pads.forEach(([before, after], axis) => {
    if (before === 0 && after === 0) return;
    const { outer, size, inner } = spanOf(current.shape, axis);
    const length = before + size + after;
    const output = hostTensor(x.dataType, current.shape.with(axis, length));
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < length; i++) {
        const target = (o * length + i) * inner;
        const source = paddedIndex(i - before, size, mode);
        if (source === undefined) output.data.fill(constant, target, target + inner);
        else {
          const start = (o * size + source) * inner;
          output.data.set(current.data.subarray(start, start + inner), target);
        }
      }
    }
    current = output;
  });
  return current;
}

function paddedIndex(index: number, size: number, mode: (typeof PAD_MODES)[number]) {
  if (index >= 0 && index < size) return index;
  switch (mode) {
    case "constant":
      return undefined;
    case "reflect":
      return index < 0 ? -index : 2 * (size - 1) - index;
    case "replicate":
      return index < 0 ? 0 : size - 1;
  }
}

export const PADDING = {
  pad: defineOp({
    kind: "movement",
    numbersOf: "operands",
    parameters: {
      x: tensor(),
      pad: runtime("ints"),
      mode: optional("string", "constant"),
      constant_val: optional("float", 0),
    },
    infer: (call) => [padType(call)],
    evaluate: (call) => {
      padType(call);
      const x = call.tensor("x");
      const pads = padding(call, x.shape.length);
      return [padTensor(x, pads, call.choice("mode", PAD_MODES), call.float("constant_val"))];
    },
  }),
} as const;
