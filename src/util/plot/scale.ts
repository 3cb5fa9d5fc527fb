/** Where a number stands on an axis, and the numbers worth a tick. */
export interface Scale {
  /** 0 at the axis's start, 1 at its end. */
  readonly place: (value: number) => number;
  readonly ticks: readonly number[];
}

const TICKS_WANTED = 5;

/** From 0 to the first round number that is not below `maximum`. */
export function linearScale(maximum: number): Scale {
  const step = roundStep(Math.max(maximum, Number.MIN_VALUE) / TICKS_WANTED);
  const count = Math.max(1, Math.ceil(maximum / step - 1e-9));
  const end = step * count;
  return {
    place: (value) => value / end,
    ticks: Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12))),
  };
}

/** 1, 2 or 5 times a power of ten, not below `step`. */
export function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= step * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** At most so many ticks, whatever the numbers. */
const MOST_TICKS = 40;

/** Round numbers between two; one where they are the same but for rounding. */
export function ticksBetween(from: number, to: number): readonly number[] {
  if (!(to - from > 1e-12 * Math.max(Math.abs(from), Math.abs(to)))) return [from];
  const step = roundStep((to - from) / 6);
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.min(MOST_TICKS, Math.floor(to / step + 1e-9) - first + 1);
  return Array.from({ length: Math.max(0, count) }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
}

/** An axis for numbers from `low` to `high`: some room around them, from 0 where that is near; wide for equal ones. */
export function roomAround(low: number, high: number): readonly [number, number] {
  const isFlat = !(high - low > 1e-9 * Math.max(Math.abs(high), Math.abs(low)));
  const room = isFlat ? Math.abs(high) * 0.1 || 1 : (high - low) * 0.06;
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
}

/** Logarithmic, over at least a factor of 4; values must be above 0. Ends at 1, 2 or 5 times a power of ten. */
export function logScale(values: readonly number[]): Scale {
  const positive = values.filter((value) => value > 0);
  const smallest = positive.length === 0 ? 1 : Math.min(...positive);
  const largest = positive.length === 0 ? 10 : Math.max(...positive);
  const middle = Math.sqrt(smallest * largest);
  const low = roundDown(Math.min(smallest, middle / 2));
  const high = roundUp(Math.max(largest, middle * 2));
  const span = Math.log(high / low);
  const decades = Math.log10(high / low);
  const factors = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(3));
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push(tick);
    }
  }
  return { place: (value) => Math.log(value / low) / span, ticks };
}

function roundDown(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [5, 2, 1].find((candidate) => candidate * power <= value * (1 + 1e-9)) ?? 1;
  return factor * power;
}

function roundUp(value: number): number {
  return roundStep(value);
}

/** The same scale with ticks at the places of the data. */
export function withTicks(scale: Scale, ticks: readonly number[]): Scale {
  return { place: scale.place, ticks };
}

/** At most three significant digits, without trailing zeros. */
export function shortNumber(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1000) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}
