/** Parts of a chip whose power is told apart. `package` is CPU, GPU and Neural Engine together. */
export const RAILS = ["ane", "cpu", "gpu", "package"] as const;
export type Rail = (typeof RAILS)[number];

/** A rail that is not read is absent. */
export type ByRail = { readonly [Name in Rail]?: number };

/** Energy since a meter began. */
export interface EnergyReading {
  /** Joules. */
  readonly joules: ByRail;
  /** Time that the readings cover. */
  readonly seconds: number;
}

/** Rail by rail what `combine` makes of two; rails that one lacks are absent. */
export function combineRails(
  left: ByRail,
  right: ByRail,
  combine: (left: number, right: number) => number,
): ByRail {
  const result: { [Name in Rail]?: number } = {};
  for (const rail of RAILS) {
    const [a, b] = [left[rail], right[rail]];
    if (a !== undefined && b !== undefined) result[rail] = combine(a, b);
  }
  return result;
}
