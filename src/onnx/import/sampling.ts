import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import type { Import, ImportSite } from "./site.ts";

/** Where one axis of an image ends, for padding: its outer edges, or the centres of its outer elements. */
interface Border {
  readonly size: number;
  readonly low: number;
  readonly high: number;
}

/** Coordinates thrown back at the borders until they lie within. */
function reflected(site: ImportSite, x: Operand, { low, high }: Border): Operand {
  const range = high - low;
  if (range === 0) return site.mul(x, 0);
  const away = site.op("abs", { x: site.sub(x, low) });
  const rest = site.binary("mod", away, 2 * range);
  const isBack = site.binary("greater", rest, range);
  const folded = site.select(isBack, site.sub(site.scalar(site.typeOf(x), 2 * range), rest), rest);
  return site.add(folded, low);
}

const held = (site: ImportSite, x: Operand, low: number, high: number): Operand =>
  site.op("clip", { x, alpha: low, beta: high });

/** Coordinates beyond the borders moved to the outer elements. */
function heldOutside(site: ImportSite, x: Operand, { size, low, high }: Border): Operand {
  const [isBelow, isAbove] = [site.binary("less", x, low), site.binary("greater", x, high)];
  const isOutside = site.binary("logical_or", isBelow, isAbove);
  return site.select(isOutside, held(site, x, 0, size - 1), x);
}

/** One tap of an axis: whole-number places as floats, the weight there, and whether the place is inside. */
interface Tap {
  readonly place: Operand;
  readonly weight: Operand | undefined;
  readonly isInside: Operand | undefined;
}

function tapsOf(
  site: ImportSite,
  coordinate: Operand,
  border: Border,
  mode: string,
  padding: string,
): readonly Tap[] {
  const tap = (place: Operand, weight: Operand | undefined): Tap => {
    const last = border.size - 1;
    const isInside =
      padding === "zeros"
        ? site.binary(
            "logical_and",
            site.binary("greater_equal", place, 0),
            site.binary("less_equal", place, last),
          )
        : undefined;
    const kept = padding === "reflection" ? reflected(site, place, border) : place;
    return { place: held(site, kept, 0, last), weight, isInside };
  };
  if (mode === "nearest") return [tap(coordinate, undefined)];
  const floor = site.op("floor", { x: coordinate });
  const rest = site.sub(coordinate, floor);
  const one = site.scalar(site.typeOf(rest), 1);
  if (mode === "linear") {
    return [tap(floor, site.sub(one, rest)), tap(site.add(floor, 1), rest)];
  }
  // Keys' cubic convolution with -0.75, for distances 1 + r, r, 1 - r, 2 - r.
  const a = -0.75;
  const near = (x: Operand): Operand =>
    site.add(site.mul(site.mul(x, x), site.sub(site.mul(x, a + 2), a + 3)), 1);
  const far = (x: Operand): Operand => {
    const inner = site.add(site.mul(site.sub(site.mul(x, a), 5 * a), x), 8 * a);
    return site.sub(site.mul(inner, x), 4 * a);
  };
  const back = site.sub(one, rest);
  return [
    tap(site.sub(floor, 1), far(site.add(rest, 1))),
    tap(floor, near(rest)),
    tap(site.add(floor, 1), near(back)),
    tap(site.add(floor, 2), far(site.add(back, 1))),
  ];
}

const MODES: Readonly<Record<string, string>> = {
  nearest: "nearest",
  linear: "linear",
  bilinear: "linear",
  cubic: "cubic",
  bicubic: "cubic",
};

/** Images sampled at places that a grid gives: gathered element by element, and weighted. */
const gridSample: Import = (site) => {
  const shape = site.shape(0);
  const [batch = 1, channels = 1, ...sizes] = shape;
  const places = site.shape(1).slice(1, -1);
  const count = elementCount(places);
  const spelled = site.text("mode", site.opset < 20 ? "bilinear" : "linear");
  const mode = MODES[spelled];
  const padding = site.text("padding_mode", "zeros");
  if (mode === undefined) throw site.fail(`mode "${spelled}" is not known`);
  if (!["zeros", "border", "reflection"].includes(padding)) {
    throw site.fail(`padding_mode "${padding}" is not known`);
  }
  const isAligned = site.flag("align_corners", false);
  const type = site.type(0);
  const grid = site.reshape(site.cast(site.input(1), "fp32"), [batch, count, sizes.length]);
  // The grid names the last axis first.
  const axes = sizes.map((size, axis) => {
    const border: Border = isAligned
      ? { size, low: 0, high: size - 1 }
      : { size, low: -0.5, high: size - 0.5 };
    const column = sizes.length - 1 - axis;
    const given = site.reshape(site.sliced(grid, 2, column, column + 1), [batch, count]);
    const scaled = isAligned
      ? site.mul(site.add(given, 1), (size - 1) / 2)
      : site.mul(site.sub(site.mul(site.add(given, 1), size), 1), 0.5);
    const rounded = mode === "nearest" ? site.op("round", { x: scaled }) : scaled;
    // A cubic kernel meets the padding at each of its elements, as PyTorch and ONNX Runtime have it.
    const padded =
      mode === "cubic"
        ? rounded
        : padding === "border"
          ? heldOutside(site, rounded, border)
          : padding === "reflection"
            ? reflected(site, rounded, border)
            : rounded;
    return tapsOf(site, padded, border, mode, padding);
  });
  const flat = site.transpose(
    site.reshape(site.cast(site.input(0), "fp32"), [batch, channels, elementCount(sizes)]),
    [0, 2, 1],
  );
  let sum: Operand | undefined;
  for (const taps of combinations(axes)) {
    let index: Operand | undefined;
    let weight: Operand | undefined;
    let isInside: Operand | undefined;
    taps.forEach((tap, axis) => {
      const stride = elementCount(sizes.slice(axis + 1));
      const offset = site.mul(site.cast(tap.place, "int32"), stride);
      index = index === undefined ? offset : site.add(index, offset);
      if (tap.weight !== undefined)
        weight = weight === undefined ? tap.weight : site.mul(weight, tap.weight);
      if (tap.isInside !== undefined)
        isInside =
          isInside === undefined
            ? tap.isInside
            : site.binary("logical_and", isInside, tap.isInside);
    });
    if (index === undefined) throw site.fail("it has no axis to sample");
    const found = site.op("gather", { x: flat, indices: index, axis: 1, batch_dims: 1 });
    const column = (value: Operand): Operand => site.reshape(value, [batch, count, 1]);
    const inside = isInside === undefined ? found : site.select(column(isInside), found, 0);
    const weighted = weight === undefined ? inside : site.mul(inside, column(weight));
    sum = sum === undefined ? weighted : site.add(sum, weighted);
  }
  if (sum === undefined) throw site.fail("it samples nothing");
  const result = site.reshape(site.transpose(sum, [0, 2, 1]), [batch, channels, ...places]);
  return site.cast(result, type);
};

/** Every choice of one tap an axis. */
function combinations(axes: readonly (readonly Tap[])[]): readonly (readonly Tap[])[] {
  return axes.reduce<readonly (readonly Tap[])[]>(
    (chosen, taps) => chosen.flatMap((before) => taps.map((tap) => [...before, tap])),
    [[]],
  );
}

/** Places of a sampling grid after an affine transform of each image. */
const affineGrid: Import = (site) => {
  const [batch = 1, , ...sizes] = site.numbers(1);
  const isAligned = site.flag("align_corners", false);
  const count = elementCount(sizes);
  const rank = sizes.length;
  // Homogeneous places, the last axis first: [count, rank + 1].
  const places = Array.from({ length: count }, (_, index) => {
    const coordinates = sizes.map((size, axis) => {
      const place = Math.floor(index / elementCount(sizes.slice(axis + 1))) % size;
      return isAligned
        ? size === 1
          ? -1
          : -1 + (2 * place) / (size - 1)
        : -1 + (2 * place + 1) / size;
    });
    return [...coordinates.toReversed(), 1];
  });
  const points = site.constant(site.type(0), [1, count, rank + 1], places.flat());
  const product = site.op("matmul", { x: points, y: site.input(0), transpose_y: true });
  return site.reshape(product, [batch, ...sizes, rank]);
};

export const IMPORT_SAMPLING = {
  GridSample: gridSample,
  AffineGrid: affineGrid,
} as const satisfies Record<string, Import>;
