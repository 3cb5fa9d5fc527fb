import { totalmem } from "node:os";
import { readFlexibleShapes } from "../coreml/index.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { withInputShapes } from "../mil/specialize.ts";
import { elementCount, formatType, staticShape } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import { didYouMean } from "../util/nearest.ts";
import type { Random } from "../util/random.ts";
import { cast, converted, drawn, tensorOfArray } from "./arrays.ts";
import { FilesError } from "./errors.ts";
import { fileKindOf } from "./file-kind.ts";
import type { NpyArray } from "./npy.ts";
import {
  defaultFunctionOf,
  functionOf,
  openProgram,
  requireOpenSizes,
  requireSizes,
  wholeProgram,
} from "./open-program.ts";

/** A file's function and what it runs on. */
export interface RunRequest {
  readonly path: string;
  /** Arrays of inputs by name. */
  readonly arrays: ReadonlyMap<string, NpyArray>;
  /** Sizes of inputs that the file leaves open; an array's own where it has one. */
  readonly shapes?: ReadonlyMap<string, readonly number[]> | undefined;
  /** Sizes that an .onnx file leaves open, by their name. */
  readonly dimensions?: ReadonlyMap<string, number> | undefined;
  readonly functionName?: string | undefined;
  /** Inputs of an .onnx file that MIL needs as constants become those of `arrays`. */
  readonly bindsConstants?: boolean | undefined;
  /** Casts arrays to what the ports take where no number changes. */
  readonly castsArrays?: boolean | undefined;
  /** Draws the inputs that no array gives. */
  readonly random?: Random | undefined;
}

/** A function and what it runs on: all sizes are known. */
export interface PreparedRun {
  readonly fn: MilFunction;
  /** Numbers of the inputs by name, as `runFunction` takes them. */
  readonly inputs: Readonly<Record<string, ArrayLike<number>>>;
  /** Inputs that became constants. */
  readonly bound: readonly string[];
}

/** Opens a program and matches arrays to its inputs, by the names of the file or of the program. Throws `FilesError`, and what reading the file throws. */
export function prepareRun(request: RunRequest): PreparedRun {
  const { path, dimensions, functionName, random } = request;
  const isOnnx = fileKindOf(path) === "onnx";
  if (dimensions !== undefined && !isOnnx) {
    throw new FilesError("cli.dim", `--dim is for .onnx files; ${path} is none`, {
      remedy: "Use --shape.",
    });
  }
  if (request.bindsConstants === true && !isOnnx) {
    throw new FilesError("cli.bind", `--bind-constants is for .onnx files; ${path} is none`, {
      remedy: "Leave it out: other formats say themselves which of their inputs are constants.",
    });
  }
  const shapes = new Map([
    ...[...request.arrays].map(([name, { shape }]): [string, readonly number[]] => [name, shape]),
    ...(request.shapes ?? []),
  ]);
  const opened = openProgram(
    path,
    isOnnx
      ? {
          ...(shapes.size > 0 && { shapes }),
          ...(dimensions !== undefined && { dimensions }),
          ...(request.bindsConstants === true && { bindable: bindableOf(request.arrays) }),
        }
      : {},
  );
  try {
    const open = functionOf(wholeProgram(opened), functionName, defaultFunctionOf(opened));
    const { bound } = opened;
    if (!isOnnx && request.shapes !== undefined)
      requireOpenSizes([open], { shapes: request.shapes });
    const arrays = new Map(
      [...request.arrays].map(([name, array]) => [opened.portNames.get(name) ?? name, array]),
    );
    checkNames(
      open,
      arrays.keys(),
      bound.map((name) => opened.portNames.get(name) ?? name),
    );
    for (const [name, { defaultShape }] of readFlexibleShapes(open)) {
      if (!shapes.has(name)) shapes.set(name, defaultShape);
    }
    const fn = withInputShapes(open, shapes);
    requireSizes(fn);
    requireMemory(fn);
    // Without a prototype every name is a plain one.
    const inputs = Object.create(null) as Record<string, ArrayLike<number>>;
    for (const value of fn.inputs) {
      const type = portType(value);
      const array = arrays.get(value.name);
      // A state that is not given starts as zeros.
      if (array === undefined && value.type.kind === "state") continue;
      if (array !== undefined) {
        const fitting = request.castsArrays === true ? cast(array, type) : array;
        inputs[value.name] = converted(value.name, fitting, type);
      } else if (random !== undefined) inputs[value.name] = drawn(value.name, type, random);
      else throw missing(fn, value);
    }
    if (random !== undefined && fn.inputs.every(({ name }) => arrays.has(name))) {
      throw new FilesError("cli.run.random", "--random does nothing: all inputs are given", {
        remedy: "Leave it out.",
      });
    }
    return { fn, inputs, bound };
  } finally {
    opened.close();
  }
}

/** Arrays as tensors that may stand for inputs. */
export function bindableOf(arrays: ReadonlyMap<string, NpyArray>) {
  return new Map([...arrays].map(([name, array]) => [name, tensorOfArray(name, array)]));
}

function checkNames(fn: MilFunction, given: Iterable<string>, bound: readonly string[]): void {
  const names = fn.inputs.map(({ name }) => name);
  for (const name of given) {
    if (names.includes(name) || bound.includes(name)) continue;
    throw new FilesError(
      "cli.run.input",
      `${fn.name} has no input "${name}".${didYouMean(name, names)}`,
      { remedy: `Inputs: ${names.join(", ")}.` },
    );
  }
}

function missing(fn: MilFunction, { name, type }: Value): FilesError {
  return new FilesError(
    "cli.run.missing",
    `${fn.name} needs the input "${name}": ${formatType(type)}`,
    {
      remedy: `Give it with --input ${name}=FILE.npy, or draw it with --random SEED.`,
    },
  );
}

/** The tensor an input takes: a state's is the one it holds. */
function portType({ name, type }: Value): TensorType {
  if (type.kind === "tensor") return type;
  if (type.kind === "state") return type.wrapped;
  throw new FilesError("cli.run.type", `"${name}" is ${formatType(type)}; only tensors are run`, {
    remedy: "Choose another function.",
  });
}

/** Throws `FilesError` for a function whose inputs and results this machine's memory does not hold. */
function requireMemory(fn: MilFunction): void {
  for (const { name, type } of [...fn.inputs, ...fn.operations.flatMap(({ outputs }) => outputs)]) {
    if (type.kind !== "tensor" || type.shape.includes("?")) continue;
    // Engines compute in at least four bytes a number.
    const byteLength = 4 * elementCount(staticShape(type));
    if (byteLength <= totalmem()) continue;
    throw new FilesError(
      "cli.run.memory",
      `"${name}" of ${fn.name} is ${formatType(type)}: ${byteLength.toPrecision(3)} bytes, this machine has ${totalmem()}`,
    );
  }
}
