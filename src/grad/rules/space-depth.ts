import { scalarLiteral } from "../../mil/literal.ts";
import { padWithZeros, reshapeTo } from "../emit.ts";
import type { GradientTable } from "../rule.ts";

// These ops only move numbers; each one's gradient is moved back by its counterpart.
export const SPACE_DEPTH_RULES = {
  depth_to_space: ({ emit, gradient, call }) => ({
    x: emit.op("space_to_depth", { x: gradient, block_size: call.int("block_size") }),
  }),
  space_to_depth: ({ emit, gradient, call }) => ({
    x: emit.op("depth_to_space", { x: gradient, block_size: call.int("block_size") }),
  }),
  pixel_shuffle: ({ emit, gradient, call }) => ({
    x: emit.op("pixel_unshuffle", {
      x: gradient,
      downscale_factor: scalarLiteral("uint32", call.int("upscale_factor")),
    }),
  }),
  pixel_unshuffle: ({ emit, gradient, call }) => ({
    x: emit.op("pixel_shuffle", { x: gradient, upscale_factor: call.int("downscale_factor") }),
  }),
  space_to_batch: ({ emit, gradient, operand, call }) => ({
    x: emit.op("batch_to_space", {
      x: gradient,
      block_shape: call.ints("block_shape"),
      crops: operand("paddings"),
    }),
  }),
  batch_to_space: ({ emit, gradient, operand, call }) => ({
    x: emit.op("space_to_batch", {
      x: gradient,
      block_shape: call.ints("block_shape"),
      paddings: operand("crops"),
    }),
  }),
  crop: ({ emit, gradient, call, shape }) => {
    const margins = [call.ints("crop_height"), call.ints("crop_width")];
    const rank = shape("x").length;
    return {
      x: padWithZeros(
        emit,
        gradient,
        shape("x").map((_, axis) => {
          const [before = 0, after = 0] = margins[axis - (rank - 2)] ?? [];
          return [before, after] as const;
        }),
      ),
    };
  },
  reshape_like: ({ emit, gradient, shape }) => ({
    x: reshapeTo(emit, gradient, shape("x")),
  }),
} as const satisfies Partial<GradientTable>;
