import type { HostKernel } from "../../plan/plan.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";

type StreamKernel = Extract<HostKernel, { readonly kind: "stream" }>;

/** Fills all numbers of a weight that stays in its file. */
export type FileNumbers = (target: Float32Array) => void;

/** Binds the reading of weights to the views that they are brought into. */
export function prepareStream(
  { weights }: StreamKernel,
  numbersOf: (input: string) => FileNumbers,
  outputOf: (name: string) => BufferView,
): () => void {
  const calls = weights.map(({ source, numbers }) => {
    const read = numbersOf(source);
    const target = outputOf(numbers);
    if (!(target instanceof Float32Array)) {
      throw new EngineError(
        "engine.host.stream",
        `${numbers} stands in a buffer of another type than fp32`,
      );
    }
    return () => read(target);
  });
  return () => {
    for (const call of calls) call();
  };
}
