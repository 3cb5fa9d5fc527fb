import { MilError } from "../mil/errors.ts";
import type { MilFunction } from "../mil/program.ts";
import { elementCount, staticShape } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import { PlanBuilder } from "../plan/builder.ts";
import type { BufferView, Engine } from "./engine.ts";
import { EngineError } from "./errors.ts";

function typeOf(value: MilFunction["inputs"][number]): TensorType {
  if (value.type.kind === "tensor") return value.type;
  throw new MilError("mil.function.port", `"${value.name}" is not a tensor`);
}

/**
 * Runs one function once: inputs by name, outputs by name. For many runs, load a plan.
 * fp16 tensors are given and returned as 16-bit patterns. Throws `EngineError` for a missing or wrongly sized input.
 */
export async function runFunction(
  engine: Engine,
  fn: MilFunction,
  inputs: Readonly<Record<string, ArrayLike<number>>>,
): Promise<ReadonlyMap<string, BufferView>> {
  const builder = new PlanBuilder(fn.name);
  builder.program(fn.name, fn);
  const bindings = (values: MilFunction["inputs"], role: "input" | "output", prefix: string) =>
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
    for (const value of fn.inputs) {
      const numbers = inputs[value.name];
      const wanted = elementCount(staticShape(typeOf(value)));
      if (numbers === undefined || numbers.length !== wanted) {
        throw new EngineError(
          "engine.input",
          `input "${value.name}" of ${fn.name} needs ${wanted} numbers, ${numbers?.length ?? 0} were given`,
        );
      }
      loaded.view(`in:${value.name}`).set(numbers);
    }
    await loaded.run("run");
    return new Map(fn.outputs.map(({ name }) => [name, loaded.view(`out:${name}`).slice()]));
  } finally {
    await loaded.close();
  }
}
