import { FunctionBuilder } from "./builder.ts";
import { tensorLiteral } from "./literal.ts";
import { OpCall } from "./op-call.ts";
import { opRow } from "./ops/index.ts";
import type { Opset } from "./program.ts";
import { mapInputs, operandsNamed } from "./program.ts";
import type { Block, MilFunction, Operand, Operation, Value } from "./program.ts";
import { elementCount, sameType } from "./types.ts";
import type { MilType, TensorType } from "./types.ts";

/** A list as one tensor whose first axis counts its elements. */
interface ListTensor {
  readonly value: Value;
  readonly grows: boolean;
}

/** What a list holds is only known while running, or is an error that only the run should see. */
class OpenLength extends Error {}

/**
 * The function with every list as a tensor [length, ...element]: what engines and formats without lists can run. A
 * function without lists, and one with a list whose length is only known while running, is returned as it is.
 */
export function listsAsTensors(fn: MilFunction): MilFunction {
  if (!fn.operations.some(usesLists) || fn.inputs.some(({ type }) => type.kind === "list"))
    return fn;
  if (fn.outputs.some(({ type }) => type.kind === "list")) return fn;
  try {
    return new ListRewrite(fn).run();
  } catch (error) {
    if (error instanceof OpenLength) return fn;
    throw error;
  }
}

function usesLists(operation: Operation): boolean {
  return (
    operation.outputs.some(({ type }) => type.kind === "list") ||
    operation.blocks.some((block) => block.operations.some(usesLists))
  );
}

class ListRewrite {
  readonly #fn: MilFunction;
  readonly #f: FunctionBuilder;
  readonly #values = new Map<Operand, Value>();
  readonly #lists = new Map<Operand, ListTensor>();

  constructor(fn: MilFunction) {
    this.#fn = fn;
    this.#f = new FunctionBuilder(fn.name, fn.opset as Opset);
  }

  run(): MilFunction {
    for (const input of this.#fn.inputs)
      this.#values.set(input, this.#f.input(input.name, input.type));
    for (const operation of this.#fn.operations) this.#rewrite(operation);
    const results = this.#fn.outputs.map((output) => [output.name, this.#valueOf(output)] as const);
    return this.#f.finish(Object.fromEntries(results), this.#fn.attributes);
  }

  #valueOf(value: Value): Value {
    return this.#values.get(value) ?? value;
  }

  #current(operand: Operand): Operand {
    return this.#lists.get(operand)?.value ?? this.#values.get(operand) ?? operand;
  }

  #rewrite(operation: Operation): void {
    const [output] = operation.outputs;
    switch (operation.type) {
      case "make_list":
        return this.#make(operation);
      case "list_write":
      case "list_scatter":
        return this.#write(operation);
      case "list_read": {
        const rows = this.#rows(operation, "index");
        this.#is(output, this.#f.op("squeeze", { x: rows, axes: [0] }, named(output)));
        return;
      }
      case "list_gather":
        this.#is(output, this.#rows(operation, "indices", output));
        return;
      case "list_length": {
        const { length } = this.#listOf(operation);
        this.#is(output, this.#f.constant(tensorLiteral("int32", [], [length]), output?.name));
        return;
      }
      case "const": {
        const literal = operation.attributes.get("val");
        if (literal !== undefined) this.#is(output, this.#f.constant(literal, output?.name));
        return;
      }
      default:
        this.#copy(operation);
    }
  }

  #is(output: Value | undefined, value: Value): void {
    if (output !== undefined) this.#values.set(output, value);
  }

  #make(operation: Operation): void {
    const { call, output } = callOf(operation);
    const { type } = output;
    if (type.kind !== "list" || type.element.kind !== "tensor" || !call.isKnown("init_length"))
      throw new OpenLength();
    const { dataType } = type.element;
    const sizes = knownSizes(type.element);
    const length = call.int("init_length");
    const zeros = tensorLiteral(
      dataType,
      [length, ...sizes],
      new Float64Array(length * elementCount(sizes)),
    );
    this.#lists.set(output, {
      value: this.#f.constant(zeros, output.name),
      grows: call.bool("dynamic_length"),
    });
  }

  #listOf(
    operation: Operation,
  ): ListTensor & { readonly length: number; readonly type: TensorType } {
    const { call } = callOf(operation);
    const list = this.#lists.get(call.operand("ls"));
    if (list?.value.type.kind !== "tensor") throw new OpenLength();
    const { type } = list.value;
    return { ...list, length: knownSizes(type)[0] ?? 0, type };
  }

  /** Elements by their indices, [count, ...element]. */
  #rows(operation: Operation, name: "index" | "indices", output?: Value): Value {
    const { value } = this.#listOf(operation);
    const indices = this.#indices(operation, name);
    return this.#f.op("gather", { x: value, indices, axis: 0 }, named(output));
  }

  /** Indices as a vector. */
  #indices(operation: Operation, name: "index" | "indices"): Operand {
    const { call } = callOf(operation);
    const known = this.#knownIndices(operation, name);
    if (known !== undefined) {
      const { length } = this.#listOf(operation);
      const isRead = operation.type === "list_read" || operation.type === "list_gather";
      if (isRead && known.some((index) => index < 0 || index >= length)) throw new OpenLength();
      return tensorLiteral("int32", [known.length], known);
    }
    const given = this.#current(call.operand(name));
    return this.#f.op("reshape", { x: given, shape: [-1] });
  }

  #knownIndices(operation: Operation, name: "index" | "indices"): readonly number[] | undefined {
    const { call } = callOf(operation);
    return call.isKnown(name) ? call.ints(name) : undefined;
  }

  /** The list with elements replaced; behind its end it becomes longer. */
  #write(operation: Operation): void {
    const { call, output } = callOf(operation);
    const isOne = operation.type === "list_write";
    const name = isOne ? "index" : "indices";
    const { value: list, grows, length, type } = this.#listOf(operation);
    const known = this.#knownIndices(operation, name);
    if (known === undefined && grows) throw new OpenLength();
    const needed = Math.max(length, ...(known ?? []).map((index) => index + 1));
    const isBefore = known?.some((index) => index < 0) ?? false;
    if (isBefore || (needed > length && !grows)) throw new OpenLength();
    const sizes = knownSizes(type).slice(1);
    const rest = needed - length;
    const zeros = tensorLiteral(
      type.dataType,
      [rest, ...sizes],
      new Float64Array(rest * elementCount(sizes)),
    );
    const long = rest === 0 ? list : this.#f.op("concat", { values: [list, zeros], axis: 0 });
    const given = this.#current(call.operand("value"));
    const updates = isOne ? this.#f.op("expand_dims", { x: given, axes: [0] }) : given;
    const written = this.#f.op(
      "scatter",
      { data: long, indices: this.#indices(operation, name), updates, axis: 0, mode: "update" },
      named(output),
    );
    this.#lists.set(output, { value: written, grows });
  }

  #copy(operation: Operation): void {
    const inputs = mapInputs(operation, (operand) => this.#current(operand));
    const variables = operation.type === "while_loop" ? operandsNamed(operation, "loop_vars") : [];
    const blocks = operation.blocks.map((block) => this.#block(block, variables));
    const body = blocks[1];
    variables.forEach((variable, index) => {
      const list = this.#lists.get(variable);
      const next = body?.outputs[index];
      if (list !== undefined && (next === undefined || !sameType(next.type, list.value.type)))
        throw new OpenLength();
    });
    const copies = this.#f.append(
      { ...operation, inputs, blocks },
      operation.outputs[0]?.name,
      opRow(operation.type) === undefined ? operation.outputs.map(({ type }) => type) : undefined,
    );
    operation.outputs.forEach((output, index) => {
      const copy = copies[index];
      if (copy === undefined) return;
      if (output.type.kind !== "list") return void this.#values.set(output, copy);
      if (copy.type.kind !== "tensor" || copy.type.shape.includes("?")) throw new OpenLength();
      this.#lists.set(output, { value: copy, grows: this.#grows(operation, index) });
    });
  }

  #grows(operation: Operation, index: number): boolean {
    const [variable] = operandsNamed(operation, "loop_vars").slice(index, index + 1);
    const branch = operation.blocks[0]?.outputs[index];
    const source = variable ?? branch;
    return source === undefined || (this.#lists.get(source)?.grows ?? true);
  }

  #block(block: Block, variables: readonly Operand[]): Block {
    const types = block.inputs.map((input, index): readonly [string, MilType] => {
      const variable = variables[index];
      const list = variable === undefined ? undefined : this.#lists.get(variable);
      if (input.type.kind === "list" && list === undefined) throw new OpenLength();
      return [input.name, list?.value.type ?? input.type];
    });
    const copy = this.#f.block(types, (values) => {
      block.inputs.forEach((input, index) => {
        const value = values[index];
        const variable = variables[index];
        const list = variable === undefined ? undefined : this.#lists.get(variable);
        if (value === undefined) return;
        if (list === undefined) this.#values.set(input, value);
        else this.#lists.set(input, { value, grows: list.grows });
      });
      for (const operation of block.operations) this.#rewrite(operation);
      return block.outputs.map((output) => this.#lists.get(output)?.value ?? this.#valueOf(output));
    });
    return copy;
  }
}

function callOf(operation: Operation): { readonly call: OpCall; readonly output: Value } {
  const row = opRow(operation.type);
  const [output] = operation.outputs;
  if (row === undefined || output === undefined) throw new OpenLength();
  return { call: new OpCall(operation, row), output };
}

function knownSizes(type: TensorType): readonly number[] {
  return type.shape.map((size) => {
    if (size === "?") throw new OpenLength();
    return size;
  });
}

const named = (output: Value | undefined) => (output === undefined ? {} : { name: output.name });
