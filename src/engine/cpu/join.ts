import { replaceOperands } from "../../mil/traverse.ts";
import { namedValue, plainOperation } from "../../mil/program.ts";
import type { Argument, MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { int32sLiteral } from "../../mil/literal.ts";
import { sameType, staticShape } from "../../mil/types.ts";
import type { MilType } from "../../mil/types.ts";
import { overlaps, regionKey, sameRegion } from "../../plan/regions.ts";
import type { BoundDispatch, Region } from "../../plan/regions.ts";

/** Several dispatches as one function: what one writes and the next reads never leaves it. */
export interface JoinedFunction {
  readonly fn: MilFunction;
  /** Regions behind the function's inputs and outputs, in their order. */
  readonly inputs: readonly Region[];
  readonly outputs: readonly Region[];
}

/** Names are numbers in order of appearance, so that equal work gives equal functions. */
class Joiner {
  readonly #operations: Operation[] = [];
  readonly #inputs: { readonly value: Value; readonly region: Region }[] = [];
  readonly #written: { readonly region: Region; value: Value }[] = [];
  #counter = 0;

  /** Whether a dispatch's regions either equal those already in use or lie apart from them. */
  accepts(dispatch: BoundDispatch): boolean {
    const fits = (region: Region, others: readonly { readonly region: Region }[]): boolean =>
      others.every((other) => sameRegion(region, other.region) || !overlaps(region, other.region));
    return (
      dispatch.inputs.every(({ region }) => fits(region, this.#written)) &&
      dispatch.outputs.every(
        ({ region }) => fits(region, this.#written) && fits(region, this.#inputs),
      )
    );
  }

  add(dispatch: BoundDispatch): void {
    const values = new Map<Operand, Value>();
    for (const { value, region } of dispatch.inputs)
      values.set(value, this.#read(region, value.type));
    const swap = (operand: Operand): Operand => values.get(operand) ?? operand;
    for (const operation of dispatch.fn.operations) {
      const outputs = operation.outputs.map((output): Value => {
        const value = Object.freeze({ ...output, name: this.#fresh("v") });
        values.set(output, value);
        return value;
      });
      this.#operations.push(Object.freeze({ ...replaceOperands(operation, swap), outputs }));
    }
    // All outputs are computed from what the buffers held before any of them is written.
    const results = dispatch.outputs.map(({ value, region, mode }) => {
      const result = values.get(value) ?? value;
      if (mode === "write") return { region, value: result };
      const held = this.#read(region, value.type);
      return { region, value: this.#append("add", { x: held, y: result }, value.type) };
    });
    for (const { region, value } of results) {
      const known = this.#written.find((written) => sameRegion(written.region, region));
      if (known === undefined) this.#written.push({ region, value });
      else known.value = value;
    }
  }

  finish(isNeeded: (region: Region) => boolean): JoinedFunction {
    const needed = this.#written.filter(({ region }) => isNeeded(region));
    const outputs: Value[] = [];
    for (const { value } of needed) {
      // Two outputs of one value, or an input passed through, get a value of their own.
      const isTaken =
        outputs.includes(value) || this.#inputs.some((input) => input.value === value);
      outputs.push(
        isTaken || value.constant !== undefined
          ? this.#append("identity", { x: value }, value.type)
          : value,
      );
    }
    return {
      fn: Object.freeze({
        name: "main",
        opset: "ios18",
        inputs: this.#inputs.map(({ value }) => value),
        operations: this.#operations,
        outputs,
        attributes: new Map(),
      }),
      inputs: this.#inputs.map(({ region }) => region),
      outputs: needed.map(({ region }) => region),
    };
  }

  #fresh(base: string): string {
    return `${base}${this.#counter++}`;
  }

  #append(type: string, inputs: Readonly<Record<string, Argument>>, result: MilType): Value {
    const output = namedValue(this.#fresh("v"), result);
    this.#operations.push(plainOperation(type, inputs, [output]));
    return output;
  }

  /** A region's present contents, under the type the reader declares. */
  #read(region: Region, type: MilType): Value {
    const written = this.#written.find((other) => sameRegion(other.region, region));
    const known =
      written?.value ?? this.#inputs.find((input) => sameRegion(input.region, region))?.value;
    if (known === undefined) {
      const value = namedValue(this.#fresh("i"), type);
      this.#inputs.push({ value, region });
      return value;
    }
    if (sameType(known.type, type) || type.kind !== "tensor") return known;
    return this.#append("reshape", { x: known, shape: int32sLiteral(staticShape(type)) }, type);
  }
}

/**
 * Joins dispatches into as few functions as their buffers allow: a dispatch whose regions overlap what came
 * before without being equal starts a new one.
 * @param isNeeded whether contents a group wrote are read after it (`end` counts dispatches)
 */
export function joinDispatches(
  dispatches: readonly BoundDispatch[],
  isNeeded: (region: Region, end: number) => boolean,
): readonly { readonly joined: JoinedFunction; readonly dispatches: readonly BoundDispatch[] }[] {
  const groups: { joined: JoinedFunction; dispatches: readonly BoundDispatch[] }[] = [];
  let joiner = new Joiner();
  let members: BoundDispatch[] = [];
  const close = (end: number): void => {
    if (members.length > 0) {
      groups.push({
        joined: joiner.finish((region) => isNeeded(region, end)),
        dispatches: members,
      });
    }
    joiner = new Joiner();
    members = [];
  };
  dispatches.forEach((dispatch, index) => {
    if (members.length > 0 && !joiner.accepts(dispatch)) close(index);
    joiner.add(dispatch);
    members.push(dispatch);
  });
  close(dispatches.length);
  return groups;
}

/** A text that is equal for groups that compute the same over buffers of the same pattern. */
export function patternOf(
  dispatches: readonly BoundDispatch[],
  outputs: readonly Region[],
): string {
  const numbers = new Map<string, number>();
  const number = (region: Region): number => {
    const key = regionKey(region);
    const known = numbers.get(key) ?? numbers.size;
    numbers.set(key, known);
    return known;
  };
  const parts = dispatches.map(
    ({ program, inputs, outputs: results }) =>
      `${program}(${inputs.map(({ region }) => number(region)).join(",")})->${results
        .map(({ region, mode }) => `${number(region)}${mode === "accumulate" ? "+" : ""}`)
        .join(",")}`,
  );
  return `${parts.join(";")}=>${outputs.map(number).join(",")}`;
}
