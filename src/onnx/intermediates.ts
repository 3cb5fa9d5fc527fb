import { opRow } from "../mil/ops/index.ts";
import { isValue, operandsOf } from "../mil/program.ts";
import type { MilFunction, Operation, Value } from "../mil/program.ts";
import { makersOf, valuesReadBy } from "../mil/traverse.ts";
import { DATA_TYPE_BITS, elementCount, staticShape } from "../mil/types.ts";
import { computeTypeOf } from "./element-types.ts";
import { findFusions } from "./fuse/index.ts";
import type { Fusions } from "./fuse/index.ts";

/** Ops the runtime writes over a dying operand of the same size. */
function mayRunInPlace({ type }: Operation): boolean {
  const row = opRow(type);
  return row?.pointwise === true || row?.broadcasts === true || type === "softmax";
}

/** What a function's values take while the runtime runs it, for plans; a program need not be compiled. */
export function estimatedIntermediateBytes(fn: MilFunction): number {
  return intermediateBytes(fn, findFusions(fn));
}

/**
 * The most bytes of values inside a function that are alive at once while the runtime runs it op by op:
 * an estimate of what its arena grows to. Inputs and outputs stand in buffers of the plan and do not count,
 * constants are held throughout and do.
 */
export function intermediateBytes(fn: MilFunction, fusions: Fusions): number {
  const operations = fn.operations.filter((operation) => !fusions.consumed.has(operation));
  const storage = new Map<Value, Value>();
  const rootOf = (value: Value): Value => storage.get(value) ?? value;
  for (const operation of operations) {
    const [x] = operandsOf(operation);
    const [output] = operation.outputs;
    if (
      opRow(operation.type)?.kind === "view" &&
      output !== undefined &&
      x !== undefined &&
      isValue(x)
    )
      storage.set(output, rootOf(x));
  }
  const outside = new Set<Value>([...fn.inputs, ...fn.outputs].map(rootOf));
  const read = readers(fn, fusions);
  const lastUse = new Map<Value, number>();
  operations.forEach((operation, index) => {
    for (const value of read(operation)) lastUse.set(rootOf(value), index);
  });
  const alive = new Map<Value, number>();
  let constants = 0;
  let held = 0;
  let peak = 0;
  operations.forEach((operation, index) => {
    if (operation.type === "const") {
      for (const output of operation.outputs) constants += bytesOf(output);
      return;
    }
    const dying = new Set<Value>();
    for (const value of read(operation)) {
      const root = rootOf(value);
      if (alive.has(root) && lastUse.get(root) === index) dying.add(root);
    }
    for (const output of operation.outputs) {
      if (rootOf(output) !== output || outside.has(output)) continue;
      const bytes = bytesOf(output);
      const victim = mayRunInPlace(operation)
        ? [...dying].find((root) => alive.get(root) === bytes)
        : undefined;
      if (victim !== undefined) {
        dying.delete(victim);
        alive.delete(victim);
        held -= bytes;
      }
      alive.set(output, bytes);
      held += bytes;
    }
    peak = Math.max(peak, held);
    for (const root of [...dying, ...operation.outputs.filter((value) => !lastUse.has(value))]) {
      held -= alive.get(root) ?? 0;
      alive.delete(root);
    }
  });
  return peak + constants;
}

/** What an op reads; a fused root also reads what the ops inside its pattern read. */
function readers(fn: MilFunction, fusions: Fusions): (operation: Operation) => readonly Value[] {
  const makers = makersOf(fn);
  const read = (operation: Operation): Value[] =>
    [...valuesReadBy(operation)].flatMap((value) => {
      const maker = makers.get(value);
      return maker !== undefined && fusions.consumed.has(maker) ? read(maker) : [value];
    });
  return read;
}

function bytesOf(value: Value): number {
  if (value.type.kind !== "tensor") return 0;
  const bits = DATA_TYPE_BITS[computeTypeOf(value.type.dataType)];
  return Math.ceil((elementCount(staticShape(value.type)) * bits) / 8);
}
