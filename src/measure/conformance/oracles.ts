import { listsAsTensors } from "../../mil/lists-as-tensors.ts";
import { statesAsValues } from "../../mil/states-as-values.ts";
import { staticShape } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { runModelBytes } from "../../engine/cpu/onnx-runtime/ort-binding.ts";
import type { ModelSettings } from "../../engine/cpu/onnx-runtime/ort-binding.ts";
import type { PreparedRun } from "../../files/prepare-run.ts";
import { exportOnnx } from "../../onnx/export-model.ts";
import { messageOf } from "../../util/errors.ts";
import type { ActualTensor } from "./compare.ts";
import { MeasureError } from "../errors.ts";
import { compared } from "./compare.ts";
import type { DataSet } from "./conformance-test.ts";

/** Oracles stand among the engines under this prefix. */
export const ORACLE_PREFIX = "oracle:";
export const ORACLES = ["onnx"] as const;

/** Every way in which a runtime may take a file. */
const SETTINGS: readonly ModelSettings[] = [
  { optimizes: true, isStrict: false },
  { optimizes: false, isStrict: false },
  { optimizes: true, isStrict: true },
];

/**
 * The file that `convert` writes as .onnx for a program, loaded by ONNX Runtime with its optimiser on and off and
 * with strict shape inference. Returns what differs from the expected results, or nothing. Throws what `convert` throws.
 */
export async function runExported(run: PreparedRun, dataSet: DataSet): Promise<string | undefined> {
  const fn = listsAsTensors(statesAsValues(run.fn).fn);
  const { bytes, renamed } = exportOnnx(fn);
  const typeOf = (value: (typeof fn.inputs)[number]): TensorType => {
    if (value.type.kind !== "tensor") throw new Error(`"${value.name}" is no tensor`);
    return value.type;
  };
  const inputs = fn.inputs.map((value) => {
    const type = typeOf(value);
    const shape = staticShape(type);
    const numbers = run.inputs[value.name];
    return { name: value.name, dataType: type.dataType, shape, numbers };
  });
  for (const settings of SETTINGS) {
    const how = `optimiser ${settings.optimizes ? "on" : "off"}${settings.isStrict ? ", strict" : ""}`;
    let results: Awaited<ReturnType<typeof runModelBytes>>;
    try {
      results = await runModelBytes(bytes, inputs, settings);
    } catch (error) {
      // What the runtime sees in the inputs alone, such as an index outside its axis, says nothing about the file.
      if (messageOf(error).includes("while running")) {
        throw new MeasureError("measure.oracle.run", `${how}: ${messageOf(error)}`, {
          cause: error,
        });
      }
      return `${how}: ONNX Runtime refuses the file: ${messageOf(error).split("\n")[0]}`;
    }
    const named = new Map<string, ActualTensor>();
    // States come after the results that the program names.
    for (const value of fn.outputs.slice(0, run.fn.outputs.length)) {
      const result = results.get(renamed.get(value.name) ?? value.name);
      if (result === undefined) return `${how}: no result "${value.name}"`;
      const { dataType } = typeOf(value);
      named.set(value.name, {
        type: { kind: "tensor", dataType, shape: result.shape },
        numbers: result.numbers,
      });
    }
    const problem = compared(dataSet, named);
    if (problem !== undefined) return `${how}: ${problem}`;
  }
  return undefined;
}
