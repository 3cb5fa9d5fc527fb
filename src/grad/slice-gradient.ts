import type { FunctionBuilder } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import { sameShape } from "../mil/types.ts";
import { add, filled, padWithZeros, reduceToShape, shapeOf, tensorDataType } from "./emit.ts";
import type { Contribution, SliceGradient } from "./rule.ts";

/**
 * The sum of everything that flows back to one value. Slices of one axis that do not overlap are joined by a
 * single `concat`, so that the parts of a fused projection cost no additions and no zeros.
 */
export function sumContributions(
  e: FunctionBuilder,
  contributions: readonly Contribution[],
  shape: readonly number[],
): Value | undefined {
  const wholes: Value[] = [];
  const slices: SliceGradient[] = [];
  for (const contribution of contributions) {
    if (contribution.kind === "value") wholes.push(reduceToShape(e, contribution, shape));
    else if (sameShape(shapeOf(contribution.gradient), shape)) wholes.push(contribution.gradient);
    else slices.push(contribution);
  }
  for (const row of disjointRows(slices)) wholes.push(joinSlices(e, row, shape));
  return wholes.reduce<Value | undefined>(
    (sum, value) => (sum === undefined ? value : add(e, sum, value)),
    undefined,
  );
}

const endOf = ({ begin, gradient, axis }: SliceGradient): number =>
  begin + (shapeOf(gradient)[axis] ?? 1);

/** Rows of slices of one axis, each row sorted and free of overlaps. */
function disjointRows(slices: readonly SliceGradient[]): readonly (readonly SliceGradient[])[] {
  const rows: SliceGradient[][] = [];
  for (const slice of slices.toSorted((a, b) => a.axis - b.axis || a.begin - b.begin)) {
    const row = rows.find((candidates) => {
      const last = candidates.at(-1);
      return last !== undefined && last.axis === slice.axis && endOf(last) <= slice.begin;
    });
    if (row === undefined) rows.push([slice]);
    else row.push(slice);
  }
  return rows;
}

function joinSlices(
  e: FunctionBuilder,
  row: readonly SliceGradient[],
  shape: readonly number[],
): Value {
  const [first] = row;
  const last = row.at(-1);
  if (first === undefined || last === undefined) throw new RangeError("a row has slices");
  const { axis } = first;
  const pieces: Value[] = [];
  let position = first.begin;
  for (const slice of row) {
    if (slice.begin > position) {
      const gap = shape.map((size, other) => (other === axis ? slice.begin - position : size));
      pieces.push(filled(e, tensorDataType(slice.gradient), gap, 0));
    }
    pieces.push(slice.gradient);
    position = endOf(slice);
  }
  const joined = pieces.length === 1 ? first.gradient : e.op("concat", { values: pieces, axis });
  return padWithZeros(
    e,
    joined,
    shape.map((size, other) => (other === axis ? [first.begin, size - position] : [0, 0])),
  );
}
