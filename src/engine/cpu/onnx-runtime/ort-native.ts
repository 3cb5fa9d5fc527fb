import { elementTypeOf } from "../../../onnx/element-types.ts";
import { messageOf } from "../../../util/errors.ts";
import { EngineError } from "../../errors.ts";
import {
  ARENA_ALLOCATOR,
  cString,
  EXECUTION_SEQUENTIAL,
  findNativeLibrary,
  koffi,
  LOG_ERRORS,
  MEMORY_DEFAULT,
  OPTIMIZE_ALL,
  OrtApi,
  pointers,
} from "../../host/ort-api.ts";
import type { Pointer } from "../../host/ort-api.ts";
import type { BoundFunction, TensorPlace } from "../compiler.ts";
import { ForeignProducts } from "./foreign-products.ts";
import type {
  CompiledGraph,
  GraphOptions,
  GraphRuntime,
  GraphRuntimeOptions,
} from "./graph-runtime.ts";

/** Of the newest function used here. */
const API_VERSION = 23;

/** The runtime through its C interface, or the reason why it cannot be had. */
export function openNativeRuntime(options: GraphRuntimeOptions): GraphRuntime | string {
  const path = findNativeLibrary();
  if (path === undefined) return "onnxruntime-node has no library for this machine";
  try {
    return new NativeRuntime(new OrtApi(koffi(), path, API_VERSION), options);
  } catch (error) {
    return messageOf(error).split("\n")[0] ?? "it cannot be loaded";
  }
}

/** Constants of a session: their tensors and the memory that these stand in. */
interface SessionHold {
  readonly values: Pointer[];
  readonly memory: TensorPlace["buffer"][];
  /** Whether it uses the container of packed constants. */
  isPacked: boolean;
}

/**
 * ONNX Runtime through its C interface. The JavaScript binding copies every output once more after the runtime
 * has written it in place (a tenth of a training step), refuses shared memory and gives every session an arena
 * of its own; the C interface does none of that.
 */
class NativeRuntime implements GraphRuntime {
  readonly version: string;
  readonly takesConstants = true;
  readonly #api: OrtApi;
  readonly #options: GraphRuntimeOptions;
  readonly #environment: Pointer;
  readonly #memoryInfo: Pointer;
  readonly #products: ForeignProducts | undefined;
  /** What each session holds on to. */
  readonly #sessions = new Map<Pointer, SessionHold>();
  /** Constants in the form in which products read them, once for all sessions that have them. */
  #packed: { readonly container: Pointer; users: number } | undefined;

  constructor(api: OrtApi, options: GraphRuntimeOptions) {
    this.#api = api;
    this.#options = options;
    const { blas } = options;
    this.#products = blas && new ForeignProducts(api, blas);
    this.version = `onnxruntime ${api.version}${blas === undefined ? "" : ` with ${blas.version}`}`;
    this.#environment = api.make("CreateEnv", LOG_ERRORS, "anecdote");
    this.#memoryInfo = api.make("CreateCpuMemoryInfo", ARENA_ALLOCATOR, MEMORY_DEFAULT);
    this.#registerArena();
  }

  get foreignProducts(): string | undefined {
    return this.#products?.library;
  }

  /** One arena for all sessions: they run in turn, so it grows to the largest need and not to the sum. */
  #registerArena(): void {
    const api = this.#api;
    const keys = [cString("arena_extend_strategy"), cString("max_dead_bytes_per_chunk")];
    const keyPointers = pointers(keys.map((key) => api.address(key)));
    const values = BigUint64Array.of(1n, BigInt(1 << 20));
    const arena = api.make("CreateArenaCfgV2", keyPointers, values, keys.length);
    try {
      api.check("CreateAndRegisterAllocator", this.#environment, this.#memoryInfo, arena);
    } catch {
      // The environment belongs to the process: another engine has registered the arena already.
    } finally {
      api.call("ReleaseArenaCfg", arena);
    }
  }

  compile(model: Uint8Array, { spins, constants = [] }: GraphOptions): Promise<CompiledGraph> {
    const api = this.#api;
    const options = api.make("CreateSessionOptions");
    const held: SessionHold = { values: [], memory: [], isPacked: false };
    try {
      api.check("SetIntraOpNumThreads", options, this.#options.threads);
      api.check("SetInterOpNumThreads", options, 1);
      api.check("SetSessionExecutionMode", options, EXECUTION_SEQUENTIAL);
      api.check("SetSessionGraphOptimizationLevel", options, OPTIMIZE_ALL);
      api.check("SetSessionLogSeverityLevel", options, LOG_ERRORS);
      // Patterns keep a block of memory for each set of shapes beside the arena, and are no faster.
      api.check("DisableMemPattern", options);
      for (const [key, value] of [
        ["session.use_env_allocators", "1"],
        // Without this the threads of sessions that just ran keep the cores busy.
        ["session.force_spinning_stop", "1"],
        ["session.intra_op.allow_spinning", spins ? "1" : "0"],
      ])
        api.check("AddSessionConfigEntry", options, key, value);
      if (this.#options.profilePrefix !== undefined)
        api.check("EnableProfiling", options, this.#options.profilePrefix);
      this.#products?.register(options);
      for (const place of constants) {
        const value = this.#tensor(place);
        held.values.push(value);
        held.memory.push(place.buffer);
        // Shared: packed once for all sessions.
        api.check("AddInitializer", options, place.name, value);
      }
      if (constants.length > 0) {
        // And in the place of a file, which the model says that they stand in.
        const names = constants.map(({ name }) => cString(name));
        const namePointers = pointers(names.map((name) => api.address(name)));
        const values = pointers(held.values);
        api.check("AddExternalInitializers", options, namePointers, values, names.length);
      }
      const parts = [this.#environment, model, model.byteLength, options] as const;
      const session =
        constants.length === 0
          ? api.make("CreateSessionFromArray", ...parts)
          : api.make(
              "CreateSessionFromArrayWithPrepackedWeightsContainer",
              ...[...parts, this.#takePacked(held)],
            );
      this.#sessions.set(session, held);
      return Promise.resolve({
        bind: (inputs, outputs) => this.#bind(session, inputs, outputs),
        release: () => {
          this.#release(session);
        },
      });
    } catch (error) {
      this.#letGo(held);
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    } finally {
      api.call("ReleaseSessionOptions", options);
    }
  }

  #takePacked(hold: SessionHold): Pointer {
    hold.isPacked = true;
    this.#packed ??= { container: this.#api.make("CreatePrepackedWeightsContainer"), users: 0 };
    this.#packed.users++;
    return this.#packed.container;
  }

  /** Frees what a session held, once it is gone. */
  #letGo({ values, isPacked }: SessionHold): void {
    for (const value of values) this.#api.call("ReleaseValue", value);
    if (!isPacked || this.#packed === undefined || --this.#packed.users > 0) return;
    this.#api.call("ReleasePrepackedWeightsContainer", this.#packed.container);
    this.#packed = undefined;
  }

  #tensor({ name, buffer, byteOffset, byteLength, shape, dataType }: TensorPlace): Pointer {
    const api = this.#api;
    if (byteOffset + byteLength > buffer.byteLength) {
      throw new EngineError(
        "engine.cpu.memory",
        `"${name}" needs bytes ${byteOffset} to ${byteOffset + byteLength} of ${buffer.byteLength}`,
      );
    }
    // An empty array has no address of its own; a tensor without elements may stand anywhere.
    const start = api.address(new Uint8Array(buffer, 0, Math.max(1, buffer.byteLength)));
    const sizes = BigInt64Array.from(shape.length === 0 ? [0] : shape, BigInt);
    return api.make(
      "CreateTensorWithDataAsOrtValue",
      this.#memoryInfo,
      start + BigInt(byteOffset),
      byteLength,
      sizes,
      shape.length,
      elementTypeOf(dataType),
    );
  }

  #bind(
    session: Pointer,
    inputs: readonly TensorPlace[],
    outputs: readonly TensorPlace[],
  ): BoundFunction {
    const api = this.#api;
    const values: Pointer[] = [];
    const held: Uint8Array[] = [];
    const tensor = (place: TensorPlace): Pointer => {
      const value = this.#tensor(place);
      values.push(value);
      held.push(new Uint8Array(place.buffer));
      return value;
    };
    const names = (places: readonly TensorPlace[]): BigUint64Array => {
      const strings = places.map(({ name }) => cString(name));
      held.push(...strings);
      return pointers(strings.map((text) => api.address(text)));
    };
    const inputValues = pointers(inputs.map(tensor));
    const outputValues = pointers(outputs.map(tensor));
    const inputNames = names(inputs);
    const outputNames = names(outputs);
    return {
      run: () => {
        if (!this.#sessions.has(session))
          throw new EngineError("engine.closed", "the graph's session is released");
        this.#products?.prepare();
        api.check(
          "Run",
          session,
          null,
          inputNames,
          inputValues,
          inputs.length,
          outputNames,
          outputs.length,
          outputValues,
        );
      },
      release: () => {
        for (const value of values.splice(0)) api.call("ReleaseValue", value);
        held.length = 0;
      },
    };
  }

  #release(session: Pointer): void {
    const held = this.#sessions.get(session);
    if (held === undefined) return;
    this.#sessions.delete(session);
    if (this.#options.profilePrefix !== undefined) {
      const allocator = this.#api.make("GetAllocatorWithDefaultOptions");
      this.#api.make("SessionEndProfiling", session, allocator);
    }
    this.#api.call("ReleaseSession", session);
    this.#letGo(held);
  }

  arenaBytes(): number | undefined {
    const [session] = this.#sessions.keys();
    if (session === undefined) return 0;
    const api = this.#api;
    try {
      const allocator = api.make("CreateAllocator", session, this.#memoryInfo);
      const statistics = api.make("AllocatorGetStats", allocator);
      const total = api.call("GetKeyValue", statistics, "TotalAllocated");
      api.call("ReleaseKeyValuePairs", statistics);
      api.call("ReleaseAllocator", allocator);
      return total === null ? undefined : Number(total);
    } catch {
      return undefined;
    }
  }

  close(): void {
    for (const session of [...this.#sessions.keys()]) this.#release(session);
    this.#products?.close();
    this.#api.call("ReleaseMemoryInfo", this.#memoryInfo);
    this.#api.call("ReleaseEnv", this.#environment);
  }
}
