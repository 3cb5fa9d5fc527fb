import { MilError } from "../../mil/errors.ts";
import { hostTensorOfLiteral } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { CallEnvironment } from "../../mil/op-call.ts";
import { literalOf, mapInputs, namedValue, operandsOf, tensorTypeOf } from "../../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { isFloat } from "../../mil/types.ts";
import type { SimContext } from "./context.ts";
import { HalfTensor } from "./half-tensor.ts";
import { simulateOperation } from "./kernels.ts";
import type { Machine } from "./machine.ts";
import { roundToHalf } from "./rounding.ts";

/** Constants longer than this are read once and kept; shorter ones are settings. */
const KEPT_CONSTANT = 16;

/** A function ready to run many times: its constants as numbers, and when each value is last used. */
export class SimulatedFunction {
  readonly fn: MilFunction;
  readonly #constants = new Map<string, HostTensor>();
  readonly #operations: readonly Operation[];
  readonly #lastUses: readonly (readonly string[])[];
  #arePlaced = false;

  /** Throws `MilError` for constants that stand in a weight file. */
  constructor(fn: MilFunction, place: SimContext["place"]) {
    this.fn = fn;
    this.#operations = fn.operations
      .filter(({ type }) => type !== "const")
      .map((operation) => this.#withConstants(operation, place));
    this.#lastUses = lastUses(this.#operations, fn.outputs);
  }

  /**
   * Inputs are fp16 numbers on the engine; the caller rounds them. Those in the arena are given away, and results
   * there live until the arena is reset.
   */
  run(
    inputs: ReadonlyMap<string, HostTensor>,
    context: SimContext,
  ): ReadonlyMap<string, HostTensor> {
    if (context.place === "engine") this.#placeConstants(context.machine);
    const values = new Map<string, HostTensor>(inputs);
    const valueOf = (operand: Operand): HostTensor => {
      const name = operand.kind === "value" ? operand.name : "";
      const tensor = values.get(name) ?? this.#constants.get(name);
      if (tensor !== undefined) return tensor;
      const literal = literalOf(operand);
      if (literal !== undefined) return hostTensorOfLiteral(literal);
      throw new MilError("mil.evaluate.value", `value "${name}" is used before it is computed`);
    };
    const environment: CallEnvironment = {
      resolve: valueOf,
      runBlock: () => {
        throw new MilError("mil.evaluate.block", "the simulator runs no nested blocks");
      },
      writeState: () => {
        throw new MilError("mil.evaluate.state", "the simulator has no states");
      },
      seed: 0,
      iterationLimit: 0,
    };
    for (const [index, operation] of this.#operations.entries()) {
      const results = simulateOperation(operation, environment, context);
      operation.outputs.forEach((output, place) => {
        const result = results[place];
        if (result !== undefined) values.set(output.name, result);
      });
      for (const name of this.#lastUses[index] ?? []) {
        const value = values.get(name);
        if (value instanceof HalfTensor) value.release();
        values.delete(name);
      }
    }
    return new Map(this.fn.outputs.map((output) => [output.name, valueOf(output)]));
  }

  /** Frees what `run` keeps between calls. */
  release(): void {
    for (const [name, tensor] of this.#constants) {
      if (!(tensor instanceof HalfTensor)) continue;
      tensor.release();
      this.#constants.delete(name);
    }
  }

  #placeConstants(machine: Machine): void {
    if (this.#arePlaced) return;
    this.#arePlaced = true;
    for (const [name, tensor] of this.#constants) {
      if (isFloat(tensor.dataType)) this.#constants.set(name, machine.place(tensor, true));
    }
  }

  #withConstants(operation: Operation, place: SimContext["place"]): Operation {
    // A constant of another element type than the other operand is only taken as one.
    const types = new Set([...operandsOf(operation)].map((o) => tensorTypeOf(o)?.dataType));
    if (operation.type === "matmul" && types.has("int32")) return operation;
    const inputs = mapInputs(operation, (operand) => this.#kept(operand, place));
    return { ...operation, inputs };
  }

  /** The operand itself, or a value without a literal whose numbers are kept. */
  #kept(operand: Operand, place: SimContext["place"]): Operand {
    const literal = literalOf(operand);
    if (literal?.data.kind !== "numbers") return operand;
    const isFloating = literal.type.kind === "tensor" && isFloat(literal.type.dataType);
    if (literal.data.numbers.length <= KEPT_CONSTANT && !isFloating) return operand;
    const name = operand.kind === "value" ? operand.name : `literal ${this.#constants.size}`;
    if (!this.#constants.has(name)) {
      const tensor = hostTensorOfLiteral(literal);
      if (place === "engine" && isFloating) roundToHalf(tensor.data, "half-even");
      this.#constants.set(name, tensor);
    }
    // A setting such as an epsilon must stay readable as a literal.
    if (literal.data.numbers.length === 1) return operand;
    return namedValue(name, literal.type);
  }
}

function lastUses(
  operations: readonly Operation[],
  outputs: readonly Value[],
): readonly (readonly string[])[] {
  const last = new Map<string, number>();
  for (const [index, operation] of operations.entries()) {
    for (const operand of operandsOf(operation)) {
      if (operand.kind === "value") last.set(operand.name, index);
    }
    for (const output of operation.outputs) {
      if (!last.has(output.name)) last.set(output.name, index);
    }
  }
  for (const output of outputs) last.delete(output.name);
  const byOperation: string[][] = operations.map(() => []);
  for (const [name, index] of last) byOperation[index]?.push(name);
  return byOperation;
}
