import { FunctionBuilder } from "../../src/mil/builder.ts";
import type { OpInputs } from "../../src/mil/op-row.ts";
import type { OPS, OpName } from "../../src/mil/ops/index.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { elementCount, isFloat, tensorType } from "../../src/mil/types.ts";
import type { DataType } from "../../src/mil/types.ts";
import { roundToFloat16 } from "../../src/util/float16.ts";
import { Random } from "../../src/util/random.ts";

export interface Range {
  readonly low?: number;
  readonly high?: number;
  /** The numbers themselves, in place of random ones. */
  readonly values?: readonly number[];
}

export interface CaseInput {
  readonly name: string;
  readonly dataType: DataType;
  readonly shape: readonly number[];
  readonly numbers: Float64Array;
}

/** A function over random inputs, made by a recipe. */
export class CaseBuilder {
  readonly f = new FunctionBuilder("main");
  readonly inputs: CaseInput[] = [];
  readonly #random = new Random(7);
  /** Element type of inputs that name none. */
  readonly dataType: DataType;

  constructor(dataType: DataType) {
    this.dataType = dataType;
  }

  /** An input of random numbers: reals in [-2, 2) unless a range says otherwise, integers in [0, 4). */
  x(shape: readonly number[], range: Range = {}, dataType: DataType = this.dataType): Value {
    const name = `x${this.inputs.length}`;
    const real = isFloat(dataType);
    const low = range.low ?? (real ? -2 : 0);
    const high = range.high ?? (real ? 2 : dataType === "bool" ? 2 : 4);
    const numbers = Float64Array.from({ length: elementCount(shape) }, (_, index) => {
      const given = range.values?.[index % range.values.length];
      const value = given ?? low + this.#random.uniform() * (high - low);
      if (!real) return Math.floor(value);
      return dataType === "fp16" ? roundToFloat16(value) : Math.fround(value);
    });
    this.inputs.push({ name, dataType, shape, numbers });
    return this.f.input(name, tensorType(dataType, shape));
  }

  /** Integer inputs. */
  i(shape: readonly number[], range: Range = {}): Value {
    return this.x(shape, range, "int32");
  }

  op<Name extends OpName>(type: Name, inputs: OpInputs<(typeof OPS)[Name]>): Value {
    return this.f.op(type, inputs);
  }

  finish(results: Value | readonly Value[]): MilFunction {
    const list = Array.isArray(results) ? (results as readonly Value[]) : [results as Value];
    return this.f.finish(Object.fromEntries(list.map((value, index) => [`y${index}`, value])));
  }
}

export type Recipe = (b: CaseBuilder) => Value | readonly Value[];
