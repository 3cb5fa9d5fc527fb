import { MilError } from "../mil/errors.ts";
import { hostTensor } from "../mil/host-tensor.ts";
import type { HostTensor } from "../mil/host-tensor.ts";
import { listsAsTensors } from "../mil/lists-as-tensors.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { sizeInputs } from "../mil/size-inputs.ts";
import { withInputValues } from "../mil/specialize.ts";
import { statesAsValues } from "../mil/states-as-values.ts";
import { elementCount, formatType, staticShape, tensorType } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import { OnnxError } from "../onnx/errors.ts";
import { functionToOnnx } from "../onnx/lower-function.ts";
import { PlanBuilder } from "../plan/builder.ts";
import { didYouMean } from "../util/nearest.ts";
import { viewClassFor } from "./engine.ts";
import type { BufferView, Engine, LoadedPlan } from "./engine.ts";
import { EngineError } from "./errors.ts";
import { FunctionResult, storedInput } from "./function-values.ts";
import type { FunctionInput } from "./function-values.ts";
import { evaluateFunction } from "./reference/evaluate.ts";
import { createReferenceEngine } from "./reference/index.ts";

/** What happens where an engine cannot run a function. */
export interface RunFunctionOptions {
  /**
   * Where the engine has no form for an op of the function, the reference engine runs the function instead, and
   * this is told why. Without it such a function is refused.
   */
  readonly onFallback?: (reason: string) => void;
}

function typeOf(value: MilFunction["inputs"][number]): TensorType {
  if (value.type.kind === "tensor") return value.type;
  throw new MilError(
    "mil.function.port",
    `"${value.name}" is ${formatType(value.type)}, not a tensor`,
  );
}

/**
 * Runs one function once: inputs by name, outputs by name. For many runs, load a plan.
 * Numbers go in and come out whatever the type (`FunctionInput`, `FunctionResult`). A state is given like an input
 * (zeros where it is left out) and its contents after the run stand among the results under its own name. Inputs that
 * decide the sizes of other values are constants of the run; where sizes follow from computed numbers alone, the
 * reference engine computes the results.
 * Throws `EngineError` for a missing, unknown or wrongly sized input and for numbers that its type does not hold, and
 * what the engine refuses.
 */
export async function runFunction(
  engine: Engine,
  fn: MilFunction,
  inputs: Readonly<Record<string, FunctionInput>>,
  options: RunFunctionOptions = {},
): Promise<ReadonlyMap<string, FunctionResult>> {
  const stateless = statesAsValues(fn);
  const stateNames = new Set(stateless.states.map(({ input }) => input));
  const given = checkInputs(stateless.fn, inputs, stateNames);
  const closed = withKnownSizes(listsAsTensors(stateless.fn), given);
  const results = await runStateless(engine, closed.fn, closed.inputs, options);
  const states = stateless.states.flatMap(({ input, output }) => {
    const contents = results.get(output);
    return contents === undefined ? [] : [[input, contents] as const];
  });
  return new Map([
    ...fn.outputs.flatMap(({ name }) => {
      const result = results.get(name);
      return result === undefined ? [] : [[name, result] as const];
    }),
    ...states,
  ]);
}

/** The function with the inputs that decide open sizes as constants, and the inputs that are left. */
function withKnownSizes(
  fn: MilFunction,
  inputs: ReadonlyMap<string, BufferView>,
): { readonly fn: MilFunction; readonly inputs: ReadonlyMap<string, BufferView> } {
  const deciding = sizeInputs(fn);
  if (deciding.size === 0) return { fn, inputs };
  const tensors = tensorsOf(
    fn.inputs.filter(({ name }) => deciding.has(name)),
    inputs,
  );
  return {
    fn: withInputValues(fn, tensors),
    inputs: new Map([...inputs].filter(([name]) => !deciding.has(name))),
  };
}

/** Inputs as the reference evaluation holds them. */
function tensorsOf(
  values: readonly Value[],
  inputs: ReadonlyMap<string, BufferView>,
): Map<string, HostTensor> {
  return new Map(
    values.map((value) => {
      const type = typeOf(value);
      const stored = inputs.get(value.name) ?? viewClassFor(type.dataType).of();
      const data = new FunctionResult(type, stored).toFloat64Array();
      return [value.name, hostTensor(type.dataType, staticShape(type), data)];
    }),
  );
}

function checkInputs(
  fn: MilFunction,
  inputs: Readonly<Record<string, FunctionInput>>,
  stateNames: ReadonlySet<string>,
): ReadonlyMap<string, BufferView> {
  const names = fn.inputs.map(({ name }) => name);
  for (const name of Object.keys(inputs)) {
    if (names.includes(name)) continue;
    throw new EngineError(
      "engine.input",
      `${fn.name} has no input "${name}".${didYouMean(name, names)}`,
    );
  }
  return new Map(
    fn.inputs.map((value) => {
      const type = typeOf(value);
      const wanted = elementCount(staticShape(type, `input "${value.name}"`));
      const given = Object.hasOwn(inputs, value.name) ? inputs[value.name] : undefined;
      const held = given ?? (stateNames.has(value.name) ? new Float64Array(wanted) : undefined);
      const count = held === undefined ? 0 : "stored" in held ? held.stored.length : held.length;
      if (held === undefined || count !== wanted) {
        throw new EngineError(
          "engine.input",
          `input "${value.name}" of ${fn.name} needs ${wanted} numbers, ${count} were given`,
        );
      }
      return [value.name, storedInput(value.name, type, held)];
    }),
  );
}

async function runStateless(
  engine: Engine,
  fn: MilFunction,
  inputs: ReadonlyMap<string, BufferView>,
  { onFallback }: RunFunctionOptions,
): Promise<ReadonlyMap<string, FunctionResult>> {
  const reason = withoutBuffers(fn);
  if (reason !== undefined) {
    if (engine.description.name !== "reference") {
      if (onFallback === undefined) throw new EngineError("engine.open", `${fn.name}: ${reason}`);
      onFallback(reason);
    }
    return evaluated(fn, inputs);
  }
  let loaded: LoadedPlan;
  try {
    loaded = await load(engine, fn);
  } catch (error) {
    if (!(error instanceof OnnxError)) throw error;
    const refusal = refusalOf(fn) ?? error;
    if (onFallback === undefined) throw refusal;
    onFallback(refusal.message);
    const reference = createReferenceEngine();
    try {
      return await runLoaded(await load(reference, fn), fn, inputs);
    } finally {
      await reference.close();
    }
  }
  return runLoaded(loaded, fn, inputs);
}

/** Why no plan can have buffers for a function's inputs and results: only the reference engine runs it then. */
function withoutBuffers(fn: MilFunction): string | undefined {
  const open = fn.outputs.find((value) => typeOf(value).shape.includes("?"));
  if (open !== undefined) {
    return `the size of the result "${open.name}" (${formatType(open.type)}) is only known after the run`;
  }
  const wide = [...fn.inputs, ...fn.outputs].find((value) =>
    ["int64", "uint64"].includes(typeOf(value).dataType),
  );
  return wide && `"${wide.name}" (${formatType(wide.type)}) has integers of 64 bits`;
}

/** Why a function has no ONNX form, with the names it has itself; a compiled plan has its own. */
function refusalOf(fn: MilFunction): OnnxError | undefined {
  try {
    functionToOnnx(fn);
    return undefined;
  } catch (error) {
    return error instanceof OnnxError ? error : undefined;
  }
}

/** A plan of one dispatch, compiled. */
async function load(engine: Engine, fn: MilFunction): Promise<LoadedPlan> {
  const builder = new PlanBuilder(fn.name);
  builder.program(fn.name, fn);
  const bindings = (values: readonly Value[], role: "input" | "output", prefix: string) =>
    Object.fromEntries(
      values.map((value) => [
        value.name,
        builder.buffer(`${prefix}${value.name}`, typeOf(value), role),
      ]),
    );
  builder.dispatch(
    "run",
    fn.name,
    fn.name,
    bindings(fn.inputs, "input", "in:"),
    bindings(fn.outputs, "output", "out:"),
  );
  const loaded = await engine.load(builder.finish());
  try {
    await loaded.prepare("run");
    return loaded;
  } catch (error) {
    await loaded.close();
    throw error;
  }
}

async function runLoaded(
  loaded: LoadedPlan,
  fn: MilFunction,
  inputs: ReadonlyMap<string, BufferView>,
): Promise<ReadonlyMap<string, FunctionResult>> {
  try {
    for (const [name, numbers] of inputs) loaded.view(`in:${name}`).set(numbers);
    await loaded.run("run");
    return new Map(
      fn.outputs.map((value) => [
        value.name,
        new FunctionResult(typeOf(value), loaded.view(`out:${value.name}`).slice()),
      ]),
    );
  } finally {
    await loaded.close();
  }
}

/** Runs a function that no plan can have buffers for. */
function evaluated(
  fn: MilFunction,
  inputs: ReadonlyMap<string, BufferView>,
): ReadonlyMap<string, FunctionResult> {
  return new Map(
    [...evaluateFunction(fn, tensorsOf(fn.inputs, inputs))].map(
      ([name, { dataType, shape, data }]) => {
        const type = tensorType(dataType, shape);
        return [name, new FunctionResult(type, storedInput(name, type, data))];
      },
    ),
  );
}
