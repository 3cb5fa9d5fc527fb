import { OpCall } from "../mil/op-call.ts";
import { isOpName, opRow } from "../mil/ops/index.ts";
import { isOperandList, operandsOf } from "../mil/program.ts";
import type { Argument, MilFunction, Operand, Operation, Opset, Value } from "../mil/program.ts";
import { OPSETS } from "../mil/program.ts";
import { replaceOperands, valuesReadBy } from "../mil/traverse.ts";
import { formatType, isFloat } from "../mil/types.ts";
import { didYouMean } from "../util/nearest.ts";
import { CommoningBuilder } from "./commoning-builder.ts";
import { shapeOf, zerosLike } from "./emit.ts";
import { GradError } from "./errors.ts";
import type { Contribution, GradientContext, InputGradients } from "./rule.ts";
import { GRADIENT_RULES } from "./rules/index.ts";
import { sumContributions } from "./slice-gradient.ts";

/** Which gradients are asked for, and of what. */
export interface GradientRequest {
  /** Float inputs of the function. */
  readonly withRespectTo: readonly string[];
  /** Float outputs whose gradients are given; all of them unless told otherwise. */
  readonly gradientOf?: readonly string[];
  /** Stands before a value's name in that of its gradient. Another one than "d_" differentiates a derivative. */
  readonly prefix?: string;
}

/** The ops of a function's derivative, which read the function's own values, and its results. */
export interface ReverseSweep {
  /** `d_<output>`, one for each output the gradient starts from. */
  readonly seeds: readonly Value[];
  /** In order; only those a result needs. */
  readonly operations: readonly Operation[];
  /** `d_<input>` by name, in the order they were asked for. */
  readonly gradients: readonly (readonly [name: string, value: Value])[];
}

function isFloatTensor(value: Operand): boolean {
  return value.type.kind === "tensor" && isFloat(value.type.dataType);
}

/** Float inputs or outputs of a function by their names. Throws `GradError` for others. */
function portsNamed(
  fn: MilFunction,
  kind: "input" | "output",
  names: readonly string[],
): readonly Value[] {
  const ports = kind === "input" ? fn.inputs : fn.outputs;
  return names.map((name) => {
    const port = ports.find((candidate) => candidate.name === name);
    if (port === undefined) {
      const known = ports.map((candidate) => candidate.name);
      throw new GradError(
        `grad.${kind}`,
        `function "${fn.name}" has no ${kind} "${name}".${didYouMean(name, known)}`,
        { remedy: `Its ${kind}s are ${known.join(", ") || "none"}.` },
      );
    }
    if (!isFloatTensor(port)) {
      throw new GradError(
        `grad.${kind}`,
        `${kind} "${name}" of "${fn.name}" is ${formatType(port.type)}; only float tensors have gradients`,
      );
    }
    return port;
  });
}

/** Writes the derivative of a function, last op first. Throws `GradError`. */
export function reverseSweep(fn: MilFunction, request: GradientRequest): ReverseSweep {
  const { prefix = "d_" } = request;
  const gradientName = (name: string): string => `${prefix}${name}`;
  const wanted = portsNamed(fn, "input", request.withRespectTo);
  const outputs =
    request.gradientOf === undefined
      ? fn.outputs.filter(isFloatTensor)
      : portsNamed(fn, "output", request.gradientOf);
  const taken = new Set([...fn.inputs, ...fn.outputs].map(({ name }) => name));
  for (const { name } of [...wanted, ...outputs]) {
    if (taken.has(gradientName(name))) {
      throw new GradError(
        "grad.name",
        `function "${fn.name}" has an input or output named "${gradientName(name)}", which is the name of a gradient`,
        { remedy: "Rename it, or give another prefix for the names of gradients." },
      );
    }
  }
  const opset: Opset = OPSETS.find((name) => name === fn.opset) ?? "ios18";
  const emit = new CommoningBuilder(fn.name, opset);
  emit.know(fn.operations);
  const sweep: Sweep = { emit, active: activeValues(fn, wanted), readers: readersIn(fn) };
  const pending = new Map<Value, Contribution[]>();
  const seeds = outputs.map((output) => {
    const seed = emit.input(gradientName(output.name), output.type);
    contribute(pending, output, seed);
    return seed;
  });
  for (const operation of fn.operations.toReversed()) {
    if (operation.outputs.some((output) => sweep.active.has(output))) {
      reverseOperation(sweep, operation, pending);
    }
  }
  const gradients = wanted.map((input): readonly [string, Value] => {
    const gradient = sumContributions(emit, pending.get(input) ?? [], shapeOf(input));
    return [gradientName(input.name), gradient ?? zerosLike(emit, input)];
  });
  const { operations } = emit.finish({});
  return {
    seeds,
    operations: liveOperations(
      operations,
      gradients.map(([, value]) => value),
    ),
    gradients,
  };
}

/** What the rules of one sweep share. */
interface Sweep {
  readonly emit: CommoningBuilder;
  readonly active: ReadonlySet<Value>;
  readonly readers: ReadonlyMap<Value, readonly (Operation | undefined)[]>;
}

/** The ops that read each value, and `undefined` for the function's end. */
function readersIn(fn: MilFunction): ReadonlyMap<Value, readonly (Operation | undefined)[]> {
  const readers = new Map<Value, (Operation | undefined)[]>();
  const add = (value: Value, reader: Operation | undefined): void => {
    const list = readers.get(value);
    if (list === undefined) readers.set(value, [reader]);
    else list.push(reader);
  };
  for (const operation of fn.operations) {
    for (const value of valuesReadBy(operation)) add(value, operation);
  }
  for (const output of fn.outputs) add(output, undefined);
  return readers;
}

/** Float values that depend on the inputs asked for. */
function activeValues(fn: MilFunction, wanted: readonly Value[]): ReadonlySet<Value> {
  const active = new Set<Value>(wanted);
  for (const operation of fn.operations) {
    if (!dependsOn(operation, active)) continue;
    const entry = isOpName(operation.type) ? GRADIENT_RULES[operation.type] : undefined;
    if (entry !== undefined && "kind" in entry && entry.kind === "zero") continue;
    for (const output of operation.outputs) if (isFloatTensor(output)) active.add(output);
  }
  return active;
}

function dependsOn(operation: Operation, active: ReadonlySet<Value>): boolean {
  for (const operand of operandsOf(operation)) {
    if (operand.kind === "value" && active.has(operand)) return true;
  }
  return operation.blocks.length > 0 && blocksRead(operation, active);
}

function blocksRead(operation: Operation, active: ReadonlySet<Value>): boolean {
  return operation.blocks.some(
    (block) =>
      block.outputs.some((output) => active.has(output)) ||
      block.operations.some((nested) => dependsOn(nested, active)),
  );
}

function contribute(
  pending: Map<Value, Contribution[]>,
  value: Value,
  contribution: Contribution,
): void {
  const list = pending.get(value);
  if (list === undefined) pending.set(value, [contribution]);
  else list.push(contribution);
}

function reverseOperation(
  sweep: Sweep,
  operation: Operation,
  pending: Map<Value, Contribution[]>,
): void {
  const { emit, active } = sweep;
  const gradients = operation.outputs.map((output) => {
    const contributions = pending.get(output);
    pending.delete(output);
    return contributions === undefined
      ? undefined
      : sumContributions(emit, contributions, shapeOf(output));
  });
  if (gradients.every((gradient) => gradient === undefined)) return;
  const names = operation.outputs.map(({ name }) => `"${name}"`).join(", ");
  const entry = isOpName(operation.type) ? GRADIENT_RULES[operation.type] : undefined;
  const row = opRow(operation.type);
  if (entry === undefined || row === undefined) {
    throw new GradError(
      "grad.op",
      `${operation.type} (${names}) stands between the inputs and the outputs and is not in the op table`,
    );
  }
  if ("kind" in entry) {
    if (entry.kind === "zero") return;
    throw new GradError(
      "grad.op",
      `${operation.type} (${names}) cannot be differentiated: ${entry.reason}`,
    );
  }
  const rule: (context: GradientContext<string>) => InputGradients<string> = entry;
  const results = rule(contextOf(sweep, operation, new OpCall(operation, row), gradients));
  for (const [name, result] of Object.entries(results)) {
    const argument = operation.inputs.get(name);
    if (result === undefined || argument === undefined) continue;
    for (const [operand, contribution] of pairs(argument, result)) {
      if (operand.kind !== "value" || !active.has(operand)) continue;
      contribute(pending, operand, asTypeOf(emit, contribution, operand));
    }
  }
}

/** Operands with what flows back to each; a list for one operand is a sum. */
function* pairs(
  argument: Argument,
  result: Contribution | readonly (Contribution | undefined)[],
): Generator<readonly [Operand, Contribution]> {
  const isList = (
    value: Contribution | readonly (Contribution | undefined)[],
  ): value is readonly (Contribution | undefined)[] => Array.isArray(value);
  if (isOperandList(argument)) {
    const results = isList(result) ? result : [result];
    for (const [index, operand] of argument.entries()) {
      const contribution = results[index];
      if (contribution !== undefined) yield [operand, contribution];
    }
    return;
  }
  for (const contribution of isList(result) ? result : [result]) {
    if (contribution !== undefined) yield [argument, contribution];
  }
}

function contextOf(
  { emit, active, readers }: Sweep,
  operation: Operation,
  call: OpCall,
  gradients: readonly (Value | undefined)[],
): GradientContext<string> {
  const [output] = operation.outputs;
  if (output === undefined) throw new GradError("grad.rule", `${operation.type} has no result`);
  const isActive = (operand: Operand | undefined): boolean =>
    operand?.kind === "value" && active.has(operand);
  const operandNamed = (name: string): Operand => inTypeOfX(emit, operation, call.operand(name));
  return {
    emit,
    operation,
    call,
    outputs: operation.outputs,
    output,
    gradients,
    get gradient() {
      return gradients[0] ?? zerosLike(emit, output);
    },
    operand: operandNamed,
    operands: (name) => call.operands(name),
    shape: (name) => shapeOf(call.operand(name)),
    wants: (name, index = 0) => {
      const argument = operation.inputs.get(name);
      if (argument === undefined) return false;
      return isActive(isOperandList(argument) ? argument[index] : argument);
    },
    readersOf: (value) => readers.get(value) ?? [],
    writerOf: (value) => emit.writerOf(value),
    through: (simpler) =>
      throughFunction(
        emit,
        simpler,
        operandNamed,
        gradients,
        simpler.inputs.filter(({ name }) => isActive(call.operand(name))),
      ),
  };
}

/** From ios17 on a parameter may be of another precision than x; rules compute in that of x and of the result. */
function inTypeOfX(emit: CommoningBuilder, operation: Operation, operand: Operand): Operand {
  const x = operation.inputs.get("x");
  const [output] = operation.outputs;
  if (x === undefined || isOperandList(x) || x.type.kind !== "tensor") return operand;
  if (output?.type.kind !== "tensor" || operand.type.kind !== "tensor") return operand;
  const { dataType } = x.type;
  const isOther = isFloat(operand.type.dataType) && operand.type.dataType !== dataType;
  if (!isOther || !isFloat(dataType) || output.type.dataType !== dataType) return operand;
  return emit.op("cast", { x: operand, dtype: dataType });
}

/** What flows back to an operand, in the operand's precision. */
function asTypeOf(emit: CommoningBuilder, given: Contribution, operand: Value): Contribution {
  const { type } = operand;
  if (given.kind !== "value" || type.kind !== "tensor" || given.type.kind !== "tensor")
    return given;
  return given.type.dataType === type.dataType
    ? given
    : emit.op("cast", { x: given, dtype: type.dataType });
}

/** Writes a function and its derivative in place; its outputs' gradients are given, its inputs' are returned. */
function throughFunction(
  emit: CommoningBuilder,
  fn: MilFunction,
  operand: (name: string) => Operand,
  gradients: readonly (Value | undefined)[],
  wanted: readonly Value[],
): InputGradients<string> {
  const replaced = new Map<Value, Operand>(fn.inputs.map((input) => [input, operand(input.name)]));
  const known = fn.outputs.filter((_, index) => gradients[index] !== undefined);
  const sweep = reverseSweep(fn, {
    withRespectTo: wanted.map(({ name }) => name),
    gradientOf: known.map(({ name }) => name),
  });
  sweep.seeds.forEach((seed, index) => {
    const output = known[index];
    const gradient = output === undefined ? undefined : gradients[fn.outputs.indexOf(output)];
    if (gradient !== undefined) replaced.set(seed, gradient);
  });
  const results = sweep.gradients.map(([, value]) => value);
  for (const operation of liveOperations([...fn.operations, ...sweep.operations], results)) {
    const [constant] = operation.outputs;
    if (constant?.constant !== undefined) {
      replaced.set(constant, emit.constant(constant.constant));
      continue;
    }
    const copy = replaceOperands(operation, (read) =>
      read.kind === "value" ? (replaced.get(read) ?? read) : read,
    );
    emit.append(copy).forEach((value, index) => {
      const output = operation.outputs[index];
      if (output !== undefined) replaced.set(output, value);
    });
  }
  return Object.fromEntries(
    wanted.map((input, index) => {
      const result = results[index];
      const value = result === undefined ? undefined : replaced.get(result);
      return [input.name, value?.kind === "value" ? value : undefined];
    }),
  );
}

/** The ops that some of the values need, in their order. */
export function liveOperations(
  operations: readonly Operation[],
  values: readonly Value[],
): readonly Operation[] {
  const needed = new Set<Value>(values);
  const live = operations.toReversed().filter((operation) => {
    if (!operation.outputs.some((output) => needed.has(output))) return false;
    for (const operand of operandsOf(operation)) {
      if (operand.kind === "value") needed.add(operand);
    }
    return true;
  });
  return live.toReversed();
}
