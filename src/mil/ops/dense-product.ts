/** Rows of the right matrix that are worked on together: they stay in the cache while all left rows pass. */
const BLOCK = 64;

/**
 * target [rows, columns] += left [rows, inner] * right [inner, columns], dense and row-major, each from its
 * own offset. Every element is summed in the order of `inner`.
 */
export function addProduct(
  target: Float64Array,
  left: Float64Array,
  right: Float64Array,
  rows: number,
  inner: number,
  columns: number,
): void {
  for (let block = 0; block < inner; block += BLOCK) {
    const end = Math.min(block + BLOCK, inner);
    for (let i = 0; i < rows; i++) {
      const row = target.subarray(i * columns, (i + 1) * columns);
      let k = block;
      for (; k + 3 < end; k += 4) {
        const a0 = left[i * inner + k] ?? 0;
        const a1 = left[i * inner + k + 1] ?? 0;
        const a2 = left[i * inner + k + 2] ?? 0;
        const a3 = left[i * inner + k + 3] ?? 0;
        const start = k * columns;
        for (let j = 0; j < columns; j++) {
          const at = start + j;
          row[j] =
            (row[j] ?? 0) +
            a0 * (right[at] ?? 0) +
            a1 * (right[at + columns] ?? 0) +
            a2 * (right[at + 2 * columns] ?? 0) +
            a3 * (right[at + 3 * columns] ?? 0);
        }
      }
      for (; k < end; k++) {
        const a = left[i * inner + k] ?? 0;
        const start = k * columns;
        for (let j = 0; j < columns; j++) row[j] = (row[j] ?? 0) + a * (right[start + j] ?? 0);
      }
    }
  }
}

/** A dense [rows, columns] matrix turned into [columns, rows]. */
export function transposed(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = matrix[i * columns + j] ?? 0;
  }
  return result;
}
