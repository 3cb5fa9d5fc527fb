import type { MilFunction, Value } from "../mil/program.ts";
import { byteLengthOf, formatType } from "../mil/types.ts";
import type { MilType } from "../mil/types.ts";
import { ChipError } from "./errors.ts";

/** The largest memory a Mac was sold with: M3 Ultra, Apple's product pages. */
const LARGEST_MEMORY_BYTES = 512 * 2 ** 30;

/**
 * Throws `ChipError` `chip.size` for a value without elements, and for one that no Mac's memory holds, before
 * anything is made of its size. Unknown sizes pass; on the host values may be empty.
 */
export function requirePossibleSizes(fn: MilFunction, mayBeEmpty = false): void {
  for (const value of fn.inputs) requirePossible(value, fn.name, mayBeEmpty);
  for (const { outputs } of fn.operations) {
    for (const value of outputs) requirePossible(value, fn.name, mayBeEmpty);
  }
}

function requirePossible({ name, type }: Value, where: string, mayBeEmpty: boolean): void {
  const problem = impossible(type, mayBeEmpty);
  if (problem === undefined) return;
  throw new ChipError("chip.size", `"${name}" of ${where} is ${formatType(type)}: ${problem}`, {
    remedy: "Give it another size.",
  });
}

function impossible(type: MilType, mayBeEmpty: boolean): string | undefined {
  if (type.kind !== "tensor" || type.shape.includes("?")) return undefined;
  if (!mayBeEmpty && type.shape.includes(0)) return "it has no elements";
  const byteLength = byteLengthOf(type);
  return byteLength > LARGEST_MEMORY_BYTES
    ? `${byteLength.toPrecision(3)} bytes, and the largest Mac has ${LARGEST_MEMORY_BYTES}`
    : undefined;
}
