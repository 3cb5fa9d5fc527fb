import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { integerRange } from "./small-types.ts";
import type { Import, ImportSite } from "./site.ts";

/** How one axis is resized. */
interface Axis {
  readonly from: number;
  readonly to: number;
  /** What a place is multiplied with; `to` may be cut off below `from * scale`. */
  readonly scale: number;
  /** Part of the axis that is looked at, for tf_crop_and_resize. */
  readonly region: readonly [number, number];
}

/** Elements of a matrix of weights that a conversion makes. */
const MATRIX_ELEMENTS = 2 ** 24;

/** Sizes, factors and regions of all axes. */
function axesOf(site: ImportSite): readonly Axis[] {
  const shape = site.shape(0);
  const isOld = site.opset < 11;
  const [roiInput, scalesInput, sizesInput] = isOld ? [-1, 1, -1] : [1, 2, 3];
  const axes =
    site.ints("axes")?.map((axis) => site.axis(axis, shape.length)) ?? shape.map((_, axis) => axis);
  const sizes = [...shape];
  const scales = shape.map(() => 1);
  const isSized = sizesInput >= 0 && site.has(sizesInput);
  if (isSized) {
    const given = site.numbers(sizesInput);
    axes.forEach((axis, index) => {
      sizes[axis] = given[index] ?? sizes[axis] ?? 1;
      scales[axis] = (sizes[axis] ?? 1) / (shape[axis] ?? 1);
    });
    const policy = site.text("keep_aspect_ratio_policy", "stretch");
    if (policy !== "stretch") {
      const factors = axes.map((axis) => scales[axis] ?? 1);
      const scale = policy === "not_larger" ? Math.min(...factors) : Math.max(...factors);
      for (const axis of axes) {
        scales[axis] = scale;
        sizes[axis] = Math.floor(scale * (shape[axis] ?? 1) + 0.5);
      }
    }
  } else {
    const given = site.floats("scales") ?? (site.has(scalesInput) ? site.numbers(scalesInput) : []);
    axes.forEach((axis, index) => {
      scales[axis] = given[index] ?? 1;
      sizes[axis] = Math.floor((shape[axis] ?? 1) * (scales[axis] ?? 1));
    });
  }
  const isCropped =
    site.text("coordinate_transformation_mode", "half_pixel") === "tf_crop_and_resize";
  const roi = isCropped && roiInput >= 0 ? site.numbers(roiInput) : [];
  const regions = shape.map((): readonly [number, number] => [0, 1]);
  if (isCropped)
    axes.forEach((axis, index) => {
      regions[axis] = [roi[index] ?? 0, roi[index + axes.length] ?? 1];
    });
  return shape.map((from, axis) => ({
    from,
    to: sizes[axis] ?? from,
    scale: scales[axis] ?? 1,
    region: regions[axis] ?? [0, 1],
  }));
}

/** The place in the data of a place of the result, by the operator's `coordinate_transformation_mode`. */
function sourceOf(
  site: ImportSite,
  mode: string,
  { from, to, scale, region }: Axis,
  place: number,
): number {
  const length = scale * from;
  switch (mode) {
    case "align_corners":
      return length === 1 ? 0 : (place * (from - 1)) / (length - 1);
    case "asymmetric":
      return place / scale;
    case "half_pixel":
      return (place + 0.5) / scale - 0.5;
    case "pytorch_half_pixel":
      return length === 1 ? -0.5 : (place + 0.5) / scale - 0.5;
    case "half_pixel_symmetric": {
      const offset = (from / 2) * (1 - to / length);
      return offset + (place + 0.5) / scale - 0.5;
    }
    case "tf_half_pixel_for_nn":
      return (place + 0.5) / scale;
    case "tf_crop_and_resize": {
      const [start, end] = region;
      return length === 1
        ? 0.5 * (start + end) * (from - 1)
        : start * (from - 1) + (place * (end - start) * (from - 1)) / (length - 1);
    }
    default:
      throw site.fail(`coordinate_transformation_mode "${mode}" is not known`);
  }
}

/** Which element is the nearest, before it is held within the axis, by the operator's `nearest_mode`. */
const ROUNDINGS: Readonly<Record<string, (source: number) => number>> = {
  round_prefer_floor: (source) => Math.ceil(source - 0.5),
  round_prefer_ceil: (source) => Math.floor(source + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** The weight of an element at a distance, in steps of the data. */
type Kernel = (distance: number) => number;

const triangle: Kernel = (distance) => Math.max(0, 1 - Math.abs(distance));

/** Keys' cubic convolution. Source: the operator's cubic_coeff_a and the paper it names. */
const cubic =
  (a: number): Kernel =>
  (distance) => {
    const x = Math.abs(distance);
    if (x <= 1) return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1;
    return x < 2 ? a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a : 0;
  };

interface Weighting {
  readonly kernel: Kernel;
  /** How far the kernel reaches. */
  readonly reach: number;
  readonly isStretched: boolean;
  readonly excludesOutside: boolean;
}

/** Weights of the elements of an axis in one element of the result. */
function weightsAt(axis: Axis, source: number, weighting: Weighting): readonly number[] {
  const { kernel, reach, isStretched, excludesOutside } = weighting;
  // Where an axis shrinks, antialiasing makes the kernel as wide as a step of the result.
  const stretch = isStretched ? Math.min(axis.scale, 1) : 1;
  const row = Array.from({ length: axis.from }, () => 0);
  const first = Math.ceil(source - reach / stretch);
  const last = Math.floor(source + reach / stretch);
  let sum = 0;
  for (let index = first; index <= last; index++) {
    const weight = kernel((index - source) * stretch);
    const isOutside = index < 0 || index >= axis.from;
    if (isOutside && excludesOutside) continue;
    const place = Math.min(axis.from - 1, Math.max(0, index));
    row[place] = (row[place] ?? 0) + weight;
    sum += weight;
  }
  return isStretched || excludesOutside ? row.map((weight) => weight / sum) : row;
}

/** x with one axis multiplied by a matrix [to, from]. */
function multiplied(
  site: ImportSite,
  x: Operand,
  axis: number,
  matrix: readonly (readonly number[])[],
): Operand {
  const shape = site.shapeOf(x);
  const size = shape[axis] ?? 1;
  const inner = elementCount(shape.slice(axis + 1));
  const outer = elementCount(shape.slice(0, axis));
  const flat = site.reshape(x, [outer, size, inner]);
  const weights = site.constant(site.typeOf(x), [1, matrix.length, size], matrix.flat());
  const product = site.op("matmul", { x: weights, y: flat });
  return site.reshape(product, shape.with(axis, matrix.length));
}

/**
 * Resizing, axis by axis: the nearest elements are gathered, weighted sums are products with a constant matrix. What
 * MIL's own image ops mean exactly is left to them.
 */
export const resize: Import = (site) => {
  const axes = axesOf(site);
  const mode = site.text("mode", "nearest");
  const coordinates = site.text(
    "coordinate_transformation_mode",
    site.opset < 11 ? "asymmetric" : "half_pixel",
  );
  const changed = axes.flatMap((axis, place) => {
    const isWhole = axis.region[0] === 0 && axis.region[1] === 1;
    return axis.from === axis.to && Math.abs(axis.scale - 1) < 1e-9 && isWhole ? [] : [place];
  });
  if (mode === "nearest") {
    const rounding = site.text("nearest_mode", site.opset < 11 ? "floor" : "round_prefer_floor");
    return nearest(site, axes, changed, coordinates, rounding);
  }
  if (mode !== "linear" && mode !== "bilinear" && mode !== "cubic") {
    throw site.fail(`mode "${mode}" is not known`);
  }
  const own = ownForm(site, axes, changed, mode, coordinates);
  if (own !== undefined) return own;
  const isCubic = mode === "cubic";
  const weighting: Weighting = {
    kernel: isCubic ? cubic(site.float("cubic_coeff_a", -0.75)) : triangle,
    reach: isCubic ? 2 : 1,
    isStretched: site.flag("antialias", false),
    excludesOutside: site.flag("exclude_outside", false),
  };
  const filled = byAxis(
    site,
    site.asFloat(0),
    axes,
    changed,
    coordinates,
    (x, place, axis, sources) => {
      if (axis.from * axis.to > MATRIX_ELEMENTS) {
        throw site.fail(
          `a constant of ${axis.to} x ${axis.from} would be needed, which is too large`,
        );
      }
      const matrix = sources.map((source) => weightsAt(axis, source, weighting));
      return multiplied(site, x, place, matrix);
    },
  );
  if (site.isFloat(0)) return filled;
  // Sums of weighted integers are cut towards zero, within the type.
  const [alpha, beta] = integerRange(site.elementCode(0) ?? 6) ?? [-(2 ** 31), 2 ** 31 - 1];
  return site.cast(site.op("clip", { x: filled, alpha, beta }), site.type(0));
};

/**
 * Axes resized one after the other, from the places in the data of each one's results. Places that lie outside the
 * data's own region are filled at the end, for tf_crop_and_resize.
 */
function byAxis(
  site: ImportSite,
  x: Operand,
  axes: readonly Axis[],
  changed: readonly number[],
  coordinates: string,
  resized: (x: Operand, place: number, axis: Axis, sources: readonly number[]) => Operand,
): Operand {
  const outside: (readonly boolean[] | undefined)[] = axes.map(() => undefined);
  let result = x;
  for (const place of changed) {
    const axis = axes[place];
    if (axis === undefined) continue;
    const sources = Array.from({ length: axis.to }, (_, index) =>
      sourceOf(site, coordinates, axis, index),
    );
    if (coordinates === "tf_crop_and_resize")
      outside[place] = sources.map((source) => source < 0 || source > axis.from - 1);
    result = resized(result, place, axis, sources);
  }
  return withOutside(site, result, outside);
}

/** The value of `extrapolation_value` in places that lie outside the data. */
function withOutside(
  site: ImportSite,
  x: Operand,
  outside: readonly (readonly boolean[] | undefined)[],
): Operand {
  const shape = site.shapeOf(x);
  const value = site.scalar(site.typeOf(x), site.float("extrapolation_value", 0));
  return outside.reduce<Operand>((result, flags, axis) => {
    if (flags?.includes(true) !== true) return result;
    const cond = site.constant(
      "bool",
      shape.map((_, place) => (place === axis ? flags.length : 1)),
      flags.map(Number),
    );
    return site.select(cond, value, result);
  }, x);
}

function nearest(
  site: ImportSite,
  axes: readonly Axis[],
  changed: readonly number[],
  coordinates: string,
  rounding: string,
): Operand {
  const whole = wholeFactors(axes, changed);
  const isPlain =
    (coordinates === "asymmetric" && rounding === "floor") ||
    (coordinates === "half_pixel" && rounding.startsWith("round"));
  // With whole factors these ways of counting pixels pick the same ones.
  if (whole !== undefined && isPlain && site.isFloat(0)) {
    const [height, width] = whole;
    return site.op("upsample_nearest_neighbor", {
      x: site.input(0),
      scale_factor_height: height,
      scale_factor_width: width,
    });
  }
  const round = Object.hasOwn(ROUNDINGS, rounding) ? ROUNDINGS[rounding] : undefined;
  if (round === undefined) throw site.fail(`nearest_mode "${rounding}" is not known`);
  return byAxis(site, site.input(0), axes, changed, coordinates, (x, place, { from }, sources) =>
    site.taken(
      x,
      place,
      sources.map((source) => Math.min(from - 1, Math.max(0, round(source)))),
    ),
  );
}

/** Whole factors of the last two axes of images [N, C, H, W], where nothing else changes. */
function wholeFactors(
  axes: readonly Axis[],
  changed: readonly number[],
): readonly [number, number] | undefined {
  if (axes.length !== 4 || changed.some((place) => place < 2)) return undefined;
  const [height, width] = [2, 3].map((place) => axes[place]?.scale ?? 1);
  return height !== undefined &&
    width !== undefined &&
    Number.isInteger(height) &&
    Number.isInteger(width)
    ? [height, width]
    : undefined;
}

/** MIL's names of the ways to lay the grid of results over the image. */
const SAMPLING: Readonly<Record<string, string>> = {
  align_corners: "STRICT_ALIGN_CORNERS",
  half_pixel: "UNALIGN_CORNERS",
  pytorch_half_pixel: "UNALIGN_CORNERS",
  asymmetric: "DEFAULT",
};

/** MIL's `resize_bilinear`, for images whose factors lead to whole sizes: it derives the grid from the sizes. */
function ownForm(
  site: ImportSite,
  axes: readonly Axis[],
  changed: readonly number[],
  mode: string,
  coordinates: string,
): Operand | undefined {
  const sampling = SAMPLING[coordinates];
  const isPlain =
    mode !== "cubic" &&
    sampling !== undefined &&
    site.isFloat(0) &&
    !site.flag("antialias", false) &&
    !site.flag("exclude_outside", false) &&
    axes.length === 4 &&
    changed.every((place) => place >= 2);
  const isExact = axes.every(({ from, to, scale }) => Math.abs(to - from * scale) < 1e-4);
  const [height = 1, width = 1] = axes.slice(2).map(({ to }) => to);
  const isSingle = height === 1 || width === 1;
  if (!isPlain || !isExact || (coordinates !== "half_pixel" && isSingle)) return undefined;
  return site.op("resize_bilinear", {
    x: site.input(0),
    target_size_height: height,
    target_size_width: width,
    sampling_mode: sampling,
  });
}
