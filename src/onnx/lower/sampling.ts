import type { CoordinateMode, PaddingMode } from "../../mil/ops/image.ts";
import type { DataType } from "../../mil/types.ts";
import { isFloat } from "../../mil/types.ts";
import type { LoweringSite } from "./site.ts";

// Places are computed in double precision, as the reference engine does: in fp32 a sample at the border of an image
// falls to either side of it.

const PLACE: DataType = "fp64";

export function placeConstant(
  site: LoweringSite,
  shape: readonly number[],
  values: readonly number[],
): string {
  return site.constant(PLACE, shape, values);
}

export const placeScalar = (site: LoweringSite, value: number): string =>
  placeConstant(site, [], [value]);

/** Whether places lie in [0, size - 1]; NaN does not. */
export function isWithin(site: LoweringSite, places: string, size: number): string {
  return site.node("And", [
    site.node("GreaterOrEqual", [places, placeScalar(site, 0)]),
    site.node("LessOrEqual", [places, placeScalar(site, size - 1)]),
  ]);
}

/** Coordinates as indices into an axis of `size` elements, elements being at whole numbers. */
export function pixelPlaces(
  site: LoweringSite,
  coordinates: string,
  size: number,
  mode: CoordinateMode,
  alignsCorners: boolean,
): string {
  if (mode === "unnormalized") return coordinates;
  const unit =
    mode === "normalized_zero_to_one"
      ? coordinates
      : site.node("Div", [
          site.node("Add", [coordinates, placeScalar(site, 1)]),
          placeScalar(site, 2),
        ]);
  const scaled = site.node("Mul", [unit, placeScalar(site, alignsCorners ? size - 1 : size)]);
  return alignsCorners ? scaled : site.node("Sub", [scaled, placeScalar(site, 0.5)]);
}

/** Places moved into an axis of `size` elements, as the padding says. */
export function padded(
  site: LoweringSite,
  places: string,
  size: number,
  padding: PaddingMode,
): string {
  const clamped = (value: string): string =>
    site.node("Clip", [value, placeScalar(site, 0), placeScalar(site, size - 1)]);
  switch (padding) {
    case "constant":
      return places;
    case "border":
      return clamped(places);
    case "reflection":
      return clamped(reflected(site, places, 0, size - 1));
    case "symmetric":
      return clamped(reflected(site, places, -0.5, size - 0.5));
  }
}

function reflected(site: LoweringSite, places: string, low: number, high: number): string {
  const span = high - low;
  const start = placeScalar(site, low);
  if (span <= 0) return start;
  const distance = site.node("Abs", [site.node("Sub", [places, start])]);
  const folded = site.node("Mod", [distance, placeScalar(site, 2 * span)], { fmod: 1n });
  const back = site.node("Sub", [placeScalar(site, 2 * span), folded]);
  const isBeyond = site.node("Greater", [folded, placeScalar(site, span)]);
  return site.node("Add", [site.node("Where", [isBeyond, back, folded]), start]);
}

export interface Samples {
  /** Image of x [B, C, H, W] that each row of places is taken from: 64-bit integers [N, 1]. */
  readonly images: string;
  /** Fractional rows and columns, [N or 1, P]. */
  readonly rows: string;
  readonly columns: string;
  readonly isNearest: boolean;
  /** What stands outside the image, of x's type. Without it a neighbour outside is the one at the border. */
  readonly outside?: string;
}

/** Samples of every channel, [N, P, C]. */
export function sampled(site: LoweringSite, samples: Samples): string {
  const [batch = 1, channels = 1, height = 1, width = 1] = site.shape("x");
  const { images, rows, columns, isNearest, outside } = samples;
  if (!isNearest && !isFloat(site.type("x"))) throw site.fail("x must hold floats");
  const pixels = site.reshape(site.transpose(site.value("x"), [0, 2, 3, 1]), [
    batch * height * width,
    channels,
  ]);
  const firsts = site.node("Mul", [images, site.int(height * width)]);
  const last = site.graph.ints([-1]);
  const numbersAt = (row: string, column: string): string => {
    const index = (places: string, size: number): string =>
      site.cast(
        site.node("Clip", [
          site.node("Where", [site.node("IsNaN", [places]), placeScalar(site, 0), places]),
          placeScalar(site, 0),
          placeScalar(site, size - 1),
        ]),
        "int64",
      );
    const flat = site.node("Add", [
      site.node("Add", [firsts, site.node("Mul", [index(row, height), site.int(width)])]),
      index(column, width),
    ]);
    const found = site.node("Gather", [pixels, flat], { axis: 0n });
    if (outside === undefined) return found;
    const isInside = site.node("And", [isWithin(site, row, height), isWithin(site, column, width)]);
    return site.node("Where", [site.node("Unsqueeze", [isInside, last]), found, outside]);
  };
  // Places are doubles, with which no device computes.
  const rounded = (places: string): string => site.graph.node("Round", [places]);
  if (isNearest) return numbersAt(rounded(rows), rounded(columns));
  const one = placeScalar(site, 1);
  const corners = (places: string): readonly (readonly [place: string, share: string])[] => {
    const low = site.node("Floor", [places]);
    const share = site.node("Sub", [places, low]);
    return [
      [low, site.node("Sub", [one, share])],
      [site.node("Add", [low, one]), share],
    ];
  };
  const across = corners(columns);
  const parts = corners(rows).flatMap(([row, down]) =>
    across.map(([column, right]) => {
      const share = site.cast(site.node("Mul", [down, right]), "fp32");
      return site.node("Mul", [numbersAt(row, column), site.node("Unsqueeze", [share, last])]);
    }),
  );
  return parts.reduce((sum, part) => site.node("Add", [sum, part]));
}
