import { isValue, literalOf } from "../../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { makersOf, readersOf } from "../../mil/traverse.ts";
import type { LoweringSite } from "../lower/site.ts";

/** Writes a whole pattern at its last op and names the values that are used outside it. */
export type EmitFusion = (
  site: LoweringSite,
  name: (value: Value, onnxName: string) => void,
) => void;

export interface Match {
  /** Ops inside the pattern besides the root: written by the fusion if nobody else needs them. */
  readonly inner: readonly Operation[];
  /** Results of inner ops that the fused node gives as well, so others may read them. */
  readonly given?: readonly Value[];
  readonly emit: EmitFusion;
}

/** Who makes and who reads the values of a function. */
export class Uses {
  readonly #makers: ReadonlyMap<Value, Operation>;
  readonly #readers: ReadonlyMap<Value, readonly Operation[]>;
  readonly #outputs: ReadonlySet<Value>;
  readonly #places: ReadonlyMap<Operation, number>;

  constructor(fn: MilFunction) {
    this.#outputs = new Set(fn.outputs);
    this.#places = new Map(fn.operations.map((operation, place) => [operation, place]));
    this.#makers = makersOf(fn);
    this.#readers = readersOf(fn);
  }

  /** The op that makes an operand, when it is of the given type. */
  maker(operand: Operand | undefined, type: string): Operation | undefined {
    if (operand === undefined || !isValue(operand) || literalOf(operand) !== undefined)
      return undefined;
    const maker = this.#makers.get(operand);
    return maker?.type === type ? maker : undefined;
  }

  readers(value: Value): readonly Operation[] {
    return this.#readers.get(value) ?? [];
  }

  /** Place of an op in the function's order. */
  place(operation: Operation): number {
    return this.#places.get(operation) ?? -1;
  }

  isOutput(value: Value): boolean {
    return this.#outputs.has(value);
  }
}

/** Looks for a pattern that ends at `root`. */
export type FindFusion = (root: Operation, uses: Uses) => Match | undefined;
