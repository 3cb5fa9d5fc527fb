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

/** What two spans of time took together. */
export function energySum(left: EnergyReading | undefined, right: EnergyReading): EnergyReading {
  if (left === undefined) return right;
  return {
    seconds: left.seconds + right.seconds,
    joules: combineRails(left.joules, right.joules, (a, b) => a + b),
  };
}

/** What was taken between two readings of one meter. */
export function energyBetween(from: EnergyReading, to: EnergyReading): EnergyReading {
  return {
    seconds: to.seconds - from.seconds,
    joules: combineRails(from.joules, to.joules, (a, b) => b - a),
  };
}

/** Mean watts of a span of time. */
export function meanWatts({ joules, seconds }: EnergyReading): ByRail {
  return combineRails(joules, joules, (value) => value / seconds);
}

/** Rail by rail what `combine` makes of two; rails that one lacks are absent. */
function combineRails(
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
