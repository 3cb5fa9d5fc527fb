import { createRequire } from "node:module";
import { messageOf } from "../util/errors.ts";
import { FfiError } from "./errors.ts";

/** An address. Every kind of handle has a brand of its own, so that the compiler tells them apart. */
export type Pointer<Kind extends string = string> = bigint & { readonly __pointer: Kind };

export type ForeignFunction = ((...operands: readonly unknown[]) => unknown) & {
  /** Runs on another thread; callbacks that it makes run on this one. */
  readonly async: (...operands: readonly unknown[]) => void;
};

export interface ForeignLibrary {
  func(prototype: string): ForeignFunction;
  /** The address of an exported variable; throws where the library has none of that name. */
  symbol(name: string): bigint;
}

/** What a library is wanted for, as messages tell it. */
export interface ForeignUse {
  /** What codes begin with: "engine.ane". */
  readonly code: string;
  /** What is reached through it. */
  readonly subject: string;
  readonly withoutKoffi: string;
  readonly withoutLibrary: string;
  readonly withoutFunctions: string;
}

const NEURAL_ENGINE: ForeignUse = {
  code: "engine.ane",
  subject: "the Neural Engine",
  withoutKoffi: "Install it: npm install koffi. Or use --engine cpu.",
  withoutLibrary: "The Neural Engine needs an Apple Silicon Mac with macOS 15 or later.",
  withoutFunctions: "This version of macOS is not known to the driver; use --engine cpu.",
};

/** The part of koffi that is used. */
interface Koffi {
  readonly version: string;
  load(path: string | null, options?: { readonly global?: boolean }): ForeignLibrary;
  proto(prototype: string): object;
  pointer(type: object): object;
  register(callback: (...operands: never[]) => unknown, type: object): bigint;
  unregister(callback: bigint): void;
  decode(pointer: bigint, type: string, length?: number): unknown;
  address(value: Uint8Array): bigint;
  view(pointer: bigint, byteLength: number): ArrayBuffer;
}

/** koffi, loaded when first needed. Throws `FfiError` `<code>.koffi` where it is missing. */
export function foreign(use: ForeignUse = NEURAL_ENGINE): Koffi {
  try {
    loaded ??= createRequire(import.meta.url)("koffi") as Koffi;
    return loaded;
  } catch (error) {
    throw new FfiError(
      `${use.code}.koffi`,
      `${use.subject} is reached through koffi, which cannot be loaded: ${messageOf(error)}`,
      { remedy: use.withoutKoffi, cause: error },
    );
  }
}
let loaded: Koffi | undefined;

/**
 * Opens a library; `isGlobal` lets libraries that it loads itself find its symbols. Throws `FfiError` `<code>.library`
 * with the system's reason.
 */
export function openLibrary(
  path: string,
  use: ForeignUse = NEURAL_ENGINE,
  { isGlobal = false }: { readonly isGlobal?: boolean } = {},
): ForeignLibrary {
  const koffi = foreign(use);
  try {
    return isGlobal ? koffi.load(path, { global: true }) : koffi.load(path);
  } catch (error) {
    throw new FfiError(`${use.code}.library`, `${path} cannot be loaded: ${messageOf(error)}`, {
      remedy: use.withoutLibrary,
      cause: error,
    });
  }
}

/**
 * The functions of a table of prototypes in koffi's notation, by name. Throws `FfiError` `<code>.symbols` naming all
 * that the library lacks.
 */
export function bindFunctions<Name extends string>(
  path: string,
  prototypes: Readonly<Record<Name, string>>,
  use: ForeignUse = NEURAL_ENGINE,
  library: ForeignLibrary = openLibrary(path, use),
): Readonly<Record<Name, ForeignFunction>> {
  const missing: string[] = [];
  const functions: Partial<Record<Name, ForeignFunction>> = {};
  for (const name of Object.keys(prototypes) as Name[]) {
    try {
      functions[name] = library.func(prototypes[name]);
    } catch (error) {
      if (!messageOf(error).includes("Cannot find function")) throw error;
      missing.push(name);
    }
  }
  if (missing.length > 0) {
    throw new FfiError(
      `${use.code}.symbols`,
      `${path} lacks ${missing.length} of the ${Object.keys(prototypes).length} functions that are called: ${missing.join(", ")}`,
      { remedy: use.withoutFunctions },
    );
  }
  return functions as Readonly<Record<Name, ForeignFunction>>;
}

/** One function that a library may lack. */
export function optionalFunction(path: string, prototype: string): ForeignFunction | undefined {
  try {
    return openLibrary(path).func(prototype);
  } catch {
    return undefined;
  }
}

/** koffi keeps named types for the whole process. */
const callbackTypes = new Map<string, object>();
export function callbackType(prototype: string): object {
  const known = callbackTypes.get(prototype);
  if (known !== undefined) return known;
  const koffi = foreign();
  const made = koffi.pointer(koffi.proto(prototype));
  callbackTypes.set(prototype, made);
  return made;
}
