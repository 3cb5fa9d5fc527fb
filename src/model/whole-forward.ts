import { FunctionBuilder } from "../mil/builder.ts";
import { MilError } from "../mil/errors.ts";
import { isOperandList, isValue } from "../mil/program.ts";
import type { Argument, Literal, MilFunction, Operand, Value } from "../mil/program.ts";
import { formatType, tensorType } from "../mil/types.ts";
import type { MilType, TensorType } from "../mil/types.ts";
import type { BatchSizes } from "./family.ts";
import type { Model } from "./model.ts";
import type { StageInstance } from "./parameters.ts";
import type { WeightSpec } from "./weights.ts";

/** The first elements of a weight, as many as `type` has: all of them, or the rows of the positions in use. */
export type NumbersOf = (weight: WeightSpec, type: TensorType) => Literal;

/**
 * A model's forward pass as one function with its weights in it: `tokens` int32 [B, S] to `logits` [B, S, V], those at
 * a position for the token after it. Each layer stands in it once; a tied table is one constant.
 */
export function wholeForward(model: Model, sizes: BatchSizes, numbersOf: NumbersOf): MilFunction {
  const { batchSize, sequenceLength, dataType } = sizes;
  const writer = new StageInliner(numbersOf);
  const tokens = writer.builder.input("tokens", tensorType("int32", [batchSize, sequenceLength]));
  const { embed, block, everyLogits } = model.functions;
  const { parameters } = model;
  let hidden = writer.inline(embed(sizes), parameters.embed, { tokens });
  const layers = new Map<string | undefined, MilFunction>();
  for (const instance of parameters.blocks) {
    const { variant } = instance;
    const layer = layers.get(variant) ?? block({ ...sizes, variant });
    layers.set(variant, layer);
    hidden = writer.inline(layer, instance, { hidden });
  }
  const rows = everyLogits({ rowCount: batchSize * sequenceLength, dataType });
  const logits = writer.inline(rows, parameters.head, { hidden });
  const shape = [batchSize, sequenceLength, model.config.vocabularySize];
  return writer.builder.finish({
    logits: writer.builder.op("reshape", { x: logits, shape }),
  });
}

/** Copies stage functions into one function, with constants where the stages have weights as inputs. */
class StageInliner {
  readonly builder = new FunctionBuilder("main");
  readonly #numbersOf: NumbersOf;
  readonly #weights = new Map<string, Value>();
  /** Constants of the stage functions, such as tables of positions, which every layer shares. */
  readonly #constants = new Map<Value, Value>();

  constructor(numbersOf: NumbersOf) {
    this.#numbersOf = numbersOf;
  }

  /** Returns the stage's one result. */
  inline(
    stage: MilFunction,
    { weights, group }: StageInstance,
    activations: Readonly<Record<string, Value>>,
  ): Value {
    const specs = new Map(weights.map((weight) => [weight.parameter, weight]));
    const copies = new Map<Value, Value>();
    for (const input of stage.inputs) {
      const weight = specs.get(input.name);
      const bound =
        weight === undefined ? activations[input.name] : this.#weight(weight, input.type);
      if (bound === undefined) {
        throw new MilError("mil.inline.input", `"${stage.name}" wants "${input.name}"`);
      }
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
      const inputs = new Map<string, Argument>();
      for (const [name, argument] of operation.inputs) {
        inputs.set(name, isOperandList(argument) ? argument.map(copyOf) : copyOf(argument));
      }
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
    const [result] = stage.outputs;
    const copy = result === undefined ? undefined : copies.get(result);
    if (copy === undefined) {
      throw new MilError("mil.inline.result", `"${stage.name}" has no result`);
    }
    return copy;
  }

  #weight(spec: WeightSpec, type: MilType): Value {
    if (type.kind !== "tensor") {
      throw new MilError("mil.inline.input", `weight "${spec.name}" is ${formatType(type)}`);
    }
    const key = `${spec.name} ${formatType(type)}`;
    let value = this.#weights.get(key);
    if (value === undefined) {
      value = this.builder.constant(this.#numbersOf(spec, type), spec.name.replaceAll(/\W/g, "_"));
      this.#weights.set(key, value);
    }
    return value;
  }

  #constant(original: Value, literal: Literal): Value {
    let value = this.#constants.get(original);
    if (value === undefined) {
      value = this.builder.constant(literal, original.name);
      this.#constants.set(original, value);
    }
    return value;
  }
}
