import type { StoredNumbers } from "../plan/stored-numbers.ts";
import type { GroupedStorage } from "../plan/storage.ts";
import type { ByteSource } from "../util/byte-source.ts";

/** A tensor as a file has it, under the name that Hugging Face gives it. */
export interface StoredWeight {
  readonly name: string;
  readonly shape: readonly number[];
  /** What the file calls its type: `F32`, `Q4_K`. */
  readonly type: string;
  /**
   * Fills `numbers` from element `start` on; both are multiples of `granule`, but for the end.
   * Throws `ModelError` for a type that is not read.
   */
  readonly read: (start: number, numbers: Float32Array) => void;
  /** Of a quantized tensor that memory can hold as it is. */
  readonly packed?: PackedTensor;
}

/** Codes and scales of a tensor as a file has them. */
export interface PackedTensor {
  readonly storage: GroupedStorage;
  /** Fills `target` with the stored form of `count` numbers from `start` on; both are whole groups. */
  readonly read: (start: number, count: number, target: StoredNumbers) => void;
}

/** A model's weights where they are stored, whatever the layout. Nothing is read before it is asked for. */
export interface WeightSource {
  /** Folder or file, for messages. */
  readonly where: string;
  readonly weights: ReadonlyMap<string, StoredWeight>;
  /** Files that were opened, in order. */
  readonly files: readonly string[];
  readonly close: () => void;
}

/** Reads numbers of a matrix whose rows stand elsewhere, or otherwise, than they are wanted. */
export function readRows(
  start: number,
  numbers: Float32Array,
  columns: number,
  readRow: (row: number, from: number, part: Float32Array) => void,
): void {
  for (let done = 0; done < numbers.length;) {
    const row = Math.floor((start + done) / columns);
    const from = (start + done) % columns;
    const count = Math.min(columns - from, numbers.length - done);
    readRow(row, from, numbers.subarray(done, done + count));
    done += count;
  }
}

/**
 * Reads a matrix [rows, columns] of which every head's rows stand in another order: heads that are wanted whole are read
 * at once. `placeOf`: where a row of the weight stands in the file, within its head.
 */
export function headReader(
  { columns, headRows }: { readonly columns: number; readonly headRows: number },
  placeOf: (row: number) => number,
  read: (start: number, numbers: Float32Array) => void,
): (start: number, numbers: Float32Array) => void {
  const headLength = headRows * columns;
  return (start, numbers) => {
    if (start % headLength !== 0 || numbers.length % headLength !== 0) {
      readRows(start, numbers, columns, (row, from, part) =>
        read(placeOf(row) * columns + from, part),
      );
      return;
    }
    const stored = new Float32Array(headLength);
    for (let done = 0; done < numbers.length; done += headLength) {
      const first = (start + done) / columns;
      read(start + done, stored);
      for (let row = 0; row < headRows; row++) {
        const from = (placeOf(first + row) - first) * columns;
        numbers.set(stored.subarray(from, from + columns), done + row * columns);
      }
    }
  };
}

/** Closes several sources, for a layout of several files. */
export function closeAll(sources: Iterable<ByteSource>): void {
  for (const source of sources) source.close();
}
