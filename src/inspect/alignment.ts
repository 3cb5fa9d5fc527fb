/** Where a longest common sequence of two lists of keys stands in both, in order. Keeps 4 bytes a pair of keys. */
export function commonPlaces(
  a: readonly string[],
  b: readonly string[],
): readonly (readonly [number, number])[] {
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const here = i * width + j;
      longest[here] =
        a[i] === b[j]
          ? (longest[here + width + 1] ?? 0) + 1
          : Math.max(longest[here + width] ?? 0, longest[here + 1] ?? 0);
    }
  }
  const places: [number, number][] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    const here = i * width + j;
    if (a[i] === b[j]) places.push([i++, j++]);
    else if ((longest[here + width] ?? 0) >= (longest[here + 1] ?? 0)) i++;
    else j++;
  }
  return places;
}
