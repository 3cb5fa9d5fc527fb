import { stridesOf } from "../../mil/host-tensor.ts";
import { NOWHERE } from "./site.ts";
import type { LoweringSite } from "./site.ts";

/** A slice whose bounds come while running: vectors of 64-bit integers, one number an axis of x. */
interface RunTimeBounds {
  readonly starts: string;
  readonly ends: string;
  /** Elements an axis has between them. */
  readonly counts: string;
  readonly steps: readonly number[];
  /** A scalar: 1 where the slice has the sizes that the program says and indices stand inside x, else 0. */
  readonly fits: string;
}

/** 64-bit indices into the axes of x, of which negative ones count from the end. */
export function fromFront(site: LoweringSite, given: string, zeros: string): string {
  const fromEnd = site.node("Add", [given, site.graph.ints(site.shape("x"))]);
  return site.node("Where", [site.node("Less", [given, zeros]), fromEnd, given]);
}

/**
 * The bounds of `slice_by_index` and `slice_update`, by NumPy's rules: negative ones count from the end, then all are
 * clamped; an index that takes its axis away is not. `wanted` are the elements of every axis of x that the program's
 * types promise.
 */
function runTimeBounds(site: LoweringSite, wanted: readonly number[]): RunTimeBounds {
  const sizes = site.shape("x");
  const vector = (of: (size: number, axis: number) => number): string =>
    site.graph.ints(sizes.map(of));
  const bools = (mask: readonly boolean[]): string =>
    site.graph.constant("bool", [mask.length], Uint8Array.from(mask, Number));
  const choose = (mask: readonly boolean[], whenTrue: string, whenFalse: string): string =>
    mask.includes(true) ? site.node("Where", [bools(mask), whenTrue, whenFalse]) : whenFalse;
  const masked = (name: string): readonly boolean[] => {
    const given = site.call.bools(name);
    return sizes.map((_, axis) => given[axis] === true);
  };
  const isIndex = masked("squeeze_mask");
  const given = site.call.has("stride") ? site.call.ints("stride") : [];
  const steps = sizes.map((_, axis) => (isIndex[axis] === true ? 1 : (given[axis] ?? 1)));
  const isBackward = (axis: number): boolean => (steps[axis] ?? 1) < 0;

  const bound = (name: string): string => {
    const raw = site.cast(site.value(name), "int64");
    const front = fromFront(
      site,
      raw,
      vector(() => 0),
    );
    const low = vector((_, axis) => (isBackward(axis) ? -1 : 0));
    const high = vector((size, axis) => (isBackward(axis) ? size - 1 : size));
    return choose(isIndex, front, site.node("Min", [site.node("Max", [front, low]), high]));
  };
  const starts = choose(
    masked("begin_mask"),
    vector((size, axis) => (isBackward(axis) ? size - 1 : 0)),
    bound("begin"),
  );
  const ends = choose(
    isIndex,
    site.node("Add", [starts, vector(() => 1)]),
    choose(
      masked("end_mask"),
      vector((size, axis) => (isBackward(axis) ? -1 : size)),
      bound("end"),
    ),
  );
  const stepVector = vector((_, axis) => steps[axis] ?? 1);
  const toWhole = vector((_, axis) => (steps[axis] ?? 1) - Math.sign(steps[axis] ?? 1));
  const rounded = site.node("Add", [site.node("Sub", [ends, starts]), toWhole]);
  const zeros = vector(() => 0);
  const counts = site.node("Max", [site.node("Div", [rounded, stepVector]), zeros]);
  const isSize = site.node("Equal", [counts, site.graph.ints(wanted)]);
  const isInside = site.node("And", [
    site.node("GreaterOrEqual", [starts, zeros]),
    site.node("Less", [starts, vector((size) => size)]),
  ]);
  const isRange = bools(isIndex.map((isOne) => !isOne));
  const isRight = site.node("And", [isSize, site.node("Or", [isInside, isRange])]);
  const fits = site.node("ReduceMin", [site.cast(isRight, "int64"), site.graph.ints([0])], {
    keepdims: 0n,
  });
  return { starts, ends, counts, steps, fits };
}

/** Flat positions in x of a slice's elements, [count]; outside of x, where runtimes refuse them, if it does not fit. */
export function runTimePositions(site: LoweringSite, wanted: readonly number[]): string {
  const { starts, steps, fits } = runTimeBounds(site, wanted);
  const sizes = site.shape("x");
  const strides = stridesOf(sizes);
  const offsets = wanted.reduce<readonly number[]>(
    (flat, count, axis) =>
      flat.flatMap((base) =>
        Array.from(
          { length: count },
          (_, index) => base + index * (steps[axis] ?? 1) * (strides[axis] ?? 1),
        ),
      ),
    [0],
  );
  const first = site.node(
    "ReduceSum",
    [site.node("Mul", [starts, site.graph.ints(strides)]), site.graph.ints([0])],
    { keepdims: 0n },
  );
  const missed = site.node("Mul", [site.node("Sub", [site.int(1), fits]), site.int(NOWHERE)]);
  return site.node("Add", [site.graph.ints(offsets), site.node("Add", [first, missed])]);
}

/** The slice itself, [wanted]; without elements if it does not fit, so that a Reshape behind it is refused. */
export function runTimeSlice(site: LoweringSite, wanted: readonly number[]): string {
  const { starts, ends, counts, steps, fits } = runTimeBounds(site, wanted);
  const { graph } = site;
  const zeros = graph.ints(wanted.map(() => 0));
  // Before the first element: -1 would count from the end.
  const before = graph.ints(wanted.map(() => Number.MIN_SAFE_INTEGER));
  const stops = site.node("Where", [site.node("Less", [ends, zeros]), before, ends]);
  const isTaken = site.node("And", [
    site.node("Greater", [counts, zeros]),
    site.node("Greater", [fits, zeros]),
  ]);
  return site.node("Slice", [
    site.value("x"),
    starts,
    site.node("Where", [isTaken, stops, starts]),
    graph.ints(wanted.map((_, axis) => axis)),
    graph.ints(steps),
  ]);
}
