/**
 * Examples put together into rows of at most `capacity` inputs and `mostExamples` each: the longest first, each into the
 * row with the least room that takes it (best fit, decreasing). How many rows there are depends on the lengths alone.
 * `order`: of examples of one length. Throws `RangeError` for an example that no row takes.
 */
export function packRows(
  lengths: readonly number[],
  order: readonly number[],
  capacity: number,
  mostExamples: number,
): readonly (readonly number[])[] {
  const byLength: number[][] = Array.from({ length: capacity + 1 }, () => []);
  for (const index of order) {
    const list = byLength[lengths[index] ?? 0];
    if (list === undefined)
      throw new RangeError(`an example of ${lengths[index]} inputs in rows of ${capacity}`);
    list.push(index);
  }
  const rows: number[][] = [];
  /** Rows that have so much room left. */
  const byRoom: number[][][] = Array.from({ length: capacity + 1 }, () => []);
  for (let length = capacity; length >= 0; length--) {
    for (const index of byLength[length] ?? []) {
      let room = length;
      while (room <= capacity && byRoom[room]?.length === 0) room++;
      let row = byRoom[room]?.pop();
      if (row === undefined) {
        row = [];
        rows.push(row);
        room = capacity;
      }
      row.push(index);
      if (row.length < mostExamples) byRoom[room - length]?.push(row);
    }
  }
  return rows;
}
