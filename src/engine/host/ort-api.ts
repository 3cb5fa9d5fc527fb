import { randomUUID } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/**
 * `OrtApi` is a table of functions that only ever grows at its end. These are the places of those used here, with return
 * and parameters in koffi's notation; those that return a status are checked. Source: onnxruntime_c_api.h, and its
 * mirror in the Rust crate ort-sys.
 */
const FUNCTIONS = {
  CreateStatus: [0, "void *OrtCreateStatus(int, const char *)"],
  GetErrorMessage: [2, "const char *OrtGetErrorMessage(void *)"],
  CreateEnv: [3, "void *OrtCreateEnv(int, const char *, _Out_ void **)"],
  CreateSessionFromArray: [
    8,
    "void *OrtCreateSessionFromArray(void *, void *, size_t, void *, _Out_ void **)",
  ],
  Run: [9, "void *OrtRun(void *, void *, void *, void *, size_t, void *, size_t, void *)"],
  CreateSessionOptions: [10, "void *OrtCreateSessionOptions(_Out_ void **)"],
  SetSessionExecutionMode: [13, "void *OrtSetSessionExecutionMode(void *, int)"],
  EnableProfiling: [14, "void *OrtEnableProfiling(void *, const char *)"],
  DisableMemPattern: [17, "void *OrtDisableMemPattern(void *)"],
  SetSessionLogSeverityLevel: [22, "void *OrtSetSessionLogSeverityLevel(void *, int)"],
  SetSessionGraphOptimizationLevel: [23, "void *OrtSetSessionGraphOptimizationLevel(void *, int)"],
  SetIntraOpNumThreads: [24, "void *OrtSetIntraOpNumThreads(void *, int)"],
  SetInterOpNumThreads: [25, "void *OrtSetInterOpNumThreads(void *, int)"],
  CreateCustomOpDomain: [26, "void *OrtCreateCustomOpDomain(const char *, _Out_ void **)"],
  CustomOpDomain_Add: [27, "void *OrtCustomOpDomainAdd(void *, void *)"],
  AddCustomOpDomain: [28, "void *OrtAddCustomOpDomain(void *, void *)"],
  CreateTensorWithDataAsOrtValue: [
    49,
    "void *OrtCreateTensor(void *, void *, size_t, void *, size_t, int, _Out_ void **)",
  ],
  GetTensorMutableData: [51, "void *OrtGetTensorMutableData(void *, _Out_ void **)"],
  CreateMemoryInfo: [68, "void *OrtCreateMemoryInfo(const char *, int, int, int, _Out_ void **)"],
  CreateCpuMemoryInfo: [69, "void *OrtCreateCpuMemoryInfo(int, int, _Out_ void **)"],
  AllocatorAlloc: [75, "void *OrtAllocatorAlloc(void *, size_t, _Out_ void **)"],
  AllocatorFree: [76, "void *OrtAllocatorFree(void *, void *)"],
  GetAllocatorWithDefaultOptions: [78, "void *OrtGetAllocatorWithDefaultOptions(_Out_ void **)"],
  KernelInfoGetAttribute_float: [
    85,
    "void *OrtKernelInfoFloat(void *, const char *, _Out_ float *)",
  ],
  KernelInfoGetAttribute_int64: [
    86,
    "void *OrtKernelInfoInt(void *, const char *, _Out_ int64_t *)",
  ],
  KernelContext_GetInput: [90, "void *OrtKernelInput(void *, size_t, _Out_ void **)"],
  KernelContext_GetOutput: [
    91,
    "void *OrtKernelOutput(void *, size_t, void *, size_t, _Out_ void **)",
  ],
  ReleaseEnv: [92, "void OrtReleaseEnv(void *)"],
  ReleaseStatus: [93, "void OrtReleaseStatus(void *)"],
  ReleaseMemoryInfo: [94, "void OrtReleaseMemoryInfo(void *)"],
  ReleaseSession: [95, "void OrtReleaseSession(void *)"],
  ReleaseValue: [96, "void OrtReleaseValue(void *)"],
  ReleaseSessionOptions: [100, "void OrtReleaseSessionOptions(void *)"],
  ReleaseCustomOpDomain: [101, "void OrtReleaseCustomOpDomain(void *)"],
  SessionEndProfiling: [110, "void *OrtSessionEndProfiling(void *, void *, _Out_ void **)"],
  AddSessionConfigEntry: [
    130,
    "void *OrtAddSessionConfigEntry(void *, const char *, const char *)",
  ],
  CreateAllocator: [131, "void *OrtCreateAllocator(void *, void *, _Out_ void **)"],
  ReleaseAllocator: [132, "void OrtReleaseAllocator(void *)"],
  CreateAndRegisterAllocator: [144, "void *OrtCreateAndRegisterAllocator(void *, void *, void *)"],
  AddInitializer: [150, "void *OrtAddInitializer(void *, const char *, void *)"],
  ReleaseArenaCfg: [157, "void OrtReleaseArenaCfg(void *)"],
  CreateArenaCfgV2: [164, "void *OrtCreateArenaCfgV2(void *, void *, size_t, _Out_ void **)"],
  CreatePrepackedWeightsContainer: [166, "void *OrtCreatePackedWeights(_Out_ void **)"],
  ReleasePrepackedWeightsContainer: [167, "void OrtReleasePackedWeights(void *)"],
  CreateSessionFromArrayWithPrepackedWeightsContainer: [
    169,
    "void *OrtCreateSessionWithPackedWeights(void *, void *, size_t, void *, void *, _Out_ void **)",
  ],
  AddExternalInitializers: [
    210,
    "void *OrtAddExternalInitializers(void *, void *, void *, size_t)",
  ],
  SessionOptionsAppendExecutionProvider: [
    216,
    "void *OrtAppendProvider(void *, const char *, void *, void *, size_t)",
  ],
  GetKeyValue: [297, "const char *OrtGetKeyValue(void *, const char *)"],
  ReleaseKeyValuePairs: [300, "void OrtReleaseKeyValuePairs(void *)"],
  AllocatorGetStats: [319, "void *OrtAllocatorGetStats(void *, _Out_ void **)"],
  CopyTensors: [386, "void *OrtCopyTensors(void *, void *, void *, void *, size_t)"],
  GetEpGraphAssignmentInfo: [407, "void *OrtGetAssignment(void *, _Out_ void **, _Out_ size_t *)"],
  EpAssignedSubgraphGetEpName: [408, "void *OrtSubgraphEpName(void *, _Out_ const char **)"],
  EpAssignedSubgraphGetNodes: [
    409,
    "void *OrtSubgraphNodes(void *, _Out_ void **, _Out_ size_t *)",
  ],
  EpAssignedNodeGetOperatorType: [412, "void *OrtNodeOperatorType(void *, _Out_ const char **)"],
} as const satisfies Readonly<Record<string, readonly [place: number, prototype: string]>>;
type FunctionName = keyof typeof FUNCTIONS;

const FAILED = 1;
export const EXECUTION_SEQUENTIAL = 0;
export const OPTIMIZE_ALL = 99;
export const LOG_ERRORS = 3;
export const DEVICE_ALLOCATOR = 0;
export const ARENA_ALLOCATOR = 1;
export const MEMORY_DEFAULT = 0;

export type Pointer = bigint;
export type NativeFunction = (...operands: readonly unknown[]) => unknown;
export interface Library {
  func(prototype: string): NativeFunction;
}
export interface Koffi {
  load(path: string | null): Library;
  proto(prototype: string): object;
  pointer(type: object): object;
  register(callback: (...operands: never[]) => unknown, type: object): Pointer;
  unregister(callback: Pointer): void;
  encode(pointer: Pointer, type: string, value: unknown): void;
  decode(pointer: unknown, offset: number, type: string): unknown;
  decode(pointer: unknown, type: object): unknown;
  address(array: Uint8Array | BigUint64Array | BigInt64Array | Int32Array): Pointer;
}

/** Pointers of a native array. */
export function pointers(values: readonly Pointer[]): BigUint64Array {
  return BigUint64Array.from(values.length === 0 ? [0n] : values);
}

export function cString(text: string): Buffer {
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

/** Opens a library that stays in the process. */
export function loadedForGood(koffi: Koffi, path: string): Library {
  const library = koffi.load(path);
  loadedLibraries.push(library);
  pinLibrary(koffi, path);
  return library;
}

/** The library's functions, with statuses turned into errors. */
export class OrtApi {
  readonly version: string;
  readonly #functions = new Map<FunctionName, NativeFunction>();
  readonly #table: unknown;
  readonly #koffi: Koffi;

  /** `apiVersion` is that of the newest function used; every later library has all of them at the same places. */
  constructor(koffi: Koffi, path: string, apiVersion: number) {
    this.#koffi = koffi;
    const library = loadedForGood(koffi, path);
    const base = library.func("void *OrtGetApiBase()")();
    const getApi = at(koffi, base, 0, "void *OrtGetApi(uint32_t)");
    const getVersion = at(koffi, base, 1, "const char *OrtGetVersionString()");
    this.version = String(getVersion());
    this.#table = getApi(apiVersion);
    if (this.#table === null) throw new Error(`${path} is older than interface ${apiVersion}`);
  }

  /** Calls a function that returns a status; throws what the status says. */
  check(name: FunctionName, ...operands: readonly unknown[]): void {
    const status = this.#function(name)(...operands);
    if (status === null) return;
    const message = String(this.call("GetErrorMessage", status));
    this.call("ReleaseStatus", status);
    throw new Error(message);
  }

  /** Calls a function whose last parameter receives a pointer. */
  make(name: FunctionName, ...operands: readonly unknown[]): Pointer {
    const out: [Pointer | null] = [null];
    this.check(name, ...operands, out);
    return out[0] ?? 0n;
  }

  call(name: FunctionName, ...operands: readonly unknown[]): unknown {
    return this.#function(name)(...operands);
  }

  /** Calls a function whose last parameter receives a text. */
  text(name: FunctionName, ...operands: readonly unknown[]): string {
    const out: [string | null] = [null];
    this.check(name, ...operands, out);
    return out[0] ?? "";
  }

  /** Calls a function whose last parameter receives a number. */
  number(name: FunctionName, ...operands: readonly unknown[]): number {
    const out: [number | bigint | null] = [0];
    this.check(name, ...operands, out);
    return Number(out[0]);
  }

  /** A status that says what went wrong, for the library to hand on. */
  failure(message: string): Pointer {
    return this.call("CreateStatus", FAILED, message) as Pointer;
  }

  /**
   * A function for the library to call, on this thread alone; `prototype` in koffi's notation. `forget` it when nothing
   * can call it any more.
   */
  callback(
    prototype: string,
    run: (...operands: never[]) => unknown,
  ): { readonly address: Pointer; readonly forget: () => void } {
    const koffi = this.#koffi;
    const address = koffi.register(run, koffi.pointer(prototypeOf(koffi, prototype)));
    return {
      address,
      forget: () => {
        koffi.unregister(address);
      },
    };
  }

  /** Writes a pointer where a callback's parameter says. */
  store(place: Pointer, value: Pointer): void {
    this.#koffi.encode(place, "void *", value);
  }

  /** Calls a function whose last parameters receive an array of pointers and its length. */
  list(name: FunctionName, ...operands: readonly unknown[]): readonly Pointer[] {
    const [first, count]: [[Pointer | null], [number | bigint]] = [[null], [0]];
    this.check(name, ...operands, first, count);
    return Array.from(
      { length: Number(count[0]) },
      (_, index) => this.#koffi.decode(first[0], 8 * index, "void *") as Pointer,
    );
  }

  address(array: Uint8Array | BigUint64Array | BigInt64Array | Int32Array): Pointer {
    return this.#koffi.address(array);
  }

  #function(name: FunctionName): NativeFunction {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const [place, prototype] = FUNCTIONS[name];
    const made = at(this.#koffi, this.#table, place, prototype);
    this.#functions.set(name, made);
    return made;
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

/** koffi, which is an ordinary dependency and may be missing all the same where it has no build. */
export function koffi(): Koffi {
  return createRequire(import.meta.url)("koffi") as Koffi;
}
