import { EngineError } from "../../errors.ts";
import { bindFunctions, foreign, openLibrary } from "../../../ffi/foreign.ts";
import type { ForeignFunction } from "../../../ffi/foreign.ts";
import {
  CLASS_NAMES,
  ROUTE_CLASS_NAMES,
  MESSAGES,
  NEURAL_ENGINE_FRAMEWORK,
  OBJC_LIBRARIES,
} from "../ffi/objc-functions.ts";
import type {
  ClassName,
  ObjcFunctionName,
  ObjectPointer,
  Pool,
  Selector,
} from "../ffi/objc-functions.ts";

/** What a call that may fail gave: whether it worked, and the runtime's words if not. */
export interface Outcome {
  readonly ok: boolean;
  readonly reason: string;
}

/** Objective-C, as far as the driver speaks it. Objects that messages return are autoreleased: use `pooled`. */
export class ObjcRuntime {
  readonly #functions = new Map<ObjcFunctionName, ForeignFunction>();
  readonly #classes = new Map<ClassName, ObjectPointer>();
  readonly #messages = new Map<Selector, { selector: ObjectPointer; send: ForeignFunction }>();
  readonly #path: string;

  /** `named` is a library that stands for all of the system's. */
  constructor(named: string | undefined) {
    for (const [path, prototypes] of Object.entries(OBJC_LIBRARIES)) {
      const bound = bindFunctions(named ?? path, prototypes as Readonly<Record<string, string>>);
      for (const [name, fn] of Object.entries(bound))
        this.#functions.set(name as ObjcFunctionName, fn);
    }
    const runtime = named ?? "/usr/lib/libobjc.A.dylib";
    if (named === undefined) openLibrary(NEURAL_ENGINE_FRAMEWORK);
    this.#path = named ?? NEURAL_ENGINE_FRAMEWORK;
    for (const name of [...CLASS_NAMES, ...ROUTE_CLASS_NAMES]) {
      const found = this.call("objc_getClass", name) as ObjectPointer | null;
      if (found !== null) this.#classes.set(name, found);
    }
    const missing = CLASS_NAMES.filter((name) => !this.#classes.has(name));
    if (missing.length > 0) throw this.lacking(missing);
    const library = openLibrary(runtime);
    for (const [name, { c }] of Object.entries(MESSAGES)) {
      const [result, ...operands] = c as readonly string[];
      const send = library.func(
        `${result} objc_msgSend(${["void *", "void *", ...operands].join(", ")})`,
      );
      const selector = this.call("sel_registerName", name) as ObjectPointer;
      this.#messages.set(name as Selector, { selector, send });
    }
  }

  /**
   * Which of the messages nobody here answers, with the class they would go to: a message that is not understood
   * ends the process.
   */
  missing(selectors: readonly Selector[]): readonly string[] {
    return selectors.flatMap((name) => {
      const message = MESSAGES[name];
      if (!("to" in message)) return [];
      const { to } = message;
      const known = this.#classes.get(to.slice(1) as ClassName);
      if (known === undefined) return [to.slice(1)];
      const asks = to.startsWith("+") ? "respondsToSelector:" : "instancesRespondToSelector:";
      const isKnown = this.send(known, asks, this.#messages.get(name)?.selector) === true;
      return isKnown ? [] : [`${to.slice(0, 1)}[${to.slice(1)} ${name}]`];
    });
  }

  /** The error for what this system's framework does not have. */
  lacking(names: readonly string[]): EngineError {
    return new EngineError(
      "engine.ane.symbols",
      `${this.#path} lacks ${[...new Set(names)].join(", ")}`,
      { remedy: "This version of macOS is not known to the driver; use --engine cpu." },
    );
  }

  call(name: ObjcFunctionName, ...operands: readonly unknown[]): unknown {
    const fn = this.#functions.get(name);
    if (fn === undefined) throw new EngineError("engine.ane.symbols", `${name} is not bound`);
    return fn(...operands);
  }

  send(receiver: ObjectPointer, selector: Selector, ...operands: readonly unknown[]): unknown {
    const message = this.#messages.get(selector);
    if (message === undefined)
      throw new EngineError("engine.ane.symbols", `${selector} is not bound`);
    return message.send(receiver, message.selector, ...operands);
  }

  /** A message whose answer is an object, never nil. */
  ask<Class extends string>(
    receiver: ObjectPointer | ClassName,
    selector: Selector,
    ...operands: readonly unknown[]
  ): ObjectPointer<Class> {
    const target = typeof receiver === "string" ? this.#classOf(receiver) : receiver;
    const answer = this.send(target, selector, ...operands) as ObjectPointer<Class> | null;
    if (answer !== null) return answer;
    throw new EngineError("engine.ane.object", `${selector} answered nil`);
  }

  /** A message whose last operand receives an NSError. */
  attempt(receiver: ObjectPointer, selector: Selector, ...operands: readonly unknown[]): Outcome {
    const error: [ObjectPointer | null] = [null];
    const ok = this.send(receiver, selector, ...operands, error) === true;
    if (ok) return { ok, reason: "" };
    const words = error[0] === null ? null : this.send(error[0], "description");
    return { ok, reason: words === null ? "no reason given" : this.text(words as ObjectPointer) };
  }

  /** Runs with an autorelease pool: what messages return inside lives to its end. */
  pooled<Result>(use: () => Result): Result {
    const pool = this.call("objc_autoreleasePoolPush") as Pool;
    try {
      return use();
    } finally {
      this.call("objc_autoreleasePoolPop", pool);
    }
  }

  retain<Class extends string>(object: ObjectPointer<Class>): ObjectPointer<Class> {
    this.call("objc_retain", object);
    return object;
  }

  release(object: ObjectPointer): void {
    this.call("objc_release", object);
  }

  string(text: string): ObjectPointer<"NSString"> {
    return this.ask("NSString", "stringWithUTF8String:", text);
  }

  text(string: ObjectPointer): string {
    return String(this.send(string, "UTF8String"));
  }

  /** The bytes are copied. */
  data(bytes: Uint8Array): ObjectPointer<"NSData"> {
    return this.ask("NSData", "dataWithBytes:length:", bytes, bytes.byteLength);
  }

  array(objects: readonly ObjectPointer[]): ObjectPointer<"NSArray"> {
    return this.ask("NSArray", "arrayWithObjects:count:", pointers(objects), objects.length);
  }

  dictionary(
    entries: readonly (readonly [string, ObjectPointer])[],
  ): ObjectPointer<"NSDictionary"> {
    if (entries.length === 0) return this.ask("NSDictionary", "dictionary");
    return this.ask(
      "NSDictionary",
      "dictionaryWithObjects:forKeys:count:",
      pointers(entries.map(([, value]) => value)),
      pointers(entries.map(([key]) => this.string(key))),
      entries.length,
    );
  }

  /** Memory at an address that native code owns. */
  memory(address: bigint, byteLength: number): ArrayBuffer {
    return foreign().view(address, byteLength);
  }

  #classOf(name: ClassName): ObjectPointer {
    const found = this.#classes.get(name);
    if (found === undefined) throw new EngineError("engine.ane.symbols", `there is no ${name}`);
    return found;
  }
}

function pointers(objects: readonly ObjectPointer[]): BigUint64Array {
  return BigUint64Array.from(objects.length === 0 ? [0n] : objects);
}
