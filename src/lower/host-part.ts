import { assembleFunction } from "../mil/assemble.ts";
import { flopsOf, opRow } from "../mil/ops/index.ts";
import { literalOf, operandsOf } from "../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { isPure } from "../mil/traverse.ts";
import { elementCount, isFloat } from "../mil/types.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { knownShape, operandOf, scalarConstant } from "../mil/match.ts";

/** Work of one op, and elements of its results, up to which the host does it before the engine runs. */
const MOST_WORK = 2 ** 22;
const MOST_ELEMENTS = 2 ** 20;
/** Integers are nobody else's: one-hot rows of a vocabulary are long. */
const MOST_INTEGERS = 2 ** 26;
const MOST_LOOKED_UP = 2 ** 26;

/** Where indices come from, and what a negative one means. */
export interface IndexSource {
  readonly value: Value;
  readonly negative: "from-end" | "first";
}

/**
 * What the host knows of a function before the engine runs: inputs of integers and bools, and what is computed
 * from nothing else. There is no arithmetic on 32-bit integers on the engine (rule `integer-arithmetic`), and fp16
 * holds whole numbers up to 2048 only, so this is the host's, in the function's own types.
 */
export class HostPart {
  readonly #fn: MilFunction;
  readonly #inputs: ReadonlySet<Value>;
  readonly #makers = new Map<Value, Operation>();
  readonly #known = new Set<Value>();
  /** Results by name, as ports or results of the plan's function ask for them. */
  readonly #wanted = new Map<string, Value>();
  readonly #sources = new Map<Value, string>();
  readonly #taken: ReadonlySet<string>;

  constructor(fn: MilFunction) {
    this.#fn = fn;
    this.#inputs = new Set(fn.inputs);
    this.#taken = new Set([...fn.inputs, ...fn.outputs].map(({ name }) => name));
    for (const input of fn.inputs) {
      if (input.type.kind === "tensor" && !isFloat(input.type.dataType)) this.#known.add(input);
    }
  }

  /** Takes an op whose operands the host knows. */
  takes(operation: Operation): boolean {
    const [result] = operation.outputs;
    const isFloating = result?.type.kind === "tensor" && isFloat(result.type.dataType);
    // What is looked up in a table is where the engine's part begins: see `takesLookUp`.
    if (isFloating && operation.inputs.has("indices") && operation.inputs.has("x")) return false;
    let isFromHost = false;
    for (const operand of operandsOf(operation)) {
      if (literalOf(operand) !== undefined) continue;
      if (!this.#knows(operand)) return false;
      isFromHost = true;
    }
    if (!isFromHost || !this.#isComputable(operation)) return false;
    this.#take(operation, true);
    return true;
  }

  /**
   * Takes a look-up in a table that is an input or a constant by indices that the host knows. What is looked up is
   * the engine's to compute with.
   */
  takesLookUp(operation: Operation): boolean {
    const table = operandOf(operation, "x");
    const indices = operandOf(operation, "indices");
    if (table === undefined || indices === undefined) return false;
    if (!this.#isComputable(operation, MOST_LOOKED_UP)) return false;
    const isTable =
      literalOf(table) !== undefined || (table.kind === "value" && this.#inputs.has(table));
    if (!isTable || !this.#knows(indices)) return false;
    this.#take(operation, false);
    return true;
  }

  /** A name of its own for a value that the engine's ports need; the input's where it is one. */
  sourceOf(value: Value): string {
    if (this.#inputs.has(value)) return value.name;
    const known = this.#sources.get(value);
    if (known !== undefined) return known;
    let name = `host_${value.name}`;
    while (this.#taken.has(name) || this.#wanted.has(name)) name = `${name}_`;
    this.#wanted.set(name, value);
    this.#sources.set(value, name);
    return name;
  }

  /** A result of the plan's function that needs no engine. */
  giveResult(name: string, value: Value): boolean {
    if (this.#inputs.has(value) || this.#wanted.has(name)) return false;
    this.#wanted.set(name, value);
    return true;
  }

  /** Looks through reshapes: the value that has the same elements, and first was something else. */
  origin(value: Value): Value {
    const maker = this.#makers.get(value);
    const x = operandOf(maker, "x");
    const isSame = maker !== undefined && opRow(maker.type)?.kind === "view";
    return isSame && x?.kind === "value" ? this.origin(x) : value;
  }

  /** The input whose elements are not negative where this value is 1; nothing for other values. */
  isValidOf(value: Value): Value | undefined {
    const number = this.#makers.get(this.origin(value));
    const condition = number?.type === "cast" ? operandOf(number, "x") : this.origin(value);
    if (condition?.kind !== "value") return undefined;
    const comparison = this.#makers.get(this.origin(condition));
    const x = operandOf(comparison, "x");
    if (comparison?.type !== "greater_equal" || x?.kind !== "value" || !this.#inputs.has(x))
      return undefined;
    return scalarConstant(operandOf(comparison, "y")) === 0 && this.#isSameSize(x, value)
      ? x
      : undefined;
  }

  /** Whose elements indices are, without arithmetic that says what negative ones mean. */
  indexSource(value: Value, size: number): IndexSource {
    const origin = this.origin(value);
    const maker = this.#makers.get(origin);
    const clamped = maker?.type === "maximum" ? this.#clamped(maker) : undefined;
    if (clamped !== undefined && this.#isSameSize(clamped, origin))
      return { value: clamped, negative: "first" };
    const counted = maker?.type === "select" ? this.#countedFromEnd(maker, size) : undefined;
    if (counted !== undefined && this.#isSameSize(counted, origin))
      return { value: counted, negative: "from-end" };
    return { value: origin, negative: "from-end" };
  }

  /** The function of all that was asked for; nothing where ports come straight from inputs. */
  finish(): MilFunction | undefined {
    if (this.#wanted.size === 0) return undefined;
    const made = new Set(this.#makers.values());
    const operations = this.#fn.operations.filter(
      (operation) => operation.type === "const" || made.has(operation),
    );
    const whole = assembleFunction({
      name: `${this.#fn.name} (host part)`,
      opset: this.#fn.opset,
      inputs: this.#fn.inputs,
      operations,
      outputs: [...this.#wanted],
    });
    const live = removeDeadCode(whole);
    const read = new Set<Operand>(
      live.operations.flatMap((operation) => [...operandsOf(operation)]),
    );
    return Object.freeze({
      ...live,
      inputs: Object.freeze(live.inputs.filter((input) => read.has(input))),
    });
  }

  #isComputable(operation: Operation, mostFloats = MOST_ELEMENTS): boolean {
    const row = opRow(operation.type);
    if (row?.evaluate === undefined || operation.blocks.length > 0 || !isPure(operation))
      return false;
    for (const output of operation.outputs) {
      const shape = knownShape(output);
      if (shape === undefined || output.type.kind !== "tensor") return false;
      const most = isFloat(output.type.dataType) ? mostFloats : MOST_INTEGERS;
      if (elementCount(shape) > most) return false;
    }
    return flopsOf(operation) <= MOST_WORK;
  }

  #knows(operand: Operand): boolean {
    return operand.kind === "value" && this.#known.has(operand);
  }

  #take(operation: Operation, isKnown: boolean): void {
    for (const output of operation.outputs) {
      this.#makers.set(output, operation);
      if (isKnown) this.#known.add(output);
    }
  }

  #isSameSize(a: Value, b: Value): boolean {
    return elementCount(knownShape(a) ?? [0]) === elementCount(knownShape(b) ?? [1]);
  }

  /** maximum(x, 0). */
  #clamped(maker: Operation): Value | undefined {
    const x = operandOf(maker, "x");
    const isClamped = scalarConstant(operandOf(maker, "y")) === 0;
    return x?.kind === "value" && isClamped ? this.origin(x) : undefined;
  }

  /** select(x >= 0, x, x + size), as converters write it for the gather of ios17. */
  #countedFromEnd(maker: Operation, size: number): Value | undefined {
    const [condition, kept, moved] = ["cond", "a", "b"].map((name) => operandOf(maker, name));
    if (condition?.kind !== "value" || kept?.kind !== "value" || moved?.kind !== "value")
      return undefined;
    const comparison = this.#makers.get(condition);
    const sum = this.#makers.get(moved);
    const isSign =
      comparison?.type === "greater_equal" &&
      operandOf(comparison, "x") === kept &&
      scalarConstant(operandOf(comparison, "y")) === 0;
    const isSum = sum?.type === "add";
    const [x, y] = [operandOf(sum, "x"), operandOf(sum, "y")];
    const isMoved =
      (x === kept && scalarConstant(y) === size) || (y === kept && scalarConstant(x) === size);
    return isSign && isSum && isMoved ? this.origin(kept) : undefined;
  }
}
