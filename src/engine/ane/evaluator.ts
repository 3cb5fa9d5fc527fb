import { arithmeticOf } from "../../chip/arithmetic/arithmetic.ts";
import { dirname } from "node:path";
import { readFileSync } from "node:fs";
import { familyIndex } from "../../chip/chip.ts";
import type { Chip } from "../../chip/chip.ts";
import { Weights, loadWeights } from "../../coreml/weights.ts";
import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import { parseProgram } from "../../mil/text/index.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import { messageOf } from "../../util/errors.ts";
import { float16Bits, float16Value } from "../../util/float16.ts";
import { Machine } from "../sim/machine.ts";
import { SimulatedFunction } from "../sim/simulate.ts";
import { callbackType, foreign, optionalFunction } from "../../ffi/foreign.ts";

const SETTER = "anecdote_set_evaluator";
const PROTOTYPE = "int AnecdoteEvaluate(const char *, uint32_t, void **, uint32_t, void **)";

/**
 * Arithmetic for a library that has no engine of its own: one that exports `anecdote_set_evaluator` is given a
 * function that runs the program of a `model.mil` over its ports' memory with the simulator of `chip`. It is
 * called on the thread that loaded the library. Returns what ends it, or nothing for a library with an engine.
 */
export function lendEvaluator(path: string, chip: Chip): (() => Promise<void>) | undefined {
  const set = optionalFunction(path, `void ${SETTER}(void *)`);
  if (set === undefined) return undefined;
  const machine = new Machine(1);
  const family = familyIndex(chip.family);
  const context = {
    place: "engine",
    numerics: "exact",
    machine,
    arithmetic: arithmeticOf(chip.family),
    clampSlices: family <= familyIndex("H14"),
  } as const;
  const functions = new Map<string, SimulatedFunction>();
  const koffi = foreign();
  const evaluate = (
    model: string,
    inputCount: number,
    inputs: bigint,
    outputCount: number,
    outputs: bigint,
  ): number => {
    try {
      const fn = functions.get(model) ?? readFunction(model);
      functions.set(model, fn);
      const addresses = (array: bigint, count: number): readonly bigint[] =>
        count === 0 ? [] : (koffi.decode(array, "void *", count) as bigint[]);
      const tensors = new Map<string, HostTensor>();
      addresses(inputs, inputCount).forEach((address, index) => {
        const port = fn.fn.inputs[index];
        if (port?.type.kind !== "tensor") return;
        const shape = staticShape(port.type);
        const halves = halvesAt(address, elementCount(shape));
        tensors.set(port.name, hostTensor("fp16", shape, Float64Array.from(halves, float16Value)));
      });
      const results = fn.run(tensors, context);
      addresses(outputs, outputCount).forEach((address, index) => {
        const result = results.get(fn.fn.outputs[index]?.name ?? "");
        if (result === undefined) return;
        halvesAt(address, result.data.length).set(Uint16Array.from(result.data, float16Bits));
      });
      return 0;
    } catch (error) {
      process.stderr.write(`evaluator: ${messageOf(error)}\n`);
      return 1;
    } finally {
      machine.arena.reset();
    }
  };
  const halvesAt = (address: bigint, count: number): Uint16Array =>
    new Uint16Array(koffi.view(address, 2 * count), 0, count);
  const callback = koffi.register(evaluate, callbackType(PROTOTYPE));
  set(callback);
  return async () => {
    set(null);
    koffi.unregister(callback);
    await machine.close();
  };
}

/** The program's only function, parsed from the very text that the driver wrote. */
function readFunction(model: string): SimulatedFunction {
  const parsed = parseProgram(readFileSync(model, "utf8"), { fileName: model });
  const weights = new Weights(dirname(model));
  try {
    const [main] = loadWeights(parsed, weights).functions;
    if (main?.name !== "main") throw new Error(`${model} has no function main`);
    return new SimulatedFunction(main, "engine");
  } finally {
    weights.close();
  }
}
