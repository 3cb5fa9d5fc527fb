import { literalOf } from "../../mil/program.ts";
import { familyIndex } from "../chip.ts";
import { shapeOf } from "./op-view.ts";
import type { OpView } from "./op-view.ts";
import { LIMITS } from "./rule-sources.ts";
import type { OpRule } from "./rule.ts";

/** Does this slice begin elsewhere than at 0 on the last axis? */
function lastAxisOffset(call: OpView): number {
  const begin = call.numbers("begin");
  const mask = call.numbers("begin_mask");
  if (begin === undefined || (mask?.at(-1) ?? 0) !== 0) return 0;
  return begin.at(-1) ?? 0;
}

/** The width of a norm with gamma, where it is a limit or more. */
function scaledFrom(call: OpView, limit: number): string | undefined {
  const width = call.shape("x")?.at(-1) ?? 0;
  return width >= limit && call.operand("gamma") !== undefined ? `width ${width}` : undefined;
}

/** Ops that compute something else than they say, or refuse certain widths and values. */
export const VALUE_RULES: readonly OpRule[] = [
  {
    id: "slice-clamp",
    ops: ["slice_by_index", "slice_by_size"],
    to: "H14",
    rule: "A slice that begins elsewhere than at 0 on the last axis turns values beyond 4094 into infinity.",
    symptom: "wrong-result",
    severity: "warning",
    source: "ANEForge numeric cliffs, M1 and M2; unknown on M3, exact from M4 on",
    remedy: "Slice another axis (transpose first), or keep the values below 4094.",
    applies: (call) => {
      const offset = lastAxisOffset(call);
      return offset === 0 ? undefined : `begins at ${offset} on the last axis`;
    },
  },
  {
    id: "concat-of-slices",
    ops: ["concat"],
    to: "H14",
    rule: "Joining two or more slices that begin elsewhere than at 0 on the last axis takes the wrong elements.",
    symptom: "wrong-result",
    severity: "error",
    source: "ANEForge per-family limits, M1 and M2; unknown on M3",
    remedy: "Slice another axis, or multiply with a permutation matrix (rotary embeddings).",
    applies: (call) => {
      const sliced = call.operands("values").filter((operand) => {
        const producer = call.producer(operand);
        if (producer === undefined || !producer.type.startsWith("slice_by_")) return false;
        const begin = producer.inputs.get("begin");
        const literal = begin !== undefined && "kind" in begin ? literalOf(begin) : undefined;
        if (literal?.data.kind !== "numbers") return false;
        return Number(literal.data.numbers.at(-1) ?? 0) !== 0;
      });
      return sliced.length >= 2 ? `${sliced.length} such slices` : undefined;
    },
  },
  {
    id: "width-slices-h15",
    ops: ["concat"],
    from: "H15",
    to: "H15",
    rule: "Slices and concat along the width axis, as rotary embeddings use them, are rejected.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "rustane 9, M3 Ultra",
    remedy: "Multiply with a permutation matrix.",
    contradictedBy: "maderix runs such slices on M3 Ultra in its dynamic pipeline",
    applies: (call) => {
      const axis = call.number("axis") ?? 0;
      const rank = call.resultShape().length;
      return axis === -1 || axis === rank - 1 ? "concat along the last axis" : undefined;
    },
  },
  {
    id: "concat",
    ops: ["concat"],
    rule: "concat is rejected.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "Orion 1, M4 Max; maderix issue 47, M1",
    remedy: "Return the parts as outputs of their own.",
    contradictedBy: "maderix, Espresso and dev-erik use it; alignment is suspected",
  },
  {
    id: "softmax-power-of-two",
    ops: ["softmax"],
    rule: "The softmax axis is a power of two long.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "Espresso, M3 Max: 257 fails, 256 works",
    remedy: "Pad with a large negative number.",
    contradictedBy: "ANEForge runs softmax over 197 through e5rt",
    applies: (call) => {
      const shape = call.shape("x") ?? [];
      const axis = call.number("axis") ?? -1;
      const size = shape.at(axis) ?? 1;
      return Number.isInteger(Math.log2(size)) ? undefined : `the axis is ${size} long`;
    },
  },
  {
    id: "gelu",
    ops: ["gelu"],
    rule: "gelu is rejected.",
    symptom: "compile-error",
    severity: "error",
    driver: "in-memory",
    source: "Orion 10, M4 Max",
    remedy: "Write it with tanh or sigmoid.",
    contradictedBy: "it compiles through e5rt (dev-erik, ANEForge)",
  },
  {
    id: "gelu-h13",
    ops: ["gelu"],
    to: "H13",
    rule: "gelu is off by 8 % on H13.",
    symptom: "inexact",
    severity: "warning",
    source: "ANEForge docs",
    remedy: "Write it with tanh.",
  },
  {
    id: "rsqrt",
    ops: ["rsqrt"],
    rule: "rsqrt is an invalid program.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "Espresso, M3 Max",
    remedy: "Use pow(x, -0.5).",
    contradictedBy: "dev-erik and ANEForge run it",
  },
  {
    id: "reduce-mean",
    ops: ["reduce_mean"],
    rule: "reduce_mean is missing.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "Espresso, M3 Max and M1 Ultra on macOS 26",
    remedy: "Use reduce_sum and a multiplication by 1/n.",
    contradictedBy: "ANEForge and dev-erik run it",
  },
  {
    id: "reduce-narrow",
    ops: ["reduce_sum", "reduce_mean", "reduce_sum_square", "reduce_l1_norm", "reduce_l2_norm"],
    rule: "Sums of reduce ops run in fp16: integers are exact up to 2048 only.",
    symptom: "inexact",
    severity: "warning",
    source: "ANEForge numeric cliffs, M1 to M6",
    remedy: "Write a long sum as a product with a vector of ones, which is summed wide.",
    applies: (call) => {
      const shape = call.shape("x") ?? [];
      const axes = call.numbers("axes") ?? shape.map((_, axis) => axis);
      const terms = axes.reduce((product, axis) => product * (shape.at(axis) ?? 1), 1);
      return terms > 2048 ? `${terms} terms` : undefined;
    },
  },
  {
    id: "reduce-times-zero",
    ops: ["mul"],
    rule: "A reduced value times a constant that is exactly 0 in fp16 does not compile.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge 116",
    remedy: "Build zeros as t - t.",
    applies: (call) => {
      const zero = (name: string): boolean => {
        const value = call.number(name);
        return value !== undefined && Math.abs(value) < 2 ** -25;
      };
      const reduced = (name: string): boolean => {
        const operand = call.operand(name);
        return operand !== undefined && call.producer(operand)?.type.startsWith("reduce_") === true;
      };
      return (zero("y") && reduced("x")) || (zero("x") && reduced("y"))
        ? "a reduced value is multiplied by 0"
        : undefined;
    },
  },
  {
    id: "reduce-transpose",
    ops: ["reduce_sum", "reduce_mean", "reduce_max"],
    rule: "Reductions wider than 192 (H13, H14) or 384 (from H15) go through a transpose.",
    symptom: "slow",
    severity: "warning",
    source: LIMITS,
    remedy: "Reduce over the channel axis, or with a product of ones.",
    applies: (call, { chip }) => {
      const shape = call.shape("x") ?? [];
      const axes = call.numbers("axes") ?? [];
      const limit = familyIndex(chip.family) >= familyIndex("H15") ? 384 : 192;
      const widest = Math.max(0, ...axes.map((axis) => shape.at(axis) ?? 0));
      return widest > limit
        ? `the axis is ${widest} long, the direct route ends at ${limit}`
        : undefined;
    },
  },
  {
    id: "layer-norm-affine",
    ops: ["layer_norm"],
    to: "H14",
    rule: "A layer_norm with gamma and beta does not compile from width 1024 on.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge 149 and 162, M1 and M2; depends on the values",
    remedy: "Normalize first, then multiply and add as [1, D] on the last axis.",
    applies: (call) => scaledFrom(call, 1024),
  },
  {
    id: "layer-norm-wide",
    ops: ["layer_norm"],
    rule: "A layer_norm with gamma and beta from width 10240 on compiles and fails when it runs.",
    symptom: "evaluation-error",
    severity: "error",
    source: "ANEForge 149, M2 and M5",
    remedy: "Normalize first, then multiply and add.",
    applies: (call) => scaledFrom(call, 10240),
  },
  {
    id: "square-fusion",
    ops: ["square"],
    rule: "A square joined with a nonlinearity fails where width mod 128 is above 64.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge per-op rules",
    remedy: "Write x * x.",
    applies: (call) => {
      const width = call.shape("x")?.at(-1) ?? 0;
      return width % 128 > 64 ? `width ${width} leaves ${width % 128}` : undefined;
    },
  },
  {
    id: "rounded-times-scalar",
    ops: ["floor", "ceil", "round"],
    rule: "A scalar multiplied to the result of floor, ceil or round is silently dropped.",
    symptom: "wrong-result",
    severity: "error",
    source: "ANEForge 112",
    remedy: "Multiply with a constant of the full shape.",
    applies: (call) => {
      const scaled = call.consumers().find((consumer) => {
        if (consumer.type !== "mul" && consumer.type !== "real_div") return false;
        return [...consumer.inputs.values()].some((argument) => {
          if (!("kind" in argument) || literalOf(argument) === undefined) return false;
          return (shapeOf(argument) ?? []).every((size) => size === 1);
        });
      });
      return scaled && `${scaled.outputs[0]?.name ?? scaled.type} multiplies it by a scalar`;
    },
  },
  {
    id: "round-large",
    ops: ["round"],
    rule: "round is wrong for magnitudes from 1024 on and rounds halves away from zero.",
    symptom: "wrong-result",
    severity: "warning",
    source: "ANEForge 116",
    remedy: "Guard with select.",
  },
  {
    id: "softplus",
    ops: ["softplus"],
    rule: "softplus gives 0 from 11.09 on.",
    symptom: "wrong-result",
    severity: "error",
    source: "ANEForge 113",
    remedy: "softplus(min(x, 10)) + relu(x - 10).",
    applies: (call) => {
      const operand = call.operand("x");
      const producer = operand === undefined ? undefined : call.producer(operand)?.type;
      return producer === "minimum" || producer === "clip"
        ? undefined
        : "its operand is not bounded";
    },
  },
  {
    id: "epsilon",
    ops: ["log", "rsqrt", "inverse"],
    rule: "The op needs its epsilon written out.",
    symptom: "compile-error",
    severity: "handled",
    source: "ANEForge per-op rules",
    remedy: "The engine's printer writes every optional setting.",
    applies: (call) => (call.operand("epsilon") === undefined ? "epsilon is left out" : undefined),
  },
  {
    id: "slice-of-input",
    ops: ["slice_by_index"],
    rule: "slice_by_index on a function's input inside a larger program is invalid.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "Espresso, M3 Max: an RMSNorm and convolution program",
    remedy: "Use slice_by_size, or slice on the host.",
    contradictedBy: "our reading: slice_by_index with masks works in other programs",
    applies: (call) => {
      const operand = call.operand("x");
      return operand !== undefined && call.isFunctionInput(operand)
        ? "its operand is an input"
        : undefined;
    },
  },
];
