import {
  ELEMENT_FORMATS,
  NE_NONLINEARITIES,
  PE_CONDITIONS,
  PE_NONLINEARITIES,
  PE_OPERATIONS,
  POOL_MODES,
  TASK_TYPES,
} from "./field-meaning.ts";
import type { RegisterMap } from "./map/types.ts";
import type {
  HwxBase,
  HwxExtent,
  HwxHeaderField,
  HwxMeaning,
  HwxOperand,
  HwxOperation,
} from "./model.ts";
import { FIELD, WORD } from "./names.ts";
import {
  coefficientTiles,
  kernelOperand,
  operandBases,
  tileOperand,
  type CoefficientTile,
} from "./operands.ts";
import { RegisterState } from "./registers.ts";
import type { BaseIndices } from "./task-header.ts";
import type { RawTask } from "./task-stream.ts";

interface Operation {
  readonly op: HwxOperation;
  readonly detail: string | null;
  readonly activation: string | null;
}

/** From registers to what a task computes. Nothing is guessed silently: see `assumed` of the result. */
export function taskMeaning(
  task: RawTask,
  header: readonly HwxHeaderField[],
  map: RegisterMap,
  bases: readonly HwxBase[],
): HwxMeaning {
  const state = new RegisterState(map, task.writes);
  const indices = operandBases(task, header, map);
  const tiles = coefficientTiles(state);
  const assumed = new Set<string>();
  const usesKernel = tiles.length > 0 || state.field(FIELD.kernelMaster) === 1;
  const kernelRole = bases.find((base) => base.index === indices.kernel)?.role;
  const operation = operationOf(
    state,
    usesKernel,
    kernelRole === "input" || kernelRole === "scratch" || kernelRole === "output",
  );
  const input = extentOf(state, "input", assumed);
  const output = extentOf(state, "output", assumed);
  const kernel = kernelOf(state, operation, input, assumed);
  const isVector =
    operation.op === "conv" &&
    output.width === 1 &&
    output.height === 1 &&
    input.width === 1 &&
    input.height === 1;
  const detail =
    isVector && kernel?.width === 1 && kernel.height === 1
      ? "matrix times vector"
      : operation.detail;
  const multiplyAccumulates = countMultiplyAccumulates(operation, kernel, output);
  const weights = isProduct(operation.op) && usesKernel ? weightFormat(state) : null;
  const operands = operandsOf(
    { state, bases, indices },
    {
      operation,
      input,
      output,
      tiles,
      usesKernel,
      weights,
      kernelElements: kernelElements(kernel, output),
      assumed,
    },
  );
  const moved = operands.map((operand) => operand.dramBytes);
  const activeCores = state.field(FIELD.activeCores);
  return {
    ...operation,
    detail,
    kernel,
    weights,
    input,
    output,
    tileHeight: state.field(FIELD.tileHeight),
    coreCount: activeCores === null ? null : 2 ** activeCores,
    operands,
    multiplyAccumulates,
    dramBytes: moved.some((bytes) => bytes === null)
      ? null
      : moved.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0),
    assumed: [...assumed],
  };
}

function isProduct(op: HwxOperation): boolean {
  return op === "conv" || op === "conv_transpose" || op === "matmul";
}

function nameOf(names: readonly (string | undefined)[], code: number | null): string | null {
  return code === null ? null : (names[code] ?? `code ${code}`);
}

/** The planar engine is at work when its config says anything or the task type is one of its kinds. */
function operationOf(
  state: RegisterState,
  usesKernel: boolean,
  kernelIsTensor: boolean,
): Operation {
  const peConfig = state.word(WORD.peConfig);
  const taskType = state.field(FIELD.taskType);
  const kind = taskType === null ? undefined : TASK_TYPES[taskType];
  const isPlanar =
    (peConfig ?? 0) !== 0 || kind === "pool" || kind === "elementwise" || kind === "reduce";
  if (isPlanar && state.has(WORD.peConfig)) return planarOperation(state, kind);
  return neuralOperation(state, kind, usesKernel, kernelIsTensor);
}

function planarOperation(state: RegisterState, kind: string | undefined): Operation {
  const poolMode = state.field(FIELD.pePoolMode) ?? 0;
  const nonlinearity = state.field(FIELD.peNonlinearity) ?? 0;
  const relu = state.field(FIELD.peRelu) === 1;
  const activation = relu
    ? "relu"
    : nonlinearity === 0
      ? null
      : nameOf(PE_NONLINEARITIES, nonlinearity);
  if (kind === "reduce")
    return {
      op: "reduce",
      detail: nameOf(PE_OPERATIONS, state.field(FIELD.peOperation)),
      activation,
    };
  if (kind === "copy") return { op: "copy", detail: null, activation };
  if (poolMode !== 0 || kind === "pool")
    return { op: "pool", detail: nameOf(POOL_MODES, poolMode), activation };
  const condition = state.field(FIELD.peCondition) ?? 0;
  if (condition !== 0)
    return { op: "elementwise", detail: nameOf(PE_CONDITIONS, condition), activation };
  const operation = state.field(FIELD.peOperation);
  // Two-input subtraction is addition with the second source taken from the register path (seen on H13 and H14).
  const isSubtract = operation === 0 && state.field(FIELD.peSecondSource) === 3;
  return {
    op: "elementwise",
    detail: isSubtract ? "sub" : nameOf(PE_OPERATIONS, operation),
    activation,
  };
}

function neuralOperation(
  state: RegisterState,
  kind: string | undefined,
  usesKernel: boolean,
  kernelIsTensor: boolean,
): Operation {
  const mode = state.field(FIELD.neOperation);
  const nonlinearity = state.field(FIELD.neNonlinearity) ?? 0;
  const activation = nonlinearity === 0 ? null : nameOf(NE_NONLINEARITIES, nonlinearity);
  const product = (detail: "conv" | "conv_transpose"): Operation =>
    kernelIsTensor
      ? { op: "matmul", detail: "second matrix as kernel", activation }
      : { op: detail, detail: null, activation };
  switch (mode) {
    case 0:
    case null:
      if (state.field(FIELD.neMaxPool) === 1) return { op: "pool", detail: "max", activation };
      if (usesKernel) return product("conv");
      if (kind === "copy") return { op: "copy", detail: null, activation };
      return { op: "unknown", detail: null, activation };
    case 1:
      return { op: "elementwise", detail: null, activation };
    case 2:
      return { op: "rcas", detail: null, activation };
    case 3:
      return { op: "elementwise", detail: "sqrt", activation };
    case 4:
      return activation === null
        ? { op: "copy", detail: null, activation }
        : { op: "activation", detail: activation, activation };
    case 5:
      return product("conv_transpose");
    default:
      return { op: "unknown", detail: `NE mode ${mode}`, activation };
  }
}

function extentOf(state: RegisterState, side: "input" | "output", assumed: Set<string>): HwxExtent {
  const names =
    side === "input"
      ? ([FIELD.inputWidth, FIELD.inputHeight, FIELD.inputDepth, FIELD.inputChannels] as const)
      : ([FIELD.outputWidth, FIELD.outputHeight, FIELD.outputDepth, FIELD.outputChannels] as const);
  const [width = null, height = null, depth = null, channels = null] = names.map((name) =>
    state.field(name),
  );
  if (state.isDefault(names[2])) assumed.add("depth 1");
  return { width, height, depth: depth ?? 1, channels };
}

function kernelOf(
  state: RegisterState,
  operation: Operation,
  input: HwxExtent,
  assumed: Set<string>,
): HwxMeaning["kernel"] {
  if (!isProduct(operation.op) && operation.op !== "pool") return null;
  const orDefault = (names: readonly string[], fallback: number, word: string): number => {
    if (state.isDefault(names)) assumed.add(word);
    return state.field(names) ?? fallback;
  };
  const groups = orDefault(FIELD.groups, 1, "1 group");
  const unicast = state.field(FIELD.unicast) === 1;
  const unicastChannels = state.field(FIELD.unicastChannels);
  const channelsPerGroup =
    unicast && unicastChannels !== null && unicastChannels > 0
      ? unicastChannels
      : input.channels === null
        ? null
        : Math.ceil(input.channels / Math.max(1, groups));
  return {
    width: orDefault(FIELD.kernelWidth, 1, "kernel 1x1"),
    height: orDefault(FIELD.kernelHeight, 1, "kernel 1x1"),
    depth: state.field(FIELD.kernelDepth) ?? 1,
    strideX: state.field(FIELD.strideX) ?? 1,
    strideY: state.field(FIELD.strideY) ?? 1,
    padLeft: state.field(FIELD.padLeft) ?? 0,
    padTop: state.field(FIELD.padTop) ?? 0,
    groups,
    channelsPerGroup,
  };
}

function kernelElements(kernel: HwxMeaning["kernel"], output: HwxExtent): number | null {
  if (kernel === null || kernel.channelsPerGroup === null || output.channels === null) return null;
  return (
    kernel.width *
    kernel.height *
    Math.max(1, kernel.depth) *
    kernel.channelsPerGroup *
    output.channels
  );
}

function countMultiplyAccumulates(
  operation: Operation,
  kernel: HwxMeaning["kernel"],
  output: HwxExtent,
): number | null {
  if (!isProduct(operation.op)) return operation.op === "unknown" ? null : 0;
  const elements = kernelElements(kernel, output);
  if (elements === null || output.width === null || output.height === null) return null;
  return elements * output.width * output.height * (output.depth ?? 1);
}

function weightFormat(state: RegisterState): string {
  const format = state.field(FIELD.kernelFormat);
  const element = format === 2 ? "fp16" : format === null ? "default" : "int8";
  const palette =
    state.field(FIELD.palettized) === 1
      ? `, ${state.field(FIELD.paletteBits) ?? "?"}-bit palette`
      : "";
  const sparse = state.field(FIELD.sparse) === 1 ? ", sparse" : "";
  return `${element}${palette}${sparse}`;
}

/** The weights cut into one tile a core; a tile takes whole units of 64 bytes. */
function tileBytes(byteLength: number, coreCount: number): number {
  const cores = Math.max(1, coreCount);
  return Math.ceil(byteLength / cores / 64) * 64 * cores;
}

function operandsOf(
  where: {
    readonly state: RegisterState;
    readonly bases: readonly HwxBase[];
    readonly indices: BaseIndices;
  },
  task: {
    readonly operation: Operation;
    readonly input: HwxExtent;
    readonly output: HwxExtent;
    readonly tiles: readonly CoefficientTile[];
    readonly usesKernel: boolean;
    readonly weights: string | null;
    readonly kernelElements: number | null;
    readonly assumed: Set<string>;
  },
): HwxOperand[] {
  const { state, indices } = where;
  const format = (names: readonly string[]): string | null => {
    const code = state.field(names);
    if (code === null) task.assumed.add("fp16");
    return code === null ? "fp16" : nameOf(ELEMENT_FORMATS, code);
  };
  const operands = [tileOperand("source", where, task.input, format(FIELD.inputFormat))];
  const second = state.field(FIELD.input2Format) ?? 0;
  const takesSecond =
    task.operation.op === "elementwise" && (indices.source2 !== null || second !== 0);
  if (takesSecond) {
    operands.push(tileOperand("source2", where, task.input, nameOf(ELEMENT_FORMATS, second)));
  }
  const kernelIsStale =
    task.operation.op === "elementwise" ||
    task.operation.op === "reduce" ||
    task.operation.op === "copy";
  if (task.usesKernel && !kernelIsStale) {
    const dtype = isProduct(task.operation.op) ? task.weights : "lookup table";
    const perElement = dtype === "fp16" ? 2 : dtype === "int8" ? 1 : null;
    const sizesKnown =
      task.tiles.length > 0 && task.tiles.every((tile) => tile.byteLength !== null);
    const expected =
      perElement === null || task.kernelElements === null
        ? null
        : tileBytes(task.kernelElements * perElement, task.tiles.length);
    if (!sizesKnown && expected !== null) task.assumed.add("kernel bytes from its shape");
    operands.push(kernelOperand(where, task.tiles, dtype, expected));
  }
  operands.push(tileOperand("result", where, task.output, format(FIELD.outputFormat)));
  return operands;
}
