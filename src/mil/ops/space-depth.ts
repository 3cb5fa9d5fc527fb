import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { constantTensor, required, tensor, tensors } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { checkRank, derive, formatShape, product } from "./dimensions.ts";
import { permute } from "./strided.ts";

/** Reads x as `split`, reorders those axes, and gives the result the shape of `type`. */
function rearrange(
  x: HostTensor,
  split: readonly number[],
  order: readonly number[],
  type: TensorType,
): HostTensor {
  return hostTensor(
    type.dataType,
    staticShape(type),
    permute(hostTensor(x.dataType, split, x.data), order),
  );
}

function divide(call: OpCall, size: Dimension, divisor: number, what: string): Dimension {
  return derive([size], (all = 0) => {
    if (all % divisor !== 0) throw call.fail(`${what} of ${all} does not divide by ${divisor}`);
    return all / divisor;
  });
}

const times = (size: Dimension, factor: number): Dimension =>
  derive([size], (all = 0) => all * factor);

function blockOf(call: OpCall, name: string): number {
  const block = call.int(name);
  if (!Number.isInteger(block) || block < 1) throw call.fail(`${name} must be 1 or more`);
  return block;
}

function deepenedType(call: OpCall, name: string): TensorType {
  checkRank(call, "x", 4, 4);
  const [n = 1, c = 1, h = 1, w = 1] = call.shape("x");
  const block = blockOf(call, name);
  return tensorType(call.dataType("x"), [
    n,
    times(c, block * block),
    divide(call, h, block, "the height"),
    divide(call, w, block, "the width"),
  ]);
}

function spreadType(call: OpCall, name: string): TensorType {
  checkRank(call, "x", 4, 4);
  const [n = 1, c = 1, h = 1, w = 1] = call.shape("x");
  const block = blockOf(call, name);
  const channels = divide(call, c, block * block, "the number of channels");
  return tensorType(call.dataType("x"), [n, channels, times(h, block), times(w, block)]);
}

/** How the channels of the deep side are made of block row, block column and channel. */
type ChannelOrder = "block first" | "channel first";

function spaceToDepth(call: OpCall, name: string, channels: ChannelOrder): HostTensor {
  const x = call.tensor("x");
  const [n = 1, c = 1, h = 1, w = 1] = x.shape;
  const b = blockOf(call, name);
  // [n, c, h / b, row, w / b, column]
  const order = channels === "block first" ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4];
  return rearrange(x, [n, c, h / b, b, w / b, b], order, deepenedType(call, name));
}

function depthToSpace(call: OpCall, name: string, channels: ChannelOrder): HostTensor {
  const x = call.tensor("x");
  const [n = 1, c = 1, h = 1, w = 1] = x.shape;
  const b = blockOf(call, name);
  const type = spreadType(call, name);
  const depth = c / (b * b);
  return channels === "block first"
    ? rearrange(x, [n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2], type)
    : rearrange(x, [n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3], type);
}

/** Two block sizes, and two numbers for either spatial axis. */
function blockSettings(call: OpCall, edges: "paddings" | "crops") {
  checkRank(call, "x", 4, 4);
  const block = call.ints("block_shape");
  const margins = call.ints(edges);
  if (block.length !== 2 || margins.length !== 4) {
    throw call.fail(`block_shape must have shape [2] and ${edges} [2, 2]`);
  }
  if (block.some((size) => size < 1) || margins.some((size) => size < 0)) {
    throw call.fail(`block_shape must be positive, ${edges} must not be negative`);
  }
  const [rows = 1, columns = 1] = block;
  const [top = 0, bottom = 0, left = 0, right = 0] = margins;
  return { rows, columns, top, bottom, left, right };
}

function spaceToBatchType(call: OpCall): TensorType {
  const { rows, columns, top, bottom, left, right } = blockSettings(call, "paddings");
  const [n = 1, c = 1, h = 1, w = 1] = call.shape("x");
  const height = derive([h], (size = 0) => size + top + bottom);
  const width = derive([w], (size = 0) => size + left + right);
  return tensorType(call.dataType("x"), [
    times(n, rows * columns),
    c,
    divide(call, height, rows, "the padded height"),
    divide(call, width, columns, "the padded width"),
  ]);
}

function batchToSpaceType(call: OpCall): TensorType {
  const { rows, columns, top, bottom, left, right } = blockSettings(call, "crops");
  const [n = 1, c = 1, h = 1, w = 1] = call.shape("x");
  const cropped = (size: Dimension, factor: number, cut: number): Dimension =>
    derive([size], (all = 0) => {
      if (all * factor < cut) throw call.fail(`crops take more than the ${all * factor} there are`);
      return all * factor - cut;
    });
  return tensorType(call.dataType("x"), [
    divide(call, n, rows * columns, "the batch"),
    c,
    cropped(h, rows, top + bottom),
    cropped(w, columns, left + right),
  ]);
}

/** A window [height, width] of the last two axes that starts at (top, left); zeros outside of x. */
function window(
  x: HostTensor,
  top: number,
  left: number,
  height: number,
  width: number,
): HostTensor {
  const [h = 1, w = 1] = x.shape.slice(-2);
  const output = hostTensor(x.dataType, [...x.shape.slice(0, -2), height, width]);
  output.data.forEach((_, index) => {
    const row = (Math.floor(index / width) % height) + top;
    const column = (index % width) + left;
    const plane = Math.floor(index / (width * height));
    const inside = row >= 0 && row < h && column >= 0 && column < w;
    output.data[index] = inside ? (x.data[(plane * h + row) * w + column] ?? 0) : 0;
  });
  return output;
}

function cropType(call: OpCall): TensorType {
  const shape = call.shape("x");
  if (shape.length < 3) throw call.fail("x must have rank 3 or more");
  const cut = (size: Dimension, name: string): Dimension => {
    const [before = 0, after = 0, ...rest] = call.ints(name);
    if (rest.length > 0 || call.ints(name).length !== 2 || before < 0 || after < 0) {
      throw call.fail(`${name} must hold two numbers, not ${formatShape(call.ints(name))}`);
    }
    return derive([size], (all = 0) => {
      if (before + after >= all) throw call.fail(`${name} leaves nothing of ${all}`);
      return all - before - after;
    });
  };
  return tensorType(call.dataType("x"), [
    ...shape.slice(0, -2),
    cut(shape.at(-2) ?? 1, "crop_height"),
    cut(shape.at(-1) ?? 1, "crop_width"),
  ]);
}

/** Sizes begins[i] to ends[i] of each reference tensor's shape, one after the other. */
function reshapeLikeType(call: OpCall): TensorType {
  const references = call
    .operands("ref_tensors")
    .map((operand) => call.tensorTypeOf(operand).shape);
  const numbers = (name: string): readonly number[] =>
    call.operands(name).flatMap((operand) => Array.from(call.tensorOf(operand, name).data));
  const begins = numbers("begins");
  const ends = numbers("ends");
  const masks = numbers("end_masks");
  if ([begins, ends, masks].some(({ length }) => length !== references.length)) {
    throw call.fail("ref_tensors, begins, ends and end_masks must have one length");
  }
  const shape = references.flatMap((reference, index) =>
    reference.slice(begins[index], masks[index] === 0 ? ends[index] : undefined),
  );
  const given = product(call.shape("x"));
  const wanted = product(shape);
  if (given !== "?" && wanted !== "?" && given !== wanted) {
    throw call.fail(`x has ${given} elements, shape ${formatShape(shape)} holds ${wanted}`);
  }
  return tensorType(call.dataType("x"), shape);
}

export const SPACE_DEPTH = {
  // The channels of the deep side run block row, block column, channel, as TensorFlow's do; the pixel
  // ops below have the channel first, as PyTorch.
  depth_to_space: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), block_size: required("int") },
    infer: (call) => [spreadType(call, "block_size")],
    evaluate: (call) => [depthToSpace(call, "block_size", "block first")],
  }),
  space_to_depth: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), block_size: required("int") },
    infer: (call) => [deepenedType(call, "block_size")],
    evaluate: (call) => [spaceToDepth(call, "block_size", "block first")],
  }),
  pixel_shuffle: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), upscale_factor: required("int") },
    infer: (call) => [spreadType(call, "upscale_factor")],
    evaluate: (call) => [depthToSpace(call, "upscale_factor", "channel first")],
  }),
  pixel_unshuffle: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), downscale_factor: required("int") },
    infer: (call) => [deepenedType(call, "downscale_factor")],
    evaluate: (call) => [spaceToDepth(call, "downscale_factor", "channel first")],
  }),

  // The new batch runs block row, block column, old batch, as TensorFlow's does.
  space_to_batch: defineOp({
    kind: "movement",
    numbersOf: "operands",
    parameters: {
      x: tensor(),
      block_shape: required("ints"),
      paddings: constantTensor("int32"),
    },
    infer: (call) => [spaceToBatchType(call)],
    evaluate: (call) => {
      const type = spaceToBatchType(call);
      const { rows, columns, top, left } = blockSettings(call, "paddings");
      const [, c = 1, h = 1, w = 1] = staticShape(type);
      const x = call.tensor("x");
      const padded = window(x, -top, -left, h * rows, w * columns);
      const split = [x.shape[0] ?? 1, c, h, rows, w, columns];
      return [rearrange(padded, split, [3, 5, 0, 1, 2, 4], type)];
    },
  }),
  batch_to_space: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      block_shape: required("ints"),
      crops: constantTensor("int32"),
    },
    infer: (call) => [batchToSpaceType(call)],
    evaluate: (call) => {
      const type = batchToSpaceType(call);
      const { rows, columns, top, left } = blockSettings(call, "crops");
      const x = call.tensor("x");
      const [n = 1, c = 1, h = 1, w = 1] = x.shape;
      const batch = n / (rows * columns);
      const spread = rearrange(
        x,
        [rows, columns, batch, c, h, w],
        [2, 3, 4, 0, 5, 1],
        tensorType(x.dataType, [batch, c, h * rows, w * columns]),
      );
      const [height = 1, width = 1] = staticShape(type).slice(-2);
      return [window(spread, top, left, height, width)];
    },
  }),

  crop: defineOp({
    kind: "movement",
    numbersOf: "x",
    parameters: { x: tensor(), crop_height: required("ints"), crop_width: required("ints") },
    infer: (call) => [cropType(call)],
    evaluate: (call) => {
      const [height = 1, width = 1] = staticShape(cropType(call)).slice(-2);
      const top = call.ints("crop_height")[0] ?? 0;
      const left = call.ints("crop_width")[0] ?? 0;
      return [window(call.tensor("x"), top, left, height, width)];
    },
  }),

  reshape_like: defineOp({
    kind: "view",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      ref_tensors: tensors(),
      begins: tensors(),
      ends: tensors(),
      end_masks: tensors(),
    },
    infer: (call) => [reshapeLikeType(call)],
    evaluate: (call) => {
      const type = reshapeLikeType(call);
      return [hostTensor(type.dataType, staticShape(type), call.tensor("x").data)];
    },
  }),
} as const;
