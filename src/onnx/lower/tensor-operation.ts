import type { DataType } from "../../mil/types.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** a where the condition holds, else b. ONNX Runtime's Where takes no bools. */
function chosen(
  site: LoweringSite,
  type: DataType,
  condition: string,
  a: string,
  b: string,
): string {
  if (type !== "bool") return site.node("Where", [condition, a, b]);
  return site.node("Or", [
    site.node("And", [condition, a]),
    site.node("And", [site.node("Not", [condition]), b]),
  ]);
}

/** Squares of an image's last two axes [B, C, H, W] as channels; `order` says where they stand among them. */
function spaceToDepth(site: LoweringSite, setting: string, order: readonly number[]): string {
  const block = site.call.int(setting);
  const [batch = 1, channels = 1, height = 1, width = 1] = site.shape("x");
  const split = [batch, channels, height / block, block, width / block, block];
  const moved = site.transpose(site.reshape(site.value("x"), split), order);
  return site.reshape(moved, site.resultShape());
}

const depthToSpace = (site: LoweringSite, setting: string, mode: string): string =>
  site.node("DepthToSpace", [site.value("x")], { blocksize: BigInt(site.call.int(setting)), mode });

const filled: Lowering = (site) =>
  site.expand(site.scalarOf("value", site.resultType().dataType), site.resultShape());

/** The first of x in order, as many as the result has along the axis, and where they stand. */
function sorted(site: LoweringSite): readonly [values: string, indices: string] {
  const count = site.resultShape()[Number(site.axis())] ?? 1;
  const [values = "", indices = ""] = site.graph.nodes(
    "TopK",
    [site.value("x"), site.graph.ints([count])],
    { axis: site.axis(), largest: site.call.bool("ascending") ? 0n : 1n, sorted: 1n },
    { outputs: [site.graph.fresh("topk"), site.graph.fresh("topk")] },
  );
  return [values, indices];
}

export const LOWER_TENSOR_OPERATION = {
  concat: (site) => {
    const operands = site.call.operands("values");
    if (operands.every(({ type }) => type.kind === "tensor" && type.shape.length === 0)) {
      const vectors = site.values("values").map((value) => site.reshape(value, [1]));
      return site.node("Concat", vectors, { axis: 0n });
    }
    const rank = site.resultShape().length;
    const axis = site.call.axis("axis", rank);
    const values = site.values("values");
    const joined =
      values.length === 1 ? (values[0] ?? "") : site.node("Concat", values, { axis: BigInt(axis) });
    if (!site.call.bool("interleave") || operands.length === 1) return joined;
    // Element by element in turn: [operands, size] is turned over to [size, operands].
    const shape = site.resultShape();
    const size = (shape[axis] ?? 0) / operands.length;
    const split = [...shape.slice(0, axis), operands.length, size, ...shape.slice(axis + 1)];
    const order = split.map((_, place) => place);
    order.splice(axis, 2, axis + 1, axis);
    return site.reshape(site.transpose(site.reshape(joined, split), order), shape);
  },
  stack: (site) => {
    const shape = site.resultShape();
    const axis = site.call.axis("axis", shape.length);
    const one = [...shape.slice(0, axis), 1, ...shape.slice(axis + 1)];
    return site.node(
      "Concat",
      site.values("values").map((value) => site.reshape(value, one)),
      { axis: BigInt(axis) },
    );
  },
  split: (site) => {
    const axis = site.call.axis("axis", site.shape("x").length);
    const sizes = site.operation.outputs.map((_, index) => site.resultShape(index)[axis] ?? 0);
    return site.graph.nodes(
      "Split",
      [site.value("x"), site.graph.ints(sizes)],
      { axis: BigInt(axis) },
      { outputs: sizes.map(() => site.graph.fresh("split")) },
    );
  },
  tile: (site) => {
    const repetitions = site.call.ints("reps");
    return site.node("Tile", [site.value("x"), site.graph.ints(repetitions)]);
  },
  pad: (site) => {
    const shape = site.shape("x");
    const given = site.call.ints("pad");
    const skipped = shape.length - given.length / 2;
    const at = (axis: number, side: number): number => given[2 * (axis - skipped) + side] ?? 0;
    const modes: Readonly<Record<string, string>> = {
      constant: "constant",
      reflect: "reflect",
      replicate: "edge",
    };
    const mode = modes[site.call.string("mode")];
    if (mode === undefined) throw site.fail(`mode "${site.call.string("mode")}" is not known`);
    const pads = site.graph.ints([
      ...shape.map((_, axis) => at(axis, 0)),
      ...shape.map((_, axis) => at(axis, 1)),
    ]);
    const inputs = [site.value("x"), pads];
    if (mode === "constant") inputs.push(site.scalarOf("constant_val"));
    return site.node("Pad", inputs, { mode });
  },
  depth_to_space: (site) => depthToSpace(site, "block_size", "DCR"),
  pixel_shuffle: (site) => depthToSpace(site, "upscale_factor", "CRD"),
  space_to_depth: (site) => spaceToDepth(site, "block_size", [0, 3, 5, 1, 2, 4]),
  pixel_unshuffle: (site) => spaceToDepth(site, "downscale_factor", [0, 1, 3, 5, 2, 4]),
  fill: filled,
  fill_like: filled,
  select: (site) =>
    chosen(site, site.type("a"), site.value("cond"), site.value("a"), site.value("b")),
  band_part: (site) => {
    const [lower, upper] = [site.call.int("lower"), site.call.int("upper")];
    let value = site.value("x");
    if (lower >= 0) value = site.node("Trilu", [value, site.int(-lower)], { upper: 1n });
    if (upper >= 0) value = site.node("Trilu", [value, site.int(upper)], { upper: 0n });
    return value;
  },
  cumsum: (site) => {
    return site.node("CumSum", [site.value("x"), site.int(Number(site.axis()))], {
      exclusive: site.call.bool("exclusive") ? 1n : 0n,
      reverse: site.call.bool("reverse") ? 1n : 0n,
    });
  },
  range_1d: (site) => {
    const [count = 0] = site.resultShape();
    const start = site.call.float("start");
    const step = site.call.float("step");
    const values = Float64Array.from({ length: count }, (_, index) => start + index * step);
    return site.constant(site.resultType().dataType, [count], values);
  },
  one_hot: (site) => {
    // ONNX Runtime's OneHot lacks most types, and there indices below 0 count from the end.
    const shape = site.resultShape();
    const axis = site.call.axis("axis", shape.length);
    const depth = shape[axis] ?? 0;
    const type = site.resultType().dataType;
    const places = site.constant(
      "int32",
      shape.map((_, place) => (place === axis ? depth : 1)),
      Int32Array.from({ length: depth }, (_, index) => index),
    );
    const indices = site.reshape(site.value("indices"), shape.with(axis, 1));
    const isHot = site.node("Equal", [indices, places]);
    const [on, off] = [site.scalarOf("on_value", type), site.scalarOf("off_value", type)];
    return chosen(site, type, isHot, on, off);
  },
  topk: (site) => {
    const [values, indices] = sorted(site);
    return site.operation.outputs.length === 1 ? [values] : [values, site.cast(indices, "int32")];
  },
  argsort: (site) => site.cast(sorted(site)[1], "int32"),
} as const satisfies Record<string, Lowering>;
