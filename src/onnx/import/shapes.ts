import { jointShape } from "../../mil/ops/broadcast.ts";
import { literalNumbers } from "../../mil/literal.ts";
import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { offsetsOf } from "./site.ts";
import type { Import, ImportSite } from "./site.ts";

/** Elements of a constant that is made here rather than by a `fill`. */
const INLINE_ELEMENTS = 4096;
/** Elements of a mask that is made when a model is converted. */
const MASK_ELEMENTS = 2 ** 24;

const reshape: Import = (site) => {
  const shape = site.shape(0);
  const keepsZero = site.flag("allowzero", false);
  const wanted = (site.ints("shape") ?? site.numbers(1)).map((size, axis) =>
    size === 0 && !keepsZero ? (shape[axis] ?? 0) : size,
  );
  const open = wanted.indexOf(-1);
  if (open !== -1) {
    const rest = elementCount(wanted.toSpliced(open, 1));
    wanted[open] = rest === 0 ? 0 : elementCount(shape) / rest;
  }
  if (elementCount(wanted) !== elementCount(shape) || wanted.some((size) => size < 0)) {
    throw site.fail(`[${shape.join(", ")}] cannot become [${wanted.join(", ")}]`);
  }
  return site.reshape(site.input(0), wanted);
};

const squeeze: Import = (site) => {
  const shape = site.shape(0);
  const axes =
    site.axes(1, shape.length) ?? shape.flatMap((size, axis) => (size === 1 ? [axis] : []));
  if (axes.some((axis) => shape[axis] !== 1)) {
    throw site.fail(`axes ${axes.join(", ")} of [${shape.join(", ")}] are not all of size 1`);
  }
  if (axes.length === 0) return site.input(0);
  return site.op("squeeze", { x: site.input(0), axes });
};

const unsqueeze: Import = (site) => {
  const given = site.ints("axes") ?? site.numbers(1);
  const rank = site.shape(0).length + given.length;
  const axes = given.map((axis) => site.axis(axis, rank)).toSorted((a, b) => a - b);
  return axes.length === 0 ? site.input(0) : site.op("expand_dims", { x: site.input(0), axes });
};

const slice: Import = (site) => {
  const shape = site.shape(0);
  const starts = site.ints("starts") ?? site.numbers(1);
  const ends = site.ints("ends") ?? site.numbers(2);
  const axes = site.axes(3, shape.length) ?? starts.map((_, axis) => axis);
  const steps = site.has(4) ? site.numbers(4) : starts.map(() => 1);
  const begin = shape.map(() => 0);
  const end = [...shape];
  const stride = shape.map(() => 1);
  const endMask = shape.map(() => false);
  axes.forEach((axis, index) => {
    const size = shape[axis] ?? 0;
    const step = steps[index] ?? 1;
    if (step === 0) throw site.fail("a step of 0 goes nowhere");
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const place = (bound: number): number =>
      Math.min(high, Math.max(low, bound < 0 ? bound + size : bound));
    begin[axis] = Math.max(0, place(starts[index] ?? 0));
    end[axis] = place(ends[index] ?? 0);
    stride[axis] = step;
    // A backward slice that reaches the first element has an end no index can name.
    endMask[axis] = end[axis] === -1;
    if (endMask[axis]) end[axis] = 0;
  });
  const isWhole = shape.every(
    (size, axis) => begin[axis] === 0 && end[axis] === size && stride[axis] === 1,
  );
  if (isWhole) return site.input(0);
  return site.op("slice_by_index", {
    x: site.input(0),
    begin,
    end,
    stride,
    ...(endMask.includes(true) && { end_mask: endMask }),
  });
};

const split: Import = (site) => {
  const shape = site.shape(0);
  const axis = site.ownAxis(0);
  const size = shape[axis] ?? 0;
  const count = site.node.output.length;
  // Uneven splits by number give the last part what is left.
  const even = Math.ceil(size / site.int("num_outputs", count));
  const sizes =
    site.ints("split") ??
    (site.has(1)
      ? site.numbers(1)
      : Array.from({ length: count }, (_, index) => Math.min(even, size - index * even)));
  if (sizes.length !== count || sizes.reduce((sum, part) => sum + part, 0) !== size) {
    throw site.fail(`parts of ${sizes.join(", ")} do not make the ${size} of axis ${axis}`);
  }
  if (count === 1) return site.input(0);
  return site.many("split", { x: site.input(0), split_sizes: sizes, axis });
};

/** Integers are padded by joining, since MIL's own op takes floats only. */
function padByConcat(site: ImportSite, amounts: readonly (readonly number[])[], value: number) {
  if (site.text("mode", "constant") !== "constant") {
    throw site.fail("only constant padding of integers has a MIL form");
  }
  return amounts.reduce<Operand>((x, [before = 0, after = 0], axis) => {
    if (before + after === 0) return x;
    const block = (size: number): readonly Operand[] =>
      size === 0
        ? []
        : [filled(site, site.shapeOf(x).with(axis, size), site.scalar(site.type(0), value))];
    return site.op("concat", { values: [...block(before), x, ...block(after)], axis });
  }, site.input(0));
}

const MODES = { constant: "constant", reflect: "reflect", edge: "replicate" } as const;

const pad: Import = (site) => {
  const x = site.input(0);
  const shape = site.shape(0);
  const listed = site.ints("pads") ?? site.numbers(1);
  const axes = site.has(3)
    ? site.numbers(3).map((axis) => site.axis(axis, shape.length))
    : shape.map((_, axis) => axis);
  const amounts: number[][] = shape.map(() => [0, 0]);
  axes.forEach((axis, index) => {
    amounts[axis] = [listed[index] ?? 0, listed[index + axes.length] ?? 0];
  });
  if (amounts.flat().some((amount) => amount < 0)) {
    throw site.fail("negative pads have no MIL form");
  }
  const spelled = site.text("mode", "constant");
  if (!Object.hasOwn(MODES, spelled)) throw site.fail(`mode "${spelled}" has no MIL form`);
  const value = site.hasAttribute("value") ? site.float("value", 0) : site.number(2, 0);
  if (amounts.flat().every((amount) => amount === 0)) return x;
  if (!site.isFloat(0)) return padByConcat(site, amounts, value);
  return site.op("pad", {
    x,
    pad: amounts.flat(),
    mode: MODES[spelled as keyof typeof MODES],
    constant_val: site.scalar(site.type(0), value),
  });
};

/** The value of a `Constant` node, in whichever attribute it stands. */
const constant: Import = (site) => {
  const tensor = site.tensor("value");
  if (tensor !== undefined) return tensor;
  if (site.hasAttribute("value_float")) return site.scalar("fp32", site.float("value_float", 0));
  if (site.hasAttribute("value_int")) return site.scalar("int32", site.int("value_int", 0));
  const floats = site.floats("value_floats");
  if (floats !== undefined) return site.constant("fp32", [floats.length], floats);
  const ints = site.ints("value_ints");
  if (ints !== undefined) return site.constant("int32", [ints.length], ints);
  throw site.fail("its value is of a kind that is not read");
};

/** A tensor that holds one number everywhere. */
function filled(site: ImportSite, shape: readonly number[], value: Operand): Operand {
  const literal = site.known(value);
  if (literal === undefined) throw site.fail("its value is not a number");
  const [element = 0] = literalNumbers(literal);
  return elementCount(shape) <= INLINE_ELEMENTS
    ? site.filledWith(shape, value, element)
    : site.op("fill", { shape, value });
}

/** The last two sizes of a matrix of which a constant as large is made. */
function matrixSizes(site: ImportSite): readonly number[] {
  const sizes = site.shape(0).slice(-2);
  if (elementCount(sizes) > MASK_ELEMENTS) {
    throw site.fail(`a constant of ${sizes.join(" x ")} would be needed, which is too large`);
  }
  return sizes;
}

/** Which elements of a matrix `Trilu` keeps. */
const triangle: Import = (site) => {
  const diagonal = site.number(1, 0);
  const isUpper = site.flag("upper", true);
  const x = site.input(0);
  if (isUpper && diagonal <= 0) return site.op("band_part", { x, lower: -diagonal, upper: -1 });
  if (!isUpper && diagonal >= 0) return site.op("band_part", { x, lower: -1, upper: diagonal });
  const [rows = 1, columns = 1] = matrixSizes(site);
  const mask = offsetsOf(rows, columns).map((offset) =>
    Number(isUpper ? offset >= diagonal : offset <= diagonal),
  );
  return site.select(site.constant("bool", [rows, columns], mask), x, site.scalar(site.type(0), 0));
};

const shapeOfInput: Import = (site) => {
  const shape = site.shape(0);
  const part = shape.slice(
    site.int("start", 0),
    site.hasAttribute("end") ? site.int("end", shape.length) : undefined,
  );
  return site.constant("int32", [part.length], part);
};

export const IMPORT_SHAPES = {
  Shape: shapeOfInput,
  Size: (site) => site.scalar("int32", elementCount(site.shape(0))),
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: (site) => {
    const rank = site.shape(0).length;
    const order = site.ints("perm") ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
    return site.transpose(site.input(0), order);
  },
  Concat: (site) => {
    const values = site.inputs().filter((operand) => !site.shapeOf(operand).includes(0));
    const [first] = values;
    if (first === undefined) return site.input(0);
    if (values.length === 1) return first;
    const axis = site.ownAxis(0, site.shapeOf(first).length);
    return site.op("concat", { values, axis });
  },
  Split: split,
  Slice: slice,
  Pad: pad,
  Tile: (site) => site.op("tile", { x: site.input(0), reps: site.numbers(1) }),
  Expand: (site) => site.expand(site.input(0), jointShape(site.shape(0), site.numbers(1))),
  Constant: constant,
  ConstantOfShape: (site) =>
    filled(site, site.numbers(0), site.tensor("value") ?? site.scalar("fp32", 0)),
  Range: (site) => {
    const [start, limit, step] = [site.number(0), site.number(1), site.number(2)];
    const count = Math.max(0, Math.ceil((limit - start) / step));
    if (!Number.isFinite(count) || count > MASK_ELEMENTS)
      throw site.fail(`it makes ${count} numbers`);
    const values = Array.from({ length: count }, (_, index) => start + index * step);
    return site.constant(site.type(0), [count], values);
  },
  EyeLike: (site) => {
    const [rows = 1, columns = 1] = matrixSizes(site);
    const diagonal = site.int("k", 0);
    const type = site.hasAttribute("dtype") ? site.elementType("dtype", 1) : site.type(0);
    const ones = offsetsOf(rows, columns).map((offset) => Number(offset === diagonal));
    return site.constant(type, [rows, columns], ones);
  },
  Trilu: triangle,
  ReverseSequence: (site) =>
    site.op("reverse_sequence", {
      x: site.input(0),
      lengths: site.input(1),
      seq_axis: site.int("time_axis", 0),
      batch_axis: site.int("batch_axis", 1),
    }),
} as const satisfies Record<string, Import>;
