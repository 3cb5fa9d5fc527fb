import type { Chip, Driver } from "../../chip/chip.ts";
import { buildDecodePlan } from "../../generate/decode-plan.ts";
import { freezeOperation, programOf } from "../../mil/builder.ts";
import { isOperandList, literalOf, namedValue } from "../../mil/program.ts";
import type { Argument, Literal, MilFunction, Operation, Value } from "../../mil/program.ts";
import { printProgram } from "../../mil/text/index.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import { placePlan } from "../../lower/place-plan.ts";
import { modelOf } from "../../model/model.ts";
import type { Plan } from "../../plan/plan.ts";
import { buildTrainingPlan } from "../../train/step/step-plan.ts";
import { PRESETS } from "../../train/config/presets.ts";
import type { Level } from "./probe.ts";
import { grouped } from "../../util/grouped.ts";

/** An op as the plans have it, alone in a program. */
export interface OpRow {
  /** `op.matmul [8, 64] x [64, 128]`: op and shapes. */
  readonly id: string;
  readonly op: string;
  readonly text: string;
  /** Presets whose plans have it, or one of its class. */
  readonly presets: readonly string[];
}

/** Rows of a plan: small, so that the shapes are those of the model and not of the batch. */
const BATCH = { batchSize: 1, sequenceLength: 32 } as const;
/** Larger operands tell nothing more and take long to check on the host. */
const MAXIMUM_ELEMENTS = 1 << 18;
const ROWS_PER_OP: Readonly<Record<Level, number>> = { quick: 1, default: 3, thorough: 12 };

/**
 * The ops of the training and decoding plans of every preset as the engine takes them for a chip, some rows an
 * op from its smallest shapes to its largest.
 */
export function collectOps(chip: Chip, driver: Driver, level: Level): readonly OpRow[] {
  const found = new Map<string, { row: OpRow; size: number; presets: Set<string> }>();
  for (const [preset, { model: config }] of PRESETS) {
    const model = modelOf(config);
    const plans: readonly Plan[] = [
      buildTrainingPlan({ model, ...BATCH, accumulation: false }).plan,
      buildDecodePlan({ model, bucket: 64, prefillRowCount: 32 }),
    ];
    for (const plan of plans) {
      for (const placed of placePlan(plan, chip, driver).values()) {
        if (placed.place !== "engine") continue;
        for (const operation of placed.program.function.operations) {
          if (operation.type === "const") continue;
          const made = rowOf(operation, preset);
          if (made === undefined) continue;
          const known = found.get(made.key);
          known?.presets.add(preset);
          const presets = known?.presets ?? new Set([preset]);
          if (known === undefined || made.size < known.size)
            found.set(made.key, { row: made.row, size: made.size, presets });
        }
      }
    }
  }
  const rows = [...found.values()]
    .sort((a, b) => a.size - b.size)
    .map(({ row, presets }) => ({ ...row, presets: [...presets] }));
  const byOp = grouped(rows, ({ op }) => op);
  return [...byOp.keys()].sort().flatMap((op) => spread(byOp.get(op) ?? [], ROWS_PER_OP[level]));
}

/** The smallest, the largest and some between; of one, that in the middle. */
function spread(rows: readonly OpRow[], count: number): readonly OpRow[] {
  if (rows.length <= count) return rows;
  const last = rows.length - 1;
  const places = Array.from({ length: count }, (_, i) =>
    count === 1 ? last >> 1 : Math.round((i * last) / (count - 1)),
  );
  return places.flatMap((place) => rows[place] ?? []);
}

/** An operation alone: its operands that are no constants become inputs. */
function rowOf(
  operation: Operation,
  preset: string,
): { readonly key: string; readonly size: number; readonly row: OpRow } | undefined {
  const inputs: Value[] = [];
  const replaced = new Map<Value, Value>();
  const swap = (argument: Argument): Argument => {
    if (isOperandList(argument)) return argument.map((operand) => swap(operand) as Value);
    const literal = literalOf(argument);
    if (literal !== undefined) return literal;
    if (argument.kind !== "value") return argument;
    const known = replaced.get(argument);
    if (known !== undefined) return known;
    const input = namedValue(`x${inputs.length}`, argument.type);
    inputs.push(input);
    replaced.set(argument, input);
    return input;
  };
  const operands = new Map([...operation.inputs].map(([name, value]) => [name, swap(value)]));
  const outputs = operation.outputs.map((output, index) =>
    Object.freeze({ ...output, name: `result${index}` }),
  );
  const alone = freezeOperation({
    ...operation,
    inputs: operands,
    outputs,
    attributes: new Map<string, Literal>(),
  });
  const shapes = [...inputs, ...outputs].map(({ type }) =>
    type.kind === "tensor" ? staticShape(type) : [],
  );
  const size = Math.max(...shapes.map(elementCount));
  if (inputs.length === 0 || size > MAXIMUM_ELEMENTS) return undefined;
  const fn: MilFunction = Object.freeze({
    name: "main",
    opset: "ios18",
    attributes: new Map<string, Literal>(),
    inputs,
    operations: [alone],
    outputs,
  });
  const settings = settingsKey(operands);
  const shown = inputs.map(({ type }) =>
    type.kind === "tensor" ? `[${type.shape.join(", ")}]` : "?",
  );
  const id = `op.${operation.type} ${shown.join(" x ")}${settings === "" ? "" : ` ${settings}`}`;
  const key = `${operation.type} ${shapes.map(shapeClass).join(" ")} ${settings}`;
  return {
    key,
    size,
    row: { id, op: operation.type, text: printProgram(programOf(fn)), presets: [preset] },
  };
}

/** Sizes by their order of magnitude: 1, small, a row, a wide row. */
function shapeClass(shape: readonly number[]): string {
  return shape
    .map((size) => (size === 1 ? "1" : size <= 128 ? "s" : size <= 1024 ? "m" : "l"))
    .join(",");
}

const SHAPE_SETTINGS = new Set(["shape", "begin", "end", "size", "reps"]);

/** Axes, flags and modes; sizes are in the shapes. */
function settingsKey(operands: ReadonlyMap<string, Argument>): string {
  return [...operands]
    .flatMap(([name, argument]) => {
      if (SHAPE_SETTINGS.has(name) || isOperandList(argument) || argument.kind !== "literal")
        return [];
      const { data } = argument;
      if (data.kind === "strings") return [`${name}=${data.strings.join()}`];
      if (data.kind !== "numbers" || data.numbers.length > 4) return [];
      if (argument.type.kind === "tensor" && argument.type.dataType === "fp16") return [];
      return [`${name}=${Array.from(data.numbers as Iterable<number | bigint>, String).join()}`];
    })
    .join(" ");
}
