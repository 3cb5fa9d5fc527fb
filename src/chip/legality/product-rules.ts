import { tensorTypeOf } from "../../mil/program.ts";
import { byteLengthOf } from "../../mil/types.ts";
import { inStreamNotch } from "../cost/model.ts";
import type { OpView } from "./op-view.ts";
import { LIMITS, since16 } from "./rule-sources.ts";
import type { OpRule } from "./rule.ts";

const isRuntime = (call: OpView, name: string): boolean =>
  call.operand(name) !== undefined && !call.isConstant(name);

/** Convolutions, matrix products and their weights. */
export const PRODUCT_RULES: readonly OpRule[] = [
  {
    id: "conv-kernel-width",
    ops: ["conv", "conv_transpose"],
    rule: "A kernel is at most 13 wide up to H15, 15 from H16 on; its height is free.",
    symptom: "compile-error",
    severity: "error",
    source: `${LIMITS}; assumed for H14 and H15`,
    remedy: "Split the kernel over its width and add the results, or transpose height and width.",
    applies: (call, { chip }) => {
      const shape = call.shape("weight");
      const limit = since16(chip, 13, 15);
      const width = shape !== undefined && shape.length >= 3 ? (shape.at(-1) ?? 0) : 0;
      return width > limit
        ? `the kernel is ${width} wide, ${chip.family} takes ${limit}`
        : undefined;
    },
  },
  {
    id: "conv-input-channels",
    ops: ["conv"],
    rule: "A convolution over 32000 input channels is rejected (32000 output channels are not).",
    symptom: "compile-error",
    severity: "error",
    source: "maderix and Orion, M4; the exact limit is unknown, 16384 is taken",
    remedy: "Split the input channels into parts and add the results, or use matmul.",
    applies: (call) => {
      const channels = call.shape("x")?.[1] ?? 0;
      return channels > 16384 ? `${channels} input channels` : undefined;
    },
  },
  {
    id: "conv-runtime-weight-batch",
    ops: ["conv"],
    rule: "A convolution whose weight is not a constant works at batch 1 only.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge: dynamic kernel",
    remedy: "Put the batch on the spatial axis, or use matmul.",
    applies: (call) => {
      const batch = call.shape("x")?.[0] ?? 1;
      return isRuntime(call, "weight") && batch > 1
        ? `batch ${batch} with a runtime weight`
        : undefined;
    },
  },
  {
    id: "conv-runtime-weight",
    ops: ["conv"],
    rule: "Through the in-memory path a weight that is not a constant is silently ignored.",
    symptom: "wrong-result",
    severity: "error",
    driver: "in-memory",
    source: "skyfallsin field guide, M3 Max",
    remedy: "Use matmul for weights that are inputs.",
    contradictedBy: "maderix issue 47 (M1): ungrouped works, grouped is an invalid program",
    applies: (call) => (isRuntime(call, "weight") ? "the weight is not a constant" : undefined),
  },
  {
    id: "conv-runtime-weight-groups",
    ops: ["conv"],
    rule: "A grouped convolution needs a constant weight.",
    symptom: "compile-error",
    severity: "error",
    source: "maderix issue 47, M1",
    remedy: "Write it as one matmul a group.",
    applies: (call) =>
      isRuntime(call, "weight") && (call.number("groups") ?? 1) > 1
        ? `${call.number("groups")} groups with a runtime weight`
        : undefined,
  },
  {
    id: "conv-bias",
    ops: ["conv"],
    rule: "The `bias` parameter of conv is rejected.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "Orion, M4 Max",
    remedy: "Add the bias with an `add`.",
    contradictedBy: "axiom uses it with a one-dimensional constant",
    applies: (call) => (call.operand("bias") === undefined ? undefined : "bias is given"),
  },
  {
    id: "conv-transpose",
    ops: ["conv_transpose"],
    rule: "A transposed convolution needs a constant weight and takes no output_shape that pads.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge",
    remedy: "Make the weight a constant and pad afterwards.",
    applies: (call) => (isRuntime(call, "weight") ? "the weight is not a constant" : undefined),
  },
  {
    id: "matmul-inner-32",
    ops: ["matmul"],
    to: "H13",
    rule: "The inner size of a matmul of two runtime operands is a multiple of 32, or the result is zeros.",
    symptom: "wrong-result",
    severity: "error",
    driver: "in-memory",
    source: "maderix issue 47, M1",
    remedy: "Pad the inner axis with zeros.",
    contradictedBy: "ANEForge runs inner sizes 4, 8 and 197 through e5rt",
    applies: (call) => {
      if (!isRuntime(call, "x") || !isRuntime(call, "y")) return undefined;
      const shape = call.shape("x");
      const inner = shape?.at((call.number("transpose_x") ?? 0) === 0 ? -1 : -2) ?? 32;
      return inner % 32 === 0 ? undefined : `the inner size is ${inner}`;
    },
  },
  {
    id: "few-channels",
    ops: ["conv"],
    rule: "Fewer than about 64 channels are unreliable.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "maderix, M4",
    remedy: "Pad the channels.",
    contradictedBy: "ANEForge runs 1 to 63 channels through e5rt",
    applies: (call) => {
      const channels = call.shape("x")?.[1] ?? 64;
      return channels < 64 ? `${channels} channels` : undefined;
    },
  },
  {
    id: "wide-ffn",
    ops: ["conv", "conv_transpose"],
    rule: "Layers wider than about 4096 do not compile in one program with others.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "skyfallsin field guide, M3 Max",
    remedy: "Split the layer into parts.",
    contradictedBy: "ane-infer runs a fused 72 MB layer 6144 wide on M5",
    applies: (call) => {
      const width = Math.max(...(call.shape("weight") ?? [0]).slice(0, 2));
      return width > 4096 ? `width ${width}` : undefined;
    },
  },
  {
    id: "stream-notch",
    ops: ["conv", "matmul", "linear"],
    to: "H16",
    rule: "Weights whose sixteenth is a whole number of MiB stream at a third of the rate.",
    symptom: "slow",
    severity: "warning",
    source: "eiln's DMA erratum, stablehlo-coreml 110, maderix sram_probe; not seen on M5",
    remedy: "Split the contracting axis in two unequal parts and add the results.",
    applies: (call) => {
      const name = call.type === "matmul" ? "y" : "weight";
      const operand = call.operand(name);
      const type = operand === undefined ? undefined : tensorTypeOf(operand);
      if (operand === undefined || type === undefined || type.shape.includes("?")) return undefined;
      if (!call.isConstant(name) && !call.isFunctionInput(operand)) return undefined;
      const bytes = byteLengthOf(type);
      return inStreamNotch(bytes) ? `${bytes / 2 ** 20 / 16} MiB a core` : undefined;
    },
  },
  {
    id: "blockwise-weight",
    ops: ["matmul", "linear", "conv"],
    rule: "A blockwise int8 constant cannot feed a product directly.",
    symptom: "compile-error",
    severity: "error",
    source: "ANEForge per-op rules",
    remedy: "Add 0 first; it no longer streams compressed.",
    applies: (call) => {
      const weight = call.operand(call.type === "matmul" ? "y" : "weight");
      const producer = weight === undefined ? undefined : call.producer(weight);
      return producer?.type === "constexpr_blockwise_shift_scale"
        ? "the weight is blockwise int8"
        : undefined;
    },
  },
  {
    id: "int8-constants-h15",
    ops: ["constexpr_affine_dequantize"],
    from: "H15",
    to: "H15",
    rule: "int8 constants are an invalid program on H15.",
    symptom: "compile-error",
    severity: "warning",
    driver: "in-memory",
    source: "Espresso, M3 Max",
    remedy: "Keep the constants fp16.",
    contradictedBy: "works on M4 (maderix, axiom)",
    applies: () => "an int8 constant is used",
  },
  {
    id: "attention-mask",
    ops: ["scaled_dot_product_attention"],
    rule: "The mask of scaled_dot_product_attention is ignored.",
    symptom: "wrong-result",
    severity: "error",
    source: "maderix, Orion 6; ANEForge: no mask",
    remedy: "Write it out: matmul, add the mask, softmax, matmul.",
    applies: (call) => (call.operand("attn_mask") === undefined ? undefined : "a mask is given"),
  },
];
