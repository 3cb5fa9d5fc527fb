import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { offsetsOf } from "./site.ts";
import type { Import, ImportSite } from "./site.ts";

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);

const epsilonOf = (site: ImportSite): number => site.float("epsilon", 1e-5);

const meanOfSquares = (site: ImportSite, x: Operand, axes: readonly number[]): Operand =>
  site.op("reduce_mean", { x: site.op("square", { x }), axes, keep_dims: true });

interface Normalized {
  /** (x - mean) / sqrt(variance + epsilon). */
  readonly normal: Operand;
  /** Of these the axes have size 1. */
  readonly mean: Operand;
  readonly variance: Operand;
  readonly inverse: Operand;
}

function normalized(
  site: ImportSite,
  x: Operand,
  axes: readonly number[],
  epsilon = epsilonOf(site),
): Normalized {
  const mean = site.op("reduce_mean", { x, axes, keep_dims: true });
  const centred = site.sub(x, mean);
  const variance = meanOfSquares(site, centred, axes);
  const inverse = site.op("rsqrt", { x: variance, epsilon });
  return { normal: site.mul(centred, inverse), mean, variance, inverse };
}

function scaledAndShifted(
  site: ImportSite,
  x: Operand,
  scale: Operand | undefined,
  shift: Operand | undefined,
): Operand {
  const scaled = scale === undefined ? x : site.mul(x, scale);
  return shift === undefined ? scaled : site.add(scaled, shift);
}

/** `scaledAndShifted` by inputs 1 and 2, which have a number for each channel. */
const byChannel = (site: ImportSite, x: Operand): Operand => {
  const rank = site.shapeOf(x).length;
  const [scale, shift] = [1, 2].map((index) => site.along(site.input(index), 1, rank));
  return scaledAndShifted(site, x, scale, shift);
};

function layerNorm(
  site: ImportSite,
  x: Operand,
  gamma: Operand | undefined,
  beta: Operand | undefined,
): Operand {
  const shape = site.shapeOf(x);
  const axis = site.ownAxis(-1, shape.length);
  const axes = range(axis, shape.length);
  const constants = [gamma, beta].map((operand) => {
    const known = operand && site.known(operand);
    return known && site.expand(known, shape.slice(axis));
  });
  const isConstant =
    (gamma === undefined || constants[0] !== undefined) &&
    (beta === undefined || constants[1] !== undefined);
  if (!isConstant) return scaledAndShifted(site, normalized(site, x, axes).normal, gamma, beta);
  const epsilon = epsilonOf(site);
  return site.op("layer_norm", { x, axes, gamma: constants[0], beta: constants[1], epsilon });
}

/** Layer normalization whose mean and inverse deviation are results too. */
function layerNormWithMoments(site: ImportSite): readonly Operand[] {
  const x = site.input(0);
  const axes = range(site.ownAxis(-1), site.shape(0).length);
  const wide = site.int("stash_type", 1) === 1 ? site.cast(x, "fp32") : x;
  const { mean, inverse, normal } = normalized(site, wide, axes);
  const narrow = site.cast(normal, site.typeOf(x));
  return [scaledAndShifted(site, narrow, site.optional(1), site.optional(2)), mean, inverse];
}

function rmsNorm(site: ImportSite, x: Operand, gamma: Operand | undefined): Operand {
  const rank = site.shapeOf(x).length;
  const squares = meanOfSquares(site, x, range(site.ownAxis(-1, rank), rank));
  const inverse = site.op("rsqrt", { x: squares, epsilon: epsilonOf(site) });
  return scaledAndShifted(site, site.mul(x, inverse), gamma, undefined);
}

const batchNorm: Import = (site) => {
  const x = site.input(0);
  const rank = site.shape(0).length;
  if (site.flag("training_mode", false)) return batchNormOfBatch(site);
  if (site.opset < 7 && !site.flag("is_test", false)) {
    throw site.fail("it is in training mode, as is_test says", "Export the model for inference.");
  }
  if (!site.flag("spatial", true)) throw site.fail("statistics of each place have no MIL form");
  const epsilon = epsilonOf(site);
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((index) => site.known(site.input(index)));
  const isConstant = gamma !== undefined && beta !== undefined;
  if (isConstant && mean !== undefined && variance !== undefined && rank >= 3 && rank <= 5) {
    return site.op("batch_norm", { x, mean, variance, gamma, beta, epsilon });
  }
  const channel = (index: number): Operand => site.along(site.input(index), 1, rank);
  const deviation = site.op("rsqrt", { x: channel(4), epsilon });
  return byChannel(site, site.mul(site.sub(x, channel(3)), deviation));
};

/** Statistics of the batch itself, and running ones moved towards them. */
function batchNormOfBatch(site: ImportSite): readonly Operand[] {
  const axes = [0, ...range(2, site.shape(0).length)];
  const { mean, variance, normal } = normalized(site, site.input(0), axes);
  const momentum = site.float("momentum", 0.9);
  const moved = (index: number, now: Operand): Operand =>
    site.add(
      site.mul(site.input(index), momentum),
      site.mul(site.reshape(now, site.shape(index)), 1 - momentum),
    );
  return [byChannel(site, normal), moved(3, mean), moved(4, variance)];
}

const instanceNorm: Import = (site) => {
  const x = site.input(0);
  const rank = site.shape(0).length;
  const gamma = site.known(site.input(1));
  const beta = site.known(site.input(2));
  if (gamma !== undefined && beta !== undefined && rank <= 4) {
    return site.op("instance_norm", { x, gamma, beta, epsilon: epsilonOf(site) });
  }
  return byChannel(site, normalized(site, x, range(2, rank)).normal);
};

const groupNorm: Import = (site) => {
  const shape = site.shape(0);
  const [batch = 1, channels = 1] = shape;
  const groups = site.int("num_groups", 1);
  if (channels % groups !== 0) throw site.fail(`${channels} channels do not make ${groups} groups`);
  const flat = site.reshape(site.input(0), [batch, groups, elementCount(shape.slice(1)) / groups]);
  const normal = site.reshape(normalized(site, flat, [2]).normal, shape);
  // Until operator set 21 scale and bias were given for each group.
  const spread = (index: number): Operand => {
    const vector = site.input(index);
    const count = elementCount(site.shape(index));
    if (count === channels) return site.along(vector, 1, shape.length);
    const column = site.reshape(vector, [count, 1]);
    const repeated = site.expand(column, [count, channels / count]);
    return site.along(site.reshape(repeated, [channels]), 1, shape.length);
  };
  return scaledAndShifted(site, normal, spread(1), spread(2));
};

/** An even window reaches one channel farther up than down, otherwise than in MIL. */
function evenResponseNorm(site: ImportSite, size: number): Operand {
  const x = site.input(0);
  const shape = site.shape(0);
  const [batch = 1, channels = 1] = shape;
  const inner = elementCount(shape.slice(2));
  const squares = site.reshape(site.op("square", { x }), [batch, channels, inner]);
  const below = Math.floor((size - 1) / 2);
  const window = offsetsOf(channels, channels).map((distance) =>
    Number(distance >= -below && distance <= size - 1 - below),
  );
  const sums = site.op("matmul", {
    x: site.constant(site.type(0), [1, channels, channels], window),
    y: squares,
  });
  const scale = site.add(site.mul(sums, site.float("alpha", 1e-4) / size), site.float("bias", 1));
  const divisor = site.binary("pow", scale, site.float("beta", 0.75));
  return site.binary("real_div", x, site.reshape(divisor, shape));
}

/** The first two inputs and a bias, where one is given, added up. */
const skippedSum = (site: ImportSite, biasAt: number): Operand =>
  scaledAndShifted(site, site.add(site.input(0), site.input(1)), undefined, site.optional(biasAt));

export const IMPORT_NORMALIZATION = {
  LayerNormalization: (site) =>
    site.isResultRead(1) || site.isResultRead(2)
      ? layerNormWithMoments(site)
      : layerNorm(site, site.input(0), site.optional(1), site.optional(2)),
  RMSNormalization: (site) => rmsNorm(site, site.input(0), site.optional(1)),
  /** ONNX Runtime's own operators; the skipped-over sum is their fourth result. */
  SimplifiedLayerNormalization: (site) => rmsNorm(site, site.input(0), site.optional(1)),
  SkipLayerNormalization: (site) =>
    layerNorm(site, skippedSum(site, 4), site.optional(2), site.optional(3)),
  SkipSimplifiedLayerNormalization: (site) => rmsNorm(site, skippedSum(site, 3), site.optional(2)),
  BatchNormalization: batchNorm,
  InstanceNormalization: instanceNorm,
  GroupNormalization: groupNorm,
  MeanVarianceNormalization: (site) =>
    normalized(site, site.input(0), site.ints("axes") ?? [0, 2, 3], 1e-9).normal,
  LpNormalization: (site) => {
    const x = site.input(0);
    const axes = [site.ownAxis(-1)];
    const p = site.int("p", 2);
    if (p !== 1 && p !== 2) throw site.fail(`p = ${p} is not known`);
    const norm = site.op(p === 1 ? "reduce_l1_norm" : "reduce_l2_norm", {
      x,
      axes,
      keep_dims: true,
    });
    // Where everything is 0 the result is 0 as well.
    const isZero = site.binary("equal", norm, 0);
    const divisor = site.select(isZero, site.scalar(site.type(0), 1), norm);
    return site.binary("real_div", x, divisor);
  },
  LRN: (site) => {
    const size = site.int("size", 1);
    // MIL's op counts channels from the end, ONNX from the front.
    if (size % 2 === 0 || site.shape(0).length !== 4) return evenResponseNorm(site, size);
    return site.op("local_response_norm", {
      x: site.input(0),
      size,
      alpha: site.float("alpha", 1e-4),
      beta: site.float("beta", 0.75),
      k: site.float("bias", 1),
    });
  },
} as const satisfies Record<string, Import>;
