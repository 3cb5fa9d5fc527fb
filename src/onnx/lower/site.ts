import { substituteFor } from "./device-operators.ts";
import { numbersAs } from "../../mil/literal.ts";
import { OpCall } from "../../mil/op-call.ts";
import { opRow } from "../../mil/ops/index.ts";
import { operandsNamed } from "../../mil/program.ts";
import type { Block, Operand, Operation } from "../../mil/program.ts";
import { elementCount, isInteger, staticShape } from "../../mil/types.ts";
import type { DataType, TensorType } from "../../mil/types.ts";
import { computeTypeOf, elementTypeOf } from "../element-types.ts";
import { OnnxError } from "../errors.ts";
import type { AttributeValue, GraphWriter } from "../graph-writer.ts";

/** Beyond every index of a tensor that ONNX Runtime holds, and a number that MIL computes with: runtimes refuse it. */
export const NOWHERE = 2 ** 31 - 2;

/** Names of ONNX values of an op's results, in order. */
export type Lowering = (site: LoweringSite) => string | readonly string[];

/** An op that has no lowering, with the reason as a sentence for the user. */
export interface NotLowered {
  readonly notLowered: string;
}

/** An op over constants: its results are numbers that the model holds, if anything reads them there. */
export interface EvaluatedNow {
  readonly evaluatedNow: true;
}

/** What surrounds an op: the values in sight, and a way to write a nested block. */
export interface LoweringScope {
  readonly resolve: (operand: Operand) => string;
  /** Writes a block's ops into `graph`, its inputs standing for the values given; returns its results. */
  readonly block: (
    graph: GraphWriter,
    block: Block,
    inputs: readonly string[],
  ) => readonly string[];
  /** Whether the model is a file for other runtimes: only operators of the standard. */
  readonly isForOthers: boolean;
  /** Whether a device runs it that lacks some operators. */
  readonly isForDevice: boolean;
  /** Whether the runtime that the graph is for has the operators of `foreign-products.ts`. */
  readonly hasForeignProducts: boolean;
}

/**
 * One MIL op while it is being written as ONNX nodes. Values have their compute type here
 * (`computeTypeOf`): fp16 is fp32, small integers are int32.
 */
export class LoweringSite {
  readonly graph: GraphWriter;
  readonly call: OpCall;
  readonly operation: Operation;
  readonly #scope: LoweringScope;

  constructor(graph: GraphWriter, operation: Operation, scope: LoweringScope) {
    const row = opRow(operation.type);
    if (row === undefined) {
      throw new OnnxError("onnx.op.unknown", `"${operation.type}" is not in the op table`);
    }
    this.graph = graph;
    this.operation = operation;
    this.call = new OpCall(operation, row);
    this.#scope = scope;
  }

  /** Another op at the same place. */
  at(operation: Operation): LoweringSite {
    return new LoweringSite(this.graph, operation, this.#scope);
  }

  get isForOthers(): boolean {
    return this.#scope.isForOthers;
  }

  get isForDevice(): boolean {
    return this.#scope.isForDevice;
  }

  get hasForeignProducts(): boolean {
    return this.#scope.hasForeignProducts;
  }

  fail(rule: string): OnnxError {
    return new OnnxError("onnx.op", this.call.fail(rule).message);
  }

  has(name: string): boolean {
    return this.call.has(name);
  }

  /** The ONNX value of an operand. */
  value(name: string): string {
    return this.#scope.resolve(this.call.operand(name));
  }

  of(operand: Operand): string {
    return this.#scope.resolve(operand);
  }

  values(name: string): readonly string[] {
    return this.call.operands(name).map((operand) => this.#scope.resolve(operand));
  }

  /** Writes a nested block of this op into a graph and returns the block's results. */
  block(graph: GraphWriter, block: Block, inputs: readonly string[]): readonly string[] {
    return this.#scope.block(graph, block, inputs);
  }

  /** A scalar parameter (`epsilon`, `alpha`) as ONNX value, from its operand or its default. */
  scalarOf(name: string, type: DataType = this.type("x")): string {
    if (this.has(name) && !this.call.isKnown(name)) return this.value(name);
    return this.scalar(this.call.float(name), type);
  }

  /** Element type as MIL declares it. */
  type(name: string): DataType {
    return this.call.dataType(name);
  }

  shape(name: string): readonly number[] {
    return this.call.staticShape(name);
  }

  resultType(index = 0): TensorType {
    const type = this.operation.outputs[index]?.type;
    if (type?.kind !== "tensor") throw this.fail(`result ${index} is not a tensor`);
    return type;
  }

  resultShape(index = 0): readonly number[] {
    return staticShape(this.resultType(index), `${this.operation.type}'s result`);
  }

  /** A constant of a MIL type, in its compute type. */
  constant(type: DataType, shape: readonly number[], values: ArrayLike<number>): string {
    const computed = computeTypeOf(type);
    return this.graph.constant(computed, shape, numbersAs(computed, values));
  }

  /** A scalar of 64 bits, as ONNX takes places and sizes. */
  int(value: number): string {
    return this.graph.ints([value], []);
  }

  /** The setting `axis` as an attribute: that of x, counted from the front. */
  axis(): bigint {
    return BigInt(this.call.axis("axis", this.shape("x").length));
  }

  scalar(value: number, type: DataType = this.type("x")): string {
    return this.constant(type, [], [value]);
  }

  node(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    domain = "",
  ): string {
    const substitute = this.#scope.isForDevice && domain === "" ? substituteFor(opType) : undefined;
    if (substitute !== undefined) return substitute(this, inputs);
    return this.graph.node(opType, inputs, attributes, domain);
  }

  cast(value: string, type: DataType): string {
    return this.node("Cast", [value], { to: BigInt(elementTypeOf(type)) });
  }

  reshape(value: string, shape: readonly number[]): string {
    // ONNX reads 0 as "copy this size"; shapes without elements therefore set allowzero.
    const attributes = shape.includes(0) ? { allowzero: 1n } : {};
    return this.node("Reshape", [value, this.graph.ints(shape)], attributes);
  }

  /** A vector shaped to broadcast over one axis of a tensor of `rank`. */
  along(vector: string, axis: number, rank: number): string {
    return this.reshape(
      vector,
      Array.from({ length: rank }, (_, place) => (place === axis ? -1 : 1)),
    );
  }

  /** A setting of one number a channel (axis 1), shaped to broadcast over x. */
  perChannel(name: string): string {
    return this.along(this.value(name), 1, this.shape("x").length);
  }

  transpose(value: string, order: readonly number[]): string {
    if (order.every((axis, place) => axis === place)) return value;
    return this.node("Transpose", [value], { perm: order.map(BigInt) });
  }

  /** Broadcasts to a shape. */
  expand(value: string, shape: readonly number[]): string {
    return this.node("Expand", [value, this.graph.ints(shape)]);
  }

  /** Integer indices as ONNX ops take them. */
  indices(name: string): string {
    const type = computeTypeOf(this.type(name));
    return type === "int32" || type === "int64"
      ? this.value(name)
      : this.cast(this.value(name), "int64");
  }

  /** Whether values of this MIL type wrap in fewer bits than they are computed in. */
  static wraps(type: DataType): boolean {
    return isInteger(type) && computeTypeOf(type) !== type;
  }

  get elementCount(): number {
    return elementCount(this.resultShape());
  }

  /** Every operand of a parameter, list or not. */
  operandList(name: string): readonly Operand[] {
    return operandsNamed(this.operation, name);
  }
}

/** The operator of the same meaning, over the operands of these names. */
export const sameAs =
  (opType: string, ...names: readonly string[]): Lowering =>
  (site) =>
    site.node(
      opType,
      names.map((name) => site.value(name)),
    );
