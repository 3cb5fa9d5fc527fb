import { assembleFunction } from "../mil/assemble.ts";
import { opRow } from "../mil/ops/index.ts";
import { isValue, literalOf, operandsOf } from "../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { makersOf, readersOf, replaceOperands, valuesReadBy } from "../mil/traverse.ts";
import { elementCount, isFloat, staticShape } from "../mil/types.ts";
import { removeDeadCode } from "../passes/dead-code.ts";
import { isFloatTensor, knownShape, operandOf, scalarConstant } from "../mil/match.ts";
import type { Binding, BufferSpec, Dispatch, OutputBinding } from "../plan/plan.ts";
import type { Plan, PlanProgram } from "../plan/plan.ts";

/** Why a part stays on the host. */
export const NOT_LINEAR = "not linear: the plan leaves it to the host (--placement linear-only)";

type Place = "engine" | "host";

/**
 * The plan with its nonlinear ops on the host: every program becomes parts in turn, products and what is linear in their
 * results on the engine, all else (norms, softmax, activations, rotary positions, residual sums, the loss) on the host in
 * the types that it is written in. What passes between parts stands in scratch buffers. A plan that runs in fp32 throughout
 * computes the same bits. Programs with a kernel of the host stay whole.
 */
export function linearOnly(plan: Plan): Plan {
  const programs = new Map<string, PlanProgram>();
  const buffers = new Map(plan.buffers);
  const splits = new Map<string, Split>();
  const dispatches = [...plan.sections.values()].flat();
  for (const program of plan.programs.values()) {
    if (program.hostKernel !== undefined) {
      programs.set(program.name, program);
      continue;
    }
    const own = dispatches.filter((dispatch) => dispatch.program === program.name);
    const split = splitOf(program, own.some(overwrites(program.function)));
    splits.set(program.name, split);
    for (const { program: part } of split.parts) programs.set(part.name, part);
    for (const spec of split.between.values()) buffers.set(spec.name, spec);
  }
  const sections = new Map(
    [...plan.sections].map(([section, own]) => [
      section,
      own.flatMap((dispatch) => {
        const split = splits.get(dispatch.program);
        return split === undefined ? [dispatch] : splitDispatch(dispatch, split);
      }),
    ]),
  );
  return { ...plan, programs, buffers, sections };
}

/** A part of a program; its function reads the program's inputs and what earlier parts have passed on. */
interface Part {
  /** What tells it from the program's other parts; empty for a program that stays whole. */
  readonly suffix: string;
  readonly program: PlanProgram;
}

interface Split {
  readonly parts: readonly Part[];
  /** Scratch buffers, by the name that a part's input or output has. */
  readonly between: ReadonlyMap<string, BufferSpec>;
}

/** Whether a dispatch writes where it reads, or twice in one place: then its results must come last, together. */
function overwrites(fn: MilFunction): (dispatch: Dispatch) => boolean {
  const sizes = new Map(
    [...fn.inputs, ...fn.outputs].map(({ name, type }) => [
      name,
      type.kind === "tensor" ? elementCount(staticShape(type)) : 0,
    ]),
  );
  const overlap = (
    [name, a]: readonly [string, Binding],
    [other, b]: readonly [string, Binding],
  ): boolean =>
    a.buffer === b.buffer &&
    a.offset < b.offset + (sizes.get(other) ?? 0) &&
    b.offset < a.offset + (sizes.get(name) ?? 0);
  return ({ inputs, outputs }) => {
    const written = [...outputs];
    return written.some(
      (output, index) =>
        [...inputs].some((input) => overlap(output, input)) ||
        written.slice(index + 1).some((later) => overlap(output, later)),
    );
  };
}

function splitOf(program: PlanProgram, resultsLast: boolean): Split {
  const { function: fn } = program;
  const levels = levelsOf(fn);
  const last = Math.max(0, ...levels.values());
  const makers = makersOf(fn);
  const isPassed = (value: Value): boolean =>
    value.type.kind === "tensor" && isFloat(value.type.dataType);
  const used = [...new Set(levels.values())].toSorted((a, b) => a - b);
  const [only] = used;
  if (used.length <= 1 && !(resultsLast && only !== undefined && placeOf(only) === "engine")) {
    const isHosts = only === undefined || placeOf(only) === "host";
    return {
      parts: [
        {
          suffix: "",
          program: isHosts ? Object.freeze({ ...program, onHost: NOT_LINEAR }) : program,
        },
      ],
      between: new Map(),
    };
  }
  // A level past all others for results that wait, and for inputs and constants that are results.
  const end = last + (placeOf(last) === "host" ? 2 : 1);
  const results = fn.outputs.map((value) => {
    const maker = makers.get(value);
    const level = maker === undefined ? undefined : levels.get(maker);
    return { name: value.name, value, level: resultsLast || level === undefined ? end : level };
  });
  const parts: { level: number; operations: Set<Operation>; reads: Set<Value> }[] = [];
  const wantedAt = new Map<Value, number>();
  const inputs = new Set(fn.inputs);
  for (const level of [...used, ...(results.some((one) => one.level === end) ? [end] : [])]) {
    const operations = new Set<Operation>();
    const reads = new Set<Value>();
    const visit = (value: Value): void => {
      if (inputs.has(value)) {
        reads.add(value);
        return;
      }
      const maker = makers.get(value);
      if (maker === undefined || maker.type === "const" || literalOf(value) !== undefined) return;
      const made = levels.get(maker) ?? 0;
      if (operations.has(maker)) return;
      if (made !== level && isPassed(value)) {
        reads.add(value);
        wantedAt.set(value, made);
        return;
      }
      // Whole numbers and bools are computed again where they are read: they stand in no buffer.
      operations.add(maker);
      for (const read of valuesReadBy(maker)) visit(read);
    };
    for (const [operation, own] of levels)
      if (own === level) for (const output of operation.outputs) visit(output);
    for (const result of results) if (result.level === level) visit(result.value);
    parts.push({ level, operations, reads });
  }
  const between = new Map<string, BufferSpec>();
  const passedName = new Map<Value, string>();
  const taken = new Set([...fn.inputs, ...fn.outputs].map(({ name }) => name));
  for (const value of wantedAt.keys()) {
    let name = `passed_${value.name}`;
    while (taken.has(name)) name = `${name}_`;
    taken.add(name);
    passedName.set(value, name);
    if (value.type.kind !== "tensor") continue;
    const buffer = `${program.name}: ${name}`;
    between.set(name, { name: buffer, type: value.type, role: "scratch" });
  }
  const counts = { engine: 0, host: 0 };
  const functions = parts.map(({ level, operations, reads }): Part => {
    const place = placeOf(level);
    const suffix = ` (${place} ${++counts[place]})`;
    const name = `${program.name}${suffix}`;
    const ports = new Map<Value, Value>();
    for (const value of reads) {
      const passed = passedName.get(value);
      const { constant: _, ...plain } = value;
      ports.set(value, passed === undefined ? value : Object.freeze({ ...plain, name: passed }));
    }
    const outputs: (readonly [string, Value])[] = [
      ...[...wantedAt].flatMap(([value, made]) =>
        made === level ? [[passedName.get(value) ?? value.name, value] as const] : [],
      ),
      ...results.flatMap((one) =>
        one.level === level ? [[one.name, ports.get(one.value) ?? one.value] as const] : [],
      ),
    ];
    const own = fn.operations.filter(
      (operation) => operation.type === "const" || operations.has(operation),
    );
    const part = removeDeadCode(
      assembleFunction({
        name,
        opset: fn.opset,
        inputs: [...ports.values()],
        operations: own.map((operation) => withPorts(operation, ports)),
        outputs,
      }),
    );
    const { onHost: _, ...rest } = program;
    return {
      suffix,
      program: Object.freeze({
        ...rest,
        name,
        function: part,
        ...(place === "host" && { onHost: NOT_LINEAR }),
      }),
    };
  });
  return { parts: functions, between };
}

function withPorts(operation: Operation, ports: ReadonlyMap<Value, Value>): Operation {
  return replaceOperands(operation, (operand) =>
    isValue(operand) ? (ports.get(operand) ?? operand) : operand,
  );
}

/** Levels of the host are even, those of the engine odd; what a level reads was made in it or below. */
function placeOf(level: number): Place {
  return level % 2 === 0 ? "host" : "engine";
}

/** The least level of each op that is no constant: as few changes of place as the way to it has. */
function levelsOf(fn: MilFunction): ReadonlyMap<Operation, number> {
  const engine = engineOperations(fn);
  const levels = new Map<Operation, number>();
  const valueLevels = new Map<Value, number>();
  for (const operation of fn.operations) {
    if (operation.type === "const") continue;
    const own = engine.has(operation) ? 1 : 0;
    let level = own;
    for (const value of valuesReadBy(operation)) {
      const made = valueLevels.get(value);
      if (made !== undefined) level = Math.max(level, made % 2 === own ? made : made + 1);
    }
    levels.set(operation, level);
    for (const output of operation.outputs) valueLevels.set(output, level);
  }
  return levels;
}

/** Products of floats, and what is linear in their results. */
function engineOperations(fn: MilFunction): ReadonlySet<Operation> {
  const found = new Set<Operation>();
  const values = new Set<Value>();
  const inputs = new Set<Operand>(fn.inputs);
  const readers = readersOf(fn);
  for (const operation of fn.operations) {
    if (!isProduct(operation) && !isLinearIn(operation, values, inputs)) continue;
    found.add(operation);
    for (const output of operation.outputs) values.add(output);
  }
  // What only moves the numbers of an input for a product, as a matrix that is turned, goes with the product.
  const outputs = new Set<Value>(fn.outputs);
  for (const operation of fn.operations.toReversed()) {
    if (found.has(operation) || !movesFloats(operation)) continue;
    const isOfInputs = [...operandsOf(operation)].every(
      (operand) => literalOf(operand) !== undefined || inputs.has(operand),
    );
    const isForEngine = operation.outputs.every(
      (output) =>
        !outputs.has(output) && (readers.get(output) ?? []).every((reader) => found.has(reader)),
    );
    if (isOfInputs && isForEngine) found.add(operation);
  }
  return found;
}

function isFloatOperand(operand: Operand): boolean {
  return literalOf(operand) !== undefined || isFloatTensor(operand);
}

function isProduct(operation: Operation): boolean {
  const isFloating = [...operandsOf(operation), ...operation.outputs].every(isFloatOperand);
  return opRow(operation.type)?.product !== undefined && isFloating;
}

/** Results hold numbers of operands, of which none decides which. */
function movesFloats(operation: Operation): boolean {
  const row = opRow(operation.type);
  const isMoving = row?.kind === "view" || row?.kind === "movement";
  if (!isMoving || operation.blocks.length > 0) return false;
  return [...operandsOf(operation), ...operation.outputs].every(isFloatOperand);
}

function isLinearIn(
  operation: Operation,
  values: ReadonlySet<Operand>,
  inputs: ReadonlySet<Operand>,
): boolean {
  const computed = [...operandsOf(operation)].filter((one) => literalOf(one) === undefined);
  const isOfEngine = computed.length > 0 && computed.every((one) => values.has(one));
  if (movesFloats(operation)) return isOfEngine;
  const [x, y] = [operandOf(operation, "x"), operandOf(operation, "y")];
  switch (operation.type) {
    case "add":
    case "sub": {
      // A bias is a vector that the program is given.
      const isBias = (one: Operand): boolean =>
        inputs.has(one) && isFloatTensor(one) && knownShape(one)?.length === 1;
      const isSum = computed.every((one) => values.has(one) || isBias(one));
      return isSum && computed.some((one) => values.has(one)) && computed.length === 2;
    }
    case "mul":
      return isOfEngine && (scalarConstant(x) !== undefined || scalarConstant(y) !== undefined);
    default:
      return false;
  }
}

function splitDispatch(dispatch: Dispatch, { parts, between }: Split): readonly Dispatch[] {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined)
    return [{ ...dispatch, program: only.program.name }];
  return parts.map(({ suffix, program }) => {
    const inputs = new Map<string, Binding>();
    for (const { name } of program.function.inputs) {
      const passed = between.get(name);
      const own = dispatch.inputs.get(name);
      if (passed !== undefined) inputs.set(name, { buffer: passed.name, offset: 0 });
      else if (own !== undefined) inputs.set(name, own);
    }
    const outputs = new Map<string, OutputBinding>();
    for (const { name } of program.function.outputs) {
      const passed = between.get(name);
      const own = dispatch.outputs.get(name);
      if (passed !== undefined)
        outputs.set(name, { buffer: passed.name, offset: 0, mode: "write" });
      else if (own !== undefined) outputs.set(name, own);
    }
    const label = `${dispatch.label}${suffix}`;
    return { label, program: program.name, inputs, outputs };
  });
}
