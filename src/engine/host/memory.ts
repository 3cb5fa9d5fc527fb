import { EngineError } from "../errors.ts";
import { Memory } from "../../util/webassembly.ts";
import type { WasmMemory } from "../../util/webassembly.ts";

const PAGE_BYTES = 65536;
/** Upper end of one memory: what a 32-bit WebAssembly memory addresses, less one page. */
export const MAXIMUM_MEMORY_BYTES = 65535 * PAGE_BYTES;

/** Memory that kernels on several threads and ONNX Runtime work on in place. It never grows. */
export class SharedMemory {
  readonly memory: WasmMemory;
  readonly byteLength: number;

  constructor(byteLength: number) {
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
  }

  get shared(): SharedArrayBuffer {
    return this.memory.buffer;
  }
}
