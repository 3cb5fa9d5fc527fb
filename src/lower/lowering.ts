import { FunctionBuilder } from "../mil/builder.ts";
import { numericLiteral, tensorLiteral } from "../mil/literal.ts";
import type { OpCall } from "../mil/op-call.ts";
import { isConstexpr, opRow } from "../mil/ops/index.ts";
import { literalOf, mapInputs, operandsOf } from "../mil/program.ts";
import type { Argument, MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { valuesReadBy } from "../mil/traverse.ts";
import {
  elementCount,
  formatType,
  isFloat,
  sameShape,
  staticShape,
  tensorType,
} from "../mil/types.ts";
import { familyIndex } from "../chip/chip.ts";
import type { Chip, Driver } from "../chip/chip.ts";
import { PassError } from "../passes/errors.ts";
import { foldedShape } from "./folded-axes.ts";
import { halfLiteral, isBeyondHalf } from "./half-constants.ts";
import { HostPart } from "./host-part.ts";
import { partSizes } from "./lowered-value.ts";
import type { Lowered, Parts } from "./lowered-value.ts";
import { Masks } from "./masks.ts";
import { writeProduct } from "./scaled-products.ts";
import type { EngineInput, EngineOutput, EngineProgram } from "./ports.ts";
import { roundToFloat16 } from "../util/float16.ts";
import { WholeNumbers } from "./whole-numbers.ts";

/** A program that stays on the host: an op the engine does not have and that has no way round. */
export class NotLowered extends PassError {}

/** The largest sum of ones that stays below the ceiling of the engine's products. */
const PART_LIMIT = 32_000;
/** Rule `matmul-inner-32`. */
const INNER_MULTIPLE = 32;
/** Rule `lane-width`. */
const LANE_WIDTH = 32;
/** Rule `rank`. */
export const MOST_AXES = 5;
/** Rule `constants`: 2 GiB of fp16. */
const MOST_CONSTANTS = 2 ** 30;

/** One function on its way to the engine: what has been written, and what stands for each of its values. */
export class Lowering {
  readonly chip: Chip;
  readonly driver: Driver;
  readonly builder: FunctionBuilder;
  readonly host: HostPart;
  readonly masks: Masks;
  readonly wholeNumbers: WholeNumbers;
  /** Whether the function multiplies matrices. */
  readonly hasProducts: boolean;
  readonly #fn: MilFunction;
  readonly #lowered = new Map<Value, Lowered>();
  readonly #inputs: EngineInput[] = [];
  readonly #outputs: EngineOutput[] = [];
  readonly #results: Record<string, Value> = {};
  readonly #shared = new Map<string, Value>();
  readonly #partLimit: number;
  readonly #operands: ReadonlySet<Value>;
  readonly #outputValues: ReadonlySet<Value>;
  readonly #portNames = new Set<string>();
  readonly #given = new Set<Value>();

  /** `partLimit`: how long a part of a long axis is at most; the chip's own limit by default. */
  constructor(fn: MilFunction, chip: Chip, driver: Driver, partLimit = PART_LIMIT) {
    this.#fn = fn;
    this.#partLimit = Math.min(PART_LIMIT, partLimit);
    this.chip = chip;
    this.driver = driver;
    this.builder = new FunctionBuilder(fn.name);
    this.#operands = new Set(fn.operations.flatMap((operation) => [...valuesReadBy(operation)]));
    this.#outputValues = new Set(fn.outputs);
    this.hasProducts = fn.operations.some(({ type }) => opRow(type)?.product !== undefined);
    this.host = new HostPart(fn);
    this.masks = new Masks(fn);
    this.wholeNumbers = new WholeNumbers(this);
    for (const input of fn.inputs) this.#lowered.set(input, this.#input(input));
  }

  /** Rule `extent`: the longest axis that the chip takes. */
  get chipLimit(): number {
    return familyIndex(this.chip.family) >= familyIndex("H16") ? 65536 : 16384;
  }

  /** Longest part of an axis. */
  get axisLimit(): number {
    return Math.min(this.#partLimit, this.chipLimit);
  }

  #input(input: Value): Lowered {
    if (input.type.kind !== "tensor") throw this.refuse(`input ${input.name} is no tensor`);
    const shape = staticShape(input.type, `input ${input.name}`);
    if (shape.includes(0))
      throw this.refuse(`input ${input.name} is ${formatType(input.type)}, without elements`);
    if (!isFloat(input.type.dataType)) return { kind: "host", value: input, shape };
    const [rows = 1, ...rest] = shape;
    if (rows > this.axisLimit && shape.length === 2) {
      const each = elementCount(rest);
      const sizes = partSizes(rows, this.axisLimit);
      let start = 0;
      const values = sizes.map((size, index) => {
        const name = `${input.name}_part${index}`;
        const conversion = { kind: "half", start: start * each, count: size * each } as const;
        start += size;
        return this.#port(name, input.name, [size, ...rest], conversion);
      });
      return { kind: "parts", values, axis: -2, sizes, shape };
    }
    const conversion = { kind: "half", start: 0, count: elementCount(shape) } as const;
    const portShape = this.#portShape(shape);
    const port = this.#port(input.name, input.name, portShape, conversion);
    if (shape.length > MOST_AXES) return { kind: "folded", value: port, shape };
    const isSame = shape.length === 0 || sameShape(portShape, shape);
    // A name that no later port has.
    const options = { name: `from_${input.name}` };
    const value = isSame ? port : this.builder.op("reshape", { x: port, shape }, options);
    return { kind: "plain", value, shape };
  }

  #port(
    name: string,
    from: string,
    shape: readonly number[],
    conversion: EngineInput["conversion"],
  ): Value {
    this.#inputs.push({ name, from, conversion });
    this.#portNames.add(name);
    return this.builder.input(name, tensorType("fp16", shape));
  }

  /**
   * Rules `port-rank-0` and `lane-width`: at least one axis, and the same numbers with a last axis of 32 or more,
   * where there are as many.
   */
  #portShape(shape: readonly number[]): readonly number[] {
    if (shape.length === 0) return [1];
    if (shape.length > MOST_AXES) return this.#portShape(foldedShape(shape, MOST_AXES));
    const count = elementCount(shape);
    const isNarrow = this.driver === "in-memory" && (shape.at(-1) ?? 1) < LANE_WIDTH;
    return isNarrow && count >= LANE_WIDTH && count <= this.axisLimit ? [1, count] : shape;
  }

  /** A port the host fills with one-hot rows or signs of an input, or of a result of the host part; made once. */
  hostPort(from: string, rows: number, conversion: EngineInput["conversion"]): Value {
    const { kind } = conversion;
    const part = kind === "one-hot" && conversion.first > 0 ? `_${conversion.first}` : "";
    const base = `${from}_${kind.replace("-", "_")}${part}`;
    const key = `port ${base} ${JSON.stringify(conversion)}`;
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const shape = kind === "one-hot" ? [rows, conversion.depth] : [rows];
    const value = this.#port(this.#freePortName(base), from, shape, conversion);
    this.#shared.set(key, value);
    return value;
  }

  /** A value that the host knows, as numbers on the engine. */
  #hostNumbers(value: Value, shape: readonly number[]): Value {
    const valid = this.host.isValidOf(value);
    const count = elementCount(shape);
    if (valid !== undefined) {
      const port = this.hostPort(valid.name, count, { kind: "valid" });
      return shape.length === 1 ? port : this.reshape(port, shape);
    }
    const origin = this.host.origin(value);
    const from = this.host.sourceOf(origin);
    const key = `numbers ${from}`;
    let port = this.#shared.get(key);
    if (port === undefined) {
      const originShape = origin.type.kind === "tensor" ? staticShape(origin.type) : shape;
      const name = this.#freePortName(`${from}_half`);
      const conversion = { kind: "half", start: 0, count } as const;
      port = this.#port(name, from, this.#portShape(originShape), conversion);
      this.#shared.set(key, port);
    }
    return shape.length === 0 ? port : this.reshape(port, shape);
  }

  #freePortName(base: string): string {
    let name = base;
    while (this.#portNames.has(name)) name = `${name}_`;
    return name;
  }

  set(value: Value, lowered: Lowered): void {
    this.#lowered.set(value, lowered);
  }

  /** The host computes a value before the engine runs. */
  setHost(value: Value): void {
    if (value.type.kind !== "tensor") throw this.refuse(`${value.name} is no tensor`);
    this.set(value, { kind: "host", value, shape: staticShape(value.type, value.name) });
  }

  /** What stands for an operand. */
  get(operand: Operand): Lowered {
    const known = operand.kind === "value" ? this.#lowered.get(operand) : undefined;
    if (known !== undefined) return known;
    const literal = literalOf(operand);
    if (literal?.type.kind !== "tensor") {
      throw this.refuse("an operand is neither computed nor a constant tensor");
    }
    const shape = staticShape(literal.type);
    const value = this.builder.constant(halfLiteral(this, literal));
    const lowered: Lowered = { kind: "plain", value, shape };
    if (operand.kind === "value") this.#lowered.set(operand, lowered);
    return lowered;
  }

  /** Whether an op of the function reads a value. */
  isOperand(value: Value): boolean {
    return this.#operands.has(value);
  }

  isResult(value: Value): boolean {
    return this.#outputValues.has(value);
  }

  /** The indices of an op, where the host knows them. */
  indicesOf(call: OpCall): Value | undefined {
    const operand = call.operand("indices");
    const known = operand.kind === "value" ? this.#lowered.get(operand) : undefined;
    return known?.kind === "host" ? known.value : undefined;
  }

  zero(): Lowered {
    return { kind: "uniform", number: 0, shape: [] };
  }

  one(): Lowered {
    return { kind: "uniform", number: 1, shape: [] };
  }

  shapeOf(value: Value): readonly number[] {
    return value.type.kind === "tensor" ? staticShape(value.type) : [];
  }

  lookup(call: OpCall, name: string): Lowered {
    return this.get(call.operand(name));
  }

  /** An operand as one value of its full shape, bools and integers as fp16 numbers. */
  whole(lowered: Lowered): Value {
    switch (lowered.kind) {
      case "plain":
        return this.#materialize(this.wholeNumbers.asHalf(lowered.value), lowered.shape);
      case "product":
        return this.#materialize(writeProduct(this, lowered), lowered.shape);
      case "uniform":
        return this.full(lowered.shape, lowered.number);
      case "host":
        return this.#hostNumbers(lowered.value, lowered.shape);
      case "folded":
        throw this.refuse(
          `a tensor of rank ${lowered.shape.length} is used by an op other than reshape, transpose and elementwise ones; the chip takes rank ${MOST_AXES}`,
        );
      case "parts":
        throw this.refuse(
          `an axis of ${lowered.shape.at(lowered.axis)} is used whole, and the chip takes ${this.chipLimit}; products, elementwise ops, sums and softmax over it come in parts, other ops want the axis split in the program`,
        );
    }
  }

  /** The same for elementwise ops, which broadcast themselves. */
  broadcastable(lowered: Lowered): Operand {
    if (lowered.kind === "plain") return this.wholeNumbers.asHalf(lowered.value);
    if (lowered.kind === "product") return writeProduct(this, lowered);
    if (lowered.kind === "uniform") {
      this.#checkUniform(lowered.number);
      return tensorLiteral("fp16", [], [lowered.number]);
    }
    return this.whole(lowered);
  }

  #materialize(value: Value, shape: readonly number[]): Value {
    if (value.type.kind !== "tensor" || sameShape(value.type.shape, shape)) return value;
    const count = elementCount(staticShape(value.type));
    if (count === elementCount(shape))
      return shape.length === 0 ? value : this.reshape(value, shape);
    return this.builder.op("mul", { x: value, y: this.full(shape, 1) });
  }

  reshape(value: Value, shape: readonly number[]): Value {
    if (value.type.kind === "tensor" && sameShape(value.type.shape, shape)) return value;
    return this.builder.op("reshape", { x: value, shape: shape.length === 0 ? [1] : shape });
  }

  /** A constant of one number, made once a shape. */
  full(shape: readonly number[], number: number): Value {
    const key = `full ${number} ${shape.join()}`;
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const count = elementCount(shape);
    this.#checkUniform(number);
    if (count > MOST_CONSTANTS) throw this.refuse(`a constant of ${count} numbers would be needed`);
    const numbers = new Float32Array(count).fill(roundToFloat16(number));
    const value = this.builder.constant(numericLiteral(tensorType("fp16", shape), numbers), "full");
    this.#shared.set(key, value);
    return value;
  }

  #checkUniform(number: number): void {
    if (isBeyondHalf(number))
      throw this.refuse(`the constant ${number} is beyond fp16; scale it in the program`);
  }

  /** An operand of a product with zeros added along its inner axis, where the chip wants a multiple of 32. */
  padded(value: Value, axis: number): Value {
    const shape = value.type.kind === "tensor" ? staticShape(value.type) : [];
    const size = shape.at(axis) ?? 0;
    const missing = (INNER_MULTIPLE - (size % INNER_MULTIPLE)) % INNER_MULTIPLE;
    if (this.driver !== "in-memory" || this.chip.family !== "H13" || missing === 0) return value;
    const pad = shape.flatMap((_, index) => [0, index === shape.length + axis ? missing : 0]);
    return this.builder.op("pad", { x: value, pad, mode: "constant", constant_val: 0 });
  }

  plain(value: Value, shape?: readonly number[]): Lowered {
    if (value.type.kind !== "tensor") throw this.refuse(`${value.name} is no tensor`);
    return { kind: "plain", value, shape: shape ?? staticShape(value.type) };
  }

  /**
   * Copies an op with its operands lowered, floats as fp16. Attributes that are parameters, as ios16 writes those of
   * `constexpr_` ops, become operands.
   */
  copy(operation: Operation): readonly Value[] {
    const parameters = opRow(operation.type)?.parameters ?? {};
    const given = new Map<string, Argument>(operation.inputs);
    for (const [name, literal] of operation.attributes) {
      if (Object.hasOwn(parameters, name) && !given.has(name)) given.set(name, literal);
    }
    const inputs = mapInputs({ inputs: given }, (operand, name) => {
      const isData = parameters[name]?.kind === "tensor" || parameters[name]?.kind === "tensors";
      return this.#copied(operand, operation.type, isData);
    });
    return this.builder.append(
      { type: operation.type, inputs, blocks: operation.blocks, attributes: new Map() },
      operation.outputs[0]?.name,
    );
  }

  #copied(operand: Operand, type: string, isData: boolean): Operand {
    const literal = literalOf(operand);
    if (literal !== undefined && !this.#isKnown(operand)) {
      const isFloating = literal.type.kind === "tensor" && isFloat(literal.type.dataType);
      const isCompressed = isConstexpr(type);
      if (!isFloating && (!isData || isCompressed)) return literal;
      if (literal.data.kind === "numbers" && literal.data.numbers.length === 1)
        return halfLiteral(this, literal);
    }
    return this.whole(this.get(operand));
  }

  #isKnown(operand: Operand): boolean {
    return operand.kind === "value" && this.#lowered.has(operand);
  }

  /** Sends a value of the plan's function to its output port or ports. */
  output(output: Value, lowered: Lowered): void {
    if (lowered.kind === "host") {
      if (this.host.giveResult(output.name, lowered.value)) return;
      throw this.refuse(`it returns its input "${output.name}" as it is`);
    }
    if (lowered.kind === "folded") {
      const { value } = lowered;
      this.#result(output.name, value, output.name, { kind: "write", start: 0 });
      return;
    }
    if (lowered.kind === "parts") {
      const axis = lowered.shape.length + lowered.axis;
      // Parts are runs of the output only where no axis before theirs repeats them.
      if (elementCount(lowered.shape.slice(0, axis)) !== 1) {
        const joined = this.#joined(output, lowered, axis);
        this.#result(output.name, joined, output.name, { kind: "write", start: 0 });
        return;
      }
      const each = elementCount(lowered.shape.slice(axis + 1));
      let start = 0;
      for (const [index, value] of lowered.values.entries()) {
        this.#result(`${output.name}_part${index}`, value, output.name, { kind: "write", start });
        start += (lowered.sizes[index] ?? 0) * each;
      }
      return;
    }
    this.#result(output.name, this.whole(lowered), output.name, { kind: "write", start: 0 });
  }

  /** Parts of one length as one array with an axis more, which is the output in memory. */
  #joined(output: Value, { values, sizes, shape }: Parts, axis: number): Value {
    const [each = 1] = sizes;
    if (sizes.some((size) => size !== each) || shape.length >= MOST_AXES) {
      throw this.refuse(
        `output ${output.name} has an axis of ${shape[axis]} that no 32 or fewer parts of one length make up; make it longer`,
      );
    }
    const rows = [...shape.slice(0, axis), 1, each, ...shape.slice(axis + 1)];
    const parts = values.map((value) => this.reshape(value, rows));
    return this.builder.op("concat", { values: parts, axis, interleave: false });
  }

  /** An output that the host sums up: all that is left of a reduction to one number. */
  summedOutput(output: Value, terms: Value): void {
    this.#result(`${output.name}_terms`, terms, output.name, { kind: "sum" });
  }

  #result(name: string, value: Value, to: string, conversion: EngineOutput["conversion"]): void {
    // The compiler crashes on a function that returns one of its inputs.
    const isPort = this.#portNames.has(value.name);
    const taken = this.#given.has(value);
    const shaped =
      value.type.kind === "tensor"
        ? this.reshape(value, this.#portShape(staticShape(value.type)))
        : value;
    const result = isPort || taken ? this.builder.op("mul", { x: shaped, y: 1 }) : shaped;
    // A name of its own: the plan's names may be those of other values here.
    const port = `result_${name}`;
    this.#results[port] = result;
    this.#given.add(result);
    this.#outputs.push({ name: port, to, conversion });
  }

  finish(): EngineProgram {
    if (this.#outputs.length === 0) throw this.refuse("nothing of it needs the engine");
    const fn = this.builder.finish(this.#results);
    const hostPart = this.host.finish();
    const used = new Set(fn.operations.flatMap(operandsOf));
    const inputs = fn.inputs.filter((input) => used.has(input));
    const names = new Set(inputs.map(({ name }) => name));
    return Object.freeze({
      function: Object.freeze({ ...fn, inputs: Object.freeze(inputs) }),
      ...(hostPart !== undefined && { hostPart }),
      inputs: this.#inputs.filter(({ name }) => names.has(name)),
      outputs: this.#outputs,
      scales: [],
    });
  }

  refuse(reason: string): NotLowered {
    return new NotLowered("pass.engine", `"${this.#fn.name}" stays on the host: ${reason}`);
  }
}
