import type { HostKernel } from "../../plan/plan.ts";
import { isStoredArray, unpackNumbers } from "../../plan/stored-numbers.ts";
import type { StoredArray } from "../../plan/stored-numbers.ts";
import type { BufferView } from "../engine.ts";
import { EngineError } from "../errors.ts";

type UnpackKernel = Extract<HostKernel, { readonly kind: "unpack" }>;

/** Binds the unpacking of stored weights to the views of a dispatch's inputs and outputs. */
export function prepareUnpack(
  { weights }: UnpackKernel,
  inputOf: (name: string) => BufferView,
  outputOf: (name: string) => BufferView,
): () => void {
  const calls = weights.map(({ storage, codes, scales, biases, numbers }) => {
    const stored = {
      codes: storedArray(inputOf(codes)),
      scales: scales === undefined ? undefined : storedArray(inputOf(scales)),
      biases: biases === undefined ? undefined : storedArray(inputOf(biases)),
    };
    const target = outputOf(numbers);
    if (!(target instanceof Float32Array)) throw unsuited(numbers);
    return () => unpackNumbers(storage, stored, target);
  });
  return () => {
    for (const call of calls) call();
  };
}

function storedArray(view: BufferView): StoredArray {
  if (isStoredArray(view)) return view;
  throw unsuited("a stored weight");
}

function unsuited(what: string): EngineError {
  return new EngineError("engine.host.unpack", `${what} stands in a buffer of another type`);
}
