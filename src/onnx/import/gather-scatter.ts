import type { Operand } from "../../mil/program.ts";
import { literalNumbers } from "../../mil/literal.ts";
import type { ScatterMode } from "../../mil/ops/gather-scatter.ts";
import { elementCount } from "../../mil/types.ts";
import type { Import, ImportSite } from "./site.ts";

const MODES: Readonly<Record<string, ScatterMode>> = {
  none: "update",
  add: "add",
  mul: "mul",
  max: "max",
  min: "min",
};

function scatterMode(site: ImportSite): ScatterMode {
  const spelled = site.text("reduction", "none");
  const mode = MODES[spelled];
  if (mode === undefined) throw site.fail(`reduction "${spelled}" is not known`);
  return mode;
}

const scatterElements: Import = (site) =>
  site.op("scatter_along_axis", {
    data: site.input(0),
    indices: site.input(1),
    updates: site.input(2),
    axis: site.ownAxis(0),
    mode: scatterMode(site),
  });

/** A gather by one number drops its axis, which MIL does with an index of rank 0 as well. */
const gather: Import = (site) =>
  site.op("gather", { x: site.input(0), indices: site.input(1), axis: site.ownAxis(0) });

/** `GatherElements` may take fewer places along the other axes than the data have. */
const gatherElements: Import = (site) => {
  const shape = site.shape(0);
  const wanted = site.shape(1);
  const axis = site.ownAxis(0);
  const kept = shape.map((size, place) => (place === axis ? size : (wanted[place] ?? size)));
  const isCut = kept.some((size, place) => size !== shape[place]);
  const x: Operand = isCut
    ? site.op("slice_by_size", { x: site.input(0), begin: shape.map(() => 0), size: kept })
    : site.input(0);
  return site.op("gather_along_axis", { x, indices: site.input(1), axis });
};

const oneHot: Import = (site) => {
  const indices = site.input(0);
  const depth = site.number(1);
  const values = site.known(site.input(2));
  // Negative indices count from the end.
  const whole = site.cast(indices, "int32");
  const isNegative = site.binary("less", whole, site.scalar("int32", 0));
  const positive = site.select(isNegative, site.add(whole, site.scalar("int32", depth)), whole);
  if (values === undefined) {
    const isHot = site.op("one_hot", {
      indices: positive,
      one_hot_vector_size: depth,
      axis: site.int("axis", -1),
      on_value: site.scalar("bool", 1),
      off_value: site.scalar("bool", 0),
    });
    const [off, on] = [0, 1].map((index) => site.picked(site.widened(site.input(2)), 0, index));
    if (off === undefined || on === undefined) throw site.fail("it has two values");
    return site.cast(site.select(isHot, on, off), site.type(2));
  }
  const [off = 0, on = 1] = literalNumbers(values);
  const type = site.type(2);
  return site.op("one_hot", {
    indices: positive,
    one_hot_vector_size: depth,
    axis: site.int("axis", -1),
    on_value: site.scalar(type, on),
    off_value: site.scalar(type, off),
  });
};

export const IMPORT_GATHER_SCATTER = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: (site) =>
    site.op("gather_nd", {
      x: site.input(0),
      indices: site.input(1),
      batch_dims: site.int("batch_dims", 0),
    }),
  Scatter: scatterElements,
  ScatterElements: scatterElements,
  ScatterND: (site) =>
    site.op("scatter_nd", {
      data: site.input(0),
      indices: site.input(1),
      updates: site.input(2),
      mode: scatterMode(site),
    }),
  OneHot: oneHot,
  TopK: (site) =>
    site.many("topk", {
      x: site.input(0),
      k: site.opset < 10 ? site.int("k", 1) : site.number(1),
      axis: site.ownAxis(-1),
      ascending: !site.flag("largest", true),
    }),
  NonZero: (site) => {
    const literal = site.known(site.input(0));
    const shape = site.shape(0);
    if (literal === undefined || literal.data.kind !== "numbers") {
      // How many there are is only known after the run.
      const found = site.op("non_zero", { x: site.widened(site.input(0)) });
      return site.op("transpose", { x: found, perm: [1, 0] });
    }
    const places = Array.from(literal.data.numbers, Number).flatMap((value, index) =>
      value === 0 ? [] : [index],
    );
    const rows = shape.map((size, axis) => {
      const inner = shape.slice(axis + 1).reduce((product, one) => product * one, 1);
      return places.map((place) => Math.floor(place / inner) % size);
    });
    return site.constant("int32", [shape.length, places.length], rows.flat());
  },
  Compress: (site) => {
    const wanted = site.numbers(1).flatMap((value, index) => (value === 0 ? [] : [index]));
    const shape = site.shape(0);
    const isFlat = !site.hasAttribute("axis");
    const axis = isFlat ? 0 : site.ownAxis(0);
    const x = isFlat ? site.reshape(site.input(0), [elementCount(shape)]) : site.input(0);
    const size = site.shapeOf(x)[axis] ?? 1;
    const outside = wanted.find((index) => index >= size);
    if (outside !== undefined) throw site.fail(`its condition takes element ${outside} of ${size}`);
    return site.op("gather", { x, indices: site.constant("int32", [wanted.length], wanted), axis });
  },
} as const satisfies Record<string, Import>;
