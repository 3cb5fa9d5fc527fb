import { operandOf, scalarConstant } from "../../mil/match.ts";
import type { Operand, Value } from "../../mil/program.ts";
import { opRow } from "../../mil/ops/index.ts";
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

/** Whether an op takes elements along an axis by indices, or puts them there. */
function isIndexed(type: string): boolean {
  const parameters = opRow(type)?.parameters ?? {};
  return "indices" in parameters && "axis" in parameters;
}

/** Whether an op's result has the numbers of its operand, in their order. */
const keepsNumbers = (type: string): boolean => type === "cast" || opRow(type)?.kind === "view";

/**
 * A device clamps an index outside its axis and says nothing. Those that come from the host are looked at when they are
 * sent; those that a program computes are not.
 */
export function indexChecks({ label, fn, inputs }: BoundDispatch): readonly IndexCheck[] {
  const sources = new Map<Operand, Value>();
  for (const value of fn.inputs) sources.set(value, value);
  const checks: IndexCheck[] = [];
  for (const operation of fn.operations) {
    const x = operandOf(operation, "x") ?? operandOf(operation, "data");
    if (x === undefined) continue;
    if (keepsNumbers(operation.type)) {
      const source = sources.get(x);
      const [output] = operation.outputs;
      if (source !== undefined && output !== undefined) sources.set(output, source);
    }
    const indices = operandOf(operation, "indices");
    if (!isIndexed(operation.type) || indices === undefined) continue;
    const source = sources.get(indices);
    const port = inputs.find(({ value }) => value === source);
    const size = axisSize(x, operandOf(operation, "axis"));
    if (port === undefined || size === undefined) continue;
    const { buffer, offset, count } = port.region;
    checks.push({ label, buffer, offset, count, size });
  }
  return checks;
}

function axisSize(x: Operand, axis: Operand | undefined): number | undefined {
  if (x.type.kind !== "tensor") return undefined;
  const shape = staticShape(x.type);
  if (axis === undefined) return shape[0];
  const place = scalarConstant(axis);
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
