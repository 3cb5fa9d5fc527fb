import { hostTensor, stridesOf } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { required, tensors } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { agree, known } from "./dimensions.ts";
import { stridedCopy } from "./strided.ts";

interface Einsum {
  /** Letters of the two operands. */
  readonly operands: readonly [string, string];
  readonly output: string;
  /** Every letter: those of the output, then those that are summed over. */
  readonly letters: string;
  readonly type: TensorType;
  readonly sizes: ReadonlyMap<string, Dimension>;
}

/** Numbers the letters of an equation in order of appearance: "nchw,nwhu->nchu" is "0123,0324->0124". */
function canonical(equation: string): string {
  const letters = [...new Set(equation.match(/[A-Za-z]/g) ?? [])];
  return equation.replaceAll(/[A-Za-z]/g, (letter) => String(letters.indexOf(letter)));
}

const SUPPORTED: ReadonlySet<string> = new Set(["nchw,nwhu->nchu", "chw,whr->chr"].map(canonical));

function parse(call: OpCall): Einsum {
  const equation = call.string("equation").replaceAll(" ", "");
  if (!SUPPORTED.has(canonical(equation))) {
    throw call.fail(
      `equation "${equation}" is not one of the language's two`,
      'They are "nchw,nwhu->nchu" and "chw,whr->chr", with any letters.',
    );
  }
  const [inputs = "", output = ""] = equation.split("->");
  const [first = "", second = ""] = inputs.split(",");
  const types = call.operands("values").map((operand) => call.tensorTypeOf(operand, "values"));
  const [x, y, ...rest] = types;
  if (x === undefined || y === undefined || rest.length > 0) {
    throw call.fail(`values must hold two tensors, not ${types.length}`);
  }
  if (x.dataType !== y.dataType) {
    throw call.fail(`values must have one element type, not ${x.dataType} and ${y.dataType}`);
  }
  const sizes = new Map<string, Dimension>();
  for (const [letters, { shape }] of [
    [first, x],
    [second, y],
  ] as const) {
    if (shape.length !== letters.length) {
      throw call.fail(`the part "${letters}" needs rank ${letters.length}, not ${shape.length}`);
    }
    Array.from(letters).forEach((letter, axis) => {
      const size = shape[axis] ?? 1;
      const other = sizes.get(letter);
      // A size of 1 broadcasts.
      if (other === undefined || other === 1) sizes.set(letter, size);
      else if (size !== 1 && !agree(size, other)) {
        throw call.fail(`"${letter}" has the sizes ${other} and ${size}`);
      } else if (size !== 1) sizes.set(letter, known(other, size));
    });
  }
  const summed = [...sizes.keys()].filter((letter) => !output.includes(letter));
  const type = tensorType(
    x.dataType,
    Array.from(output, (letter) => sizes.get(letter) ?? 1),
  );
  return { operands: [first, second], output, letters: output + summed.join(""), type, sizes };
}

export const EINSUM = {
  einsum: defineOp({
    kind: "costly",
    parameters: { values: tensors(), equation: required("string") },
    infer: (call) => [parse(call).type],
    evaluate: (call) => {
      const { operands, output, letters, type } = parse(call);
      const operandsGiven = call.operands("values").map((operand) => call.tensorOf(operand));
      const sizes = Array.from(letters, (letter) => {
        let size = 1;
        operands.forEach((names, index) => {
          const axis = names.indexOf(letter);
          if (axis !== -1) size = Math.max(size, operandsGiven[index]?.shape[axis] ?? 1);
        });
        return size;
      });
      // Both operands over all letters, in one order.
      const [x, y] = operandsGiven.map((operand, index) => {
        const names = operands[index] ?? "";
        const strides = stridesOf(operand.shape);
        const steps = Array.from(letters, (letter) => {
          const axis = names.indexOf(letter);
          return axis === -1 || operand.shape[axis] === 1 ? 0 : (strides[axis] ?? 0);
        });
        return stridedCopy(operand.data, sizes, steps);
      });
      const result = hostTensor(type.dataType, staticShape(type));
      const summed = elementCount(sizes.slice(output.length));
      for (let i = 0; i < result.data.length; i++) {
        let total = 0;
        for (let k = i * summed; k < (i + 1) * summed; k++) total += (x?.[k] ?? 0) * (y?.[k] ?? 0);
        result.data[i] = total;
      }
      return [result];
    },
    flops: (call) => {
      const { sizes } = parse(call);
      return 2 * elementCount([...sizes.values()].map((size) => (size === "?" ? 0 : size)));
    },
  }),
} as const;
