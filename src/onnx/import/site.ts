import { int32sLiteral, literalNumbers, scalarLiteral, tensorLiteral } from "../../mil/literal.ts";
import type { OpInputs } from "../../mil/op-row.ts";
import type { ELEMENTWISE_BINARY } from "../../mil/ops/elementwise-binary.ts";
import type { OPS, OpName } from "../../mil/ops/index.ts";
import { literalOf } from "../../mil/program.ts";
import type { Literal, Operand } from "../../mil/program.ts";
import { elementCount, isFloat, staticShape } from "../../mil/types.ts";
import type { DataType } from "../../mil/types.ts";
import { OnnxError } from "../errors.ts";
import { milTypeOf } from "../type-codes.ts";
import { NeededConstant } from "./needed-constant.ts";
import { AttributeProto_AttributeType } from "../generated/onnx_pb.ts";
import type { AttributeProto, GraphProto, NodeProto, TensorProto } from "../generated/onnx_pb.ts";

/** What one ONNX op becomes: the operands that stand for its results, in order. */
export type Import = (site: ImportSite) => Operand | readonly Operand[];

/** What a `Loop` begins with. */
export interface LoopStart {
  /** int32 []: no more rounds than that. */
  readonly limit: Operand | undefined;
  /** bool []: whether there is a first round. */
  readonly start: Operand | undefined;
  readonly initial: readonly Operand[];
}

/** What a node's importer needs of the graph it stands in. */
export interface ImportContext {
  /** Version of the operator set that the node is written for. */
  readonly opset: number;
  readonly resolve: (name: string) => Operand;
  /** Appends an op; ops over constants are evaluated at once. */
  readonly emit: <Name extends OpName>(
    type: Name,
    inputs: OpInputs<(typeof OPS)[Name]>,
    hint: string,
  ) => readonly Operand[];
  readonly literalOfTensor: (tensor: TensorProto) => Literal;
  /** ONNX's code of a value's element type, where the model or an earlier node says it. */
  readonly elementTypeOf: (name: string) => number | undefined;
  /** Notes the element type of a node's result, where the MIL type does not tell it. */
  readonly noteElementType: (name: string, code: number) => void;
  /** Imports a nested graph in place, its inputs bound to values, and gives its results. */
  readonly inline: (graph: GraphProto, inputs: readonly Operand[]) => readonly Operand[];
  /** A `cond` over two graphs of a node. */
  readonly cond: (pred: Operand, whenTrue: GraphProto, whenFalse: GraphProto) => readonly Operand[];
  readonly whileLoop: (loop: LoopStart, body: GraphProto) => readonly Operand[];
  /** Runs an import that may find that it is not the way; where it gives nothing its ops are taken back. */
  readonly attempt: <Result>(run: () => Result | undefined) => Result | undefined;
  /** Whether somebody reads a value of the graph. */
  readonly isRead: (name: string) => boolean;
}

/** One node while it is being written as MIL ops. All sizes are known. */
export class ImportSite {
  readonly node: NodeProto;
  readonly opset: number;
  readonly context: ImportContext;
  readonly #attributes: ReadonlyMap<string, AttributeProto>;

  constructor(node: NodeProto, context: ImportContext) {
    this.node = node;
    this.opset = context.opset;
    this.context = context;
    this.#attributes = new Map(node.attribute.map((attribute) => [attribute.name, attribute]));
  }

  fail(rule: string, remedy?: string): OnnxError {
    const name = this.node.output[0] ?? this.node.name;
    return new OnnxError(
      "onnx.import.op",
      `${this.node.opType} ("${name}"): ${rule}`,
      remedy === undefined ? {} : { remedy },
    );
  }

  // Inputs

  has(index: number): boolean {
    return (this.node.input[index] ?? "") !== "";
  }

  input(index: number): Operand {
    const name = this.node.input[index] ?? "";
    if (name === "") throw this.fail(`input ${index} is missing`);
    return this.context.resolve(name);
  }

  optional(index: number): Operand | undefined {
    return this.has(index) ? this.input(index) : undefined;
  }

  /** An input that may be of integers, as floats. */
  asFloat(index: number): Operand {
    return this.isFloat(index) ? this.input(index) : this.cast(this.input(index), "fp32");
  }

  /** Every input, as variadic ops take them. */
  inputs(): readonly Operand[] {
    return this.node.input.map((_, index) => this.input(index));
  }

  shapeOf(operand: Operand): readonly number[] {
    if (operand.type.kind !== "tensor") throw this.fail("an input is not a tensor");
    return staticShape(operand.type, `${this.node.opType}'s input`);
  }

  shape(index: number): readonly number[] {
    return this.shapeOf(this.input(index));
  }

  typeOf(operand: Operand): DataType {
    if (operand.type.kind !== "tensor") throw this.fail("an input is not a tensor");
    return operand.type.dataType;
  }

  type(index: number): DataType {
    return this.typeOf(this.input(index));
  }

  isFloat(index: number): boolean {
    return isFloat(this.type(index));
  }

  /** The literal behind an operand, when its numbers are known. */
  known(operand: Operand): Literal | undefined {
    const literal = literalOf(operand);
    return literal?.data.kind === "numbers" ? literal : undefined;
  }

  /** Numbers of an input that must be known when the model is converted. */
  numbers(index: number): readonly number[] {
    const literal = this.known(this.input(index));
    if (literal === undefined) throw this.needsConstant(index);
    return literalNumbers(literal);
  }

  /** What is thrown where MIL needs an input as a constant and the model computes it. */
  needsConstant(index: number): NeededConstant {
    const name = this.node.input[index] ?? "";
    return new NeededConstant(
      name,
      this.fail(
        `input ${index} ("${name}") is computed while the model runs; MIL needs it as a constant`,
      ),
    );
  }

  /** The one number of an input, or the fallback where it is left out. */
  number(index: number, fallback?: number): number {
    if (!this.has(index) && fallback !== undefined) return fallback;
    const [value, ...rest] = this.numbers(index);
    if (value === undefined || rest.length > 0)
      throw this.fail(`input ${index} must be one number`);
    return value;
  }

  // Attributes

  hasAttribute(name: string): boolean {
    return this.#attributes.has(name);
  }

  #attribute(name: string, ...types: readonly AttributeProto_AttributeType[]) {
    const found = this.#attributes.get(name);
    // Very old writers leave the type out.
    const undefinedType = AttributeProto_AttributeType.UNDEFINED;
    if (found !== undefined && found.type !== undefinedType && !types.includes(found.type))
      throw this.fail(`attribute "${name}" is of another kind than the operator has`);
    return found;
  }

  int(name: string, fallback: number): number {
    const found = this.#attribute(name, AttributeProto_AttributeType.INT);
    return found === undefined ? fallback : Number(found.i ?? 0n);
  }

  flag(name: string, fallback: boolean): boolean {
    return this.int(name, fallback ? 1 : 0) !== 0;
  }

  ints(name: string): readonly number[] | undefined {
    return this.#attribute(name, AttributeProto_AttributeType.INTS)?.ints.map(Number);
  }

  float(name: string, fallback: number): number {
    const found = this.#attribute(name, AttributeProto_AttributeType.FLOAT);
    return found === undefined ? fallback : (found.f ?? 0);
  }

  floats(name: string): readonly number[] | undefined {
    return this.#attribute(name, AttributeProto_AttributeType.FLOATS)?.floats;
  }

  text(name: string, fallback: string): string {
    const found = this.#attribute(name, AttributeProto_AttributeType.STRING);
    return found?.s === undefined ? fallback : new TextDecoder().decode(found.s);
  }

  strings(name: string): readonly string[] | undefined {
    const found = this.#attribute(name, AttributeProto_AttributeType.STRINGS);
    return found?.strings.map((text) => new TextDecoder().decode(text));
  }

  tensor(name: string): Literal | undefined {
    const found = this.#attribute(name, AttributeProto_AttributeType.TENSOR)?.t;
    return found === undefined ? undefined : this.context.literalOfTensor(found);
  }

  /** The results of a graph of the node on values for its inputs. */
  graphOn(name: string, inputs: readonly Operand[]): readonly Operand[] {
    return this.context.inline(this.graphOf(name), inputs);
  }

  graphOf(name: string): GraphProto {
    const found = this.#attribute(name, AttributeProto_AttributeType.GRAPH)?.g;
    if (found === undefined) throw this.fail(`attribute "${name}" is missing`);
    return found;
  }

  /** ONNX's code of an input's element type, as far as it is known. */
  elementCode(index: number): number | undefined {
    return this.context.elementTypeOf(this.node.input[index] ?? "");
  }

  noteResultType(index: number, code: number): void {
    const name = this.node.output[index] ?? "";
    if (name !== "") this.context.noteElementType(name, code);
  }

  /** The MIL type behind an element type that an attribute names. */
  elementType(name: string, fallback: number): DataType {
    return milTypeOf(this.int(name, fallback), `${this.node.opType}'s ${name}`);
  }

  // Axes

  axis(value: number, rank: number): number {
    const positive = value < 0 ? value + rank : value;
    if (!Number.isInteger(value) || positive < 0 || positive >= rank) {
      throw this.fail(`axis ${value} is outside rank ${rank}`);
    }
    return positive;
  }

  /** The axis that the attribute `axis` names, of the first input where no rank is given. */
  ownAxis(fallback: number, rank = this.shape(0).length): number {
    return this.axis(this.int("axis", fallback), rank);
  }

  /** Axes from an attribute or, in later operator sets, an input; absent where neither is given. */
  axes(index: number, rank: number): readonly number[] | undefined {
    const given = this.ints("axes") ?? (this.has(index) ? this.numbers(index) : undefined);
    return given?.map((axis) => this.axis(axis, rank));
  }

  // Results

  /** Refuses a node of which more results are read than the importer makes. */
  onlyResults(count: number): void {
    const extra = this.node.output.slice(count).find((name) => this.context.isRead(name));
    if (extra !== undefined) {
      throw this.fail(`its result ${this.node.output.indexOf(extra)} ("${extra}") has no MIL form`);
    }
  }

  /** Whether somebody reads a result of the node. */
  isResultRead(index: number): boolean {
    const name = this.node.output[index] ?? "";
    return name !== "" && this.context.isRead(name);
  }

  many<Name extends OpName>(type: Name, inputs: OpInputs<(typeof OPS)[Name]>): readonly Operand[] {
    return this.context.emit(type, inputs, this.node.output[0] ?? this.node.name);
  }

  op<Name extends OpName>(type: Name, inputs: OpInputs<(typeof OPS)[Name]>): Operand {
    const [result] = this.many(type, inputs);
    if (result === undefined) throw this.fail(`${type} gave no result`);
    return result;
  }

  reshape(x: Operand, shape: readonly number[]): Operand {
    const now = this.shapeOf(x);
    if (now.length === shape.length && now.every((size, axis) => size === shape[axis])) return x;
    return this.op("reshape", { x, shape: int32sLiteral(shape) });
  }

  transpose(x: Operand, order: readonly number[]): Operand {
    if (order.every((axis, place) => axis === place)) return x;
    return this.op("transpose", { x, perm: order });
  }

  cast(x: Operand, to: DataType): Operand {
    return this.typeOf(x) === to ? x : this.op("cast", { x, dtype: to });
  }

  /** Small integers and bools as int32, which arithmetic in MIL takes; all else as it is. */
  widened(x: Operand): Operand {
    const type = this.typeOf(x);
    return isFloat(type) || type === "int32" ? x : this.cast(x, "int32");
  }

  scalar(dataType: DataType, value: number): Literal {
    return scalarLiteral(dataType, value);
  }

  constant(dataType: DataType, shape: readonly number[], values: ArrayLike<number>): Literal {
    return tensorLiteral(dataType, shape, values);
  }

  /** A vector shaped to broadcast over one axis of a tensor of `rank`. */
  along(vector: Operand, axis: number, rank: number): Operand {
    const count = elementCount(this.shapeOf(vector));
    return this.reshape(
      vector,
      Array.from({ length: rank }, (_, place) => (place === axis ? count : 1)),
    );
  }

  /** x repeated along axes of size 1, with leading axes added. Throws where the shapes do not go together. */
  expand(x: Operand, shape: readonly number[]): Operand {
    const now = this.shapeOf(x);
    const padded = [...Array.from({ length: shape.length - now.length }, () => 1), ...now];
    const reps = shape.map((size, axis) => {
      const from = padded[axis] ?? 1;
      if (from !== size && from !== 1) {
        throw this.fail(`[${now.join(", ")}] cannot be expanded to [${shape.join(", ")}]`);
      }
      return from === size ? 1 : size;
    });
    const shaped = this.reshape(x, padded);
    return reps.every((count) => count === 1)
      ? shaped
      : this.op("tile", { x: shaped, reps: int32sLiteral(reps) });
  }

  // Short forms of what many operators are made of

  binary(type: keyof typeof ELEMENTWISE_BINARY, x: Operand, y: Operand | number): Operand {
    return this.op(type, { x, y });
  }

  add(x: Operand, y: Operand | number): Operand {
    return this.op("add", { x, y });
  }

  sub(x: Operand, y: Operand | number): Operand {
    return this.op("sub", { x, y });
  }

  mul(x: Operand, y: Operand | number): Operand {
    return this.op("mul", { x, y });
  }

  /** x times a factor, which may be 1. */
  scaled(x: Operand, factor: number): Operand {
    return factor === 1 ? x : this.mul(x, factor);
  }

  /** x where `cond` holds, else y. */
  select(cond: Operand, x: Operand | number, y: Operand | number): Operand {
    return this.op("select", { cond, a: x, b: y });
  }

  /** Elements `from` to `to` (exclusive) of one axis. */
  sliced(x: Operand, axis: number, from: number, to: number, stride = 1): Operand {
    const shape = this.shapeOf(x);
    if (from === 0 && to === shape[this.axis(axis, shape.length)] && stride === 1) return x;
    return this.op("slice_by_index", {
      x,
      begin: shape.map(() => 0).with(axis, from),
      end: shape.with(axis, to),
      ...(stride !== 1 && { stride: shape.map(() => 1).with(axis, stride) }),
    });
  }

  /** One element of an axis, which goes. */
  picked(x: Operand, axis: number, index: number): Operand {
    const part = this.sliced(x, axis, index, index + 1);
    return this.reshape(part, this.shapeOf(x).toSpliced(axis, 1));
  }

  concatenated(values: readonly Operand[], axis: number): Operand {
    const present = values.filter((value) => !this.shapeOf(value).includes(0));
    const [first = values[0], ...others] = present;
    if (first === undefined) throw this.fail("nothing stands to be joined");
    return others.length === 0 ? first : this.op("concat", { values: [first, ...others], axis });
  }

  /** Tensors of one shape beside one another along an axis that is added. */
  stacked(values: readonly Operand[], axis: number): Operand {
    return this.concatenated(
      values.map((value) => this.withAxis(value, axis)),
      axis,
    );
  }

  /** Elements of one axis by constant indices. */
  taken(x: Operand, axis: number, indices: readonly number[]): Operand {
    return this.op("gather", { x, indices: int32sLiteral(indices), axis });
  }

  /** A tensor of one number. */
  filledWith(shape: readonly number[], like: Operand, value: number): Operand {
    const numbers = new Float64Array(elementCount(shape)).fill(value);
    return this.constant(this.typeOf(like), shape, numbers);
  }

  /** x with an axis of size 1 added. */
  withAxis(x: Operand, axis: number): Operand {
    return this.reshape(x, this.shapeOf(x).toSpliced(axis, 0, 1));
  }

  /** The sums over axes, which go. */
  sumOver(x: Operand, axes: readonly number[]): Operand {
    return axes.length === 0 ? x : this.op("reduce_sum", { x, axes, keep_dims: false });
  }
}

/** 0, 1, 2 … as int32 [count]. */
export function counted(count: number): Literal {
  return int32sLiteral(Array.from({ length: count }, (_, index) => index));
}

/** For each element of a matrix [rows, columns]: its column less its row. */
export function offsetsOf(rows: number, columns: number): readonly number[] {
  return Array.from(
    { length: rows * columns },
    (_, index) => (index % columns) - Math.floor(index / columns),
  );
}
