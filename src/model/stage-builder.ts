import { FunctionBuilder } from "../mil/builder.ts";
import { tensorLiteral } from "../mil/literal.ts";
import type { OpName, OPS } from "../mil/ops/index.ts";
import type { OpInputs } from "../mil/op-row.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { tensorType } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { didYouMean } from "../util/nearest.ts";
import { ModelError } from "./errors.ts";
import type { WeightSpec } from "./weights.ts";

/** Element type of a stage's activations and weights: fp32 on the CPU, fp16 on the engine. */
export type StageDataType = "fp32" | "fp16";

/** Writes a stage function: a function builder that knows the stage's weights by parameter name. */
export class StageBuilder {
  readonly dataType: StageDataType;
  readonly #builder: FunctionBuilder;
  readonly #weights = new Map<string, Value>();
  readonly #specs: readonly WeightSpec[];

  constructor(name: string, specs: readonly WeightSpec[], dataType: StageDataType) {
    this.#builder = new FunctionBuilder(name);
    this.#specs = specs;
    this.dataType = dataType;
  }

  input(name: string, shape: readonly number[], dataType: DataType = this.dataType): Value {
    return this.#builder.input(name, tensorType(dataType, shape));
  }

  /** Declares the stage's weights as inputs, after its activations. `shapes` replaces some by part of them. */
  declareWeights(shapes: Readonly<Record<string, readonly number[]>> = {}): void {
    for (const { parameter, type } of this.#specs) {
      const shape = shapes[parameter] ?? type.shape;
      this.#weights.set(
        parameter,
        this.#builder.input(parameter, tensorType(this.dataType, shape)),
      );
    }
  }

  weight(parameter: string): Value {
    const value = this.#weights.get(parameter);
    if (value === undefined)
      throw new ModelError(
        "model.weight.unknown",
        `stage "${this.#builder.name}" has no weight "${parameter}".${didYouMean(parameter, this.#weights.keys())}`,
      );
    return value;
  }

  hasWeight(parameter: string): boolean {
    return this.#weights.has(parameter);
  }

  op<Name extends OpName>(type: Name, inputs: OpInputs<(typeof OPS)[Name]>, name?: string): Value {
    return this.#builder.op(type, inputs, name === undefined ? {} : { name });
  }

  many<Name extends OpName>(
    type: Name,
    inputs: OpInputs<(typeof OPS)[Name]>,
    name?: string,
  ): readonly Value[] {
    return this.#builder.many(type, inputs, name === undefined ? {} : { name });
  }

  /** Two results of an op, for `split`. */
  pair<Name extends OpName>(
    type: Name,
    inputs: OpInputs<(typeof OPS)[Name]>,
    name?: string,
  ): readonly [Value, Value] {
    const [first, second, ...rest] = this.many(type, inputs, name);
    if (first === undefined || second === undefined || rest.length > 0)
      throw new ModelError("model.stage.results", `${type} must have two results here`);
    return [first, second];
  }

  constant(values: Float32Array, shape: readonly number[], name: string): Value {
    return this.#builder.constant(tensorLiteral(this.dataType, shape, values), name);
  }

  finish(outputs: Readonly<Record<string, Value>>): MilFunction {
    return this.#builder.finish(outputs);
  }
}
