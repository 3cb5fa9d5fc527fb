import { isConstexpr } from "../../mil/ops/index.ts";
import { literalOf, tensorTypeOf } from "../../mil/program.ts";
import { shapeOf } from "./op-view.ts";
import type { OpView } from "./op-view.ts";
import { LIMITS, SWEEP, since16 } from "./rule-sources.ts";
import type { OpRule } from "./rule.ts";
import { UNCHECKED_OPS, UNSUPPORTED_OPS } from "./unsupported-ops.ts";

/** Every tensor an op touches. */
function tensorsOf(
  call: OpView,
): readonly { readonly name: string; readonly shape: readonly number[] }[] {
  const operands = [...call.operation.inputs].flatMap(([name]) =>
    call.operands(name).map((operand) => ({ name, shape: shapeOf(operand) ?? [] })),
  );
  return [...operands, ...resultsOf(call)];
}

const resultsOf = (call: OpView) =>
  call.operation.outputs.map((output) => ({ name: output.name, shape: shapeOf(output) ?? [] }));

/** Sizes, element types, and ops that are missing. */
export const LIMIT_RULES: readonly OpRule[] = [
  {
    id: "rank",
    ops: "all",
    rule: "Tensors have rank 5 at most.",
    symptom: "compile-error",
    severity: "error",
    source: LIMITS,
    remedy: "Reshape neighbouring axes into one.",
    applies: (call) => {
      // Tables of compressed constants are no tensors of the engine; what they expand to is.
      if (isConstexpr(call.type) && call.consumers().every(({ type }) => isConstexpr(type)))
        return undefined;
      const tensors = isConstexpr(call.type) ? resultsOf(call) : tensorsOf(call);
      const wide = tensors.find(({ shape }) => shape.length > 5);
      return wide && `${wide.name} has rank ${wide.shape.length}, the limit is 5`;
    },
  },
  {
    id: "extent",
    ops: "all",
    rule: "Every axis but the channel axis of a rank-4 tensor is at most 16384 long up to H15, 65536 from H16 on.",
    symptom: "compile-error",
    severity: "error",
    source: LIMITS,
    remedy:
      "Split the axis (a vocabulary into tiles, a batch into parts), or put it on the channel axis of [1, C, 1, S].",
    applies: (call, { chip }) => {
      const limit = since16(chip, 16384, 65536);
      if (isConstexpr(call.type)) return undefined;
      for (const { name, shape } of tensorsOf(call)) {
        if (call.type === "reshape" && name === "shape") continue;
        const axis = shape.findIndex(
          (size, index) => size > limit && !(shape.length === 4 && index <= 1),
        );
        if (axis !== -1)
          return `axis ${axis} of ${name} [${shape.join(", ")}] is ${shape[axis]} long, ${chip.family} takes ${limit}`;
      }
      return undefined;
    },
  },
  {
    id: "channels",
    ops: "all",
    rule: "The channel axis (axis 1 of a rank-4 tensor) is at most 65536 long.",
    symptom: "compile-error",
    severity: "error",
    source: `${LIMITS}; PR 26 of maderix/ANE`,
    remedy: "Tile the channels: several convolutions whose results are joined or kept apart.",
    applies: (call) => {
      const wide = tensorsOf(call).find(
        ({ shape }) => shape.length === 4 && (shape[1] ?? 0) > 65536,
      );
      return wide && `${wide.name} has ${wide.shape[1]} channels, the limit is 65536`;
    },
  },
  {
    id: "unsupported-op",
    ops: Object.keys(UNSUPPORTED_OPS),
    rule: "The compiler has no such op in MIL.",
    symptom: "compile-error",
    severity: "error",
    source: SWEEP,
    remedy: "See the op's own way round.",
    applies: (call) => `${call.type} is refused: ${UNSUPPORTED_OPS[call.type] ?? ""}`,
  },
  {
    id: "unchecked-op",
    ops: Object.keys(UNCHECKED_OPS),
    rule: "The op runs, but nobody published a comparison of its results.",
    symptom: "inexact",
    severity: "warning",
    source: SWEEP,
    remedy: "`anecdote doctor` compares it on your Mac.",
    applies: (call) => `${call.type} is ${UNCHECKED_OPS[call.type] ?? ""}`,
  },
  {
    id: "float-type",
    ops: "all",
    rule: "The engine computes in fp16: no op takes or gives fp32, fp64 or bf16.",
    symptom: "compile-error",
    severity: "error",
    source: `${SWEEP}: even a bare cast to fp32 is refused`,
    remedy: "Cast to fp16 on the host, or as the first op where the driver takes fp32 inputs.",
    contradictedBy:
      "one ANEForge page calls fp32 usable as an intermediate; the in-memory path casts fp32 inputs and outputs",
    applies: (call, { driver }) => {
      const wrong = (dataType: string | undefined): boolean =>
        dataType === "fp32" || dataType === "fp64" || dataType === "bf16";
      const [output] = call.operation.outputs;
      const result = output === undefined ? undefined : tensorTypeOf(output)?.dataType;
      if (call.type === "cast" && driver === "in-memory") return undefined;
      if (wrong(result)) return `${call.name} is ${result}`;
      for (const name of call.operation.inputs.keys()) {
        for (const operand of call.operands(name)) {
          const type = tensorTypeOf(operand);
          if (wrong(type?.dataType) && (type?.shape.length ?? 0) > 0)
            return `${name} is ${type?.dataType}`;
        }
      }
      return undefined;
    },
  },
  {
    id: "integer-arithmetic",
    ops: "all",
    rule: "There is no arithmetic on 32-bit integers or bools that are not constants.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge: int32, bool refused at I/O; arithmetic units are fp16",
    remedy: "Do index arithmetic on the host; small integers are exact in fp16 up to 2048.",
    applies: (call) => {
      if (UNSUPPORTED_OPS[call.type] !== undefined) return undefined;
      for (const name of call.operation.inputs.keys()) {
        for (const operand of call.operands(name)) {
          const type = tensorTypeOf(operand)?.dataType;
          if (literalOf(operand) !== undefined) continue;
          if (type === "int32" || type === "int64" || type === "uint32")
            return `${name} is ${type} and not a constant`;
        }
      }
      return undefined;
    },
  },
  {
    id: "sin-cos",
    ops: ["sin", "cos"],
    to: "H14",
    rule: "There is no sin and cos before H15.",
    symptom: "compile-error",
    severity: "error",
    source: LIMITS,
    remedy: "Use tables as constants, or a polynomial.",
  },
  {
    id: "topk-h13",
    ops: ["topk", "argsort"],
    to: "H13",
    rule: "topk and sort are rejected on H13.",
    symptom: "compile-error",
    severity: "error",
    source: LIMITS,
    remedy: "Do it on the host.",
  },
  {
    id: "topk-3-4",
    ops: ["topk"],
    rule: "topk refuses k = 3 and k = 4.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge's bridge; the MIL op passed its sweep with other k",
    remedy: "Ask for 5 and drop the rest.",
    applies: (call) => {
      const k = call.number("k") ?? 1;
      return k === 3 || k === 4 ? `k = ${k}` : undefined;
    },
  },
  {
    id: "texture-unit",
    ops: ["affine", "resample", "crop_resize"],
    to: "H13",
    rule: "There is no texture unit before H14.",
    symptom: "compile-error",
    severity: "error",
    source: LIMITS,
    remedy: "Do it on the host.",
  },
  {
    id: "resize-h13",
    ops: [
      "resize_bilinear",
      "resize_nearest_neighbor",
      "upsample_bilinear",
      "upsample_nearest_neighbor",
      "resize",
    ],
    to: "H13",
    rule: "Resizing falls back to software before H14 and rounds otherwise.",
    symptom: "inexact",
    severity: "warning",
    source: LIMITS,
    remedy: "Use a transposed convolution with constant weights.",
  },
  {
    id: "pool-window",
    ops: ["max_pool", "avg_pool", "l2_pool"],
    rule: "A pool window is at most 29 up to H13, 31 from H14 on.",
    symptom: "compile-error",
    severity: "error",
    source: LIMITS,
    remedy: "Pool twice.",
    applies: (call, { chip }) => {
      const limit = chip.family === "H13" ? 29 : 31;
      const window = Math.max(0, ...(call.numbers("kernel_sizes") ?? []));
      return window > limit ? `window ${window}, ${chip.family} takes ${limit}` : undefined;
    },
  },
  {
    id: "single-last-axis",
    ops: "all",
    rule: "A last axis of 1 is padded to 64-byte rows: 32 times the memory.",
    symptom: "slow",
    severity: "warning",
    source: "Espresso's layout notes",
    remedy: "Put the length on the last axis.",
    applies: (call) => {
      const shape = call.resultShape();
      const elements = shape.reduce((product, size) => product * size, 1);
      return shape.at(-1) === 1 && elements >= 65536
        ? `${call.name} is [${shape.join(", ")}]`
        : undefined;
    },
  },
  {
    id: "tile-factors",
    ops: ["tile"],
    rule: "tile repeats 2, 3, 4 or 8 times.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge per-op rules",
    remedy: "Tile several times, or let the next op broadcast.",
    applies: (call) => {
      const odd = (call.numbers("reps") ?? []).find((factor) => ![1, 2, 3, 4, 8].includes(factor));
      return odd === undefined ? undefined : `factor ${odd}`;
    },
  },
  {
    id: "tile-poison",
    ops: ["tile"],
    rule: "After a program with tile every later call of the process fails (0x1d).",
    symptom: "process",
    severity: "error",
    driver: "in-memory",
    source: "skyfallsin field guide, M3 Max",
    remedy: "Let the next op broadcast, or use concat.",
  },
  {
    id: "local-response-norm",
    ops: ["local_response_norm"],
    rule: "local_response_norm takes at most 15 channels.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge",
    remedy: "Write it out.",
    applies: (call) => {
      const channels = call.shape("x")?.[1] ?? 0;
      return channels > 15 ? `${channels} channels` : undefined;
    },
  },
];
