import { byteLengthOf, tensorType } from "../../mil/types.ts";
import { elementTypeOf } from "../../onnx/element-types.ts";
import { messageOf } from "../../util/errors.ts";
import { EngineError } from "../errors.ts";
import {
  ARENA_ALLOCATOR,
  cString,
  DEVICE_ALLOCATOR,
  EXECUTION_SEQUENTIAL,
  findNativeLibrary,
  koffi,
  LOG_ERRORS,
  MEMORY_DEFAULT,
  OPTIMIZE_ALL,
  OrtApi,
  pointers,
} from "../host/ort-api.ts";
import type { Pointer } from "../host/ort-api.ts";
import { missingRuntime } from "../cpu/onnx-runtime/ort-binding.ts";
import { HostOpsRefused } from "./device-runtime.ts";
import type {
  CompileOptions,
  Copy,
  DeviceBlock,
  DeviceGraph,
  DevicePort,
  DeviceRuntime,
} from "./device-runtime.ts";
import { emptyModel, halfModel } from "./small-models.ts";
import { lostDevice, noDevice, refusedBuild } from "./refusals.ts";

/** `Session_GetEpGraphAssignmentInfo` and what stands behind it came with 1.24. */
const API_VERSION = 24;

/** How the runtime names the provider and its memory; source: onnxruntime's allocator.h and 1.30's own strings. */
const PROVIDER = "WebGPU";
const DEVICE_MEMORY = "WebGPU_Buf";
/** Kernels take 64-bit integers, of which they compute with the lower half: positions and sizes, which fit. */
const PROVIDER_OPTIONS = { enableInt64: "1" } as const;
/** Above what the runtime writes of an error that is expected. */
const LOG_NOTHING = 4;
const HOST_PROVIDER = "CPUExecutionProvider";

/** What the device rounds allocations up to; sizes of copies are multiples of it inside the runtime. */
const ALIGNMENT = 16;

class Block implements DeviceBlock {
  readonly byteLength: number;
  readonly address: Pointer;
  /** Tensors over it by type and shape: they are made once. */
  readonly values = new Map<string, Pointer>();

  constructor(byteLength: number, address: Pointer) {
    this.byteLength = byteLength;
    this.address = address;
  }
}

/**
 * Opens the device through ONNX Runtime's WebGPU provider: Metal, Direct3D 12 or Vulkan below.
 * Throws `EngineError`: `engine.cpu.runtime` where onnxruntime-node is missing, `engine.gpu.build` where its build for
 * this machine has no such provider, `engine.gpu.device` where there is no device.
 */
export function openWebGpu(): DeviceRuntime {
  const path = findNativeLibrary();
  if (path === undefined) throw missingRuntime("it has no library for this machine");
  let api: OrtApi;
  try {
    api = new OrtApi(koffi(), path, API_VERSION);
  } catch (error) {
    throw missingRuntime(messageOf(error), error);
  }
  return new WebGpuRuntime(api);
}

class WebGpuRuntime implements DeviceRuntime {
  readonly version: string;
  readonly #api: OrtApi;
  readonly #environment: Pointer;
  readonly #deviceInfo: Pointer;
  readonly #hostInfo: Pointer;
  /** Keeps the device open: the runtime lets go of it with the last session. */
  readonly #anchor: Pointer;
  readonly #allocator: Pointer;
  readonly #blocks = new Set<Block>();
  readonly #sessions = new Set<Pointer>();
  #isClosed = false;
  #hasHalf: boolean | undefined;

  constructor(api: OrtApi) {
    this.#api = api;
    this.version = `onnxruntime ${api.version}, WebGPU provider`;
    this.#environment = api.make("CreateEnv", LOG_ERRORS, "anecdote");
    this.#deviceInfo = api.make(
      "CreateMemoryInfo",
      DEVICE_MEMORY,
      DEVICE_ALLOCATOR,
      0,
      MEMORY_DEFAULT,
    );
    this.#hostInfo = api.make("CreateCpuMemoryInfo", ARENA_ALLOCATOR, MEMORY_DEFAULT);
    this.#anchor = this.#session(emptyModel());
    this.#allocator = api.make("CreateAllocator", this.#anchor, this.#deviceInfo);
  }

  allocate(byteLength: number): DeviceBlock {
    const size = Math.max(ALIGNMENT, Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT);
    try {
      const address = this.#api.make("AllocatorAlloc", this.#allocator, size);
      const block = new Block(size, address);
      this.#blocks.add(block);
      return block;
    } catch (error) {
      throw new EngineError(
        "engine.gpu.memory",
        `the device gives no buffer of ${size} bytes: ${messageOf(error)}`,
        { remedy: "Choose a smaller model or batch, or --engine cpu.", cause: error },
      );
    }
  }

  free(block: DeviceBlock): void {
    const own = this.#own(block);
    this.#blocks.delete(own);
    for (const value of own.values.values()) this.#api.call("ReleaseValue", value);
    own.values.clear();
    this.#api.check("AllocatorFree", this.#allocator, own.address);
  }

  upload(copies: readonly Copy[]): void {
    this.#copy(copies, "to");
  }

  download(copies: readonly Copy[]): void {
    this.#copy(copies, "from");
  }

  get hasHalf(): boolean {
    this.#hasHalf ??= this.#tryHalf();
    return this.#hasHalf;
  }

  compile(model: Uint8Array, options: CompileOptions = {}): DeviceGraph {
    const session = this.#session(model, options);
    this.#sessions.add(session);
    return this.#graphOf(session);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const block of this.#blocks) this.free(block);
    for (const session of this.#sessions) this.#api.call("ReleaseSession", session);
    this.#sessions.clear();
    this.#api.call("ReleaseAllocator", this.#allocator);
    this.#api.call("ReleaseSession", this.#anchor);
    this.#api.call("ReleaseMemoryInfo", this.#deviceInfo);
    this.#api.call("ReleaseMemoryInfo", this.#hostInfo);
    this.#api.call("ReleaseEnv", this.#environment);
  }

  /** The runtime has kernels of fp16 and finds out that the device has not when it writes their programs. */
  #tryHalf(): boolean {
    const session = this.#session(halfModel(), { isQuiet: true });
    const from = this.allocate(ALIGNMENT);
    const to = this.allocate(ALIGNMENT);
    try {
      const port = (name: string, block: DeviceBlock): DevicePort => ({
        ...{ name, dataType: "fp32", shape: [1], block },
      });
      const graph = this.#graphOf(session);
      graph.run([port("in:x", from)], [port("out:y", to)]);
      return true;
    } catch (error) {
      if (/f16/.test(messageOf(error))) return false;
      throw error;
    } finally {
      this.#api.call("ReleaseSession", session);
      this.free(from);
      this.free(to);
    }
  }

  #session(
    model: Uint8Array,
    {
      onHost = [],
      isStrict = false,
      isQuiet = isStrict,
    }: CompileOptions & { readonly isQuiet?: boolean } = {},
  ): Pointer {
    const api = this.#api;
    const options = api.make("CreateSessionOptions");
    try {
      api.check("SetIntraOpNumThreads", options, 1);
      api.check("SetInterOpNumThreads", options, 1);
      api.check("SetSessionExecutionMode", options, EXECUTION_SEQUENTIAL);
      api.check("SetSessionGraphOptimizationLevel", options, OPTIMIZE_ALL);
      api.check("SetSessionLogSeverityLevel", options, isQuiet ? LOG_NOTHING : LOG_ERRORS);
      if (isStrict)
        api.check("AddSessionConfigEntry", options, "session.disable_cpu_ep_fallback", "1");
      api.check("AddSessionConfigEntry", options, "session.record_ep_graph_assignment_info", "1");
      this.#appendProvider(options, onHost);
      return api.make(
        "CreateSessionFromArray",
        this.#environment,
        model,
        model.byteLength,
        options,
      );
    } catch (error) {
      const message = messageOf(error);
      throw isStrict && /fallback to CPU EP/.test(message) ? new HostOpsRefused(message) : error;
    } finally {
      api.call("ReleaseSessionOptions", options);
    }
  }

  #appendProvider(options: Pointer, onHost: readonly string[]): void {
    const all = {
      ...PROVIDER_OPTIONS,
      ...(onHost.length > 0 && { forceCpuNodeNames: onHost.join("\n") }),
    };
    const keys = Object.keys(all).map(cString);
    const settings = Object.values(all).map(cString);
    const addresses = (texts: readonly Buffer[]): BigUint64Array =>
      pointers(texts.map((text) => this.#api.address(text)));
    try {
      this.#api.check(
        "SessionOptionsAppendExecutionProvider",
        ...[options, PROVIDER, addresses(keys), addresses(settings), keys.length],
      );
    } catch (error) {
      const message = messageOf(error);
      throw /adapter|device/i.test(message) ? noDevice(message) : refusedBuild(message);
    }
  }

  #graphOf(session: Pointer): DeviceGraph {
    const names = new Map<string, Buffer>();
    const nameOf = (text: string): Pointer => {
      const known = names.get(text) ?? cString(text);
      names.set(text, known);
      return this.#api.address(known);
    };
    return {
      hostNodes: this.#hostNodes(session),
      run: (inputs, outputs) => {
        const all = (ports: readonly DevicePort[], of: (port: DevicePort) => Pointer) =>
          pointers(ports.map(of));
        const value = (port: DevicePort): Pointer => this.#value(port);
        const name = (port: DevicePort): Pointer => nameOf(port.name);
        this.#guarded(() => {
          this.#api.check(
            "Run",
            ...[session, null, all(inputs, name), all(inputs, value), inputs.length],
            ...[all(outputs, name), outputs.length, all(outputs, value)],
          );
        });
      },
      release: () => {
        if (this.#sessions.delete(session)) this.#api.call("ReleaseSession", session);
      },
    };
  }

  /** The runtime reports nodes of the processor's provider alone. */
  #hostNodes(session: Pointer): DeviceGraph["hostNodes"] {
    const api = this.#api;
    return api.list("GetEpGraphAssignmentInfo", session).flatMap((subgraph) => {
      if (api.text("EpAssignedSubgraphGetEpName", subgraph) !== HOST_PROVIDER) return [];
      return api
        .list("EpAssignedSubgraphGetNodes", subgraph)
        .map((node) => ({ operator: api.text("EpAssignedNodeGetOperatorType", node) }));
    });
  }

  #copy(copies: readonly Copy[], direction: "to" | "from"): void {
    const wanted = copies.filter(({ bytes }) => bytes.byteLength > 0);
    if (wanted.length === 0) return;
    const api = this.#api;
    const made: Pointer[] = [];
    const host = wanted.map(({ bytes }) => {
      const value = api.make(
        "CreateTensorWithDataAsOrtValue",
        ...[this.#hostInfo, api.address(bytes), bytes.byteLength],
        ...[BigInt64Array.of(BigInt(bytes.byteLength)), 1, elementTypeOf("uint8")],
      );
      made.push(value);
      return value;
    });
    const device = wanted.map(({ bytes, block }) =>
      this.#value({ name: "", dataType: "uint8", shape: [bytes.byteLength], block }),
    );
    const [from, to] = direction === "to" ? [host, device] : [device, host];
    try {
      this.#guarded(() => {
        api.check(
          "CopyTensors",
          ...[this.#environment, pointers(from), pointers(to), null, wanted.length],
        );
      });
    } finally {
      for (const value of made) api.call("ReleaseValue", value);
    }
  }

  #value({ dataType, shape, block }: DevicePort): Pointer {
    const own = this.#own(block);
    const key = `${dataType} ${shape.join()}`;
    const known = own.values.get(key);
    if (known !== undefined) return known;
    const byteLength = byteLengthOf(tensorType(dataType, shape));
    if (byteLength > own.byteLength) {
      throw new EngineError(
        "engine.gpu.memory",
        `a tensor of ${byteLength} bytes does not fit a block of ${own.byteLength}`,
      );
    }
    const made = this.#api.make(
      "CreateTensorWithDataAsOrtValue",
      ...[this.#deviceInfo, own.address, own.byteLength],
      ...[BigInt64Array.from(shape.length === 0 ? [0] : shape, BigInt), shape.length],
      elementTypeOf(dataType),
    );
    own.values.set(key, made);
    return made;
  }

  #own(block: DeviceBlock): Block {
    if (block instanceof Block && this.#blocks.has(block)) return block;
    throw new EngineError("engine.gpu.memory", "a block of another device, or one that is freed");
  }

  /** What the runtime throws, with a code. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      const message = messageOf(error);
      if (/\blost\b/i.test(message)) throw lostDevice(message, error);
      throw error;
    }
  }
}
