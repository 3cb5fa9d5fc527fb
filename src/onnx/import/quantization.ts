import { literalNumbers } from "../../mil/literal.ts";
import type { Literal, Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import type { DataType } from "../../mil/types.ts";
import type { Import, ImportSite } from "./site.ts";
import { elementTypeName, milTypeOf } from "../type-codes.ts";
import { heldAs, integerRange, isHeldWider } from "./small-types.ts";
import { convolved } from "./windows.ts";

type Small = "int8" | "uint8";

interface Scheme {
  /** A number, a vector along `axis`, or under `isSpread` a tensor of the data's shape. */
  readonly scale: Operand;
  readonly zeroPoint: Operand | undefined;
  /** Absent where one scale serves all elements. */
  readonly axis: number | undefined;
  readonly isSpread?: boolean;
}

/** A vector of one element as the scalar that MIL wants for a tensor-wide scale. */
function asScalar(site: ImportSite, operand: Operand): Operand {
  return site.shapeOf(operand).length === 0 ? operand : site.reshape(operand, []);
}

/** Scale and zero point at two inputs, for data of `rank`. */
function schemeOf(
  site: ImportSite,
  scaleAt: number,
  zeroAt: number,
  rank: number,
  fallbackAxis = 1,
): Scheme {
  const count = elementCount(site.shape(scaleAt));
  const blockSize = site.int("block_size", 0);
  if (blockSize !== 0) return blockScheme(site, scaleAt, zeroAt, rank, blockSize);
  const zero = site.optional(zeroAt);
  if (count === 1) {
    return {
      scale: asScalar(site, site.input(scaleAt)),
      zeroPoint: zero === undefined ? undefined : asScalar(site, zero),
      axis: undefined,
    };
  }
  return {
    scale: site.input(scaleAt),
    zeroPoint: zero,
    axis: site.ownAxis(fallbackAxis, rank),
  };
}

/** A scale for each block of an axis, repeated for every element of the block. */
function blockScheme(
  site: ImportSite,
  scaleAt: number,
  zeroAt: number,
  rank: number,
  blockSize: number,
): Scheme {
  const axis = site.ownAxis(1, rank);
  const size = site.shape(0)[axis] ?? 1;
  const places = Array.from({ length: size }, (_, place) => Math.floor(place / blockSize));
  const blocks = site.shape(scaleAt)[axis] ?? 0;
  if (blocks !== Math.ceil(size / blockSize)) {
    throw site.fail(`${size} elements make no ${blocks} blocks of ${blockSize}`);
  }
  const repeated = (index: number): Operand =>
    site.taken(unpacked(site, site.input(index)), axis, places);
  return {
    scale: repeated(scaleAt),
    zeroPoint: site.has(zeroAt) ? repeated(zeroAt) : undefined,
    axis,
    isSpread: true,
  };
}

function isSmall(type: DataType): type is Small {
  return type === "int8" || type === "uint8";
}

const isKnown = (site: ImportSite, { scale, zeroPoint }: Scheme): boolean =>
  site.known(scale) !== undefined &&
  (zeroPoint === undefined || site.known(zeroPoint) !== undefined);

const isAllZero = (literal: Literal): boolean => literalNumbers(literal).every((n) => n === 0);

/** A vector of scales shaped to broadcast along its axis. */
function spread(
  site: ImportSite,
  operand: Operand,
  { axis, isSpread }: Scheme,
  rank: number,
): Operand {
  return axis === undefined || isSpread === true ? operand : site.along(operand, axis, rank);
}

/** Constants of 4 bits as those of 8 that hold the same numbers. */
function unpacked(site: ImportSite, operand: Operand): Operand {
  const literal = site.known(operand);
  const type = site.typeOf(operand);
  if (literal === undefined || (type !== "int4" && type !== "uint4")) return operand;
  const wide = type === "int4" ? "int8" : "uint8";
  return site.constant(wide, site.shapeOf(operand), literalNumbers(literal));
}

function dequantized(site: ImportSite, packed: Operand, given: Scheme): Operand {
  const x = unpacked(site, packed);
  const { zeroPoint: stored } = given;
  const scheme = { ...given, zeroPoint: stored && unpacked(site, stored) };
  const type = site.typeOf(x);
  const rank = site.shapeOf(x).length;
  const axis = scheme.axis === undefined ? {} : { axis: scheme.axis };
  const zero = scheme.zeroPoint === undefined ? undefined : site.known(scheme.zeroPoint);
  // A zero point of nothing but zeros says no more than its absence.
  const zeroPoint = zero === undefined || isAllZero(zero) ? {} : { zero_point: zero };
  if (isSmall(type) && scheme.isSpread !== true && isKnown(site, scheme)) {
    const numbers = site.known(x);
    if (numbers === undefined) {
      return site.op("dequantize", { input: x, scale: scheme.scale, ...zeroPoint, ...axis });
    }
    return site.op("constexpr_affine_dequantize", {
      quantized_data: numbers,
      scale: scheme.scale,
      zero_point: zero ?? site.constant(type, [], [0]),
      axis: scheme.axis ?? 0,
    });
  }
  const wide = site.typeOf(scheme.scale);
  const cast = site.cast(x, wide);
  const shifted =
    scheme.zeroPoint === undefined
      ? cast
      : site.sub(cast, spread(site, site.cast(scheme.zeroPoint, wide), scheme, rank));
  return site.mul(shifted, spread(site, scheme.scale, scheme, rank));
}

const UINT8 = 2;

/** ONNX's code of the type that a node quantizes to. */
function targetOf(site: ImportSite, zeroAt: number): number {
  if (site.int("output_dtype", 0) !== 0) return site.int("output_dtype", 0);
  if (!site.has(zeroAt)) return UINT8;
  const code = site.elementCode(zeroAt);
  if (code !== undefined) return code;
  const type = site.type(zeroAt);
  const known = CODES[type];
  if (known === undefined) throw site.fail(`quantizing to ${type} has no MIL form`);
  return known;
}

const CODES: Readonly<Partial<Record<DataType, number>>> = {
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  uint4: 21,
  int4: 22,
};

function quantized(site: ImportSite, x: Operand, scheme: Scheme, target: number): Operand {
  const type = milTypeOf(target, `the result of ${site.node.opType}`);
  const range = integerRange(target);
  const zeroPoint = scheme.zeroPoint && unpacked(site, scheme.zeroPoint);
  const isByte = isSmall(type) && (target === UINT8 || target === CODES.int8);
  if (isByte && scheme.isSpread !== true && isKnown(site, scheme)) {
    const zero = zeroPoint === undefined ? undefined : site.known(zeroPoint);
    return site.op("quantize", {
      input: x,
      scale: site.cast(scheme.scale, site.typeOf(x)),
      ...(zero !== undefined && !isAllZero(zero) && { zero_point: zero }),
      ...(scheme.axis !== undefined && { axis: scheme.axis }),
      output_dtype: type,
    });
  }
  if (range === undefined && !isHeldWider(target)) {
    throw site.fail(`quantizing to ${elementTypeName(target)} has no MIL form`);
  }
  const rank = site.shapeOf(x).length;
  const precision = site.int("precision", 0);
  const wide = precision === 0 ? site.typeOf(x) : milTypeOf(precision, "its precision");
  const scale = spread(site, site.cast(scheme.scale, wide), scheme, rank);
  const quotient = site.binary("real_div", site.cast(x, wide), scale);
  const rounded = range === undefined ? quotient : site.op("round", { x: quotient });
  const shifted =
    zeroPoint === undefined
      ? rounded
      : site.add(rounded, spread(site, site.cast(zeroPoint, wide), scheme, rank));
  if (range === undefined) {
    return heldAs(site, shifted, target, { saturates: site.flag("saturate", true) });
  }
  const [alpha, beta] = range;
  return site.cast(site.op("clip", { x: shifted, alpha, beta }), type);
}

/** uint8 numbers with scale and zero point from the range of the data, which always includes 0. */
const dynamicQuantize: Import = (site) => {
  const x = site.input(0);
  const axes = site.shape(0).map((_, axis) => axis);
  const low = site.binary(
    "minimum",
    site.op("reduce_min", { x, axes, keep_dims: false }),
    site.scalar("fp32", 0),
  );
  const high = site.binary(
    "maximum",
    site.op("reduce_max", { x, axes, keep_dims: false }),
    site.scalar("fp32", 0),
  );
  const range = site.sub(high, low);
  // Data of nothing but zeros have no range; any scale does.
  const scale = site.select(
    site.binary("equal", range, 0),
    site.scalar("fp32", 1),
    site.mul(range, 1 / 255),
  );
  const start = site.binary("real_div", low, scale);
  const zero = site.op("round", {
    x: site.op("clip", { x: site.mul(start, -1), alpha: 0, beta: 255 }),
  });
  const scheme = { scale, zeroPoint: site.cast(zero, "uint8"), axis: undefined };
  return [quantized(site, x, scheme, UINT8), scale, scheme.zeroPoint];
};

const quantizedMatmul: Import = (site) => {
  const a = dequantized(site, site.input(0), schemeOf(site, 1, 2, site.shape(0).length));
  const b = dequantized(site, site.input(3), schemeOf(site, 4, 5, site.shape(3).length));
  const product = site.op("matmul", { x: a, y: b });
  const scheme = schemeOf(site, 6, 7, site.shapeOf(product).length);
  return quantized(site, product, scheme, targetOf(site, 7));
};

/** Numbers of the inputs, convolved as floats; the bias has the scale of both together. */
const quantizedConvolution: Import = (site) => {
  const rank = site.shape(0).length;
  const x = dequantized(site, site.input(0), schemeOf(site, 1, 2, rank));
  const weight = dequantized(site, site.input(3), schemeOf(site, 4, 5, rank, 0));
  const bias = site.has(8)
    ? site.mul(
        site.cast(site.input(8), "fp32"),
        site.mul(
          asScalar(site, site.input(1)),
          elementCount(site.shape(4)) === 1 ? asScalar(site, site.input(4)) : site.input(4),
        ),
      )
    : undefined;
  const result = convolved(site, { x, weight, ...(bias !== undefined && { bias }) });
  return quantized(site, result, schemeOf(site, 6, 7, rank), targetOf(site, 7));
};

/** Products of 8-bit numbers are exact in fp32 up to sums of 2^24. */
const integerConvolution: Import = (site) => {
  const centred = (index: number, zeroAt: number): Operand => {
    const numbers = site.cast(site.input(index), "fp32");
    if (!site.has(zeroAt)) return numbers;
    const zero = site.cast(site.input(zeroAt), "fp32");
    const count = elementCount(site.shape(zeroAt));
    const shaped = count === 1 ? asScalar(site, zero) : site.reshape(zero, [count, 1, 1, 1]);
    return site.sub(numbers, shaped);
  };
  return site.cast(convolved(site, { x: centred(0, 2), weight: centred(1, 3) }), "int32");
};

export const IMPORT_QUANTIZATION = {
  QuantizeLinear: (site) => {
    const target = targetOf(site, 2);
    site.noteResultType(0, target);
    return quantized(site, site.asFloat(0), schemeOf(site, 1, 2, site.shape(0).length), target);
  },
  DequantizeLinear: (site) =>
    dequantized(site, site.input(0), schemeOf(site, 1, 2, site.shape(0).length)),
  DynamicQuantizeLinear: dynamicQuantize,
  QLinearMatMul: quantizedMatmul,
  QLinearConv: quantizedConvolution,
  ConvInteger: integerConvolution,
} as const satisfies Record<string, Import>;
