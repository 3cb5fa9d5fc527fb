import type { Operand } from "../../mil/program.ts";
import { isFloat } from "../../mil/types.ts";
import { counted } from "./site.ts";
import type { Import, ImportSite } from "./site.ts";

/** Each box that may be kept is some twenty ops of the program. */
const LARGEST_LIMIT = 1024;
/** Below every score. */
const NEVER = -3e38;

/** Where boxes begin and end and how large they are, [B, 1, N] each. */
interface Boxes {
  readonly top: Operand;
  readonly bottom: Operand;
  readonly left: Operand;
  readonly right: Operand;
  readonly area: Operand;
}

function boxesOf(site: ImportSite): Boxes {
  const [batch = 1, count = 1] = site.shape(0);
  const [a, b, c, d] = [0, 1, 2, 3].map((index) =>
    site.reshape(site.sliced(site.input(0), 2, index, index + 1), [batch, 1, count]),
  );
  if (a === undefined || b === undefined || c === undefined || d === undefined)
    throw site.fail("a box needs 4 numbers");
  const isCorners = site.int("center_point_box", 0) === 0;
  /** Both ends of a box along an axis: those of two corners, which may be any that lie opposite, or around a centre. */
  const ends = ([corner, opposite]: Pair, [centre, size]: Pair): Pair => {
    if (isCorners)
      return [site.binary("minimum", corner, opposite), site.binary("maximum", corner, opposite)];
    const half = site.mul(size, 0.5);
    const [low, high] = [site.sub(centre, half), site.add(centre, half)];
    return [site.binary("minimum", low, high), site.binary("maximum", low, high)];
  };
  const [top, bottom] = ends([a, c], [b, d]);
  const [left, right] = ends([b, d], [a, c]);
  const area = site.mul(site.sub(bottom, top), site.sub(right, left));
  return { top, bottom, left, right, area };
}

type Pair = readonly [Operand, Operand];

/** The box of the largest score by batch and class, [B, C, 1], out of numbers [B, 1, N]. */
function ofBest(site: ImportSite, numbers: Operand, best: Operand): Operand {
  const [batch = 1, classes = 1] = site.shape(1);
  const [, , count = 1] = site.shapeOf(numbers);
  const x = site.expand(numbers, [batch, classes, count]);
  return site.op("gather_along_axis", { x, indices: best, axis: 2 });
}

/** Shared area of one box by batch and class and of all boxes, over their joint area: [B, C, N]. */
function overlaps(site: ImportSite, boxes: Boxes, best: Operand): Operand {
  const of = (numbers: Operand): Operand => ofBest(site, numbers, best);
  const along = (low: Operand, high: Operand): Operand =>
    site.binary(
      "maximum",
      site.sub(site.binary("minimum", of(high), high), site.binary("maximum", of(low), low)),
      0,
    );
  const shared = site.mul(along(boxes.top, boxes.bottom), along(boxes.left, boxes.right));
  const both = site.add(of(boxes.area), boxes.area);
  const joint = site.sub(both, shared);
  // Two boxes without an area have nothing in common.
  const isEmpty = site.binary("less_equal", joint, 0);
  const divisor = site.select(isEmpty, site.scalar("fp32", 1), joint);
  return site.binary("real_div", shared, divisor);
}

/**
 * Boxes that are kept, best first, by batch and class: rows (batch, class, box). A step for each box that may be kept;
 * how many rows there are is only known after the run.
 */
const nonMaxSuppression: Import = (site) => {
  const [batch = 1, classes = 1, count = 1] = site.shape(1);
  if (!isFloat(site.type(0))) throw site.fail("boxes must hold floats");
  const limit = Math.min(count, Math.max(0, site.number(2, 0)));
  const threshold = site.number(3, 0);
  if (limit > LARGEST_LIMIT) {
    throw site.fail(
      `up to ${limit} boxes of a class are kept; ${LARGEST_LIMIT} can be written out`,
      "Ask for fewer: input 2, max_output_boxes_per_class.",
    );
  }
  if (limit === 0) return site.constant("int32", [0, 3], []);
  const boxes = boxesOf(site);
  const places = site.reshape(counted(count), [1, 1, count]);
  const never = site.scalar("fp32", NEVER);
  let scores = site.input(1);
  if (site.has(4)) {
    const isAbove = site.binary("greater", scores, site.scalar("fp32", site.number(4)));
    scores = site.select(isAbove, scores, never);
  }
  const kept: Operand[] = [];
  const isKept: Operand[] = [];
  for (let step = 0; step < limit; step++) {
    const best = site.op("reduce_argmax", { x: scores, axis: 2, keep_dims: true });
    const score = site.op("reduce_max", { x: scores, axes: [2], keep_dims: true });
    kept.push(best);
    isKept.push(site.binary("greater", score, never));
    if (step === limit - 1) break;
    const isHidden = site.binary(
      "logical_or",
      site.binary("greater", overlaps(site, boxes, best), site.scalar("fp32", threshold)),
      site.binary("equal", best, places),
    );
    scores = site.select(isHidden, never, scores);
  }
  const joined = (values: readonly Operand[]): Operand =>
    values.length === 1 && values[0] !== undefined
      ? values[0]
      : site.op("concat", { values, axis: 2 });
  const rows = batch * classes * limit;
  const prefix = site.constant(
    "int32",
    [rows, 2],
    Array.from({ length: rows }, (_, row) => {
      const group = Math.floor(row / limit);
      return [Math.floor(group / classes), group % classes];
    }).flat(),
  );
  const table = site.op("concat", {
    values: [prefix, site.reshape(joined(kept), [rows, 1])],
    axis: 1,
  });
  const isRow = site.reshape(site.cast(joined(isKept), "int32"), [rows]);
  const chosen = site.op("non_zero", { x: isRow });
  return site.op("gather", {
    x: table,
    indices: site.op("squeeze", { x: chosen, axes: [1] }),
    axis: 0,
  });
};

export const IMPORT_DETECTION = {
  NonMaxSuppression: nonMaxSuppression,
} as const satisfies Record<string, Import>;
