import { createRequire } from "node:module";
import { EngineError } from "../errors.ts";
import { Memory } from "./webassembly.ts";
import type { WasmMemory } from "./webassembly.ts";

const PAGE_BYTES = 65536;
/** Upper end of one memory: what a 32-bit WebAssembly memory addresses, less one page. */
export const MAXIMUM_MEMORY_BYTES = 65535 * PAGE_BYTES;

interface Koffi {
  address(array: Uint8Array): bigint;
  view(address: bigint, byteLength: number): ArrayBuffer;
}

let koffi: Koffi | undefined | "unknown" = "unknown";

/** koffi, when this platform has it. */
function loadKoffi(): Koffi | undefined {
  if (koffi === "unknown") {
    try {
      const loaded: unknown = createRequire(import.meta.url)("koffi");
      koffi =
        typeof loaded === "object" && loaded !== null && "view" in loaded && "address" in loaded
          ? (loaded as Koffi)
          : undefined;
    } catch {
      koffi = undefined;
    }
  }
  return koffi;
}

/**
 * Memory that WebAssembly threads share and ONNX Runtime reads and writes. The runtime refuses shared memory,
 * so it gets a second, plain view of the same bytes through koffi; where koffi is missing it gets a copy that is
 * brought up to date around every run.
 */
export class SharedMemory {
  readonly memory: WasmMemory;
  readonly byteLength: number;
  /** What the runtime is given: the same bytes, or a copy of them. */
  readonly runtimeBuffer: ArrayBuffer;
  readonly isCopied: boolean;

  constructor(byteLength: number, useKoffi = true) {
    if (byteLength > MAXIMUM_MEMORY_BYTES) {
      throw new EngineError(
        "engine.cpu.memory",
        `one memory of ${byteLength} bytes is asked for; a WebAssembly memory holds at most ${MAXIMUM_MEMORY_BYTES}`,
      );
    }
    const pages = Math.max(1, Math.ceil(byteLength / PAGE_BYTES));
    try {
      this.memory = new Memory({ initial: pages, maximum: pages, shared: true });
    } catch (error) {
      throw new EngineError(
        "engine.cpu.memory",
        `the system refuses a memory of ${byteLength} bytes`,
        { cause: error, remedy: "Choose a smaller model or batch, or close other programs." },
      );
    }
    this.byteLength = pages * PAGE_BYTES;
    const loaded = useKoffi ? loadKoffi() : undefined;
    this.isCopied = loaded === undefined;
    this.runtimeBuffer =
      loaded === undefined
        ? new ArrayBuffer(this.byteLength)
        : loaded.view(loaded.address(new Uint8Array(this.memory.buffer)), this.byteLength);
  }

  get shared(): SharedArrayBuffer {
    return this.memory.buffer;
  }

  /** Brings the runtime's copy up to date; nothing to do where it is the same memory. */
  toRuntime(start: number, byteLength: number): void {
    if (!this.isCopied) return;
    new Uint8Array(this.runtimeBuffer, start, byteLength).set(
      new Uint8Array(this.shared, start, byteLength),
    );
  }

  fromRuntime(start: number, byteLength: number): void {
    if (!this.isCopied) return;
    new Uint8Array(this.shared, start, byteLength).set(
      new Uint8Array(this.runtimeBuffer, start, byteLength),
    );
  }
}
