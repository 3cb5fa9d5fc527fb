import type { OpCall } from "../op-call.ts";
import { sameType } from "../types.ts";
import type { DataType, Dimension, MilType } from "../types.ts";

/** Sizes agree when they are equal or one is not known yet. */
export function agree(a: Dimension, b: Dimension): boolean {
  return a === b || a === "?" || b === "?";
}

export function sameOrUnknown(a: readonly Dimension[], b: readonly Dimension[]): boolean {
  return a.length === b.length && a.every((size, axis) => agree(size, b[axis] ?? 1));
}

/** Types are equal up to sizes that one side does not know. */
export function typeFits(type: MilType, declared: MilType): boolean {
  if (type.kind === "tensor" && declared.kind === "tensor") {
    return type.dataType === declared.dataType && sameOrUnknown(type.shape, declared.shape);
  }
  if (type.kind === "list" && declared.kind === "list") {
    return agree(type.length, declared.length) && typeFits(type.element, declared.element);
  }
  return sameType(type, declared);
}

/** The better known of two sizes that agree. */
export function known(a: Dimension, b: Dimension): Dimension {
  return a === "?" ? b : a;
}

/** A size from the sizes it depends on, unknown where one of them is. */
export function derive(
  sizes: readonly Dimension[],
  compute: (...known: readonly number[]) => number,
): Dimension {
  const numbers: number[] = [];
  for (const size of sizes) {
    if (size === "?") return "?";
    numbers.push(size);
  }
  return compute(...numbers);
}

export function product(sizes: readonly Dimension[]): Dimension {
  return derive(sizes, (...all) => all.reduce((count, size) => count * size, 1));
}

export function sum(sizes: readonly Dimension[]): Dimension {
  return derive(sizes, (...all) => all.reduce((total, size) => total + size, 0));
}

export function formatShape(shape: readonly Dimension[]): string {
  return `[${shape.join(", ")}]`;
}

/** The element type several parameters share. Throws where they differ. */
export function commonDataType(call: OpCall, ...names: readonly string[]): DataType {
  const given = names.filter((name) => call.has(name));
  const [first = ""] = given;
  const dataType = call.dataType(first);
  for (const name of given) {
    if (call.dataType(name) !== dataType) {
      throw call.fail(
        `${first} and ${name} must have one element type, not ${dataType} and ${call.dataType(name)}`,
        "Cast one of them.",
      );
    }
  }
  return dataType;
}

/** Throws unless a parameter, where it is given, is a vector of one number for each of `count` things. */
export function checkVector(call: OpCall, name: string, count: Dimension, each: string): void {
  if (!call.has(name)) return;
  const [size, ...rest] = call.shape(name);
  if (size === undefined || rest.length > 0 || !agree(size, count)) {
    throw call.fail(`${name} must hold ${count} numbers, one for each ${each}`);
  }
}

/** As `checkVector`, one number for each channel, the channels being axis 1 of x. */
export function checkPerChannel(call: OpCall, name: string): void {
  const [, channels] = call.shape("x");
  if (channels === undefined) throw call.fail("x must have channels (axis 1)");
  checkVector(call, name, channels, "channel (axis 1 of x)");
}

/** Throws unless a tensor has a rank in `[minimum, maximum]`. */
export function checkRank(call: OpCall, name: string, minimum: number, maximum = 5): void {
  const { length } = call.shape(name);
  if (length < minimum || length > maximum) {
    const wanted = minimum === maximum ? `${minimum}` : `${minimum} to ${maximum}`;
    throw call.fail(`${name} must have rank ${wanted}, not ${length}`);
  }
}
