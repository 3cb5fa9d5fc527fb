import { operandsIn } from "../mil/program.ts";
import { readFlexibleShapes } from "../coreml/flexible-shapes.ts";
import type { FlexibleShape } from "../coreml/flexible-shapes.ts";
import type { Block, Literal, MilFunction, Program, Value } from "../mil/program.ts";
import { DATA_TYPE_BITS, formatType } from "../mil/types.ts";
import type { Dimension } from "../mil/types.ts";
import type { SummarizedPort, SummarizedFunction } from "./summary.ts";

/** An input or output. Values that are no tensors have neither element type nor shape. */
export interface PortSummary extends SummarizedPort {
  readonly dtype?: string;
  readonly shape?: readonly Dimension[];
  readonly flexible?: FlexibleShape;
}

/** What a function takes and gives, and of what it is made. */
export interface FunctionSummary extends SummarizedFunction {
  readonly inputs: readonly PortSummary[];
  readonly outputs: readonly PortSummary[];
  /** How often each op occurs, nested blocks included, the most frequent first; `const` is not counted. */
  readonly ops: SummarizedFunction["ops"];
  readonly constant_count: number;
}

/** A constant tensor. Those of a weight file say where they stand. */
export interface WeightSummary {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly Dimension[];
  readonly bytes: number;
  readonly file?: string;
  readonly offset?: number;
}

/** What a program is made of. */
export interface ProgramSummary {
  readonly version: string;
  readonly functions: readonly FunctionSummary[];
  readonly weights: readonly WeightSummary[];
  readonly weight_bytes: number;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Smaller literals are settings, not weights. */
const WEIGHT_MINIMUM_ELEMENTS = 10;

/** Functions, ops and constants of a program. */
export function summarizeProgram(program: Program): ProgramSummary {
  const weights = weightsOf(program);
  return {
    version: program.version,
    functions: program.functions.map(summarizeFunction),
    weights,
    weight_bytes: weights.reduce((sum, { bytes }) => sum + bytes, 0),
    attributes: Object.fromEntries(
      [...program.attributes].map(([name, literal]) => [name, formatType(literal.type)]),
    ),
  };
}

function summarizeFunction(fn: MilFunction): FunctionSummary {
  const flexible = readFlexibleShapes(fn);
  const counts = new Map<string, number>();
  countOps(fn, counts);
  const constantCount = counts.get("const") ?? 0;
  counts.delete("const");
  const sorted = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  return {
    name: fn.name,
    opset: fn.opset,
    inputs: fn.inputs.map((value) => portOf(value, flexible.get(value.name))),
    outputs: fn.outputs.map((value) => portOf(value, undefined)),
    ops: Object.fromEntries(sorted),
    op_count: sorted.reduce((sum, [, count]) => sum + count, 0),
    constant_count: constantCount,
  };
}

function portOf({ name, type }: Value, flexible: FlexibleShape | undefined): PortSummary {
  return {
    name,
    type: formatType(type),
    ...(type.kind === "tensor" && { dtype: type.dataType, shape: type.shape }),
    ...(flexible !== undefined && { flexible }),
  };
}

function countOps(block: Block, counts: Map<string, number>): void {
  for (const operation of block.operations) {
    counts.set(operation.type, (counts.get(operation.type) ?? 0) + 1);
    for (const nested of operation.blocks) countOps(nested, counts);
  }
}

/** Every constant of some size once, under the name of the op that makes it or the parameter that takes it. */
function weightsOf(program: Program): WeightSummary[] {
  const found = new Map<string | Literal, WeightSummary>();
  const add = (name: string, literal: Literal): void => {
    const { type, data } = literal;
    if (type.kind !== "tensor" || (data.kind !== "numbers" && data.kind !== "blob")) return;
    const count = type.shape.reduce<number>(
      (product, size) => product * (size === "?" ? NaN : size),
      1,
    );
    if (data.kind === "numbers" && data.numbers.length < WEIGHT_MINIMUM_ELEMENTS) return;
    const key = data.kind === "blob" ? `${data.path}\n${data.offset}` : literal;
    if (found.has(key)) return;
    found.set(key, {
      name,
      dtype: type.dataType,
      shape: type.shape,
      bytes: Math.ceil((count * DATA_TYPE_BITS[type.dataType]) / 8),
      ...(data.kind === "blob" && { file: data.path, offset: data.offset }),
    });
  };
  const visit = (block: Block): void => {
    for (const operation of block.operations) {
      const result = operation.outputs[0]?.name ?? operation.type;
      for (const [name, literal] of operation.attributes) {
        add(operation.type === "const" ? result : `${result}.${name}`, literal);
      }
      for (const [name, argument] of operation.inputs) {
        for (const operand of operandsIn(argument))
          if (operand.kind === "literal") add(`${result}.${name}`, operand);
      }
      for (const nested of operation.blocks) visit(nested);
    }
  };
  for (const fn of program.functions) visit(fn);
  return [...found.values()];
}
