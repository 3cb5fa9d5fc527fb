import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { constantTensor, optional, optionalConstantTensor, required } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { DATA_TYPE_BITS, elementCount, isFloat, staticShape, tensorType } from "../types.ts";
import type { DataType, Dimension, TensorType } from "../types.ts";
import { derive, formatShape, product } from "./dimensions.ts";
import { openShape } from "./tensor-transformation.ts";
import { coordinatesOf } from "./windows.ts";

// Weights that are stored compressed. ios16 stores packed bits in bytes and names the shape; ios18 has
// sub-byte types, blocks and vectors.

/** `count` unsigned numbers of `bits` bits from bytes, low bits first; numbers cross byte borders. */
function unpackBits(bytes: Float64Array, bits: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => {
    let value = 0;
    for (let bit = 0; bit < bits; bit++) {
      const place = index * bits + bit;
      const byte = bytes[Math.floor(place / 8)] ?? 0;
      value |= ((byte >> (place % 8)) & 1) << bit;
    }
    return value;
  });
}

/** The shape an ios16 op states; its bytes must be as many as it needs. */
function statedShape(call: OpCall, packed: string, bits: number): readonly Dimension[] {
  if (!call.isKnown("shape")) return openShape(call, "shape");
  const shape = call.ints("shape");
  const bytes = call.shape(packed)[0];
  const needed = Math.ceil((bits * elementCount(shape)) / 8);
  if (bytes !== needed) {
    throw call.fail(
      `${packed} holds ${bytes} bytes, ${formatShape(shape)} of ${bits} bits needs ${needed}`,
    );
  }
  return shape;
}

/** Bits of an index into a table of `palettes` entries. */
function indexBits(call: OpCall, palettes: Dimension | undefined): number {
  const bits = Math.log2(Number(palettes));
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
    throw call.fail(`lut must hold 2^n entries, n from 1 to 8, not ${palettes}`);
  }
  return bits;
}

interface Lookup {
  /** Shape of the indices, then of the result. */
  readonly indices: readonly number[];
  readonly output: readonly number[];
  readonly vectorAxis: number;
  readonly vectorSize: number;
}

/** lut has the shape [groups of every axis..., entries, vector]; the vector replaces an index along an axis. */
function lookupOf(call: OpCall, indicesName: string, indexType: DataType): Lookup {
  const indices = call.staticShape(indicesName);
  const lut = call.staticShape("lut");
  if (indices.length === 0 || lut.length !== indices.length + 2) {
    throw call.fail(
      `lut ${formatShape(lut)} must have two axes more than ${indicesName} ${formatShape(indices)}, which has at least one`,
    );
  }
  indices.forEach((size, axis) => {
    const groups = lut[axis] ?? 1;
    if (groups < 1 || size % groups !== 0) {
      throw call.fail(`axis ${axis} of ${size} does not divide into ${groups} groups`);
    }
  });
  if (indexBits(call, lut.at(-2)) !== DATA_TYPE_BITS[indexType]) {
    throw call.fail(`a lut of ${lut.at(-2)} entries needs another index type than ${indexType}`);
  }
  const vectorSize = lut.at(-1) ?? 1;
  if (vectorSize > 1 && !call.has("vector_axis")) {
    throw call.fail(`vector_axis must be given, the entries of lut are vectors of ${vectorSize}`);
  }
  const vectorAxis = call.has("vector_axis") ? call.axis("vector_axis", indices.length) : 0;
  return {
    indices,
    output: indices.with(vectorAxis, (indices[vectorAxis] ?? 1) * vectorSize),
    vectorAxis,
    vectorSize,
  };
}

function lookUp(call: OpCall, lookup: Lookup, indices: ArrayLike<number>): HostTensor {
  const lut = call.tensor("lut");
  const output = hostTensor(lut.dataType, lookup.output);
  const indexStrides = stridesOf(lookup.indices);
  const lutStrides = stridesOf(lut.shape);
  const palettes = lut.shape.at(-2) ?? 1;
  output.data.forEach((_, flat) => {
    let group = 0;
    let position = 0;
    let within = 0;
    coordinatesOf(flat, lookup.output).forEach((coordinate, axis) => {
      let place = coordinate;
      if (axis === lookup.vectorAxis) {
        within = coordinate % lookup.vectorSize;
        place = Math.floor(coordinate / lookup.vectorSize);
      }
      position += place * (indexStrides[axis] ?? 0);
      const block = (lookup.indices[axis] ?? 1) / (lut.shape[axis] ?? 1);
      group += Math.floor(place / block) * (lutStrides[axis] ?? 0);
    });
    const index = indices[position] ?? 0;
    if (index >= palettes)
      throw call.fail(`index ${index} is outside a lut of ${palettes} entries`);
    output.data[flat] = lut.data[group + index * lookup.vectorSize + within] ?? 0;
  });
  return output;
}

/** Packed numbers at the places where the mask is 1, zeros elsewhere. */
function scatterMask(call: OpCall, mask: ArrayLike<number>, packed: Float64Array): Float64Array {
  const output = new Float64Array(mask.length);
  let next = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0) output[i] = packed[next++] ?? 0;
  if (next !== packed.length) {
    throw call.fail(`the mask keeps ${next} elements, ${packed.length} are given`);
  }
  return output;
}

const gatherMask = (mask: Float64Array, values: Float64Array): Float64Array =>
  values.filter((_, index) => mask[index] !== 0);

function checkBlocks(call: OpCall, data: readonly Dimension[], dataType: DataType): void {
  const scale = call.shape("scale");
  if (scale.length !== data.length || data.length === 0) {
    throw call.fail(
      `scale ${formatShape(scale)} must have the rank of the data ${formatShape(data)}, at least 1`,
    );
  }
  data.forEach((size, axis) => {
    derive([size, scale[axis] ?? 1], (all = 0, blocks = 1) => {
      if (blocks < 1 || all % blocks !== 0) {
        throw call.fail(`axis ${axis} of ${all} does not divide into ${blocks} blocks`);
      }
      return 0;
    });
  });
  if (!call.has("offset")) return;
  if (formatShape(call.shape("offset")) !== formatShape(scale)) {
    throw call.fail(
      `offset ${formatShape(call.shape("offset"))} must have scale's shape ${formatShape(scale)}`,
    );
  }
  const offsetType = call.dataType("offset");
  if (!isFloat(offsetType) && offsetType !== dataType) {
    throw call.fail(`offset is ${offsetType}, the data ${dataType}; they must be equal`);
  }
}

/** scale * (data - offset), both constant within a block. */
function scaleBlocks(call: OpCall, shape: readonly number[], data: Float64Array): HostTensor {
  const scale = call.tensor("scale");
  const offset = call.optionalNumbers("offset");
  const strides = stridesOf(scale.shape);
  const scaled = data.map((value, flat) => {
    let block = 0;
    coordinatesOf(flat, shape).forEach((coordinate, axis) => {
      const length = (shape[axis] ?? 1) / (scale.shape[axis] ?? 1);
      block += Math.floor(coordinate / length) * (strides[axis] ?? 0);
    });
    return (scale.data[block] ?? 0) * (value - (offset?.[block] ?? 0));
  });
  return hostTensor(scale.dataType, shape, scaled);
}

function lutToDenseType(call: OpCall): TensorType {
  if (!call.has("shape")) {
    const { output } = lookupOf(call, "indices", call.dataType("indices"));
    return tensorType(call.dataType("lut"), output);
  }
  const bits = indexBits(call, call.shape("lut")[0]);
  return tensorType(call.dataType("lut"), statedShape(call, "indices", bits));
}

function sparseType(call: OpCall): TensorType {
  const shape = call.has("shape") ? statedShape(call, "mask", 1) : call.shape("mask");
  const count = product(shape);
  const given = call.shape("nonzero_data")[0] ?? 0;
  if (given !== "?" && count !== "?" && given > count) {
    throw call.fail(
      `${given} numbers are more than the ${count} elements of ${formatShape(shape)}`,
    );
  }
  return tensorType(call.dataType("nonzero_data"), shape);
}

export const CONSTEXPR = {
  constexpr_cast: defineOp({
    kind: "elementwise",
    parameters: { source_val: constantTensor("fp16"), output_dtype: required("string") },
    infer: (call) => {
      if (call.string("output_dtype") !== "fp32") throw call.fail("output_dtype must be fp32");
      return [tensorType("fp32", call.shape("source_val"))];
    },
    evaluate: (call) => {
      const source = call.tensor("source_val");
      return [hostTensor("fp32", source.shape, source.data)];
    },
  }),

  constexpr_lut_to_dense: defineOp({
    kind: "elementwise",
    parameters: {
      indices: constantTensor(),
      lut: constantTensor(),
      /** ios16 and ios17 only: the shape of the result, whose indices are packed bits. */
      shape: optional("ints"),
      vector_axis: optional("int"),
    },
    infer: (call) => [lutToDenseType(call)],
    evaluate: (call) => {
      const indices = call.tensor("indices");
      if (!call.has("shape")) {
        return [lookUp(call, lookupOf(call, "indices", indices.dataType), indices.data)];
      }
      const type = lutToDenseType(call);
      const lut = call.tensor("lut").data;
      const shape = staticShape(type);
      const bits = indexBits(call, lut.length);
      const numbers = unpackBits(indices.data, bits, elementCount(shape));
      const looked = Float64Array.from(numbers, (index) => lut[index] ?? 0);
      return [hostTensor(type.dataType, shape, looked)];
    },
  }),

  constexpr_sparse_to_dense: defineOp({
    kind: "elementwise",
    parameters: {
      nonzero_data: constantTensor(),
      mask: constantTensor("uint8", "uint1"),
      /** ios16 and ios17 only: the shape of the result, whose mask is packed bits. */
      shape: optional("ints"),
    },
    infer: (call) => [sparseType(call)],
    evaluate: (call) => {
      const type = sparseType(call);
      const shape = staticShape(type);
      const mask = call.tensor("mask").data;
      const bits = call.has("shape") ? unpackBits(mask, 1, elementCount(shape)) : mask;
      const numbers = scatterMask(call, bits, call.tensor("nonzero_data").data);
      return [hostTensor(type.dataType, shape, numbers)];
    },
  }),

  constexpr_blockwise_shift_scale: defineOp({
    kind: "elementwise",
    parameters: {
      data: constantTensor(),
      scale: constantTensor(),
      offset: optionalConstantTensor(),
    },
    infer: (call) => {
      checkBlocks(call, call.shape("data"), call.dataType("data"));
      return [tensorType(call.dataType("scale"), call.shape("data"))];
    },
    evaluate: (call) => {
      const data = call.tensor("data");
      return [scaleBlocks(call, data.shape, data.data)];
    },
  }),

  /** The mask of the result and its numbers, packed. */
  constexpr_lut_to_sparse: defineOp({
    kind: "elementwise",
    parameters: {
      indices_mask: constantTensor("uint1"),
      indices_nonzero_data: constantTensor(),
      lut: constantTensor(),
      vector_axis: optional("int"),
    },
    infer: (call) => {
      const { output, vectorSize } = lookupOf(
        call,
        "indices_mask",
        call.dataType("indices_nonzero_data"),
      );
      const count = derive(
        [call.shape("indices_nonzero_data")[0] ?? 0],
        (size = 0) => size * vectorSize,
      );
      return [tensorType("uint1", output), tensorType(call.dataType("lut"), [count])];
    },
    evaluate: (call) => {
      const mask = call.tensor("indices_mask");
      const packed = call.tensor("indices_nonzero_data");
      const lookup = lookupOf(call, "indices_mask", packed.dataType);
      const dense = lookUp(call, lookup, scatterMask(call, mask.data, packed.data));
      const strides = stridesOf(lookup.indices);
      const wide = dense.data.map((_, flat) => {
        let position = 0;
        coordinatesOf(flat, lookup.output).forEach((coordinate, axis) => {
          const place =
            axis === lookup.vectorAxis ? Math.floor(coordinate / lookup.vectorSize) : coordinate;
          position += place * (strides[axis] ?? 0);
        });
        return mask.data[position] ?? 0;
      });
      const numbers = gatherMask(wide, dense.data);
      return [
        hostTensor("uint1", lookup.output, wide),
        hostTensor(dense.dataType, [numbers.length], numbers),
      ];
    },
  }),

  /** The mask unchanged and its numbers, packed. */
  constexpr_sparse_blockwise_shift_scale: defineOp({
    kind: "elementwise",
    parameters: {
      data_mask: constantTensor("uint1"),
      nonzero_data: constantTensor(),
      scale: constantTensor(),
      offset: optionalConstantTensor(),
    },
    infer: (call) => {
      checkBlocks(call, call.shape("data_mask"), call.dataType("nonzero_data"));
      return [
        tensorType("uint1", call.shape("data_mask")),
        tensorType(call.dataType("scale"), call.shape("nonzero_data")),
      ];
    },
    evaluate: (call) => {
      const mask = call.tensor("data_mask");
      const packed = call.tensor("nonzero_data").data;
      const dense = scaleBlocks(call, mask.shape, scatterMask(call, mask.data, packed));
      const numbers = gatherMask(mask.data, dense.data);
      return [mask, hostTensor(dense.dataType, [numbers.length], numbers)];
    },
  }),
} as const;
