import type { GroupedStorage } from "../plan/storage.ts";
import type { ModelConfig } from "./config.ts";
import { openWeightSource } from "./model-files.ts";
import { readBase } from "./trained-weights.ts";

/**
 * How the quantized weights of a model's file stand there, by name, for those that memory can hold as they are; none for a
 * model without any, and for the trained part of one.
 */
export function packedStorages(
  folder: string,
  config: ModelConfig,
): ReadonlyMap<string, GroupedStorage> {
  if (readBase(folder) !== undefined) return new Map();
  const source = openWeightSource(folder, config);
  try {
    return new Map(
      [...source.weights].flatMap(([name, { packed }]) =>
        packed === undefined ? [] : [[name, packed.storage] as const],
      ),
    );
  } finally {
    source.close();
  }
}
