import { FunctionBuilder } from "../mil/builder.ts";
import { MilError } from "../mil/errors.ts";
import { isValue, mapInputs } from "../mil/program.ts";
import type { Literal, MilFunction, Operand, Value } from "../mil/program.ts";
import { formatType } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import type { StageInstance } from "./parameters.ts";
import type { WeightSpec } from "./weights.ts";

/** Puts a weight into the function: the first elements, as many as `type` has. */
export type WeightWriter = (
  builder: FunctionBuilder,
  weight: WeightSpec,
  type: TensorType,
) => Value;

/** Copies stage functions into one function, with constants where the stages have weights as inputs. */
export class StageInliner {
  readonly builder: FunctionBuilder;
  readonly #writeWeight: WeightWriter;
  readonly #weights = new Map<string, Value>();
  /** Constants of the stage functions, such as tables of positions, which every layer shares. */
  readonly #constants = new Map<Value, Value>();

  constructor(writeWeight: WeightWriter, name = "main") {
    this.builder = new FunctionBuilder(name);
    this.#writeWeight = writeWeight;
  }

  /** Returns the stage's results by name. */
  inline(
    stage: MilFunction,
    { weights, group }: StageInstance,
    activations: Readonly<Record<string, Value>>,
  ): ReadonlyMap<string, Value> {
    const specs = new Map(weights.map((weight) => [weight.parameter, weight]));
    const copies = new Map<Value, Value>();
    for (const input of stage.inputs) {
      const weight = specs.get(input.name);
      const bound = weight === undefined ? activations[input.name] : this.#weight(weight, input);
      if (bound === undefined)
        throw new MilError("mil.inline.input", `"${stage.name}" wants "${input.name}"`);
      copies.set(input, bound);
    }
    const copyOf = (operand: Operand): Operand =>
      isValue(operand) ? (copies.get(operand) ?? operand) : operand;
    for (const operation of stage.operations) {
      const [output] = operation.outputs;
      if (operation.type === "const" && output?.constant !== undefined) {
        copies.set(output, this.#constant(output, output.constant));
        continue;
      }
      const inputs = mapInputs(operation, copyOf);
      const types = operation.outputs.map(({ type }) => type);
      const results = this.builder.append(
        { ...operation, inputs },
        `${group.replace(".", "_")}_${output?.name ?? operation.type}`,
        types,
      );
      for (const [index, result] of results.entries()) {
        const original = operation.outputs[index];
        if (original !== undefined) copies.set(original, result);
      }
    }
    return new Map(
      stage.outputs.map((result) => {
        const copy = copies.get(result);
        if (copy !== undefined) return [result.name, copy] as const;
        throw new MilError("mil.inline.result", `"${stage.name}" does not make "${result.name}"`);
      }),
    );
  }

  /** A stage's one result of that name. */
  inlineOne(
    stage: MilFunction,
    instance: StageInstance,
    activations: Readonly<Record<string, Value>>,
  ): Value {
    const [result] = this.inline(stage, instance, activations).values();
    if (result !== undefined) return result;
    throw new MilError("mil.inline.result", `"${stage.name}" has no result`);
  }

  #weight(spec: WeightSpec, { type }: Value): Value {
    if (type.kind !== "tensor")
      throw new MilError("mil.inline.input", `weight "${spec.name}" is ${formatType(type)}`);
    const key = `${spec.name} ${formatType(type)}`;
    const value = this.#weights.get(key) ?? this.#writeWeight(this.builder, spec, type);
    this.#weights.set(key, value);
    return value;
  }

  #constant(original: Value, literal: Literal): Value {
    const value = this.#constants.get(original) ?? this.builder.constant(literal, original.name);
    this.#constants.set(original, value);
    return value;
  }
}

/** The name of a weight as an identifier. */
export function weightIdentifier({ name }: WeightSpec): string {
  return name.replaceAll(/\W/g, "_");
}
