import type { DataType } from "../../../mil/types.ts";
import { messageOf } from "../../../util/errors.ts";
import { float16Bits, float16Value } from "../../../util/float16.ts";
import { EngineError } from "../../errors.ts";
import type { TensorPlace } from "../compiler.ts";
import type { CompiledGraph, GraphRuntime, GraphRuntimeOptions } from "./graph-runtime.ts";

/** The version the engine is measured and tested with. */
export const ONNX_RUNTIME_VERSION = "1.30.0";

/** How to get the runtime: its default install also fetches CUDA files from the network and fails without one. */
export const INSTALL_REMEDY =
  `Install it with: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@${ONNX_RUNTIME_VERSION}\n` +
  "  (the variable skips a download of GPU files that the CPU engine does not use and that fails offline; " +
  "there is no build for Intel Macs: use --engine reference there).";

interface OrtTensor {
  readonly dims: readonly number[];
  readonly type: string;
  readonly data: ArrayLike<number | bigint>;
}
interface OrtSession {
  run(
    feeds: Readonly<Record<string, OrtTensor>>,
    fetches?: Readonly<Record<string, OrtTensor>>,
  ): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}
/** What the engine uses of onnxruntime-node; the package is optional, so its own types are not imported. */
interface OrtModule {
  readonly InferenceSession: {
    create(bytes: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
  readonly Tensor: new (type: string, data: ArrayBufferView, dims: readonly number[]) => OrtTensor;
  readonly env: { readonly versions: { readonly node?: string; readonly common: string } };
}

/** Throws `EngineError` with the way to install it where onnxruntime-node is missing. */
async function importBinding(): Promise<OrtModule> {
  // A variable, so that type checking does not ask for an optional package.
  const name = "onnxruntime-node";
  try {
    const imported = (await import(name)) as { readonly default?: unknown };
    return (imported.default ?? imported) as OrtModule;
  } catch (error) {
    throw missingRuntime(messageOf(error), error);
  }
}

export function missingRuntime(reason: string, cause?: unknown): EngineError {
  return new EngineError(
    "engine.cpu.runtime",
    `the CPU engine needs onnxruntime-node, which cannot be loaded: ${reason.split("\n")[0]}`,
    { remedy: INSTALL_REMEDY, cause },
  );
}

interface ArrayClass {
  new (buffer: ArrayBuffer, byteOffset: number, length: number): ArrayBufferView;
  readonly BYTES_PER_ELEMENT: number;
}

/** How onnxruntime-node calls an element type, and the array class it wants. */
function bindingType(dataType: DataType): {
  readonly name: string;
  readonly arrayClass: ArrayClass;
} {
  switch (dataType) {
    case "fp32":
      return { name: "float32", arrayClass: Float32Array };
    case "fp64":
      return { name: "float64", arrayClass: Float64Array };
    case "fp16":
      return { name: "float16", arrayClass: Uint16Array };
    case "int8":
      return { name: "int8", arrayClass: Int8Array };
    case "int16":
      return { name: "int16", arrayClass: Int16Array };
    case "int32":
      return { name: "int32", arrayClass: Int32Array };
    case "int64":
      return { name: "int64", arrayClass: BigInt64Array };
    case "uint8":
      return { name: "uint8", arrayClass: Uint8Array };
    case "uint16":
      return { name: "uint16", arrayClass: Uint16Array };
    case "uint32":
      return { name: "uint32", arrayClass: Uint32Array };
    case "uint64":
      return { name: "uint64", arrayClass: BigUint64Array };
    case "bool":
      return { name: "bool", arrayClass: Uint8Array };
    default:
      throw new EngineError("engine.cpu.type", `the CPU engine has no buffers of ${dataType}`);
  }
}

/** A tensor of the binding's own memory beside the place it stands for. */
interface Staged {
  readonly tensor: OrtTensor;
  readonly staging: Uint8Array;
  readonly place: Uint8Array;
}

/**
 * ONNX Runtime through onnxruntime-node: the way where koffi or the library's C interface is not to be had.
 * It refuses shared memory, so every run copies inputs in and outputs out.
 */
export async function openBindingRuntime(options: GraphRuntimeOptions): Promise<GraphRuntime> {
  const module = await importBinding();
  const stage = ({ dataType, shape, buffer, byteOffset, byteLength }: TensorPlace): Staged => {
    const { name, arrayClass } = bindingType(dataType);
    const staging = new ArrayBuffer(byteLength);
    const length = shape.reduce((count, size) => count * size, 1);
    return {
      tensor: new module.Tensor(name, new arrayClass(staging, 0, length), shape),
      staging: new Uint8Array(staging),
      place: new Uint8Array(buffer, byteOffset, byteLength),
    };
  };
  return {
    version: `onnxruntime-node ${module.env.versions.node ?? module.env.versions.common}`,
    foreignProducts: undefined,
    takesConstants: false,
    arenaBytes: () => undefined,
    close: () => undefined,
    compile: async (model, { spins }): Promise<CompiledGraph> => {
      const session = await module.InferenceSession.create(model, {
        executionProviders: ["cpu"],
        intraOpNumThreads: options.threads,
        interOpNumThreads: 1,
        executionMode: "sequential",
        graphOptimizationLevel: "all",
        logSeverityLevel: 3,
        enableMemPattern: false,
        ...(options.profilePrefix !== undefined && {
          enableProfiling: true,
          profileFilePrefix: options.profilePrefix,
        }),
        extra: {
          session: {
            force_spinning_stop: "1",
            intra_op: { allow_spinning: spins ? "1" : "0" },
          },
        },
      });
      return {
        bind: (inputs, outputs) => {
          const stagedInputs = inputs.map(stage);
          const stagedOutputs = outputs.map(stage);
          const named = (
            places: readonly TensorPlace[],
            staged: readonly Staged[],
          ): Record<string, OrtTensor> =>
            Object.fromEntries(
              staged.map(({ tensor }, index) => [places[index]?.name ?? "", tensor]),
            );
          const feeds = named(inputs, stagedInputs);
          const fetches = named(outputs, stagedOutputs);
          return {
            run: async () => {
              for (const { staging, place } of stagedInputs) staging.set(place);
              await session.run(feeds, fetches);
              for (const { staging, place } of stagedOutputs) place.set(staging);
            },
            release: () => undefined,
          };
        },
        release: () => session.release(),
      };
    },
  };
}

/** How a whole file is loaded. */
export interface ModelSettings {
  readonly optimizes: boolean;
  /** Shapes that the file declares must be those that the runtime infers. */
  readonly isStrict: boolean;
}

export interface ModelInput {
  readonly name: string;
  readonly dataType: DataType;
  readonly shape: readonly number[];
  /** Zeros where absent. */
  readonly numbers: ArrayLike<number> | undefined;
}

export interface ModelResult {
  readonly shape: readonly number[];
  readonly numbers: Float64Array;
}

/**
 * Runs the bytes of an ONNX file once, as any user of the runtime would: no settings of this engine.
 * Throws what the runtime throws, and `EngineError` where it is missing.
 */
export async function runModelBytes(
  model: Uint8Array,
  inputs: readonly ModelInput[],
  { optimizes, isStrict }: ModelSettings,
): Promise<ReadonlyMap<string, ModelResult>> {
  const module = await importBinding();
  const session = await module.InferenceSession.create(model, {
    executionProviders: ["cpu"],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: optimizes ? "all" : "disabled",
    logSeverityLevel: 3,
    ...(isStrict && { extra: { session: { strict_shape_type_inference: "1" } } }),
  });
  try {
    const feeds = inputs.map(({ name, dataType, shape, numbers }) => {
      const { name: typeName, arrayClass } = bindingType(dataType);
      const count = shape.reduce((product, size) => product * size, 1);
      const data = new arrayClass(new ArrayBuffer(count * arrayClass.BYTES_PER_ELEMENT), 0, count);
      fill(data, dataType === "fp16" ? Array.from(numbers ?? [], float16Bits) : numbers);
      return [name, new module.Tensor(typeName, data, shape)] as const;
    });
    const results = await session.run(Object.fromEntries(feeds));
    return new Map(
      Object.entries(results).map(([name, { dims, data, type }]) => [
        name,
        { shape: dims, numbers: numbersOf(type, data) },
      ]),
    );
  } finally {
    await session.release();
  }
}

function fill(target: ArrayBufferView, numbers: ArrayLike<number> = []): void {
  if (target instanceof BigInt64Array || target instanceof BigUint64Array)
    for (let i = 0; i < target.length; i++) target[i] = BigInt(numbers[i] ?? 0);
  else if (!(target instanceof DataView)) (target as Float32Array).set(Array.from(numbers));
}

function numbersOf(type: string, data: ArrayLike<number | bigint>): Float64Array {
  const isHalf = type === "float16" && data instanceof Uint16Array;
  return Float64Array.from({ length: data.length }, (_, index) => {
    const number = Number(data[index] ?? 0);
    return isHalf ? float16Value(number) : number;
  });
}
