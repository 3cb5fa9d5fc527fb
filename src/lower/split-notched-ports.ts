import type { FunctionBuilder } from "../mil/builder.ts";
import { namedValue } from "../mil/program.ts";
import type { MilFunction, Operation, Value } from "../mil/program.ts";
import { elementCount, tensorType } from "../mil/types.ts";
import { valuesReadBy } from "../mil/traverse.ts";
import { familyIndex } from "../chip/chip.ts";
import type { Chip, Driver } from "../chip/chip.ts";
import { inStreamNotch } from "../chip/cost/model.ts";
import { knownShape, operandOf } from "../mil/match.ts";
import { rewritingOnce } from "../passes/rewrite.ts";
import type { RewriteContext } from "../passes/rewrite.ts";
import type { EngineInput, EngineProgram } from "./ports.ts";
import { priceOf, rowsOf, splitPoint } from "./split-notched-weights.ts";

/**
 * The same for weights that are inputs: a matrix in the notch comes through two ports that hold its first and its
 * last rows. A product that contracts the rows becomes a sum of two, one that keeps them joins two results.
 */
export function splitNotchedPorts(
  program: EngineProgram,
  chip: Chip,
  driver: Driver,
): EngineProgram {
  if (familyIndex(chip.family) > familyIndex("H16")) return program;
  const isNotched = new Set(program.function.inputs.filter(inNotch).map(({ name }) => name));
  let current = program;
  for (const { name } of program.inputs) {
    if (!isNotched.has(name)) continue;
    const next = splitPort(current, name, chip);
    if (next === undefined) continue;
    if (priceOf(next.function, chip, driver) < priceOf(current.function, chip, driver))
      current = next;
  }
  return current;
}

function inNotch(port: Value): boolean {
  const shape = knownShape(port);
  return shape?.length === 2 && inStreamNotch(2 * elementCount(shape));
}

function splitPort(program: EngineProgram, name: string, chip: Chip): EngineProgram | undefined {
  const { function: fn, inputs } = program;
  const port = fn.inputs.find((input) => input.name === name);
  const from = inputs.find((input) => input.name === name);
  const shape = knownShape(port);
  if (port === undefined || from?.conversion.kind !== "half" || shape?.length !== 2)
    return undefined;
  const [rows = 0, columns = 0] = shape;
  const first = inStreamNotch(2 * rows * columns) ? splitPoint(rows, columns) : undefined;
  if (first === undefined || !isWeightOnly(fn, port)) return undefined;
  const parts = [
    { begin: 0, end: first },
    { begin: first, end: rows },
  ].map(({ begin, end }, index) => {
    const partName = `${name}_rows${index}`;
    const value = namedValue(partName, tensorType("fp16", [end - begin, columns]));
    const start = from.conversion.kind === "half" ? from.conversion.start : 0;
    const conversion = {
      kind: "half",
      start: start + begin * columns,
      count: (end - begin) * columns,
    } as const;
    const input: EngineInput = { name: partName, from: from.from, conversion };
    return { value, input, begin, end };
  });
  const values = parts.map(({ value }) => value);
  const opened = { ...fn, inputs: [...fn.inputs, ...values] };
  const turn = familyIndex(chip.family) <= familyIndex("H14");
  const split = rewritingOnce(
    "split weights in the notch",
    () => (operation, context) =>
      operandOf(operation, "y") === port && operation.type === "matmul"
        ? productOfParts(operation, parts, context, turn)
        : undefined,
  )(opened);
  if (reads(split, port)) return undefined;
  const place = <Item extends { readonly name: string }>(
    items: readonly Item[],
    inPlace: readonly Item[],
  ): readonly Item[] => items.flatMap((item) => (item.name === name ? inPlace : [item]));
  return Object.freeze({
    ...program,
    function: Object.freeze({ ...split, inputs: Object.freeze(place(fn.inputs, values)) }),
    inputs: place(
      inputs,
      parts.map(({ input }) => input),
    ),
  });
}

function reads(fn: MilFunction, value: Value): boolean {
  return (
    fn.outputs.includes(value) ||
    fn.operations.some((operation) => [...valuesReadBy(operation)].includes(value))
  );
}

function isWeightOnly(fn: MilFunction, port: Value): boolean {
  if (fn.outputs.includes(port)) return false;
  return fn.operations.every(
    (operation) =>
      ![...valuesReadBy(operation)].includes(port) ||
      (operation.type === "matmul" &&
        operandOf(operation, "y") === port &&
        operandOf(operation, "x") !== port &&
        knownShape(operandOf(operation, "x"))?.length === 2),
  );
}

function productOfParts(
  operation: Operation,
  parts: readonly { readonly value: Value; readonly begin: number; readonly end: number }[],
  { emit, call }: RewriteContext,
  turn: boolean,
): Value | undefined {
  const x = operandOf(operation, "x");
  if (x === undefined) return undefined;
  const transposeX = call.bool("transpose_x");
  if (call.bool("transpose_y")) {
    const results = parts.map(({ value }) =>
      emit.op("matmul", { x, y: value, transpose_x: transposeX, transpose_y: true }),
    );
    return emit.op("concat", { values: results, axis: 1, interleave: false });
  }
  const rows = rowsOf(emit, x, transposeX, turn);
  const products = parts.map(({ value, begin, end }) =>
    emit.op("matmul", {
      x: rows.slice(begin, end),
      y: value,
      transpose_x: rows.transposeX,
      transpose_y: false,
    }),
  );
  return sum(emit, products);
}

function sum(emit: FunctionBuilder, values: readonly Value[]): Value | undefined {
  const [first, ...rest] = values;
  return first && rest.reduce((so, value) => emit.op("add", { x: so, y: value }), first);
}
