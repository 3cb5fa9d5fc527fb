import { int32Literal, int32sLiteral } from "../../mil/literal.ts";
import { namedValue, plainOperation } from "../../mil/program.ts";
import type { Argument, MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { replaceOperands } from "../../mil/traverse.ts";
import { elementCount, staticShape, tensorType } from "../../mil/types.ts";
import type { MilType } from "../../mil/types.ts";
import type { BufferSpec } from "../../plan/plan.ts";
import type { Region } from "../../plan/regions.ts";
import type { JoinedFunction } from "../cpu/join.ts";

/** A function whose inputs and outputs are buffers from their first to their last element, each at most once a side. */
export interface BufferFunction {
  readonly fn: MilFunction;
  /** Buffers behind the function's inputs and outputs, in their order. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * A tensor on the device begins where its memory does, so parts of buffers are cut out of the whole inside the graph,
 * and a part that is written is put between what stands before and behind it.
 */
export function overWholeBuffers(
  { fn, inputs, outputs }: JoinedFunction,
  specOf: (buffer: string) => BufferSpec,
): BufferFunction {
  const writer = new WholeBuffers(fn, specOf);
  const values = new Map<Operand, Value>();
  inputs.forEach((region, index) => {
    const value = fn.inputs[index];
    if (value !== undefined && writer.isWhole(region))
      values.set(value, writer.whole(region, value.type));
  });
  inputs.forEach((region, index) => {
    const value = fn.inputs[index];
    if (value !== undefined && !values.has(value))
      values.set(value, writer.cut(region, value.type));
  });
  const swap = (operand: Operand): Operand => values.get(operand) ?? operand;
  for (const operation of fn.operations) writer.copy(replaceOperands(operation, swap));
  outputs.forEach((region, index) => {
    const value = fn.outputs[index];
    if (value !== undefined) writer.write(region, values.get(value) ?? value);
  });
  return writer.finish();
}

class WholeBuffers {
  readonly #fn: MilFunction;
  readonly #specOf: (buffer: string) => BufferSpec;
  readonly #inputs = new Map<string, Value>();
  readonly #written = new Map<string, Value>();
  readonly #operations: Operation[] = [];
  #counter = 0;

  constructor(fn: MilFunction, specOf: (buffer: string) => BufferSpec) {
    this.#fn = fn;
    this.#specOf = specOf;
  }

  isWhole({ buffer, offset, count }: Region): boolean {
    return offset === 0 && count === this.#lengthOf(buffer);
  }

  whole({ buffer }: Region, type: MilType): Value {
    return this.#inputs.get(buffer) ?? this.#input(buffer, type);
  }

  /** A part of a buffer, under the type that its reader declares. */
  cut({ buffer, offset, count }: Region, type: MilType): Value {
    const part = this.#slice(this.#flatInput(buffer), offset, count);
    return this.#reshaped(part, type);
  }

  copy(operation: Operation): void {
    this.#operations.push(operation);
  }

  write(region: Region, value: Value): void {
    const { buffer, offset, count } = region;
    if (this.isWhole(region)) {
      this.#written.set(buffer, value);
      return;
    }
    const length = this.#lengthOf(buffer);
    const held = this.#written.get(buffer);
    const before = held === undefined ? this.#flatInput(buffer) : this.#flat(held);
    const pieces = [
      ...(offset > 0 ? [this.#slice(before, 0, offset)] : []),
      this.#flat(value),
      ...(offset + count < length
        ? [this.#slice(before, offset + count, length - offset - count)]
        : []),
    ];
    this.#written.set(
      buffer,
      this.#emit("concat", { values: pieces, axis: int32Literal(0) }, this.#flatType(buffer)),
    );
  }

  finish(): BufferFunction {
    const outputs: Value[] = [];
    const inputs = [...this.#inputs.values()];
    for (const value of this.#written.values()) {
      const isTaken = outputs.includes(value) || inputs.includes(value);
      const needsOwn = isTaken || value.constant !== undefined;
      outputs.push(needsOwn ? this.#emit("identity", { x: value }, value.type) : value);
    }
    return {
      fn: Object.freeze({ ...this.#fn, inputs, operations: this.#operations, outputs }),
      inputs: [...this.#inputs.keys()],
      outputs: [...this.#written.keys()],
    };
  }

  #input(buffer: string, type: MilType): Value {
    const value = namedValue(`b${this.#counter++}`, type);
    this.#inputs.set(buffer, value);
    return value;
  }

  #flatInput(buffer: string): Value {
    return this.#flat(this.#inputs.get(buffer) ?? this.#input(buffer, this.#flatType(buffer)));
  }

  #flat(value: Value): Value {
    if (value.type.kind !== "tensor" || value.type.shape.length === 1) return value;
    const count = elementCount(staticShape(value.type));
    return this.#reshaped(value, tensorType(value.type.dataType, [count]));
  }

  #reshaped(x: Value, type: MilType): Value {
    if (type.kind !== "tensor" || x.type.kind !== "tensor") return x;
    const shape = staticShape(type);
    if (shape.join() === x.type.shape.join()) return x;
    return this.#emit("reshape", { x, shape: int32sLiteral(shape) }, type);
  }

  /** Elements from `begin` on: one of the pieces of a split, for which the device has kernels of more types. */
  #slice(x: Value, begin: number, size: number): Value {
    if (x.type.kind !== "tensor") return x;
    const { dataType } = x.type;
    const rest = elementCount(staticShape(x.type)) - begin - size;
    const sizes = [begin, size, rest].filter((count) => count > 0);
    const place = begin > 0 ? 1 : 0;
    const pieces = sizes.map((count): Value =>
      namedValue(`w${this.#counter++}`, tensorType(dataType, [count])),
    );
    const parts = { x, split_sizes: int32sLiteral(sizes), axis: int32Literal(0) };
    this.#operations.push(plainOperation("split", parts, pieces));
    return pieces[place] ?? x;
  }

  #flatType(buffer: string): MilType {
    return tensorType(this.#specOf(buffer).type.dataType, [this.#lengthOf(buffer)]);
  }

  #lengthOf(buffer: string): number {
    return elementCount(staticShape(this.#specOf(buffer).type));
  }

  #emit(type: string, inputs: Readonly<Record<string, Argument>>, result: MilType): Value {
    const output = namedValue(`w${this.#counter++}`, result);
    this.#operations.push(plainOperation(type, inputs, [output]));
    return output;
  }
}
