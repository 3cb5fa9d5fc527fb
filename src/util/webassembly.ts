import { existsSync, readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

/** The part of the WebAssembly interface that is used here; Node's own types leave it to the DOM library. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}
export interface WasmModule {
  readonly kind?: "module";
}
export interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}
interface WasmInterface {
  readonly Memory: new (size: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: true;
  }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Instance: new (
    module: WasmModule,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => WasmInstance;
  /** Whether the bytes are a module whose every instruction is known here. */
  readonly validate: (bytes: Uint8Array) => boolean;
}

const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WasmInterface };
export const { Memory, Module, Instance } = WebAssembly;

/** V8 11.3 has relaxed SIMD behind a switch; from 11.4 on it is always there. */
const SWITCHED_V8 = /^11\.3\./;

/**
 * A module that was built with relaxed SIMD, which is turned on where it has to be; nothing where there is no such build
 * or it cannot run here.
 */
export function relaxedModule(url: URL): WasmModule | undefined {
  if (!existsSync(url)) return undefined;
  const bytes = readFileSync(url);
  if (WebAssembly.validate(bytes)) return new Module(bytes);
  if (!SWITCHED_V8.test(process.versions.v8)) return undefined;
  setFlagsFromString("--experimental-wasm-relaxed-simd");
  return WebAssembly.validate(bytes) ? new Module(bytes) : undefined;
}
