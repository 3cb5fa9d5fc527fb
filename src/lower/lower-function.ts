import { makersOf } from "../mil/traverse.ts";
import { literalNumbers, tensorLiteral } from "../mil/literal.ts";
import { MilError } from "../mil/errors.ts";
import { OpCall } from "../mil/op-call.ts";
import { isConstexpr, opRow } from "../mil/ops/index.ts";
import { literalOf, mapInputs, operandsIn } from "../mil/program.ts";
import type { Literal, MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { elementCount, formatType, isFloat, staticShape } from "../mil/types.ts";
import type { Chip, Driver } from "../chip/chip.ts";
import type { PlanProgram } from "../plan/plan.ts";
import { UNSUPPORTED_OPS } from "../chip/legality/unsupported-ops.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { isWholeType } from "./comparisons.ts";
import { declaresFloats } from "./declared.ts";
import { rowSumsOfNorms } from "./norm-row-sums.ts";
import { unpackBlockwiseWeights } from "./unpack-blockwise.ts";
import { foldHostConstants } from "./fold-host-constants.ts";
import { isExactForIntegers } from "./integers.ts";
import { Lowering, NotLowered } from "./lowering.ts";
import { maskOf } from "./masks.ts";
import type { OperandScaling } from "./operand-scaling.ts";
import type { EngineProgram } from "./ports.ts";
import { scaleRowSquares } from "./row-squares.ts";
import { LOWERING_RULES } from "./rules.ts";
import { writeSilu } from "./write-silu.ts";
import { tuneProgram } from "./tune-program.ts";
import type { Bounds } from "./writer.ts";

/** Tables with fewer rows come whole. */
const LONG_TABLE = 16384;
/** Into how many parts a longer one comes, and how long a part is at least. */
const TABLE_PARTS = 8;
const SHORTEST_PART = 4096;

export interface ScalingOptions {
  /** "auto" (default): numbers are scaled by powers of two where the engine's grid or ceiling would spoil them. */
  readonly operandScaling?: OperandScaling;
  /** Beside "auto" scaling: silu written out (default), or by the engine's table as until August 2026. */
  readonly silu?: "written" | "table";
}

export type LoweringOptions = ScalingOptions & Pick<PlanProgram, "asWritten">;

/**
 * A function for the engine: fp16 throughout, ops it has, axes it allows; integer inputs become one-hot rows
 * that the host makes, and reductions to a single number are summed by the host. A long table comes in parts,
 * for which the product array waits less than for a whole one (cost model); how many depends on its length alone,
 * so that all programs of a plan share them.
 * Throws `NotLowered` (a `PassError`) where an op has no way round: such a function stays on the host.
 */
export function lowerFunction(
  given: MilFunction,
  chip: Chip,
  driver: Driver,
  { asWritten = false, operandScaling = "auto", silu = "written" }: LoweringOptions = {},
): EngineProgram {
  const fn = unpackBlockwiseWeights(foldHostConstants(given));
  // What the chip needs is rewritten all the same, what it only likes is not.
  if (asWritten) return lowerInParts(fn, chip, driver, Infinity);
  const isWritten = operandScaling === "auto" && silu === "written";
  // Beside August's tables a program is what it was then, so that runs of then go on to the same bits.
  const summed = isWritten ? rowSumsOfNorms(fn) : fn;
  const inOneOp = isWritten && driver === "e5rt";
  const source = operandScaling === "auto" ? scaleRowSquares(inOneOp)(summed) : fn;
  const longest = Math.max(0, ...fn.inputs.map(tableLength));
  const each = Math.max(SHORTEST_PART, 32 * Math.ceil(longest / TABLE_PARTS / 32));
  const parts = longest < LONG_TABLE ? undefined : triedInParts(source, chip, driver, each);
  const tuned = tuneProgram(parts ?? lowerInParts(source, chip, driver, Infinity), chip, driver);
  // Last, because a transposition sinks through one silu and not through an op that reads its operand twice.
  return Object.freeze(isWritten ? { ...tuned, function: writeSilu(tuned.function) } : tuned);
}

function tableLength({ type }: Value): number {
  if (type.kind !== "tensor" || type.shape.length !== 2 || !isFloat(type.dataType)) return 0;
  return Number(type.shape[0]);
}

/** Shorter parts may meet an op that only takes the axis whole. */
function triedInParts(
  fn: MilFunction,
  chip: Chip,
  driver: Driver,
  limit: number,
): EngineProgram | undefined {
  try {
    return lowerInParts(fn, chip, driver, limit);
  } catch (error) {
    if (error instanceof NotLowered) return undefined;
    throw error;
  }
}

function lowerInParts(
  fn: MilFunction,
  chip: Chip,
  driver: Driver,
  partLimit: number,
): EngineProgram {
  const lowering = new Lowering(fn, chip, driver, partLimit);
  const makers = makersOf(fn);
  for (const operation of fn.operations) {
    if (operation.type !== "const" && !isHostSum(lowering, operation))
      lowerOperation(lowering, operation);
  }
  for (const output of fn.outputs) {
    const maker = makers.get(output);
    if (maker !== undefined && isHostSum(lowering, maker)) {
      const call = callOf(lowering, maker);
      lowering.summedOutput(output, lowering.whole(lowering.lookup(call, "x")));
    } else {
      lowering.output(output, lowering.get(output));
    }
  }
  const program = lowering.finish();
  return Object.freeze({ ...program, function: removeDeadCode(program.function) });
}

/** A float sum to one number that leaves the function: fp16 is too coarse for it. */
function isHostSum(lowering: Lowering, operation: Operation): boolean {
  const [output] = operation.outputs;
  if (operation.type !== "reduce_sum" || output?.type.kind !== "tensor") return false;
  if (elementCount(staticShape(output.type)) !== 1 || !isFloat(output.type.dataType)) return false;
  return lowering.isResult(output) && !lowering.isOperand(output);
}

function callOf(lowering: Lowering, operation: Operation): OpCall {
  const row = opRow(operation.type);
  if (row === undefined) throw lowering.refuse(`nothing is known of ${operation.type}`);
  return new OpCall(operation, row);
}

/** A function's op for the engine. What the language itself finds wrong in what is written stays on the host too. */
function lowerOperation(lowering: Lowering, operation: Operation): void {
  try {
    writeOperation(lowering, masked(lowering, operation));
  } catch (error) {
    if (!(error instanceof MilError)) throw error;
    throw lowering.refuse(`${operation.type}: ${error.message}`);
  }
}

/** Constants far below all other numbers, where whatever reads the results absorbs them. */
function masked(lowering: Lowering, operation: Operation): Operation {
  const parameters = Object.hasOwn(MASKED, operation.type) ? MASKED[operation.type] : undefined;
  if (parameters === undefined || !lowering.masks.absorb(operation)) return operation;
  const swap = (operand: Operand): Operand => {
    const literal = literalOf(operand);
    return literal === undefined ? operand : (maskOf(literal) ?? operand);
  };
  if (operation.type === "sub") {
    const taken = literalOf(callOf(lowering, operation).operand("y"));
    const mask = taken === undefined ? undefined : maskOf(negated(taken));
    if (mask === undefined) return operation;
    return { ...operation, inputs: new Map(operation.inputs).set("y", negated(mask)) };
  }
  const inputs = mapInputs(operation, (operand, name) =>
    parameters.includes(name) ? swap(operand) : operand,
  );
  return { ...operation, inputs };
}

function negated(literal: Literal): Literal {
  const { type } = literal;
  if (type.kind !== "tensor" || literal.data.kind !== "numbers") return literal;
  return tensorLiteral(
    type.dataType,
    staticShape(type),
    literalNumbers(literal).map((n) => -n),
  );
}

/** Operands of ops that pass on a number far below all others, or write it. */
const MASKED: Readonly<Record<string, readonly string[]>> = {
  add: ["x", "y"],
  sub: ["y"],
  select: ["a", "b"],
  concat: ["values"],
  stack: ["values"],
  pad: ["constant_val"],
};

function writeOperation(lowering: Lowering, operation: Operation): void {
  const call = callOf(lowering, operation);
  if (lowering.host.takes(operation)) {
    for (const output of operation.outputs) lowering.setHost(output);
    lowering.wholeNumbers.note(operation, undefined);
    return;
  }
  requireElements(lowering, operation);
  requireNumbers(lowering, operation);
  const rule = Object.hasOwn(LOWERING_RULES, operation.type)
    ? LOWERING_RULES[operation.type]
    : undefined;
  const lowered = rule?.(lowering, call, operation);
  if (lowered !== undefined) {
    const all = "kind" in lowered ? [lowered] : lowered;
    operation.outputs.forEach((output, index) => {
      const value = all[index];
      if (value !== undefined) lowering.set(output, value);
    });
    lowering.wholeNumbers.note(operation, boundsOf(lowering, call, operation));
    return;
  }
  if (UNSUPPORTED_OPS[operation.type] !== undefined) {
    throw lowering.refuse(`${operation.type}: ${UNSUPPORTED_OPS[operation.type] ?? ""}`);
  }
  lowering.copy(operation).forEach((value, index) => {
    const output = operation.outputs[index];
    if (output !== undefined) lowering.set(output, lowering.plain(value));
  });
  lowering.wholeNumbers.note(operation, boundsOf(lowering, call, operation));
}

/** Throws for tensors without elements, which the engine has no memory layout for. */
function requireElements(lowering: Lowering, { type, outputs }: Operation): void {
  for (const output of outputs) {
    if (output.type.kind !== "tensor" || !output.type.shape.includes(0)) continue;
    throw lowering.refuse(
      `${type} "${output.name}" is ${formatType(output.type)}, without elements`,
    );
  }
}

function boundsOf(lowering: Lowering, call: OpCall, operation: Operation): Bounds | undefined {
  return declaresFloats(operation)
    ? undefined
    : lowering.wholeNumbers.resultBounds(call, operation);
}

/** Throws for ops on integers or bools of the engine that nobody has shown to be exact. */
function requireNumbers(lowering: Lowering, operation: Operation): void {
  const { type } = operation;
  if (isExactForIntegers(operation) || isConstexpr(type)) return;
  // Indices are the host's, and ops that are missing are refused by name.
  if (Object.hasOwn(UNSUPPORTED_OPS, type)) return;
  const row = opRow(type);
  for (const [name, argument] of operation.inputs) {
    const kind = row?.parameters[name]?.kind;
    if (kind !== "tensor" && kind !== "tensors") continue;
    for (const operand of operandsIn(argument)) {
      if (!isWholeType(operand) || literalOf(operand) !== undefined) continue;
      throw lowering.refuse(
        `${type} of ${formatType(operand.type)}: whole numbers are fp16 on the engine, and its result need not be exact`,
      );
    }
  }
}
