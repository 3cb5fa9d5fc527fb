import { elementCount, staticShape } from "../mil/types.ts";
import { packNumbers, unpackNumbers } from "../plan/stored-numbers.ts";
import type { StoredNumbers } from "../plan/stored-numbers.ts";
import { isGrouped, isSameStorage, storedTypes } from "../plan/storage.ts";
import type { Storage } from "../plan/storage.ts";
import { ModelError } from "./errors.ts";
import type { Model } from "./model.ts";
import { openWeightSource } from "./model-files.ts";
import type { Weight } from "./parameters.ts";
import { readBase } from "./trained-weights.ts";
import { requireFinite, matchWeights } from "./weight-files.ts";
import { WINDOW_ELEMENTS } from "./weight-memory.ts";
import type { StoredWeight, WeightSource } from "./weight-source.ts";

/** The weights of a model that stay in its file. */
export interface FileWeights {
  /** Fills all numbers of the weight of that name, as they would stand in memory. Throws `ModelError` for another one. */
  readonly read: (name: string, target: Float32Array) => void;
  /** Closes the weight files. */
  readonly close: () => void;
}

/**
 * Opens the file of the weights that stay in it (`inFile`); nothing where there is none. Names and shapes are checked at
 * once, numbers when they are read first. Throws `ModelError` for weights without a file of their own, and what
 * `readWeightFiles` throws.
 */
export function openFileWeights(model: Model): FileWeights | undefined {
  const weights = model.parameters.weights.filter(({ residence }) => residence === "file");
  const [first] = weights;
  if (first === undefined) return undefined;
  const { origin } = first;
  if (origin.kind !== "file") {
    throw new ModelError(
      "model.weights.file",
      `"${first.name}" is to be read from a file, and it is drawn at random`,
      { remedy: "Give a model with weights: --model." },
    );
  }
  const { folder } = origin;
  if (readBase(folder) !== undefined) {
    throw new ModelError("model.weights.file", `${folder} has only the trained part of a model`, {
      remedy: "Make a whole one of it first: anecdote export.",
    });
  }
  const source = openWeightSource(folder, model.config);
  try {
    const readers = readersOf(source, model, weights);
    return {
      read: (name, target) => {
        const reader = readers.get(name);
        if (reader !== undefined) reader(target);
        else throw new ModelError("model.weight.unknown", `"${name}" does not stay in its file`);
      },
      close: source.close,
    };
  } catch (error) {
    source.close();
    throw error;
  }
}

type Reader = (target: Float32Array) => void;

function readersOf(
  source: WeightSource,
  model: Model,
  weights: readonly Weight[],
): ReadonlyMap<string, Reader> {
  const readers = new Map<string, Reader>();
  const scratch: WindowScratch = new Map();
  for (const [weight, stored] of matchWeights(source, model, weights))
    readers.set(weight.name, readerOf(source.where, weight, stored, scratch));
  return readers;
}

/** Where a window's numbers are packed before they are unpacked again: one place for all weights, by storage and length. */
type WindowScratch = Map<string, StoredNumbers>;

/** Reads in windows; a weight that is quantized in memory gets the numbers that it would have there. */
function readerOf(
  where: string,
  { name, type, storage }: Weight,
  stored: StoredWeight,
  scratch: WindowScratch,
): Reader {
  const count = elementCount(staticShape(type));
  const group = isGrouped(storage) ? storage.groupSize : 1;
  const window = Math.max(group, WINDOW_ELEMENTS - (WINDOW_ELEMENTS % group));
  const isAsStored = stored.packed !== undefined && isSameStorage(stored.packed.storage, storage);
  const requantize =
    storage.kind === "fp32" || isAsStored ? undefined : roundTrip(name, storage, scratch);
  let isChecked = false;
  return (target) => {
    if (target.length !== count) {
      throw new ModelError(
        "model.weights.view",
        `weight "${name}" has ${count} elements, its memory ${target.length}`,
      );
    }
    for (let start = 0; start < count; start += window) {
      const part = target.subarray(start, Math.min(count, start + window));
      stored.read(start, part);
      if (!isChecked) requireFinite(where, name, start, part);
      requantize?.(part);
    }
    isChecked = true;
  };
}

/** Numbers as they are after they were packed and unpacked. */
function roundTrip(
  name: string,
  storage: Storage,
  scratch: WindowScratch,
): (numbers: Float32Array) => void {
  return (numbers) => {
    const key = `${JSON.stringify(storage)} ${numbers.length}`;
    const packed = scratch.get(key) ?? emptyStorage(name, storage, numbers.length);
    scratch.set(key, packed);
    packNumbers(storage, numbers, packed);
    unpackNumbers(storage, packed, numbers);
  };
}

function emptyStorage(name: string, storage: Storage, length: number): StoredNumbers {
  const { codes, scales, biases } = storedTypes(name, [length], storage);
  const empty = ({ dataType, shape }: typeof codes) => {
    const size = elementCount(staticShape({ kind: "tensor", dataType, shape }));
    if (dataType === "fp32") return new Float32Array(size);
    return dataType === "uint8" ? new Uint8Array(size) : new Uint16Array(size);
  };
  return {
    codes: empty(codes),
    ...(scales !== undefined && { scales: empty(scales) }),
    ...(biases !== undefined && { biases: empty(biases) }),
  };
}
