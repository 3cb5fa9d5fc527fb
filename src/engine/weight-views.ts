import { isStoredArray } from "../plan/stored-numbers.ts";
import type { StoredArray } from "../plan/stored-numbers.ts";
import type { BufferView } from "./engine.ts";
import { EngineError } from "./errors.ts";

/**
 * Buffers as weights are read from and written to them. The result throws `EngineError` for one of a type that no
 * weight is stored in.
 */
export function weightViews(viewOf: (name: string) => BufferView): (name: string) => StoredArray {
  return (name) => {
    const view = viewOf(name);
    if (isStoredArray(view)) return view;
    throw new EngineError(
      "engine.view",
      `buffer ${name} is a ${view.constructor.name}, in which no weight is stored`,
    );
  };
}
