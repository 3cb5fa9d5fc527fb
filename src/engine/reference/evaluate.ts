import { MilError } from "../../mil/errors.ts";
import { evaluateOperation, roundTensor } from "../../mil/evaluate-operation.ts";
import type { Precision } from "../../mil/evaluate-operation.ts";
import { hostTensor, hostTensorOfLiteral } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import type { CallEnvironment } from "../../mil/op-call.ts";
import { namedSeed } from "../../mil/ops/random.ts";
import { literalOf, operandsOf } from "../../mil/program.ts";
import type {
  BlobReference,
  Block,
  Literal,
  MilFunction,
  Operand,
  Operation,
  Value,
} from "../../mil/program.ts";
import { formatType, staticShape } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { didYouMean } from "../../util/nearest.ts";

/** What random and endless ops need beyond their inputs. */
export interface EvaluateOptions {
  /** "declared" (the default) rounds every result to its declared type, "float64" only integers. */
  readonly precision?: Precision;
  /**
   * Contents of the function's state inputs by name, read at the start and replaced by `write_state`.
   * A state that is not in the map starts as zeros and is added.
   */
  readonly states?: Map<string, HostTensor>;
  /** Seed of random ops that have none of their own; the same seed gives the same numbers. */
  readonly seed?: number;
  /** Reads tensors that stand in a weight file. Without it a program that has some is refused. */
  readonly loadBlob?: (reference: BlobReference, type: TensorType) => HostTensor;
  /** Rounds of one `while_loop` before it is refused as endless. */
  readonly iterationLimit?: number;
}

/**
 * Runs a function op by op, slow and obvious: the oracle that other engines are compared with.
 *
 * @param inputs one tensor for each input that is not a state, by name
 * @returns the function's outputs by name
 * @throws MilError for missing, unknown or ill-typed inputs, and whatever an op refuses, naming the op
 */
export function evaluateFunction(
  fn: MilFunction,
  inputs: ReadonlyMap<string, HostTensor>,
  options: EvaluateOptions = {},
): ReadonlyMap<string, HostTensor> {
  const evaluation = new Evaluation(fn, options);
  const scope = new Scope();
  for (const input of fn.inputs) {
    if (input.type.kind !== "state") {
      scope.set(input, evaluation.input(input, inputs.get(input.name)));
    }
  }
  const names = fn.inputs.map(({ name }) => name);
  for (const name of inputs.keys()) {
    if (!names.includes(name)) {
      throw new MilError(
        "mil.evaluate.input",
        `function "${fn.name}" has no input "${name}".${didYouMean(name, names)}`,
      );
    }
  }
  const outputs = evaluation.block(fn, scope);
  return new Map(fn.outputs.map(({ name }, index) => [name, requireTensor(outputs[index], name)]));
}

/** Values of one block, and those of the blocks around it. */
class Scope {
  readonly #values = new Map<string, HostTensor>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  set(value: Value, tensor: HostTensor): void {
    this.#values.set(value.name, tensor);
  }

  get(name: string): HostTensor | undefined {
    return this.#values.get(name) ?? this.#outer?.get(name);
  }

  drop(name: string): void {
    this.#values.delete(name);
  }
}

/** One run of a function. */
class Evaluation {
  readonly #precision: Precision;
  readonly #states: Map<string, HostTensor>;
  readonly #seed: number;
  readonly #loadBlob: EvaluateOptions["loadBlob"];
  readonly #iterationLimit: number;

  constructor(fn: MilFunction, options: EvaluateOptions) {
    this.#precision = options.precision ?? "declared";
    this.#states = options.states ?? new Map<string, HostTensor>();
    this.#seed = options.seed ?? 0;
    this.#loadBlob = options.loadBlob;
    this.#iterationLimit = options.iterationLimit ?? 1_000_000;
    for (const { name, type } of fn.inputs) {
      if (type.kind === "state" && !this.#states.has(name)) {
        this.#states.set(
          name,
          hostTensor(type.wrapped.dataType, staticShape(type.wrapped, `state "${name}"`)),
        );
      }
    }
  }

  input(value: Value, tensor: HostTensor | undefined): HostTensor {
    const { name, type } = value;
    if (tensor === undefined) {
      throw new MilError("mil.evaluate.input", `input "${name}" (${formatType(type)}) is missing`);
    }
    const fits =
      type.kind !== "tensor" ||
      (type.dataType === tensor.dataType &&
        type.shape.length === tensor.shape.length &&
        type.shape.every((size, axis) => size === "?" || size === tensor.shape[axis]));
    if (!fits) {
      throw new MilError(
        "mil.evaluate.input",
        `input "${name}" is ${formatType(type)}, a tensor ${tensor.dataType}[${tensor.shape.join(", ")}] was given`,
      );
    }
    return roundTensor(tensor, this.#precision);
  }

  block(block: Block, scope: Scope): readonly HostTensor[] {
    const lastUses = lastUsesOf(block);
    block.operations.forEach((operation, index) => {
      this.#run(operation, scope);
      for (const name of lastUses[index] ?? []) scope.drop(name);
    });
    return block.outputs.map((output) => this.#resolve(output, scope));
  }

  #run(operation: Operation, scope: Scope): void {
    if (operation.type === "const") return;
    const environment: CallEnvironment = {
      resolve: (operand) => this.#resolve(operand, scope),
      runBlock: (block, inputs) => this.#nested(block, inputs, scope),
      writeState: (state, contents) => this.#writeState(state, contents),
      seed: namedSeed(this.#seed, operation.outputs[0]?.name ?? ""),
      iterationLimit: this.#iterationLimit,
    };
    const results = evaluateOperation(operation, environment, this.#precision);
    operation.outputs.forEach((output, index) => {
      scope.set(output, requireTensor(results[index], output.name));
    });
  }

  #nested(block: Block, inputs: readonly HostTensor[], outer: Scope): readonly HostTensor[] {
    if (block.inputs.length !== inputs.length) {
      throw new MilError(
        "mil.evaluate.block",
        `a block takes ${block.inputs.length} inputs, ${inputs.length} were given`,
      );
    }
    const scope = new Scope(outer);
    block.inputs.forEach((input, index) => {
      scope.set(input, requireTensor(inputs[index], input.name));
    });
    return this.block(block, scope);
  }

  #resolve(operand: Operand, scope: Scope): HostTensor {
    const literal = literalOf(operand);
    if (literal !== undefined) return this.#literal(literal, operand);
    const name = operand.kind === "value" ? operand.name : "";
    const tensor = operand.type.kind === "state" ? this.#states.get(name) : scope.get(name);
    if (tensor === undefined) {
      throw new MilError("mil.evaluate.value", `value "${name}" is used before it is computed`);
    }
    return tensor;
  }

  #literal(literal: Literal, operand: Operand): HostTensor {
    if (literal.data.kind !== "blob") return hostTensorOfLiteral(literal);
    const name = operand.kind === "value" ? `"${operand.name}"` : "a literal";
    if (literal.type.kind !== "tensor" || this.#loadBlob === undefined) {
      throw new MilError(
        "mil.evaluate.blob",
        `${name} stands in the weight file ${literal.data.path}, which was not given`,
        { remedy: "Pass loadBlob, a function that reads it." },
      );
    }
    return this.#loadBlob(literal.data, literal.type);
  }

  #writeState(state: Operand, contents: HostTensor): void {
    if (state.kind !== "value" || !this.#states.has(state.name)) {
      throw new MilError("mil.evaluate.state", "write_state needs a state input of the function");
    }
    this.#states.set(state.name, contents);
  }
}

function requireTensor(tensor: HostTensor | undefined, name: string): HostTensor {
  if (tensor === undefined) {
    throw new MilError("mil.evaluate.value", `"${name}" has no value`);
  }
  return tensor;
}

/** Names whose last use is each operation, so that their memory is given back; outputs are kept. */
function lastUsesOf(block: Block): readonly (readonly string[])[] {
  const lastUse = new Map<string, number>();
  const uses: string[][] = block.operations.map(() => []);
  block.operations.forEach((operation, index) => {
    for (const name of namesUsedBy(operation)) lastUse.set(name, index);
    for (const { name } of operation.outputs) lastUse.set(name, index);
  });
  for (const { name } of block.outputs) lastUse.delete(name);
  for (const [name, index] of lastUse) uses[index]?.push(name);
  return uses;
}

function* namesUsedBy(operation: Operation): Generator<string> {
  for (const operand of operandsOf(operation)) {
    if (operand.kind === "value") yield operand.name;
  }
  for (const block of operation.blocks) {
    for (const nested of block.operations) yield* namesUsedBy(nested);
    for (const { name } of block.outputs) yield name;
  }
}
