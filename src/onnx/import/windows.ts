import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { resize } from "./resize.ts";
import type { Import, ImportSite } from "./site.ts";

interface WindowSettings {
  readonly pad_type: "valid" | "same" | "same_lower" | "custom";
  readonly pad?: readonly number[];
  readonly strides: readonly number[];
}

/** ONNX lists all beginnings, then all ends; MIL a pair for each axis. */
function pairs(pads: readonly number[], count: number): readonly number[] {
  return Array.from({ length: count }).flatMap((_, axis) => [
    pads[axis] ?? 0,
    pads[axis + count] ?? 0,
  ]);
}

function windowSettings(site: ImportSite, count: number): WindowSettings {
  const strides = site.ints("strides") ?? Array.from({ length: count }, () => 1);
  const automatic = site.text("auto_pad", "NOTSET");
  switch (automatic) {
    case "SAME_UPPER":
      return { pad_type: "same", strides };
    case "SAME_LOWER":
      return { pad_type: "same_lower", strides };
    case "VALID":
      return { pad_type: "valid", strides };
    case "NOTSET": {
      const pads = site.ints("pads") ?? [];
      if (pads.some((pad) => pad < 0)) throw site.fail("negative pads have no MIL form");
      return pads.every((pad) => pad === 0)
        ? { pad_type: "valid", strides }
        : { pad_type: "custom", pad: pairs(pads, count), strides };
    }
    default:
      throw site.fail(`auto_pad "${automatic}" is not known`);
  }
}

function dilationsOf(site: ImportSite, count: number): readonly number[] {
  return site.ints("dilations") ?? Array.from({ length: count }, () => 1);
}

const convolution: Import = (site) =>
  convolved(site, { x: site.input(0), weight: site.input(1), bias: site.optional(2) });

interface Convolved {
  readonly x: Operand;
  readonly weight: Operand;
  readonly bias?: Operand | undefined;
}

/** A convolution with the settings of the node, over operands that may have been prepared. */
export function convolved(site: ImportSite, operands: Convolved): Operand {
  const count = site.shapeOf(operands.x).length - 2;
  return site.op("conv", {
    ...operands,
    ...windowSettings(site, count),
    dilations: dilationsOf(site, count),
    groups: site.int("group", 1),
  });
}

const transposedConvolution: Import = (site) => {
  const [batch = 1, , ...spatial] = site.shape(0);
  const [, perGroup = 1, ...kernel] = site.shape(1);
  const count = spatial.length;
  const strides = site.ints("strides") ?? spatial.map(() => 1);
  const dilations = dilationsOf(site, count);
  const beyond = site.ints("output_padding") ?? spatial.map(() => 0);
  const groups = site.int("group", 1);
  const wanted = site.ints("output_shape");
  const automatic = site.text("auto_pad", "NOTSET");
  const given = site.ints("pads") ?? [];
  const pads: number[] = [];
  const sizes = spatial.map((size, axis) => {
    const stride = strides[axis] ?? 1;
    const extent = ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
    const full = (size - 1) * stride + extent + (beyond[axis] ?? 0);
    const target =
      wanted?.slice(-count)[axis] ?? (automatic.startsWith("SAME") ? size * stride : undefined);
    if (target === undefined) {
      const [before, after] =
        automatic === "VALID" ? [0, 0] : [given[axis] ?? 0, given[axis + count] ?? 0];
      pads.push(before, after);
      return full - before - after;
    }
    const total = Math.max(0, full - target);
    const small = Math.floor(total / 2);
    // The odd element is cut off at the end for SAME_UPPER, at the beginning otherwise.
    pads.push(automatic === "SAME_UPPER" ? small : total - small);
    pads.push(automatic === "SAME_UPPER" ? total - small : small);
    return target;
  });
  const isPadded = pads.some((pad) => pad !== 0);
  return site.op("conv_transpose", {
    x: site.input(0),
    weight: site.input(1),
    bias: site.optional(2),
    strides,
    dilations,
    groups,
    pad_type: isPadded ? "custom" : "valid",
    ...(isPadded && { pad: pads }),
    ...((wanted !== undefined || beyond.some((size) => size !== 0)) && {
      output_shape: [batch, perGroup * groups, ...sizes],
    }),
  });
};

function kernelSizes(site: ImportSite): readonly number[] {
  const kernel = site.ints("kernel_shape");
  if (kernel === undefined) throw site.fail('attribute "kernel_shape" is missing');
  if (site.ints("dilations")?.some((step) => step !== 1) === true) {
    throw site.fail("dilated pooling has no MIL form");
  }
  return kernel;
}

/** Padding at the end that makes a window for what would be left over, as `ceil_mode` counts windows. */
function ceilPads(site: ImportSite, kernel: readonly number[]): readonly number[] {
  const spatial = site.shape(0).slice(2);
  const given = site.ints("pads") ?? [];
  const strides = site.ints("strides") ?? [];
  return spatial.flatMap((size, axis) => {
    const [before, after] = [given[axis] ?? 0, given[axis + spatial.length] ?? 0];
    const stride = strides[axis] ?? 1;
    const window = kernel[axis] ?? 1;
    let count = Math.ceil((size + before + after - window) / stride) + 1;
    // A window may not begin in the padding at the end.
    if ((count - 1) * stride >= size + before) count--;
    return [before, Math.max(after, (count - 1) * stride + window - size - before)];
  });
}

const pool =
  (type: "max_pool" | "avg_pool" | "l2_pool"): Import =>
  (site) => {
    const kernel = kernelSizes(site);
    const isCeil = site.flag("ceil_mode", false) && site.text("auto_pad", "NOTSET") === "NOTSET";
    const countsPadding = type === "avg_pool" && site.flag("count_include_pad", false);
    const isExtended = isCeil && !countsPadding;
    const inputs = {
      x: site.asFloat(0),
      kernel_sizes: kernel,
      ...windowSettings(site, kernel.length),
      ...(isExtended && { pad_type: "custom" as const, pad: ceilPads(site, kernel) }),
      ceil_mode: isCeil && countsPadding,
    };
    switch (type) {
      case "avg_pool":
        return site.op("avg_pool", { ...inputs, exclude_padding_from_average: !countsPadding });
      case "l2_pool":
        if (site.int("p", 2) !== 2) throw site.fail("only p = 2 has a MIL form");
        return site.op("l2_pool", inputs);
      case "max_pool":
        return site.cast(site.op("max_pool", inputs), site.type(0));
    }
  };

const globalPool =
  (type: "reduce_mean" | "reduce_max"): Import =>
  (site) => {
    const axes = site
      .shape(0)
      .map((_, axis) => axis)
      .slice(2);
    return site.op(type, { x: site.input(0), axes, keep_dims: true });
  };

export const IMPORT_WINDOWS = {
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  MaxPool: pool("max_pool"),
  AveragePool: pool("avg_pool"),
  LpPool: pool("l2_pool"),
  GlobalAveragePool: globalPool("reduce_mean"),
  GlobalMaxPool: globalPool("reduce_max"),
  Resize: resize,
  Upsample: resize,
  DepthToSpace: (site) => {
    const x = site.input(0);
    const block = site.int("blocksize", 1);
    return site.text("mode", "DCR") === "CRD"
      ? site.op("pixel_shuffle", { x, upscale_factor: block })
      : site.op("depth_to_space", { x, block_size: block });
  },
  SpaceToDepth: (site) => {
    const x = site.input(0);
    const block = site.int("blocksize", 1);
    return site.text("mode", "DCR") === "CRD"
      ? site.op("pixel_unshuffle", { x, downscale_factor: site.scalar("uint32", block) })
      : site.op("space_to_depth", { x, block_size: block });
  },
  Flatten: (site) => {
    const shape = site.shape(0);
    const given = site.int("axis", 1);
    const axis = given < 0 ? given + shape.length : given;
    return site.reshape(site.input(0), [
      elementCount(shape.slice(0, axis)),
      elementCount(shape.slice(axis)),
    ]);
  },
} as const satisfies Record<string, Import>;
