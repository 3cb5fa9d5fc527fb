// Weights that are not fp32 in a row program: read as they stand, never unpacked.
import type { UnpackedWeight } from "../../../plan/plan.ts";
import { isGrouped, largestCode } from "../../../plan/storage.ts";
import type { Storage } from "../../../plan/storage.ts";
import type { Address, InstructionWord } from "./instructions.ts";
import type { RowsInTiles } from "./tiles.ts";
import type { RowBuilder, Target } from "./row-builder.ts";
import { countOf } from "./strided.ts";
import type { Strided } from "./strided.ts";

/** A weight in its storage. */
export interface StoredWeight {
  /** Of its numbers. */
  readonly shape: readonly number[];
  readonly storage: Storage;
  readonly codes: Address;
  readonly scales: Address | undefined;
  readonly biases: Address | undefined;
}

/** Types of patterns and scales, as engine/host/assembly/shared/stored-products.ts numbers them. */
const TYPES = { fp32: 0, fp16: 1, bf16: 2 } as const;

/** The largest whole number of 16 bits. */
const LARGEST = 32767;
const LARGEST_SUM = 2 ** 31 - 1;

/** Why a product cannot be computed on a storage as it stands; nothing where it can. */
export function unsuited(storage: Storage): string | undefined {
  if (!isGrouped(storage)) return undefined;
  const step = storage.kind === "int4" ? 32 : 16;
  return storage.groupSize % step === 0
    ? undefined
    : `${storage.kind} in groups of ${storage.groupSize}, which are not made of ${step}`;
}

/** A weight of an unpacking, as its buffers stand. */
export function storedWeight(
  { storage }: UnpackedWeight,
  shape: readonly number[],
  addresses: Pick<StoredWeight, "codes" | "scales" | "biases">,
): StoredWeight {
  return { shape, storage, ...addresses };
}

/** Rows `indices` of a stored table. */
export function takeStored(
  builder: RowBuilder,
  table: StoredWeight,
  indices: Strided,
  shape: readonly number[],
  error: number,
  target: Target,
): Strided {
  const { storage } = table;
  const [count = 0, ...rest] = table.shape;
  return builder.small("takeStoredRows", shape, [indices], target, (out) => [
    ...[indices.address, table.codes, out, countOf(indices.shape), countOf(rest), count, error],
    ...[table.scales, table.biases, ...groupWords(storage)],
  ]);
}

/** Group size, type, zero point, bits. */
function groupWords(storage: Storage): readonly InstructionWord[] {
  if (!isGrouped(storage)) return [1, TYPES[storage.kind], { float: 0 }, 16];
  const { groupSize, scaleType, zeroPoint, kind } = storage;
  return [groupSize, TYPES[scaleType], { float: zeroPoint }, kind === "int4" ? 4 : 8];
}

/** Products with stored weights; rows that several read are made whole numbers once. */
export class StoredProducts {
  readonly #builder: RowBuilder;
  readonly #tiles: RowsInTiles;
  readonly #wholes = new Map<string, Strided>();

  constructor(builder: RowBuilder, tiles: RowsInTiles) {
    this.#builder = builder;
    this.#tiles = tiles;
  }

  /** x [rows, depth] times a weight [columns, depth]. */
  product(
    x: Strided,
    weight: StoredWeight,
    shape: readonly number[],
    perChunk: number,
    target: Target,
  ): Strided {
    const { storage } = weight;
    const depth = x.shape.at(-1) ?? 1;
    const columns = shape.at(-1) ?? 1;
    const rows = countOf(x.shape) / depth;
    const chunkCount = Math.ceil(columns / perChunk);
    if (!isGrouped(storage)) {
      const tiles = this.#tiles.of(x);
      const reads = tiles === undefined ? [x] : [x, tiles];
      // What a thread unpacks for all rows at once: two columns.
      const room = tiles && this.#builder.own(8 * depth);
      return this.#builder.large("productOf16", shape, reads, target, chunkCount, (out) => [
        ...[x.address, weight.codes, out, rows, depth, columns, perChunk, TYPES[storage.kind]],
        ...[tiles?.address, room],
      ]);
    }
    const numbers = this.#wholeNumbers(x, storage);
    const factors = this.#builder.own((4 * depth) / storage.groupSize + 16);
    return this.#builder.large("productOfCodes", shape, [numbers], target, chunkCount, (out) => [
      ...[numbers.address, weight.codes, out, rows, depth, columns, perChunk],
      ...[weight.scales, weight.biases, ...groupWords(storage), factors],
    ]);
  }

  #wholeNumbers(x: Strided, storage: Extract<Storage, { readonly groupSize: number }>): Strided {
    const { groupSize, kind } = storage;
    const key = `${JSON.stringify(x.address)} ${groupSize} ${kind}`;
    const known = this.#wholes.get(key);
    if (known !== undefined) return known;
    const depth = x.shape.at(-1) ?? 1;
    const count = countOf(x.shape);
    // Sums of a group have room in 32 bits.
    const limit = Math.floor(LARGEST_SUM / (largestCode(storage) * groupSize));
    const words = (out: Address): readonly InstructionWord[] => [
      ...[x.address, out, count / depth, depth, groupSize],
      ...[{ float: Math.min(LARGEST, limit) }, kind === "int4" ? 1 : 0],
    ];
    const room = [(2 * count) / groupSize + count / 2];
    const made = this.#builder.small("wholeNumbers", room, [x], "own", words);
    this.#wholes.set(key, made);
    return made;
  }
}
