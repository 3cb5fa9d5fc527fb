/** What becomes of a rule's remedy in the passes: what they do, and why a finding may stay all the same. */
export interface RemedyRow {
  /** What the passes write instead; absent where there is no such pass. */
  readonly does?: string;
  /** Why a place that breaks the rule stays. */
  readonly stays: string;
}

const NO_PASS = "no pass does this";
const HALF_PORTS = "ports are fp16, the host converts";
const WAY_ROUND = "ops with a way round are written with others";

/** One row a rule of `chip/legality` that is about a function or an op. */
export const REMEDIES: Readonly<Record<string, RemedyRow>> = {
  // Whole functions.
  symbolic: { stays: "sizes are the caller's to give (--shape)" },
  "port-type-e5rt": { does: HALF_PORTS, stays: "a port has no fp16 form" },
  "port-type-in-memory": { does: HALF_PORTS, stays: "a port has no fp16 form" },
  "port-rank-0": { does: "such ports are [1]", stays: "a port keeps no axis" },
  "empty-body": { does: "an input that is returned is multiplied by 1", stays: "it is returned" },
  "lane-width": {
    does: "narrow ports hold their numbers in one row",
    stays: "a port of fewer than 32 numbers, or of more than an axis takes, keeps its shape",
  },
  constants: { stays: "no pass splits a program" },
  bank: { stays: "no pass splits a program" },
  // Sizes, types, missing ops.
  rank: { stays: "no pass joins axes" },
  extent: {
    does: "the long axis comes in parts",
    stays: "a runtime value has the axis whole, or numbers of a weight file were not read",
  },
  channels: { stays: "no pass tiles channels" },
  "unsupported-op": { does: WAY_ROUND, stays: "the op has no way round" },
  "unchecked-op": { does: "comparisons of indices are the host's", stays: NO_PASS },
  "float-type": { does: "all floats are fp16", stays: "numbers of a weight file were not read" },
  "integer-arithmetic": {
    does: "indices are the host's, which makes one-hot rows of them",
    stays: "indices are used as numbers",
  },
  "sin-cos": { stays: NO_PASS },
  "topk-h13": { stays: NO_PASS },
  "topk-3-4": { stays: NO_PASS },
  "texture-unit": { stays: NO_PASS },
  "resize-h13": { stays: NO_PASS },
  "pool-window": { stays: NO_PASS },
  "single-last-axis": { stays: NO_PASS },
  "tile-factors": {
    does: "repetitions of one element are left to the next op's broadcast",
    stays: "more than one element is repeated",
  },
  "tile-poison": {
    does: "repetitions of one element are left to the next op's broadcast",
    stays: "more than one element is repeated",
  },
  "local-response-norm": { stays: NO_PASS },
  // Products.
  "conv-kernel-width": { stays: NO_PASS },
  "conv-input-channels": { stays: NO_PASS },
  "conv-runtime-weight-batch": { stays: NO_PASS },
  "conv-runtime-weight": { stays: NO_PASS },
  "conv-runtime-weight-groups": { stays: NO_PASS },
  "conv-bias": { does: "the bias is an add of its own", stays: "the bias is inside" },
  "conv-transpose": { stays: NO_PASS },
  "matmul-inner-32": {
    does: "the inner axis is padded with zeros",
    stays: "the inner axis is used whole",
  },
  "few-channels": { stays: "no pass pads channels" },
  "wide-ffn": { stays: "no pass splits a convolution that is written as one" },
  "stream-notch": {
    does: "the weight is split in two unequal parts",
    stays: "by the cost model a split gains nothing, or the weight is no matrix",
  },
  "blockwise-weight": {
    does: "the weight is unpacked before the program is written",
    stays: "it is unpacked in the program",
  },
  "int8-constants-h15": { stays: NO_PASS },
  "attention-mask": {
    does: "attention is written out: scores, mask, softmax, product",
    stays: "a mask is given",
  },
  // Values.
  "slice-clamp": { stays: "the passes know no bound of the values" },
  "concat-of-slices": { stays: NO_PASS },
  "width-slices-h15": { stays: NO_PASS },
  concat: { stays: NO_PASS },
  "softmax-power-of-two": {
    does: "the axis is padded, what was added is cut off",
    stays: "another axis than the last, or the next power of two is longer than an axis may be",
  },
  gelu: { does: "gelu is written with tanh or sigmoid", stays: "gelu is used" },
  "gelu-h13": { does: "gelu is written with tanh or sigmoid", stays: "gelu is used" },
  rsqrt: { does: "pow(x, -0.5)", stays: "rsqrt is used" },
  "reduce-mean": { does: "a sum and a factor", stays: "an axis in parts is averaged" },
  "reduce-narrow": {
    does: "a sum to one number that leaves the function is the host's",
    stays: "no pass writes a sum as a product with ones",
  },
  "reduce-times-zero": { stays: NO_PASS },
  "reduce-transpose": { stays: NO_PASS },
  "layer-norm-affine": { does: "gamma and beta are ops of their own", stays: "they are inside" },
  "layer-norm-wide": { does: "gamma and beta are ops of their own", stays: "they are inside" },
  "square-fusion": { does: "x * x", stays: "square is used" },
  "rounded-times-scalar": { stays: NO_PASS },
  "round-large": { stays: NO_PASS },
  softplus: { does: "softplus(min(x, 10)) + relu(x - 10)", stays: "its operand is not bounded" },
  "slice-of-input": { stays: NO_PASS },
  // A limit of what is known rather than of the engine.
  "unknown-op": { stays: "nothing is known of the op" },
};
