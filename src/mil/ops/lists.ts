import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, runtime, tensor, tensors } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { literalOf } from "../program.ts";
import { elementCount, formatType, isDataType, scalarType, tensorType } from "../types.ts";
import type { DataType, Dimension, ListType, TensorType } from "../types.ts";
import { derive, typeFits } from "./dimensions.ts";

// While evaluating, a list is one tensor whose first axis counts its elements. Elements whose shape the
// program leaves open have no numbers until the first one is written.

export interface TensorList extends ListType {
  readonly element: TensorType;
}

function listType(call: OpCall): TensorList {
  const { type } = call.operand("ls");
  if (type.kind !== "list" || type.element.kind !== "tensor") {
    throw call.fail(`ls must be a list of tensors, not ${formatType(type)}`);
  }
  return { kind: "list", element: type.element, length: type.length };
}

function checkElement(call: OpCall, value: TensorType, element: TensorType): void {
  if (!typeFits(value, element)) {
    throw call.fail(`an element is ${formatType(value)}, the list holds ${formatType(element)}`);
  }
}

/** Sizes of an element; a name in place of a number stands for a size known only when running. */
function elementShape(call: OpCall): readonly Dimension[] {
  return call.operands("elem_shape").flatMap((operand): readonly Dimension[] => {
    const literal = literalOf(operand);
    if (literal?.data.kind === "strings") return literal.data.strings.map(() => "?");
    return Array.from(call.tensorOf(operand, "elem_shape").data);
  });
}

function madeType(call: OpCall): TensorList {
  const name = call.string("dtype");
  const dataType: DataType | undefined = isDataType(name) ? name : undefined;
  if (dataType === undefined || dataType === "string") {
    throw call.fail(`there is no element type "${name}"`);
  }
  const fixed = !call.bool("dynamic_length") && call.isKnown("init_length");
  return {
    kind: "list",
    element: tensorType(dataType, elementShape(call)),
    length: fixed ? call.int("init_length") : "?",
  };
}

const itemsOf = (list: HostTensor): number => list.shape[0] ?? 0;

/**
 * The list with `values` at `indices`. It grows where it was made to, whatever length its type gives: converters
 * write the first one there.
 */
function withElements(
  call: OpCall,
  indices: readonly number[],
  values: HostTensor,
  elementSizes: readonly number[],
): HostTensor {
  const list = call.tensor("ls");
  const stride = elementCount(elementSizes);
  const needed = Math.max(itemsOf(list), ...indices.map((index) => index + 1));
  if (list.isFixedList === true && needed > itemsOf(list)) {
    throw call.fail(`index ${needed - 1} is outside a list of ${itemsOf(list)} elements`);
  }
  if (indices.some((index) => index < 0)) throw call.fail("an index must not be negative");
  if (list.data.length > needed * stride) {
    throw call.fail(`elements of ${stride} numbers do not fit a list with longer ones`);
  }
  const output: HostTensor = {
    ...list,
    ...hostTensor(list.dataType, [needed, ...elementSizes]),
  };
  if (list.data.length > 0) output.data.set(list.data);
  indices.forEach((index, at) => {
    output.data.set(values.data.subarray(at * stride, (at + 1) * stride), index * stride);
  });
  return output;
}

/** The elements at `indices`, one after the other. */
function elementsAt(call: OpCall, indices: readonly number[]): Float64Array {
  const list = call.tensor("ls");
  const stride = elementCount(list.shape.slice(1));
  const output = new Float64Array(indices.length * stride);
  indices.forEach((index, at) => {
    if (index < 0 || index >= itemsOf(list)) {
      throw call.fail(`index ${index} is outside a list of ${itemsOf(list)} elements`);
    }
    output.set(list.data.subarray(index * stride, (index + 1) * stride), at * stride);
  });
  return output;
}

export const LISTS = {
  make_list: defineOp({
    kind: "movement",
    parameters: {
      init_length: { ...optional("int", 1), constant: false },
      dynamic_length: optional("bool", true),
      elem_shape: tensors(),
      dtype: optional("string", "fp32"),
    },
    infer: (call) => [madeType(call)],
    evaluate: (call) => {
      const { element } = madeType(call);
      const sizes = element.shape.map((size) => (size === "?" ? 0 : size));
      const list = hostTensor(element.dataType, [call.int("init_length"), ...sizes]);
      return [call.bool("dynamic_length") ? list : { ...list, isFixedList: true }];
    },
  }),

  list_length: defineOp({
    kind: "movement",
    parameters: { ls: tensor() },
    infer: (call) => {
      listType(call);
      return [scalarType("int32")];
    },
    evaluate: (call) => [hostTensor("int32", [], Float64Array.of(itemsOf(call.tensor("ls"))))],
  }),

  list_read: defineOp({
    kind: "movement",
    parameters: { ls: tensor(), index: runtime("int") },
    infer: (call) => [listType(call).element],
    evaluate: (call) => {
      const list = call.tensor("ls");
      return [
        hostTensor(list.dataType, list.shape.slice(1), elementsAt(call, [call.int("index")])),
      ];
    },
  }),

  list_write: defineOp({
    kind: "movement",
    impure: true,
    parameters: { ls: tensor(), index: runtime("int"), value: tensor() },
    infer: (call) => {
      const list = listType(call);
      checkElement(call, call.tensorType("value"), list.element);
      return [list];
    },
    evaluate: (call) => {
      const value = call.tensor("value");
      return [withElements(call, [call.int("index")], value, value.shape)];
    },
  }),

  list_gather: defineOp({
    kind: "movement",
    parameters: { ls: tensor(), indices: runtime("ints") },
    infer: (call) => {
      const { element } = listType(call);
      return [tensorType(element.dataType, [call.shape("indices")[0] ?? 1, ...element.shape])];
    },
    evaluate: (call) => {
      const list = call.tensor("ls");
      const indices = call.ints("indices");
      const shape = [indices.length, ...list.shape.slice(1)];
      return [hostTensor(list.dataType, shape, elementsAt(call, indices))];
    },
  }),

  list_scatter: defineOp({
    kind: "movement",
    impure: true,
    parameters: { ls: tensor(), indices: runtime("ints"), value: tensor() },
    infer: (call) => {
      const list = listType(call);
      const value = call.tensorType("value");
      const [count = 1, ...rest] = value.shape;
      checkElement(call, tensorType(value.dataType, rest), list.element);
      derive([count, call.shape("indices")[0] ?? 1], (values, indices) => {
        if (values !== indices) throw call.fail(`${indices} indices need as many values`);
        return 0;
      });
      return [list];
    },
    evaluate: (call) => {
      const value = call.tensor("value");
      return [withElements(call, call.ints("indices"), value, value.shape.slice(1))];
    },
  }),
} as const;
