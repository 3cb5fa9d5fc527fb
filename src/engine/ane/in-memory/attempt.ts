import type { ObjectPointer, Selector } from "../ffi/objc-functions.ts";
import type { ObjcRuntime } from "./objc.ts";

/** A message that may fail, without its last operand, the NSError. */
export interface Attempt {
  readonly receiver: ObjectPointer | null;
  readonly selector: Selector;
  readonly operands: readonly (bigint | number)[];
}

/** What became of attempts made one after the other, up to the first that failed. */
export interface AttemptsOutcome {
  /** Index of the failed one. */
  readonly failed: number | undefined;
  readonly reason: string;
}

/** Each in an autorelease pool of its own, on the calling thread: a pool belongs to a thread. */
export function makeAttempts(runtime: ObjcRuntime, attempts: readonly Attempt[]): AttemptsOutcome {
  for (const [index, { receiver, selector, operands }] of attempts.entries()) {
    if (receiver === null) return { failed: index, reason: "there is no connection to the daemon" };
    const { ok, reason } = runtime.pooled(() => runtime.attempt(receiver, selector, ...operands));
    if (!ok) return { failed: index, reason };
  }
  return { failed: undefined, reason: "" };
}
