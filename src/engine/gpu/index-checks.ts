import type { Operand, Value } from "../../mil/program.ts";
import { isOperandList, isValue } from "../../mil/program.ts";
import { literalNumbers } from "../../mil/literal.ts";
import { staticShape } from "../../mil/types.ts";
import type { BoundDispatch } from "../../plan/regions.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";

/** Indices that the host writes, and the axis they point into. */
export interface IndexCheck {
  readonly label: string;
  readonly buffer: string;
  readonly offset: number;
  readonly count: number;
  /** Elements of the axis; negative indices count from its end. */
  readonly size: number;
}

/** Ops that take elements of `x` along an axis, or put them there. */
const INDEXED: ReadonlySet<string> = new Set([
  "gather",
  "gather_along_axis",
  "scatter",
  "scatter_along_axis",
]);

/** Ops whose result has the numbers of their operand. */
const SAME_NUMBERS: ReadonlySet<string> = new Set([
  "cast",
  "expand_dims",
  "identity",
  "reshape",
  "squeeze",
]);

/**
 * A device clamps an index outside its axis and says nothing. Those that come from the host are looked at when they are
 * sent; those that a program computes are not.
 */
export function indexChecks({ label, fn, inputs }: BoundDispatch): readonly IndexCheck[] {
  const sources = new Map<Operand, Value>();
  for (const value of fn.inputs) sources.set(value, value);
  const checks: IndexCheck[] = [];
  for (const operation of fn.operations) {
    const x = operation.inputs.get("x") ?? operation.inputs.get("data");
    if (x === undefined || isOperandList(x)) continue;
    if (SAME_NUMBERS.has(operation.type)) {
      const source = sources.get(x);
      const [output] = operation.outputs;
      if (source !== undefined && output !== undefined) sources.set(output, source);
    }
    const indices = operation.inputs.get("indices");
    if (!INDEXED.has(operation.type) || indices === undefined || isOperandList(indices)) continue;
    const source = sources.get(indices);
    const port = inputs.find(({ value }) => value === source);
    const size = axisSize(x, operation.inputs.get("axis"));
    if (port === undefined || size === undefined) continue;
    const { buffer, offset, count } = port.region;
    checks.push({ label, buffer, offset, count, size });
  }
  return checks;
}

function axisSize(x: Operand, axis: Operand | readonly Operand[] | undefined): number | undefined {
  if (x.type.kind !== "tensor") return undefined;
  const shape = staticShape(x.type);
  if (axis === undefined) return shape[0];
  if (isOperandList(axis)) return undefined;
  const literal = isValue(axis) ? axis.constant : axis;
  const place = literal === undefined ? undefined : literalNumbers(literal)[0];
  return place === undefined ? undefined : shape.at(place);
}

/** Throws `EngineError` `engine.index` for the first index outside its axis. */
export function checkIndices({ label, offset, count, size }: IndexCheck, view: BufferView): void {
  for (let at = offset; at < offset + count; at++) {
    const index = view[at] ?? 0;
    if (index >= -size && index < size) continue;
    throw new EngineError(
      "engine.index",
      `${label}: index ${index} is outside the ${size} elements of its axis`,
    );
  }
}
