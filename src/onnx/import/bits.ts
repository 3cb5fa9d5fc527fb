import { jointShape } from "../../mil/ops/broadcast.ts";
import { int32sLiteral } from "../../mil/literal.ts";
import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { integerRange } from "./small-types.ts";
import type { Import, ImportSite } from "./site.ts";

const WIDTH = 32;

/** Bits of whole numbers, lowest first: int32 [count, 32]. The sign bit is that of two's complement. */
function bitsOf(site: ImportSite, x: Operand, shape: readonly number[]): Operand {
  const flat = site.reshape(site.expand(site.cast(x, "int32"), shape), [elementCount(shape), 1]);
  const low = site.binary("floor_div", flat, POWERS);
  const bits = site.binary("mod", low, 2);
  // 2^31 is beyond int32: the sign itself tells that bit.
  const sign = site.cast(site.binary("less", flat, site.scalar("int32", 0)), "int32");
  return site.op("concat", { values: [bits, sign], axis: 1 });
}

const POWERS = int32sLiteral(Array.from({ length: WIDTH - 1 }, (_, bit) => 2 ** bit));
const WEIGHTS = int32sLiteral([
  ...Array.from({ length: WIDTH - 1 }, (_, bit) => 2 ** bit),
  -(2 ** 31),
]);

function numbersOf(site: ImportSite, bits: Operand, shape: readonly number[]): Operand {
  const sum = site.op("reduce_sum", { x: site.mul(bits, WEIGHTS), axes: [1], keep_dims: false });
  return site.reshape(sum, shape);
}

const bitwise =
  (join: (site: ImportSite, x: Operand, y: Operand) => Operand): Import =>
  (site) => {
    const shape = jointShape(site.shape(0), site.shape(1));
    const [x, y] = [bitsOf(site, site.input(0), shape), bitsOf(site, site.input(1), shape)];
    return site.cast(numbersOf(site, join(site, x, y), shape), site.type(0));
  };

/** -1 - x; for unsigned numbers the largest less x. */
const bitwiseNot: Import = (site) => {
  const code = site.elementCode(0) ?? 0;
  const range = integerRange(code);
  if (range === undefined && code !== INT64) {
    throw site.fail("numbers of this type have bits beyond int32, which is what MIL computes with");
  }
  const top = range === undefined || range[0] < 0 ? -1 : range[1];
  const wide = site.widened(site.input(0));
  return site.cast(site.sub(site.scalar("int32", top), wide), site.type(0));
};
const INT64 = 7;

/** Shifts of unsigned numbers: products and quotients by powers of two. */
const bitShift: Import = (site) => {
  const direction = site.text("direction", "");
  if (direction !== "LEFT" && direction !== "RIGHT") {
    throw site.fail(`direction "${direction}" is neither LEFT nor RIGHT`);
  }
  const code = site.elementCode(0) ?? 0;
  const range = integerRange(code);
  const x = site.widened(site.input(0));
  const distance = site.widened(site.input(1));
  if (direction === "LEFT" && range === undefined) {
    return shiftedLeft(site, x, distance);
  }
  const limited = site.binary("minimum", distance, WIDTH - 2);
  const factor = site.op("gather", { x: POWERS, indices: limited, axis: 0 });
  if (direction === "RIGHT") {
    return site.cast(site.binary("floor_div", x, factor), site.type(0));
  }
  const [, high] = range ?? [0, 0];
  // Bits that leave the number are cut before the product, which then stays within int32.
  const room = site.binary("floor_div", site.scalar("int32", high + 1), factor);
  const kept = site.binary("mod", x, site.binary("maximum", room, 1));
  const product = site.mul(kept, factor);
  return site.cast(site.binary("mod", product, high + 1), site.type(0));
};

/** Numbers of 32 or 64 bits stand in int32, as everywhere: what leaves it is lost. */
function shiftedLeft(site: ImportSite, x: Operand, distance: Operand): Operand {
  const limited = site.binary("minimum", distance, WIDTH - 2);
  return site.mul(x, site.op("gather", { x: POWERS, indices: limited, axis: 0 }));
}

export const IMPORT_BITS = {
  BitwiseAnd: bitwise((site, x, y) => site.mul(x, y)),
  BitwiseOr: bitwise((site, x, y) => site.binary("maximum", x, y)),
  BitwiseXor: bitwise((site, x, y) => site.cast(site.binary("not_equal", x, y), "int32")),
  BitwiseNot: bitwiseNot,
  BitShift: bitShift,
} as const satisfies Record<string, Import>;
