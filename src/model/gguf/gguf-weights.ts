import { ModelError } from "../errors.ts";
import type { ModelConfig } from "../config.ts";
import { readFloats } from "../float-conversion.ts";
import { headReader } from "../weight-source.ts";
import type { PackedTensor, StoredWeight, WeightSource } from "../weight-source.ts";
import { packedStorage, unpackBlocks } from "./packed-blocks.ts";
import { storedPart } from "../../plan/stored-numbers.ts";
import { READ_TYPES } from "./ggml-types.ts";
import { readGguf } from "./gguf-file.ts";
import type { GgufFile, GgufTensor } from "./gguf-file.ts";
import { ggufNames, pairedRow } from "./gguf-names.ts";
import type { GgufChange } from "./gguf-names.ts";
import { openedFile } from "../../util/byte-source.ts";

/** Tensors that are no weights of a model: what each rotary frequency is divided by. */
const NOT_WEIGHTS = new Set(["rope_freqs.weight"]);

/** A GGUF file's weights in Hugging Face's layout. Throws `ModelError` for a damaged file. */
export function openGgufWeights(path: string, config: ModelConfig): WeightSource {
  return openedFile(path, (source) => {
    const file = readGguf(source);
    const byName = new Map(ggufNames(config).map((entry) => [entry.ggufName, entry]));
    const weights = new Map<string, StoredWeight>();
    for (const tensor of file.tensors.values()) {
      if (NOT_WEIGHTS.has(tensor.name)) continue;
      if (config.tiedHead && tensor.name === "output.weight") continue;
      const entry = byName.get(tensor.name);
      // What is not known keeps its name, for the message that refuses it.
      const name = entry?.name ?? tensor.name;
      weights.set(name, storedWeight(file, tensor, name, entry?.change ?? { kind: "none" }));
    }
    return { where: path, weights, files: [path], close: () => source.close() };
  });
}

function storedWeight(
  file: GgufFile,
  tensor: GgufTensor,
  name: string,
  change: GgufChange,
): StoredWeight {
  const plain = (start: number, numbers: Float32Array): void =>
    readNumbers(file, tensor, start, numbers);
  const [rows = 1, columns = 1] = tensor.shape;
  const stored = { name, shape: tensor.shape, type: tensor.type.name };
  switch (change.kind) {
    case "none":
      return { ...stored, read: plain, ...packedOf(file, tensor, (row) => row) };
    case "plus_one":
      return {
        ...stored,
        read: (start, numbers) => {
          plain(start, numbers);
          numbers.forEach((number, index) => (numbers[index] = number - 1));
        },
      };
    case "paired_rows": {
      const width = tensor.shape.length === 1 ? 1 : columns;
      return {
        ...stored,
        ...packedOf(file, tensor, (row) => pairedRow(row, rows, change.headCount)),
        read: headReader(
          { columns: width, headRows: rows / change.headCount },
          (row) => pairedRow(row, rows, change.headCount),
          plain,
        ),
      };
    }
    case "transposed": {
      let whole: Float32Array | undefined;
      return {
        ...stored,
        shape: [columns, rows],
        read: (start, numbers) => {
          if (whole === undefined) {
            whole = new Float32Array(rows * columns);
            plain(0, whole);
          }
          for (let index = 0; index < numbers.length; index++) {
            const at = start + index;
            numbers[index] = whole[(at % rows) * columns + Math.floor(at / rows)] ?? 0;
          }
          if (start + numbers.length === rows * columns) whole = undefined;
        },
      };
    }
  }
}

/** Blocks as they are; `rowOf`: where a row of the weight stands in the file. */
function packedOf(
  { source }: GgufFile,
  { type, offset, shape }: GgufTensor,
  rowOf: (row: number) => number,
): Pick<StoredWeight, "packed"> {
  const storage = packedStorage(type.name);
  const [, columns = 1] = shape;
  if (storage === undefined || shape.length !== 2) return {};
  const { blockBytes, blockSize } = type;
  const read: PackedTensor["read"] = (start, count, target) => {
    for (let done = 0; done < count;) {
      const row = Math.floor((start + done) / columns);
      const from = (start + done) % columns;
      const length = Math.min(columns - from, count - done);
      const at = (rowOf(row) * columns + from) / blockSize;
      const bytes = source.read(offset + at * blockBytes, (length / blockSize) * blockBytes);
      unpackBlocks(storage, bytes, storedPart(target, storage, done, length));
      done += length;
    }
  };
  return { packed: { storage, read } };
}

function readNumbers(
  { source }: GgufFile,
  { name, type, offset }: GgufTensor,
  start: number,
  numbers: Float32Array,
): void {
  const { blockSize, blockBytes, decode } = type;
  if (decode === undefined) {
    throw new ModelError(
      "model.weights.type",
      `${source.name}: "${name}" is stored as ${type.name}; ${READ_TYPES.join(", ")} are read`,
      { remedy: "Take the model's file of another quantization, such as Q8_0 or Q4_K_M." },
    );
  }
  if (type.name === "F32") {
    readFloats(source, offset + 4 * start, numbers);
    return;
  }
  const bytes = source.read(
    offset + (start / blockSize) * blockBytes,
    (numbers.length / blockSize) * blockBytes,
  );
  decode(bytes, numbers);
}
