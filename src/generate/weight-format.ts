import { staticShape } from "../mil/types.ts";
import { adapterPart } from "../model/adapters/adapter.ts";
import { openModel, quantized } from "../model/index.ts";
import type { AdapterSource, Model, OpenModel } from "../model/index.ts";
import type { Storage } from "../plan/storage.ts";

/** How a model's matrices and tables may stand in memory while texts are written. */
export const WEIGHT_FORMATS = ["bf16", "fp16", "int8", "int4"] as const;
/** How weights are stored while tokens are made. */
export type WeightFormat = (typeof WEIGHT_FORMATS)[number];

/** Numbers that share a scale: as many as MLX takes, or half of them where rows are not made of those. */
const GROUP_SIZES = [64, 32] as const;

/**
 * A model that was opened with its matrices and tables in another format; adapters and vectors stay as they are. Groups
 * are MLX's affine ones, with fp16 scales and biases. Throws `ModelError` where no matrix suits.
 */
export function inFormat({ model, load }: OpenModel, format: WeightFormat): OpenModel {
  const packed = quantized(model, storageOf(model, format));
  return {
    model: packed,
    load: (viewOf, weights = packed.parameters.weights) => {
      load(viewOf, weights);
    },
  };
}

/** A model folder with adapters, its matrices and tables in a format where one is asked for. Throws as `inFormat`. */
export function openInFormat(
  folder: string,
  adapters: readonly AdapterSource[],
  format: WeightFormat | undefined,
): OpenModel {
  const opened = openModel(folder, adapters);
  return format === undefined ? opened : inFormat(opened, format);
}

function storageOf(model: Model, format: WeightFormat): Storage {
  if (format === "bf16" || format === "fp16") return { kind: format };
  const widths = model.parameters.weights
    .filter((weight) => weight.decays && weight.type.shape.length === 2)
    .filter((weight) => adapterPart(weight) === undefined)
    .map(({ type }) => staticShape(type)[1] ?? 0);
  const groupSize =
    GROUP_SIZES.find((size) => widths.every((width) => width % size === 0)) ?? GROUP_SIZES[1];
  return { kind: format, groupSize, scaleType: "fp16", zeroPoint: 0, hasBiases: true };
}
