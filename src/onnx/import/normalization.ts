import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import type { Import, ImportSite } from "./site.ts";

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);

interface Moments {
  readonly mean: Operand;
  readonly centred: Operand;
  readonly variance: Operand;
}

/** Mean and variance over axes, which stay with size 1. */
function momentsOf(site: ImportSite, x: Operand, axes: readonly number[]): Moments {
  const mean = site.op("reduce_mean", { x, axes, keep_dims: true });
  const centred = site.op("sub", { x, y: mean });
  const variance = site.op("reduce_mean", {
    x: site.op("square", { x: centred }),
    axes,
    keep_dims: true,
  });
  return { mean, centred, variance };
}

/** (x - mean) / sqrt(variance + epsilon) over axes. */
function normalized(
  site: ImportSite,
  x: Operand,
  axes: readonly number[],
  epsilon: number,
): Operand {
  const { centred, variance } = momentsOf(site, x, axes);
  return site.op("mul", { x: centred, y: site.op("rsqrt", { x: variance, epsilon }) });
}

/** x / sqrt(mean of squares + epsilon) over axes. */
function rootMeanSquare(
  site: ImportSite,
  x: Operand,
  axes: readonly number[],
  epsilon: number,
): Operand {
  const squares = site.op("reduce_mean", { x: site.op("square", { x }), axes, keep_dims: true });
  return site.op("mul", { x, y: site.op("rsqrt", { x: squares, epsilon }) });
}

function scaledAndShifted(
  site: ImportSite,
  x: Operand,
  scale: Operand | undefined,
  shift: Operand | undefined,
): Operand {
  const scaled = scale === undefined ? x : site.op("mul", { x, y: scale });
  return shift === undefined ? scaled : site.op("add", { x: scaled, y: shift });
}

const optionalInput = (site: ImportSite, index: number): Operand | undefined =>
  site.has(index) ? site.input(index) : undefined;

function layerNorm(
  site: ImportSite,
  x: Operand,
  gamma: Operand | undefined,
  beta: Operand | undefined,
): Operand {
  const shape = site.shapeOf(x);
  const axis = site.axis(site.int("axis", -1), shape.length);
  const axes = range(axis, shape.length);
  const epsilon = site.float("epsilon", 1e-5);
  const normal = shape.slice(axis);
  const constants = [gamma, beta].map((operand) => {
    if (operand === undefined) return undefined;
    const known = site.known(operand);
    return known === undefined ? undefined : site.expand(known, normal);
  });
  const isConstant =
    (gamma === undefined || constants[0] !== undefined) &&
    (beta === undefined || constants[1] !== undefined);
  if (!isConstant) return scaledAndShifted(site, normalized(site, x, axes, epsilon), gamma, beta);
  return site.op("layer_norm", { x, axes, gamma: constants[0], beta: constants[1], epsilon });
}

/** Layer normalization whose mean and inverse deviation are results too. */
function layerNormWithMoments(site: ImportSite): readonly Operand[] {
  const x = site.input(0);
  const rank = site.shape(0).length;
  const axes = range(site.axis(site.int("axis", -1), rank), rank);
  const wide = site.int("stash_type", 1) === 1 ? site.cast(x, "fp32") : x;
  const { mean, centred, variance } = momentsOf(site, wide, axes);
  const inverse = site.op("rsqrt", { x: variance, epsilon: site.float("epsilon", 1e-5) });
  const normal = site.cast(site.op("mul", { x: centred, y: inverse }), site.typeOf(x));
  const y = scaledAndShifted(site, normal, optionalInput(site, 1), optionalInput(site, 2));
  return [y, mean, inverse];
}

function rmsNorm(site: ImportSite, x: Operand, gamma: Operand | undefined): Operand {
  const rank = site.shapeOf(x).length;
  const axis = site.axis(site.int("axis", -1), rank);
  const normal = rootMeanSquare(site, x, range(axis, rank), site.float("epsilon", 1e-5));
  return scaledAndShifted(site, normal, gamma, undefined);
}

const batchNorm: Import = (site) => {
  const x = site.input(0);
  const rank = site.shape(0).length;
  if (site.flag("training_mode", false)) return batchNormOfBatch(site);
  if (site.opset < 7 && !site.flag("is_test", false)) {
    throw site.fail("it is in training mode, as is_test says", "Export the model for inference.");
  }
  if (!site.flag("spatial", true)) throw site.fail("statistics of each place have no MIL form");
  const epsilon = site.float("epsilon", 1e-5);
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((index) => site.known(site.input(index)));
  const isConstant = [gamma, beta, mean, variance].every((operand) => operand !== undefined);
  if (isConstant && mean !== undefined && variance !== undefined && rank >= 3 && rank <= 5) {
    return site.op("batch_norm", { x, mean, variance, gamma, beta, epsilon });
  }
  const channel = (index: number): Operand => site.perChannel(site.input(index), rank);
  const deviation = site.op("rsqrt", { x: channel(4), epsilon });
  const centred = site.op("sub", { x, y: channel(3) });
  const normal = site.op("mul", { x: centred, y: deviation });
  return scaledAndShifted(site, normal, channel(1), channel(2));
};

/** Statistics of the batch itself, and running ones moved towards them. */
function batchNormOfBatch(site: ImportSite): readonly Operand[] {
  const x = site.input(0);
  const shape = site.shape(0);
  const axes = [0, ...range(2, shape.length)];
  const { mean, centred, variance } = momentsOf(site, x, axes);
  const deviation = site.op("rsqrt", { x: variance, epsilon: site.float("epsilon", 1e-5) });
  const normal = site.op("mul", { x: centred, y: deviation });
  const channel = (index: number): Operand => site.perChannel(site.input(index), shape.length);
  const momentum = site.float("momentum", 0.9);
  const moved = (index: number, now: Operand): Operand =>
    site.op("add", {
      x: site.op("mul", { x: site.input(index), y: momentum }),
      y: site.op("mul", { x: site.reshape(now, site.shape(index)), y: 1 - momentum }),
    });
  return [
    scaledAndShifted(site, normal, channel(1), channel(2)),
    moved(3, mean),
    moved(4, variance),
  ];
}

const instanceNorm: Import = (site) => {
  const x = site.input(0);
  const rank = site.shape(0).length;
  const epsilon = site.float("epsilon", 1e-5);
  const gamma = site.known(site.input(1));
  const beta = site.known(site.input(2));
  if (gamma !== undefined && beta !== undefined && rank <= 4) {
    return site.op("instance_norm", { x, gamma, beta, epsilon });
  }
  return scaledAndShifted(
    site,
    normalized(site, x, range(2, rank), epsilon),
    site.perChannel(site.input(1), rank),
    site.perChannel(site.input(2), rank),
  );
};

const groupNorm: Import = (site) => {
  const shape = site.shape(0);
  const [batch = 1, channels = 1] = shape;
  const groups = site.int("num_groups", 1);
  if (channels % groups !== 0) throw site.fail(`${channels} channels do not make ${groups} groups`);
  const flat = site.reshape(site.input(0), [batch, groups, elementCount(shape.slice(1)) / groups]);
  const normal = site.reshape(normalized(site, flat, [2], site.float("epsilon", 1e-5)), shape);
  // Until operator set 21 scale and bias were given for each group.
  const spread = (index: number): Operand => {
    const vector = site.input(index);
    const count = elementCount(site.shape(index));
    if (count === channels) return site.perChannel(vector, shape.length);
    const column = site.reshape(vector, [count, 1]);
    const repeated = site.expand(column, [count, channels / count]);
    return site.perChannel(site.reshape(repeated, [channels]), shape.length);
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
  const window = Array.from({ length: channels * channels }, (_, index) => {
    const distance = (index % channels) - Math.floor(index / channels);
    return Number(distance >= -below && distance <= size - 1 - below);
  });
  const sums = site.op("matmul", {
    x: site.constant(site.type(0), [1, channels, channels], window),
    y: squares,
  });
  const scale = site.op("add", {
    x: site.op("mul", { x: sums, y: site.float("alpha", 1e-4) / size }),
    y: site.float("bias", 1),
  });
  const divisor = site.op("pow", { x: scale, y: site.float("beta", 0.75) });
  return site.op("real_div", { x, y: site.reshape(divisor, shape) });
}

export const IMPORT_NORMALIZATION = {
  LayerNormalization: (site) =>
    site.isResultRead(1) || site.isResultRead(2)
      ? layerNormWithMoments(site)
      : layerNorm(site, site.input(0), optionalInput(site, 1), optionalInput(site, 2)),
  RMSNormalization: (site) => rmsNorm(site, site.input(0), optionalInput(site, 1)),
  /** ONNX Runtime's own operators; the skipped-over sum is their fourth result. */
  SimplifiedLayerNormalization: (site) => rmsNorm(site, site.input(0), optionalInput(site, 1)),
  SkipLayerNormalization: (site) => {
    const sum = site.op("add", { x: site.input(0), y: site.input(1) });
    const bias = optionalInput(site, 4);
    const x = bias === undefined ? sum : site.op("add", { x: sum, y: bias });
    return layerNorm(site, x, optionalInput(site, 2), optionalInput(site, 3));
  },
  SkipSimplifiedLayerNormalization: (site) => {
    const sum = site.op("add", { x: site.input(0), y: site.input(1) });
    const bias = optionalInput(site, 3);
    const x = bias === undefined ? sum : site.op("add", { x: sum, y: bias });
    return rmsNorm(site, x, optionalInput(site, 2));
  },
  BatchNormalization: batchNorm,
  InstanceNormalization: instanceNorm,
  GroupNormalization: groupNorm,
  MeanVarianceNormalization: (site) =>
    normalized(site, site.input(0), site.ints("axes") ?? [0, 2, 3], 1e-9),
  LpNormalization: (site) => {
    const x = site.input(0);
    const axes = [site.axis(site.int("axis", -1), site.shape(0).length)];
    const p = site.int("p", 2);
    if (p !== 1 && p !== 2) throw site.fail(`p = ${p} is not known`);
    const norm = site.op(p === 1 ? "reduce_l1_norm" : "reduce_l2_norm", {
      x,
      axes,
      keep_dims: true,
    });
    // Where everything is 0 the result is 0 as well.
    const isZero = site.op("equal", { x: norm, y: 0 });
    const divisor = site.op("select", { cond: isZero, a: site.scalar(site.type(0), 1), b: norm });
    return site.op("real_div", { x, y: divisor });
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
