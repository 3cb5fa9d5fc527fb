import { tensorLiteral } from "../../../src/mil/literal.ts";
import type { OpName } from "../../../src/mil/ops/index.ts";
import type { CaseBuilder } from "../../helpers/finite-differences.ts";
import type { DrawCase } from "./case.ts";

type PoolName = "avg_pool" | "max_pool" | "l2_pool";

function pool(type: PoolName): DrawCase {
  return (c) => {
    const rank = c.between(1, 2);
    const perAxis = (low: number, high: number, count = rank): number[] =>
      Array.from({ length: count }, () => c.between(low, high));
    const kernel = perAxis(2, 3);
    const pad_type = c.pick(["valid", "same", "same_lower", "custom"] as const);
    const ceil = (pad_type === "valid" || pad_type === "custom") && c.chance(0.3);
    const margins = kernel.map(() => c.between(0, 1));
    const x = c.float("x", [c.between(1, 2), c.between(1, 2), ...perAxis(4, 5)]);
    const settings = {
      x,
      kernel_sizes: kernel,
      strides: c.chance(0.7) ? perAxis(1, 2) : undefined,
      pad_type,
      pad: pad_type === "custom" ? margins.flatMap((size) => [size, size]) : undefined,
      ceil_mode: ceil,
    };
    return type === "avg_pool"
      ? [c.f.op(type, { ...settings, exclude_padding_from_average: c.chance() })]
      : [c.f.op(type, settings)];
  };
}

const image = (c: CaseBuilder, low = 1, high = 4) =>
  c.float("x", [c.between(1, 2), c.between(1, 2), c.between(low, high), c.between(low, high)]);

const SAMPLING = [
  "STRICT_ALIGN_CORNERS",
  "ALIGN_CORNERS",
  "DEFAULT",
  "OFFSET_CORNERS",
  "UNALIGN_CORNERS",
] as const;

const resample: DrawCase = (c) => {
  const [batch, height, width] = [c.between(1, 2), c.between(2, 4), c.between(2, 4)];
  const x = c.float("x", [batch, c.between(1, 2), height, width]);
  const coordinates_mode = c.pick([
    "unnormalized",
    "normalized_minus_one_to_one",
    "normalized_zero_to_one",
  ] as const);
  const [low, high] = coordinates_mode === "unnormalized" ? [-2, 5] : [-1.5, 1.5];
  const coordinates = c.float("coordinates", [batch, 2, 2, 2], low, high);
  return [
    c.f.op("resample", {
      x,
      coordinates,
      sampling_mode: c.pick(["bilinear", "nearest"]),
      padding_mode: c.pick(["constant", "border", "reflection", "symmetric"]),
      padding_value: 0.5,
      coordinates_mode,
      align_corners: c.chance(),
    }),
  ];
};

const affine: DrawCase = (c) => {
  const x = image(c, 2, 4);
  const batch = x.type.kind === "tensor" ? Number(x.type.shape[0]) : 1;
  const transform_matrix = c.float("transform_matrix", [c.chance() ? 1 : batch, 6], -1.2, 1.2);
  return [
    c.f.op("affine", {
      x,
      transform_matrix,
      output_height: c.between(1, 3),
      output_width: c.between(1, 3),
      sampling_mode: "bilinear",
      padding_mode: "constant",
      padding_value: 0.25,
      coordinates_mode: "normalized_minus_one_to_one",
      align_corners: c.chance(),
    }),
  ];
};

export const VISION_CASES: Partial<Record<OpName, DrawCase>> = {
  avg_pool: pool("avg_pool"),
  max_pool: pool("max_pool"),
  l2_pool: pool("l2_pool"),
  depth_to_space: (c) => [
    c.f.op("depth_to_space", { x: c.float("x", [1, 4 * c.between(1, 2), 2, 1]), block_size: 2 }),
  ],
  space_to_depth: (c) => [
    c.f.op("space_to_depth", { x: c.float("x", [1, c.between(1, 2), 4, 2]), block_size: 2 }),
  ],
  pixel_shuffle: (c) => [
    c.f.op("pixel_shuffle", { x: c.float("x", [1, 4 * c.between(1, 2), 2, 1]), upscale_factor: 2 }),
  ],
  pixel_unshuffle: (c) => [
    c.f.op("pixel_unshuffle", { x: c.float("x", [1, c.between(1, 2), 4, 2]), downscale_factor: 2 }),
  ],
  space_to_batch: (c) => [
    c.f.op("space_to_batch", {
      x: c.float("x", [c.between(1, 2), c.between(1, 2), 3, 4]),
      block_shape: [2, 2],
      paddings: tensorLiteral("int32", [2, 2], c.chance() ? [0, 1, 0, 0] : [1, 0, 1, 1]),
    }),
  ],
  batch_to_space: (c) => [
    c.f.op("batch_to_space", {
      x: c.float("x", [4 * c.between(1, 2), c.between(1, 2), 2, 2]),
      block_shape: [2, 2],
      crops: tensorLiteral("int32", [2, 2], c.chance() ? [0, 1, 0, 0] : [1, 0, 1, 1]),
    }),
  ],
  crop: (c) => [
    c.f.op("crop", {
      x: c.float("x", [1, c.between(1, 2), 4, 5]),
      crop_height: [c.below(2), c.below(2)],
      crop_width: [c.below(2), c.below(3)],
    }),
  ],
  upsample_nearest_neighbor: (c) => [
    c.f.op("upsample_nearest_neighbor", {
      x: image(c),
      scale_factor_height: c.pick([1, 2, 1.5]),
      scale_factor_width: c.pick([1, 3, 2.5]),
    }),
  ],
  resize_nearest_neighbor: (c) => [
    c.f.op("resize_nearest_neighbor", {
      x: image(c),
      target_size_height: c.between(1, 6),
      target_size_width: c.between(1, 6),
    }),
  ],
  upsample_bilinear: (c) => {
    const align = c.chance();
    return [
      c.f.op("upsample_bilinear", {
        x: image(c),
        scale_factor_height: c.pick([1, 2, 1.5]),
        scale_factor_width: c.pick([1, 3, 2.5]),
        align_corners: align,
        half_pixel_centers: align ? false : c.chance(),
      }),
    ];
  },
  resize_bilinear: (c) => [
    c.f.op("resize_bilinear", {
      x: image(c),
      target_size_height: c.between(1, 6),
      target_size_width: c.between(1, 6),
      sampling_mode: c.pick(SAMPLING),
    }),
  ],
  resize: (c) => {
    const x = image(c);
    const sizes = [c.between(1, 3), c.between(1, 5), c.between(1, 5)];
    return [
      c.f.op("resize", {
        x,
        shape: sizes,
        resized_dims: c.between(1, 3),
        interpolation_mode: c.pick(["LINEAR", "NEAREST_NEIGHBOR"]),
        sampling_mode: c.pick(SAMPLING),
      }),
    ];
  },
  resample,
  affine,
};
