import { findNativeLibrary, koffi } from "../../host/ort-api.ts";
import type {
  CompiledGraph,
  GraphOptions,
  GraphRuntime,
  GraphRuntimeOptions,
} from "./graph-runtime.ts";
import { openBindingRuntime } from "./ort-binding.ts";
import { openNativeRuntime } from "./ort-native.ts";

/**
 * The runtime through its C interface, or through its binding where that cannot be had. Throws `EngineError`
 * (`engine.cpu.runtime`) where onnxruntime-node is not installed.
 *
 * Loading the library takes as long as a small model's first token, and engines that only run kernels of their own have
 * no use for it: where it is there, it is loaded when a graph is first compiled, or somebody asks for its version.
 */
export async function openRuntime(options: GraphRuntimeOptions): Promise<GraphRuntime> {
  // What a BLAS is given to must be known from the start.
  if (options.blas === undefined && isThere()) return new LateRuntime(options);
  const native = openNativeRuntime(options);
  return typeof native === "string" ? openInstead(native, options) : native;
}

function isThere(): boolean {
  try {
    return findNativeLibrary() !== undefined && koffi() !== undefined;
  } catch {
    return false;
  }
}

/** The binding copies every input and output: whoever wonders why it is slow finds the reason in its version. */
async function openInstead(reason: string, options: GraphRuntimeOptions): Promise<GraphRuntime> {
  const binding = await openBindingRuntime(options);
  return { ...binding, version: withReason(binding.version, reason) };
}

const withReason = (version: string, reason: string): string =>
  `${version} (C interface: ${reason})`;

class LateRuntime implements GraphRuntime {
  readonly foreignProducts = undefined;
  readonly #options: GraphRuntimeOptions;
  /** The C interface, or why it cannot be had. */
  #native: GraphRuntime | string | undefined;
  #instead: Promise<GraphRuntime> | undefined;

  constructor(options: GraphRuntimeOptions) {
    this.#options = options;
  }

  get version(): string {
    const native = this.#open();
    return typeof native === "string" ? withReason("onnxruntime-node", native) : native.version;
  }

  get takesConstants(): boolean {
    const native = this.#open();
    return typeof native !== "string" && native.takesConstants;
  }

  async compile(model: Uint8Array, options: GraphOptions): Promise<CompiledGraph> {
    const native = this.#open();
    if (typeof native !== "string") return native.compile(model, options);
    this.#instead ??= openInstead(native, this.#options);
    return (await this.#instead).compile(model, options);
  }

  arenaBytes(): number | undefined {
    if (this.#native === undefined) return 0;
    return typeof this.#native === "string" ? undefined : this.#native.arenaBytes();
  }

  async close(): Promise<void> {
    if (typeof this.#native === "object") await this.#native.close();
    await (await this.#instead)?.close();
  }

  #open(): GraphRuntime | string {
    this.#native ??= openNativeRuntime(this.#options);
    return this.#native;
  }
}
