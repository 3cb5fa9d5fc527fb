import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { fillOneHot } from "../../src/engine/host/one-hot.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import type { EngineProgram } from "../../src/lower/ports.ts";

import { inputsFor } from "./tensors.ts";

/** The host's side of a program's ports, in double precision. */
export function runLowered(
  program: EngineProgram,
  inputs: ReadonlyMap<string, HostTensor>,
  original: MilFunction,
): ReadonlyMap<string, number[]> {
  const ports = new Map<string, HostTensor>();
  const { hostPart } = program;
  const before =
    hostPart === undefined ? undefined : evaluateFunction(hostPart, inputsFor(hostPart, inputs));
  for (const { name, from, conversion } of program.inputs) {
    const source = inputs.get(from) ?? before?.get(from);
    const type = program.function.inputs.find((input) => input.name === name)?.type;
    if (source === undefined || type?.kind !== "tensor") throw new Error(name);
    const target = hostTensor("fp16", type.shape.map(Number));
    if (conversion.kind === "half")
      target.data.set(source.data.subarray(conversion.start, conversion.start + conversion.count));
    if (conversion.kind === "valid")
      for (let i = 0; i < target.data.length; i++)
        target.data[i] = Number((source.data[i] ?? -1) >= 0);
    if (conversion.kind === "one-hot") {
      const hot = new Float32Array(target.data.length);
      fillOneHot(source.data, conversion, hot, 1);
      target.data.set(hot);
    }
    ports.set(name, target);
  }
  const results = evaluateFunction(program.function, ports, { precision: "float64" });
  const outputs = new Map<string, number[]>();
  for (const { name } of original.outputs) {
    const known = before?.get(name);
    if (known !== undefined) outputs.set(name, [...known.data]);
  }
  for (const { name, to, conversion } of program.outputs) {
    const result = results.get(name);
    const type = original.outputs.find((output) => output.name === to)?.type;
    if (result === undefined || type?.kind !== "tensor") throw new Error(name);
    const held =
      outputs.get(to) ??
      Array.from({ length: hostTensor("fp32", type.shape.map(Number)).data.length }, () => 0);
    if (conversion.kind === "sum") held[0] = result.data.reduce((sum, value) => sum + value, 0);
    else result.data.forEach((value, i) => (held[conversion.start + i] = value));
    outputs.set(to, held);
  }
  return outputs;
}
