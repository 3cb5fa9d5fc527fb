import { messageOf } from "../../util/errors.ts";
import { EngineError } from "../errors.ts";

/** The version the engine is measured and tested with. */
export const ONNX_RUNTIME_VERSION = "1.30.0";

/** How to get the runtime: its default install also fetches CUDA files from the network and fails without one. */
export const INSTALL_REMEDY =
  `Install it with: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@${ONNX_RUNTIME_VERSION}\n` +
  "  (the variable skips a download of GPU files that the CPU engine does not use and that fails offline; " +
  "there is no build for Intel Macs: use --engine reference there).";

/** What the engine uses of onnxruntime-node; the package is optional, so its own types are not imported. */
export interface OrtTensor {
  readonly dims: readonly number[];
}
export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(
    feeds: Readonly<Record<string, OrtTensor>>,
    fetches: Readonly<Record<string, OrtTensor>>,
    options?: Readonly<Record<string, unknown>>,
  ): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
  endProfiling(): void;
}
export interface OrtModule {
  readonly InferenceSession: {
    create(bytes: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
  readonly Tensor: new (type: string, data: ArrayBufferView, dims: readonly number[]) => OrtTensor;
  readonly env: { readonly versions: { readonly node?: string; readonly common: string } };
}

let loaded: Promise<OrtModule> | undefined;

/** Loads onnxruntime-node once. Throws `EngineError` with the way to install it where it is missing. */
export function loadOnnxRuntime(): Promise<OrtModule> {
  loaded ??= importRuntime();
  return loaded;
}

async function importRuntime(): Promise<OrtModule> {
  // A variable, so that type checking does not ask for an optional package.
  const name = "onnxruntime-node";
  try {
    const imported = (await import(name)) as { readonly default?: unknown };
    return (imported.default ?? imported) as OrtModule;
  } catch (error) {
    loaded = undefined;
    throw new EngineError(
      "engine.cpu.runtime",
      `the CPU engine needs onnxruntime-node, which cannot be loaded: ${messageOf(error).split("\n")[0]}`,
      { remedy: INSTALL_REMEDY, cause: error },
    );
  }
}
