import { opRow } from "./ops/index.ts";
import { isValue, mapInputs, operandsOf } from "./program.ts";
import type { Block, MilFunction, Operand, Operation, Value } from "./program.ts";

/** Values an op reads: its operands and, for ops with nested blocks, what those take from outside. */
export function* valuesReadBy(operation: Operation): Generator<Value> {
  for (const operand of operandsOf(operation)) if (isValue(operand)) yield operand;
  for (const block of operation.blocks) yield* capturesOf(block);
}

/** The op that makes each value of a function. */
export function makersOf(fn: MilFunction): ReadonlyMap<Value, Operation> {
  const makers = new Map<Value, Operation>();
  for (const operation of fn.operations) {
    for (const output of operation.outputs) makers.set(output, operation);
  }
  return makers;
}

/** The ops that read each value, in their order; one that reads it twice stands there twice. */
export function readersOf(fn: MilFunction): ReadonlyMap<Value, readonly Operation[]> {
  const readers = new Map<Value, Operation[]>();
  for (const operation of fn.operations) {
    for (const value of valuesReadBy(operation)) {
      const list = readers.get(value);
      if (list === undefined) readers.set(value, [operation]);
      else list.push(operation);
    }
  }
  return readers;
}

/** Values a block reads that are not made inside it. */
export function capturesOf(block: Block): readonly Value[] {
  const inside = new Set<Value>(block.inputs);
  const outside = new Set<Value>();
  for (const operation of block.operations) {
    for (const value of valuesReadBy(operation)) if (!inside.has(value)) outside.add(value);
    for (const output of operation.outputs) inside.add(output);
  }
  for (const output of block.outputs) if (!inside.has(output)) outside.add(output);
  return [...outside];
}

/** The op with its operands replaced, inside nested blocks too; the same object when nothing changes. */
export function replaceOperands(
  operation: Operation,
  replace: (operand: Operand) => Operand,
): Operation {
  let changed = false;
  const swap = (operand: Operand): Operand => {
    const next = replace(operand);
    if (next !== operand) changed = true;
    return next;
  };
  const inputs = mapInputs(operation, swap);
  const blocks = operation.blocks.map((block) => {
    const next = replaceInBlock(block, replace);
    if (next !== block) changed = true;
    return next;
  });
  return changed
    ? Object.freeze({ ...operation, inputs, blocks: Object.freeze(blocks) })
    : operation;
}

function replaceInBlock(block: Block, replace: (operand: Operand) => Operand): Block {
  const operations = block.operations.map((operation) => replaceOperands(operation, replace));
  const outputs = block.outputs.map((output) => {
    const next = replace(output);
    return isValue(next) ? next : output;
  });
  const changed =
    operations.some((operation, index) => operation !== block.operations[index]) ||
    outputs.some((output, index) => output !== block.outputs[index]);
  return changed
    ? Object.freeze({
        ...block,
        operations: Object.freeze(operations),
        outputs: Object.freeze(outputs),
      })
    : block;
}

/** The op with values replaced where it reads and where it makes them; the same object when nothing changes. */
export function renameValues(operation: Operation, renamed: ReadonlyMap<Value, Value>): Operation {
  const read = replaceOperands(operation, (operand) =>
    isValue(operand) ? (renamed.get(operand) ?? operand) : operand,
  );
  if (!operation.outputs.some((output) => renamed.has(output))) return read;
  const outputs = operation.outputs.map((output) => renamed.get(output) ?? output);
  return Object.freeze({ ...read, outputs: Object.freeze(outputs) });
}

/**
 * Whether an op may be left out, run twice or merged with an equal one. Ops outside the table may not: nobody
 * knows what they do.
 */
export function isPure(operation: Operation): boolean {
  const row = opRow(operation.type);
  return (
    row !== undefined &&
    row.impure !== true &&
    operation.blocks.every((block) => block.operations.every(isPureOrConstant))
  );
}

function isPureOrConstant(operation: Operation): boolean {
  return operation.type === "const" || isPure(operation);
}
