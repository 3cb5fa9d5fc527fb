import { tensorLiteral } from "../../mil/literal.ts";
import { OpCall } from "../../mil/op-call.ts";
import { opRow } from "../../mil/ops/index.ts";
import type { Literal } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import { reshapeTo, shapeOf, tensorDataType } from "../emit.ts";
import type { GradientContext, GradientRule, GradientTable } from "../rule.ts";

/**
 * Resizing samples one axis after the other, each by a matrix [out, in] whose rows sum to 1. The op's own
 * evaluation gives the matrix: images that are 1 at one place of the axis and 0 elsewhere are its columns.
 */
function axisMatrix(
  { operation, shape, call }: GradientContext<"x">,
  axis: number,
  size: number,
): Literal {
  const row = opRow(operation.type);
  if (row?.evaluate === undefined) throw call.fail("the op table has no evaluation");
  const from = shape("x");
  const inner = elementCount(from.slice(axis + 1));
  const length = from[axis] ?? 1;
  const matrix = new Float64Array(size * length);
  for (let place = 0; place < length; place++) {
    const image = new Float32Array(elementCount(from));
    for (let index = 0; index < image.length; index++) {
      if (Math.floor(index / inner) % length === place) image[index] = 1;
    }
    const inputs = new Map([...operation.inputs, ["x", tensorLiteral("fp32", from, image)]]);
    const [result] = row.evaluate(new OpCall({ ...operation, inputs }, row));
    if (result === undefined) throw call.fail("it gives no result");
    const resultInner = elementCount(result.shape.slice(axis + 1));
    for (let out = 0; out < size; out++) {
      matrix[out * length + place] = result.data[out * resultInner] ?? 0;
    }
  }
  return tensorLiteral(tensorDataType(call.operand("x")), [size, length], matrix);
}

/** The transposed matrices, one axis after the other. */
const resized: GradientRule<"x"> = (context) => {
  const { emit, gradient, shape } = context;
  const from = shape("x");
  let current = gradient;
  shapeOf(gradient).forEach((size, axis) => {
    const length = from[axis] ?? 1;
    // The leading axes change only where resize is told to; the image's own may be sampled anew at one size.
    if (size === length && axis < from.length - 2) return;
    const matrix = axisMatrix(context, axis, size);
    const sizes = shapeOf(current);
    const outer = elementCount(sizes.slice(0, axis));
    const inner = elementCount(sizes.slice(axis + 1));
    const product =
      inner === 1
        ? emit.op("matmul", {
            x: reshapeTo(emit, current, [outer, size]),
            y: emit.constant(matrix),
          })
        : emit.op("matmul", {
            x: emit.constant(matrix),
            y: reshapeTo(emit, current, [outer, size, inner]),
            transpose_x: true,
          });
    current = reshapeTo(emit, product, sizes.with(axis, length));
  });
  return { x: current };
};

export const RESIZING_RULES = {
  upsample_nearest_neighbor: resized,
  resize_nearest_neighbor: resized,
  upsample_bilinear: resized,
  resize_bilinear: resized,
  resize: resized,
} as const satisfies Partial<GradientTable>;
