import { literalNumbers } from "../../../mil/literal.ts";
import { isValue, literalOf } from "../../../mil/program.ts";
import type { Operand, Value } from "../../../mil/program.ts";
import { staticShape } from "../../../mil/types.ts";
import { knownShape, operandOf } from "../../../mil/match.ts";
import { isTransient } from "../../../plan/plan.ts";
import type { Plan } from "../../../plan/plan.ts";
import { regionKey } from "../../../plan/regions.ts";
import type { BoundDispatch, Region } from "../../../plan/regions.ts";
import type { Address } from "./instructions.ts";
import type { RowsInTiles } from "./tiles.ts";
import { refuse } from "./refusal.ts";
import type { RowBuilder, Target } from "./row-builder.ts";
import type { StoredProducts, StoredWeight } from "./stored.ts";
import { countOf, dense, isDense, reshaped, rowsOf } from "./strided.ts";
import type { Strided } from "./strided.ts";

/** What the dispatches of a section share. */
export interface SectionState {
  readonly plan: Plan;
  readonly builder: RowBuilder;
  /** Transient regions by their key. */
  readonly held: Map<string, Strided>;
  /** Those that would hold unpacked weights. */
  readonly stored: Map<string, StoredWeight>;
  readonly products: StoredProducts;
  readonly tiles: RowsInTiles;
}

/** The values of one dispatch's function: where each stands while instructions are written, and where results belong. */
export class RowValues {
  readonly builder: RowBuilder;
  readonly products: StoredProducts;
  readonly tiles: RowsInTiles;
  /** Of the dispatch. */
  readonly label: string;
  readonly #state: SectionState;
  readonly #dispatch: BoundDispatch;
  readonly #values = new Map<Value, Strided>();
  /** Weights that stand otherwise than as fp32. */
  readonly #stored = new Map<Value, StoredWeight>();
  /** Where results of the function belong that stand in persistent buffers. */
  readonly #targets = new Map<Value, Address>();

  /** Finds the inputs and the places of the results. */
  constructor(state: SectionState, dispatch: BoundDispatch) {
    this.builder = state.builder;
    this.products = state.products;
    this.tiles = state.tiles;
    this.label = dispatch.label;
    this.#state = state;
    this.#dispatch = dispatch;
    for (const { value, region } of dispatch.inputs) {
      const stored = state.stored.get(regionKey(region));
      if (stored !== undefined) this.#stored.set(value, stored);
      else this.#values.set(value, this.#input(value, region));
    }
    for (const { value, region, mode } of dispatch.outputs) {
      if (mode !== "write") refuse(`${this.label} adds to "${region.buffer}"`);
      if (!this.#isTransient(region)) this.#targets.set(value, this.#bufferAddress(region));
    }
    this.#aimThroughViews();
  }

  /** Tells where the result of an op stands. */
  set(value: Value, place: Strided): void {
    this.#values.set(value, place);
  }

  /** Where an operand stands; refuses one that is a constant or was not made here. */
  of(operand: Operand | undefined, what = "an operand"): Strided {
    if (operand === undefined || !isValue(operand)) return refuse(`${what} is a constant`);
    const value = this.#values.get(operand);
    return value ?? refuse(`"${operand.name}" is made by what is not run in rows`);
  }

  /** The weight that an operand is, where it stands otherwise than as fp32. */
  storedOf(operand: Operand | undefined): StoredWeight | undefined {
    return operand !== undefined && isValue(operand) ? this.#stored.get(operand) : undefined;
  }

  /** Where an op is to write a value. */
  targetOf(value: Value): Target {
    return this.#targets.get(value) ?? "own";
  }

  /** The value with its numbers one after the other. */
  dense(value: Strided): Strided {
    return isDense(value) ? value : this.#copied(value, "own");
  }

  /** A value, or a constant that stands in the program. */
  operandRow(operand: Operand): Strided {
    if (isValue(operand) && this.#values.has(operand)) return this.of(operand);
    const literal = literalOf(operand);
    if (literal === undefined) return this.of(operand);
    const numbers = Float32Array.from(literalNumbers(literal));
    return dense(this.builder.constant(numbers), knownShape(operand) ?? [], 0);
  }

  /** Brings the results of the function to where they belong. */
  deliver(): void {
    for (const { value, region } of this.#dispatch.outputs) this.#deliver(value, region);
  }

  #deliver(value: Value, region: Region): void {
    const result = this.of(value);
    if (this.#isTransient(region)) {
      this.#state.held.set(regionKey(region), result);
      return;
    }
    const target = this.#bufferAddress(region);
    if (isDense(result) && sameAddress(result.address, target)) return;
    this.#copied(result, target);
  }

  #copied(value: Strided, target: Target): Strided {
    const { shape } = value;
    const width = isDense(value) ? countOf(shape) : (shape.at(-1) ?? 1);
    const rows = rowsOf(value, width);
    if (rows === undefined) return refuse(`a value of ${shape.join(" x ")} stands in pieces`);
    return this.builder.small("copy", shape, [value], target, (result) => [
      value.address,
      result,
      ...rows.sizes,
      width,
      ...rows.strides,
    ]);
  }

  /** A result that is a view of another value of the same order: that one is written where the result belongs. */
  #aimThroughViews(): void {
    const { fn } = this.#dispatch;
    for (const operation of fn.operations.toReversed()) {
      const [output] = operation.outputs;
      const target = output === undefined ? undefined : this.#targets.get(output);
      const x = operandOf(operation, "x");
      if (operation.type !== "reshape" || target === undefined) continue;
      if (x === undefined || !isValue(x) || fn.inputs.includes(x) || this.#targets.has(x)) continue;
      this.#targets.set(x, target);
    }
  }

  #input(value: Value, region: Region): Strided {
    if (value.type.kind !== "tensor") return refuse(`"${value.name}" is no tensor`);
    const { dataType } = value.type;
    if (dataType !== "fp32" && dataType !== "int32")
      return refuse(`"${value.name}" is ${dataType}`);
    const shape = staticShape(value.type);
    if (!this.#isTransient(region)) return dense(this.#bufferAddress(region), shape, 0);
    const held = this.#state.held.get(regionKey(region));
    if (held === undefined) return refuse(`"${value.name}" reads a part of "${region.buffer}"`);
    return reshaped(held, shape);
  }

  #isTransient({ buffer }: Region): boolean {
    const role = this.#state.plan.buffers.get(buffer)?.role;
    return role !== undefined && isTransient(role);
  }

  #bufferAddress({ buffer, offset }: Region): Address {
    return { space: "buffer", buffer, byteOffset: 4 * offset };
  }
}

function sameAddress(a: Address, b: Address): boolean {
  return (
    a.space === b.space &&
    a.byteOffset === b.byteOffset &&
    (a.space !== "buffer" || b.space !== "buffer" || a.buffer === b.buffer)
  );
}
