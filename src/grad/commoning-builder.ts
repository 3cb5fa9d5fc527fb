import { FunctionBuilder } from "../mil/builder.ts";
import { OperationKeys } from "../mil/operation-key.ts";
import type { Operation, Value } from "../mil/program.ts";
import { isPure } from "../mil/traverse.ts";
import type { MilType } from "../mil/types.ts";

/**
 * A builder that writes no op twice: an op with the same inputs as an earlier one, of the function that is
 * differentiated included, is that one's result.
 */
export class CommoningBuilder extends FunctionBuilder {
  readonly #known = new Map<string, readonly Value[]>();
  readonly #keys = new OperationKeys();
  readonly #writers = new Map<Value, Operation>();

  /** The op that was written for a value; nothing for the values of other functions. */
  writerOf(value: Value): Operation | undefined {
    return this.#writers.get(value);
  }

  /** Ops whose results may be used in place of new ones. */
  know(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (isPure(operation) && operation.blocks.length === 0) {
        this.#known.set(this.#keys.keyOf(operation), operation.outputs);
      }
    }
  }

  override append(
    operation: Omit<Operation, "outputs">,
    name?: string,
    types?: readonly MilType[],
  ): readonly Value[] {
    if (operation.blocks.length > 0 || !isPure({ ...operation, outputs: [] })) {
      return super.append(operation, name, types);
    }
    const key = this.#keys.keyOf(operation);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const outputs = super.append(operation, name, types);
    this.#known.set(key, outputs);
    for (const output of outputs) this.#writers.set(output, { ...operation, outputs });
    return outputs;
  }
}
