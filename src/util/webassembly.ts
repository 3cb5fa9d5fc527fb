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

export const { Memory, Module, Instance, validate } = (
  globalThis as unknown as { readonly WebAssembly: WasmInterface }
).WebAssembly;
