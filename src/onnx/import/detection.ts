import type { Operand } from "../../mil/program.ts";
import { isFloat } from "../../mil/types.ts";
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
  const column = (index: number): Operand =>
    site.reshape(
      site.op("slice_by_index", {
        x: site.input(0),
        begin: [0, 0, index],
        end: [batch, count, index + 1],
      }),
      [batch, 1, count],
    );
  const columns = [0, 1, 2, 3].map(column);
  const [a, b, c, d] = columns;
  if (a === undefined || b === undefined || c === undefined || d === undefined)
    throw site.fail("a box needs 4 numbers");
  const less = (x: Operand, y: Operand): Operand => site.op("sub", { x, y });
  const ends =
    site.int("center_point_box", 0) === 0
      ? { first: [a, b], second: [c, d] }
      : {
          first: [less(b, half(site, d)), less(a, half(site, c))],
          second: [
            site.op("add", { x: b, y: half(site, d) }),
            site.op("add", { x: a, y: half(site, c) }),
          ],
        };
  // Corners may be any two that lie opposite each other.
  const [top, left] = [0, 1].map((axis) => corner(site, "minimum", ends, axis));
  const [bottom, right] = [0, 1].map((axis) => corner(site, "maximum", ends, axis));
  if (top === undefined || left === undefined || bottom === undefined || right === undefined)
    throw site.fail("a box needs 4 numbers");
  const area = site.op("mul", { x: less(bottom, top), y: less(right, left) });
  return { top, bottom, left, right, area };
}

const half = (site: ImportSite, x: Operand): Operand => site.op("mul", { x, y: 0.5 });

function corner(
  site: ImportSite,
  type: "minimum" | "maximum",
  { first, second }: { readonly first: readonly Operand[]; readonly second: readonly Operand[] },
  axis: number,
): Operand {
  const [x, y] = [first[axis], second[axis]];
  if (x === undefined || y === undefined) throw site.fail("a box needs 4 numbers");
  return site.op(type, { x, y });
}

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
    site.op("maximum", {
      x: site.op("sub", {
        x: site.op("minimum", { x: of(high), y: high }),
        y: site.op("maximum", { x: of(low), y: low }),
      }),
      y: 0,
    });
  const shared = site.op("mul", {
    x: along(boxes.top, boxes.bottom),
    y: along(boxes.left, boxes.right),
  });
  const both = site.op("add", { x: of(boxes.area), y: boxes.area });
  const joint = site.op("sub", { x: both, y: shared });
  // Two boxes without an area have nothing in common.
  const isEmpty = site.op("less_equal", { x: joint, y: 0 });
  const divisor = site.op("select", { cond: isEmpty, a: site.scalar("fp32", 1), b: joint });
  return site.op("real_div", { x: shared, y: divisor });
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
  const places = site.constant(
    "int32",
    [1, 1, count],
    Array.from({ length: count }, (_, index) => index),
  );
  const never = site.scalar("fp32", NEVER);
  let scores = site.input(1);
  if (site.has(4)) {
    const isAbove = site.op("greater", { x: scores, y: site.scalar("fp32", site.number(4)) });
    scores = site.op("select", { cond: isAbove, a: scores, b: never });
  }
  const kept: Operand[] = [];
  const isKept: Operand[] = [];
  for (let step = 0; step < limit; step++) {
    const best = site.op("reduce_argmax", { x: scores, axis: 2, keep_dims: true });
    const score = site.op("reduce_max", { x: scores, axes: [2], keep_dims: true });
    kept.push(best);
    isKept.push(site.op("greater", { x: score, y: never }));
    if (step === limit - 1) break;
    const isHidden = site.op("logical_or", {
      x: site.op("greater", {
        x: overlaps(site, boxes, best),
        y: site.scalar("fp32", threshold),
      }),
      y: site.op("equal", { x: best, y: places }),
    });
    scores = site.op("select", { cond: isHidden, a: never, b: scores });
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
