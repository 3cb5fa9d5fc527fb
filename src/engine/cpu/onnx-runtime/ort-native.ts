import { randomUUID } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { elementTypeOf } from "../../../onnx/element-types.ts";
import { messageOf } from "../../../util/errors.ts";
import { EngineError } from "../../errors.ts";
import type { BoundFunction, TensorPlace } from "../compiler.ts";
import type {
  CompiledGraph,
  GraphOptions,
  GraphRuntime,
  GraphRuntimeOptions,
} from "./graph-runtime.ts";

/**
 * ONNX Runtime through its C interface. The JavaScript binding copies every output once more after the runtime
 * has written it in place (a tenth of a training step), refuses shared memory and gives every session an arena
 * of its own; the C interface does none of that.
 *
 * `OrtApi` is a table of functions that only ever grows at its end. These are the places of those used here;
 * source: onnxruntime_c_api.h, and its mirror in the Rust crate ort-sys.
 */
const PLACES = {
  GetErrorMessage: 2,
  CreateEnv: 3,
  CreateSessionFromArray: 8,
  Run: 9,
  CreateSessionOptions: 10,
  SetSessionExecutionMode: 13,
  EnableProfiling: 14,
  DisableMemPattern: 17,
  SetSessionLogSeverityLevel: 22,
  SetSessionGraphOptimizationLevel: 23,
  SetIntraOpNumThreads: 24,
  SetInterOpNumThreads: 25,
  CreateTensorWithDataAsOrtValue: 49,
  CreateCpuMemoryInfo: 69,
  GetAllocatorWithDefaultOptions: 78,
  ReleaseEnv: 92,
  ReleaseStatus: 93,
  ReleaseMemoryInfo: 94,
  ReleaseSession: 95,
  ReleaseValue: 96,
  ReleaseSessionOptions: 100,
  SessionEndProfiling: 110,
  AddSessionConfigEntry: 130,
  CreateAllocator: 131,
  ReleaseAllocator: 132,
  CreateAndRegisterAllocator: 144,
  ReleaseArenaCfg: 157,
  CreateArenaCfgV2: 164,
  GetKeyValue: 297,
  ReleaseKeyValuePairs: 300,
  AllocatorGetStats: 319,
} as const;
type FunctionName = keyof typeof PLACES;

/** Return and parameters in koffi's notation; those that return a status are checked. */
const PROTOTYPES: Readonly<Record<FunctionName, string>> = {
  GetErrorMessage: "const char *OrtGetErrorMessage(void *)",
  CreateEnv: "void *OrtCreateEnv(int, const char *, _Out_ void **)",
  CreateSessionFromArray:
    "void *OrtCreateSessionFromArray(void *, void *, size_t, void *, _Out_ void **)",
  Run: "void *OrtRun(void *, void *, void *, void *, size_t, void *, size_t, void *)",
  CreateSessionOptions: "void *OrtCreateSessionOptions(_Out_ void **)",
  SetSessionExecutionMode: "void *OrtSetSessionExecutionMode(void *, int)",
  EnableProfiling: "void *OrtEnableProfiling(void *, const char *)",
  DisableMemPattern: "void *OrtDisableMemPattern(void *)",
  SetSessionLogSeverityLevel: "void *OrtSetSessionLogSeverityLevel(void *, int)",
  SetSessionGraphOptimizationLevel: "void *OrtSetSessionGraphOptimizationLevel(void *, int)",
  SetIntraOpNumThreads: "void *OrtSetIntraOpNumThreads(void *, int)",
  SetInterOpNumThreads: "void *OrtSetInterOpNumThreads(void *, int)",
  CreateTensorWithDataAsOrtValue:
    "void *OrtCreateTensor(void *, void *, size_t, void *, size_t, int, _Out_ void **)",
  CreateCpuMemoryInfo: "void *OrtCreateCpuMemoryInfo(int, int, _Out_ void **)",
  GetAllocatorWithDefaultOptions: "void *OrtGetAllocatorWithDefaultOptions(_Out_ void **)",
  ReleaseEnv: "void OrtReleaseEnv(void *)",
  ReleaseStatus: "void OrtReleaseStatus(void *)",
  ReleaseMemoryInfo: "void OrtReleaseMemoryInfo(void *)",
  ReleaseSession: "void OrtReleaseSession(void *)",
  ReleaseValue: "void OrtReleaseValue(void *)",
  ReleaseSessionOptions: "void OrtReleaseSessionOptions(void *)",
  SessionEndProfiling: "void *OrtSessionEndProfiling(void *, void *, _Out_ void **)",
  AddSessionConfigEntry: "void *OrtAddSessionConfigEntry(void *, const char *, const char *)",
  CreateAllocator: "void *OrtCreateAllocator(void *, void *, _Out_ void **)",
  ReleaseAllocator: "void OrtReleaseAllocator(void *)",
  CreateAndRegisterAllocator: "void *OrtCreateAndRegisterAllocator(void *, void *, void *)",
  ReleaseArenaCfg: "void OrtReleaseArenaCfg(void *)",
  CreateArenaCfgV2: "void *OrtCreateArenaCfgV2(void *, void *, size_t, _Out_ void **)",
  GetKeyValue: "const char *OrtGetKeyValue(void *, const char *)",
  ReleaseKeyValuePairs: "void OrtReleaseKeyValuePairs(void *)",
  AllocatorGetStats: "void *OrtAllocatorGetStats(void *, _Out_ void **)",
};

/** The table's version whose functions are used; every later library has them at the same places. */
const API_VERSION = 23;

const EXECUTION_SEQUENTIAL = 0;
const OPTIMIZE_ALL = 99;
const LOG_ERRORS = 3;
const ARENA_ALLOCATOR = 1;
const MEMORY_DEFAULT = 0;

type Pointer = bigint;
type NativeFunction = (...operands: readonly unknown[]) => unknown;
interface Library {
  func(prototype: string): NativeFunction;
}
interface Koffi {
  load(path: string | null): Library;
  proto(prototype: string): object;
  decode(pointer: unknown, offset: number, type: string): unknown;
  decode(pointer: unknown, type: object): unknown;
  address(array: Uint8Array | BigUint64Array | BigInt64Array): Pointer;
}

/** Pointers of a native array. */
function pointers(values: readonly Pointer[]): BigUint64Array {
  return BigUint64Array.from(values.length === 0 ? [0n] : values);
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** Where onnxruntime-node keeps the library for this machine, if it does. */
export function findNativeLibrary(): string | undefined {
  const require = createRequire(import.meta.url);
  let root: string;
  try {
    root = dirname(require.resolve("onnxruntime-node/package.json"));
  } catch {
    return undefined;
  }
  const bin = join(root, "bin");
  if (!existsSync(bin)) return undefined;
  for (const version of readdirSync(bin).toSorted().toReversed()) {
    const folder = join(bin, version, process.platform, process.arch);
    if (!existsSync(folder)) continue;
    const names = readdirSync(folder);
    const name = ["libonnxruntime.so.1", "libonnxruntime.1.dylib", "onnxruntime.dll"].find(
      (candidate) => names.includes(candidate),
    );
    if (name !== undefined) return join(folder, name);
  }
  return undefined;
}

/** koffi unloads a library that nothing refers to any more, under the feet of its threads. */
const loadedLibraries: Library[] = [];

/** RTLD_NOW; the handle is never closed. */
const RESOLVE_NOW = 2;

/**
 * Keeps the library in the process when a worker thread ends and koffi unloads what that thread loaded: sessions
 * of other threads live in it. Where the system's loader is not reachable this is left to the reference above.
 */
function pinLibrary(koffi: Koffi, path: string): void {
  if (process.platform === "win32") return;
  try {
    const open = koffi.load(null).func("void *dlopen(const char *, int)");
    open(path, RESOLVE_NOW);
  } catch {
    // An old libc keeps dlopen in a library of its own.
  }
}

/** The library's functions, with statuses turned into errors. */
class NativeApi {
  readonly version: string;
  readonly #functions: Readonly<Record<FunctionName, NativeFunction>>;
  readonly #koffi: Koffi;

  constructor(koffi: Koffi, path: string) {
    this.#koffi = koffi;
    const library = koffi.load(path);
    loadedLibraries.push(library);
    pinLibrary(koffi, path);
    const base = library.func("void *OrtGetApiBase()")();
    const getApi = at(koffi, base, 0, "void *OrtGetApi(uint32_t)");
    const getVersion = at(koffi, base, 1, "const char *OrtGetVersionString()");
    this.version = String(getVersion());
    const table = getApi(API_VERSION);
    if (table === null) throw new Error(`${path} is older than interface ${API_VERSION}`);
    this.#functions = Object.fromEntries(
      Object.entries(PLACES).map(([name, place]) => [
        name,
        at(koffi, table, place, PROTOTYPES[name as FunctionName]),
      ]),
    ) as Record<FunctionName, NativeFunction>;
  }

  /** Calls a function that returns a status; throws what the status says. */
  check(name: FunctionName, ...operands: readonly unknown[]): void {
    const status = this.#functions[name](...operands);
    if (status === null) return;
    const message = String(this.#functions.GetErrorMessage(status));
    this.#functions.ReleaseStatus(status);
    throw new Error(message);
  }

  /** Calls a function whose last parameter receives a pointer. */
  make(name: FunctionName, ...operands: readonly unknown[]): Pointer {
    const out: [Pointer | null] = [null];
    this.check(name, ...operands, out);
    return out[0] ?? 0n;
  }

  call(name: FunctionName, ...operands: readonly unknown[]): unknown {
    return this.#functions[name](...operands);
  }

  address(array: Uint8Array | BigUint64Array | BigInt64Array): Pointer {
    return this.#koffi.address(array);
  }
}

function at(koffi: Koffi, table: unknown, place: number, prototype: string): NativeFunction {
  const pointer = koffi.decode(table, 8 * place, "void *");
  return koffi.decode(pointer, prototypeOf(koffi, prototype)) as NativeFunction;
}

/** koffi refuses a second prototype of a name, and this module may be loaded twice in a process. */
const suffix = randomUUID().replaceAll("-", "");
const prototypes = new Map<string, object>();
function prototypeOf(koffi: Koffi, text: string): object {
  const known = prototypes.get(text) ?? koffi.proto(text.replace("(", `_${suffix}(`));
  prototypes.set(text, known);
  return known;
}

/** The runtime through its C interface, or the reason why it cannot be had. */
export function openNativeRuntime(options: GraphRuntimeOptions): GraphRuntime | string {
  const path = findNativeLibrary();
  if (path === undefined) return "onnxruntime-node has no library for this machine";
  try {
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    return new NativeRuntime(new NativeApi(koffi, path), options);
  } catch (error) {
    return messageOf(error).split("\n")[0] ?? "it cannot be loaded";
  }
}

class NativeRuntime implements GraphRuntime {
  readonly version: string;
  readonly #api: NativeApi;
  readonly #options: GraphRuntimeOptions;
  readonly #environment: Pointer;
  readonly #memoryInfo: Pointer;
  readonly #sessions = new Set<Pointer>();

  constructor(api: NativeApi, options: GraphRuntimeOptions) {
    this.#api = api;
    this.#options = options;
    this.version = `onnxruntime ${api.version}`;
    this.#environment = api.make("CreateEnv", LOG_ERRORS, "anecdote");
    this.#memoryInfo = api.make("CreateCpuMemoryInfo", ARENA_ALLOCATOR, MEMORY_DEFAULT);
    this.#registerArena();
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

  compile(model: Uint8Array, { spins }: GraphOptions): Promise<CompiledGraph> {
    const api = this.#api;
    const options = api.make("CreateSessionOptions");
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
      const session = api.make(
        "CreateSessionFromArray",
        this.#environment,
        model,
        model.byteLength,
        options,
      );
      this.#sessions.add(session);
      return Promise.resolve({
        bind: (inputs, outputs) => this.#bind(session, inputs, outputs),
        release: () => {
          this.#release(session);
        },
      });
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    } finally {
      api.call("ReleaseSessionOptions", options);
    }
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
      const { buffer, byteOffset, byteLength, shape, dataType } = place;
      if (byteOffset + byteLength > buffer.byteLength) {
        throw new EngineError(
          "engine.cpu.memory",
          `"${place.name}" needs bytes ${byteOffset} to ${byteOffset + byteLength} of ${buffer.byteLength}`,
        );
      }
      // An empty array has no address of its own; a tensor without elements may stand anywhere.
      const start = api.address(new Uint8Array(buffer, 0, Math.max(1, buffer.byteLength)));
      const sizes = BigInt64Array.from(shape.length === 0 ? [0] : shape, BigInt);
      const value = api.make(
        "CreateTensorWithDataAsOrtValue",
        this.#memoryInfo,
        start + BigInt(byteOffset),
        byteLength,
        sizes,
        shape.length,
        elementTypeOf(dataType),
      );
      values.push(value);
      held.push(new Uint8Array(buffer));
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
    if (!this.#sessions.delete(session)) return;
    if (this.#options.profilePrefix !== undefined) {
      const allocator = this.#api.make("GetAllocatorWithDefaultOptions");
      this.#api.make("SessionEndProfiling", session, allocator);
    }
    this.#api.call("ReleaseSession", session);
  }

  arenaBytes(): number | undefined {
    const [session] = this.#sessions;
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
    for (const session of this.#sessions) this.#release(session);
    this.#api.call("ReleaseMemoryInfo", this.#memoryInfo);
    this.#api.call("ReleaseEnv", this.#environment);
  }
}
