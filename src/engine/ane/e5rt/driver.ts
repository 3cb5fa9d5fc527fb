import { foreignObject } from "../driver.ts";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { makeFolders } from "../../../util/atomic-file.ts";
import { EngineError } from "../../errors.ts";
import { LOADED_PROGRAM_LIMIT } from "../assumptions.ts";
import type {
  AneDriver,
  DeviceBuffer,
  DriverOperation,
  DriverProgram,
  DriverStream,
  EngineSource,
} from "../driver.ts";
import { NEURAL_ENGINE_MASK, PLAIN_BUFFER } from "../ffi/e5rt-functions.ts";
import type { Handle } from "../ffi/e5rt-functions.ts";
import { foreign } from "../../../ffi/foreign.ts";
import { portName, programFiles } from "../program-text.ts";
import type { MachinePrograms, ProgramPlace } from "../machine-programs.ts";
import { writeProgramFolder } from "../program-folder.ts";
import type { ProgramFolder } from "../program-folder.ts";
import { E5rtCalls } from "./calls.ts";
import type { CallSite } from "./calls.ts";

export interface E5rtOptions {
  readonly library: string;
  readonly cacheFolder: string;
  /** Compiles anew even where the cache holds the program. */
  readonly forceRecompilation: boolean;
  /** How long one call may take before the engine counts as hung. */
  readonly timeoutMs: number;
  readonly operationLimit?: number;
  /** Absent: programs are not counted. */
  readonly machinePrograms?: MachinePrograms | undefined;
}

/** Assumption `e5rt.weights-path`. */
const WEIGHTS_PATH = "@model_path/weights.bin";
/** Assumption `e5rt.buffer`. */
const BUFFER_ALIGNMENT = 64;

/** The driver over Espresso's C functions: the order of calls is that of facts ane-e5rt 1.2. */
export class E5rtDriver implements AneDriver {
  readonly name = "e5rt";
  readonly runtime: string;
  readonly operationLimit: number;
  readonly buffers = { minimumBytes: BUFFER_ALIGNMENT, equalSizes: false };
  readonly #calls: E5rtCalls;
  readonly #options: E5rtOptions;
  readonly #programs = new Map<string, E5rtProgram>();

  constructor(options: E5rtOptions) {
    this.#options = options;
    this.#calls = new E5rtCalls(options.library, options.timeoutMs);
    this.operationLimit = options.operationLimit ?? LOADED_PROGRAM_LIMIT;
    this.runtime = `e5rt, ${options.library}`;
  }

  allocate(byteLength: number): DeviceBuffer {
    const calls = this.#calls;
    const size = Math.max(1, Math.ceil(byteLength / BUFFER_ALIGNMENT)) * BUFFER_ALIGNMENT;
    const site: CallSite = {
      code: "engine.ane.memory",
      doing: `allocating ${size} bytes for the engine`,
    };
    const handle = calls.create<"buffer_object">(
      site,
      "e5rt_buffer_object_alloc",
      BigInt(size),
      PLAIN_BUFFER,
    );
    let address: bigint;
    try {
      address = calls.retain<"buffer_object">(site, "e5rt_buffer_object_get_data_ptr", handle);
    } catch (error) {
      calls.release("e5rt_buffer_object_release", handle);
      throw error;
    }
    const halves = new Uint16Array(foreign().view(address, size));
    halves.fill(0);
    return new E5rtBuffer(calls, handle, size, address, halves);
  }

  /** Equal programs are compiled once, whatever they are called. */
  async compile(source: EngineSource): Promise<DriverProgram> {
    const files = programFiles(source, WEIGHTS_PATH);
    const known = this.#programs.get(files.hash);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const folder = writeProgramFolder(this.#options.cacheFolder, files);
    const place = await this.#options.machinePrograms?.take(source.label);
    let compiled: Compiled;
    try {
      compiled = await this.#compileFolder(source.label, folder);
    } catch (error) {
      place?.leave();
      throw error;
    }
    const program = new E5rtProgram(source, compiled, this.#calls, place, () => {
      this.#programs.delete(files.hash);
    });
    this.#programs.set(files.hash, program);
    return program;
  }

  load(
    program: DriverProgram,
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    label: string,
  ): DriverOperation {
    if (!(program instanceof E5rtProgram)) throw foreignObject("program");
    return new E5rtOperation(this.#calls, program, handlesOf(inputs), handlesOf(outputs), label);
  }

  encode(operations: readonly DriverOperation[]): DriverStream {
    const calls = this.#calls;
    const doing = `encoding ${operations.map(({ label }) => label).join(", ")}`;
    const site: CallSite = { code: "engine.ane.encode", doing };
    const handle = calls.create<"stream">(site, "e5rt_execution_stream_create");
    try {
      for (const operation of operations) {
        if (!(operation instanceof E5rtOperation)) throw foreignObject("operation");
        operation.encodeOn(handle, site);
      }
    } catch (error) {
      calls.release("e5rt_execution_stream_release", handle);
      throw error;
    }
    return new E5rtStream(calls, handle);
  }

  execute(stream: DriverStream, label: string): Promise<void> {
    if (!(stream instanceof E5rtStream)) throw foreignObject("stream");
    const site = { code: "engine.ane.execute", doing: label };
    return this.#calls.checkLong(site, "e5rt_execution_stream_execute_sync", stream.handle);
  }

  close(): void {
    for (const program of this.#programs.values()) program.releaseAll();
    this.#programs.clear();
    this.#calls.close();
  }

  /** Takes what the cache holds; where the runtime refuses that, compiles once more with force. */
  async #compileFolder(label: string, folder: ProgramFolder): Promise<Compiled> {
    const isForced = this.#options.forceRecompilation;
    if (isForced || readdirSync(folder.cachePath).length === 0)
      return this.#compileWith(label, folder, isForced);
    try {
      return await this.#compileWith(label, folder, false);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "engine.ane.compile") throw error;
      // A folder of this process: another one may be using what it compiled (`e5rt.cache-process`).
      const cachePath = join(folder.cachePath, `process-${process.pid}`);
      makeFolders(cachePath);
      return this.#compileWith(label, { ...folder, cachePath }, true);
    }
  }

  async #compileWith(label: string, folder: ProgramFolder, isForced: boolean): Promise<Compiled> {
    const calls = this.#calls;
    const doing = `compiling program "${label}" (${folder.modelPath})`;
    const site: CallSite = { code: "engine.ane.compiler", doing };
    const config = calls.create<"compiler_config_options">(
      site,
      "e5rt_e5_compiler_config_options_create",
    );
    let compiler: Handle<"compiler"> | undefined;
    let options: Handle<"compiler_options"> | undefined;
    let library: Handle<"program_library"> | undefined;
    try {
      calls.attempt(
        "e5rt_e5_compiler_config_options_set_cache_bundle_location",
        config,
        folder.cachePath,
      );
      compiler = calls.create<"compiler">(site, "e5rt_e5_compiler_create_with_config", config);
      options = calls.create<"compiler_options">(site, "e5rt_e5_compiler_options_create");
      calls.check(
        site,
        "e5rt_e5_compiler_options_set_compute_device_types_mask",
        options,
        NEURAL_ENGINE_MASK,
      );
      calls.check(
        site,
        "e5rt_e5_compiler_options_set_force_recompilation",
        options,
        isForced ? 1 : 0,
      );
      calls.check(site, "e5rt_e5_compiler_options_set_segmenter", options, "graph");
      library = await calls.retainLong<"program_library">(
        { code: "engine.ane.compile", doing },
        "e5rt_e5_compiler_compile",
        compiler,
        folder.modelPath,
        options,
      );
      const fn = calls.retain<"program_function">(
        site,
        "e5rt_program_library_retain_program_function",
        library,
        "main",
      );
      return { config, compiler, options, library, fn };
    } catch (error) {
      if (library !== undefined) calls.release("e5rt_program_library_release", library);
      releaseCompiler(calls, { config, compiler, options });
      throw error;
    }
  }
}

interface CompilerHandles {
  readonly config: Handle<"compiler_config_options">;
  readonly compiler: Handle<"compiler"> | undefined;
  readonly options: Handle<"compiler_options"> | undefined;
}
interface Compiled extends CompilerHandles {
  readonly library: Handle<"program_library">;
  readonly fn: Handle<"program_function">;
}

function releaseCompiler(calls: E5rtCalls, { config, compiler, options }: CompilerHandles): void {
  if (options !== undefined) calls.release("e5rt_e5_compiler_options_release", options);
  if (compiler !== undefined) calls.release("e5rt_e5_compiler_release", compiler);
  calls.release("e5rt_e5_compiler_config_options_release", config);
}

function handlesOf(buffers: readonly DeviceBuffer[]): readonly Handle<"buffer_object">[] {
  return buffers.map((buffer) => {
    if (!(buffer instanceof E5rtBuffer)) throw foreignObject("buffer");
    return buffer.handle;
  });
}

class E5rtBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly address: bigint;
  readonly handle: Handle<"buffer_object">;
  readonly #halves: Uint16Array;
  readonly #calls: E5rtCalls;
  #isReleased = false;

  constructor(
    calls: E5rtCalls,
    handle: Handle<"buffer_object">,
    byteLength: number,
    address: bigint,
    halves: Uint16Array,
  ) {
    this.#calls = calls;
    this.handle = handle;
    this.byteLength = byteLength;
    this.address = address;
    this.#halves = halves;
  }

  access<Result>(_: "read" | "write", use: (halves: Uint16Array) => Result): Result {
    if (this.#isReleased) throw new EngineError("engine.closed", "the engine's buffer is released");
    return use(this.#halves);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#calls.release("e5rt_buffer_object_release", this.handle);
  }
}

class E5rtProgram implements DriverProgram {
  readonly label: string;
  readonly source: EngineSource;
  readonly fn: Handle<"program_function">;
  users = 1;
  readonly #calls: E5rtCalls;
  readonly #library: Handle<"program_library">;
  readonly #place: ProgramPlace | undefined;
  readonly #onRelease: () => void;
  #compiler: CompilerHandles | undefined;
  #isReleased = false;

  constructor(
    source: EngineSource,
    compiled: Compiled,
    calls: E5rtCalls,
    place: ProgramPlace | undefined,
    onRelease: () => void,
  ) {
    this.#place = place;
    this.label = source.label;
    this.source = source;
    this.fn = compiled.fn;
    this.#library = compiled.library;
    this.#compiler = compiled;
    this.#calls = calls;
    this.#onRelease = onRelease;
  }

  /** Assumption `e5rt.release-early`: legal as soon as an operation exists. */
  operationExists(): void {
    if (this.#compiler === undefined) return;
    releaseCompiler(this.#calls, this.#compiler);
    this.#compiler = undefined;
  }

  release(): void {
    if (--this.users > 0 || this.#isReleased) return;
    this.releaseAll();
    this.#onRelease();
  }

  releaseAll(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.operationExists();
    this.#calls.release("e5rt_program_function_release", this.fn);
    this.#calls.release("e5rt_program_library_release", this.#library);
    this.#place?.leave();
  }
}

class E5rtOperation implements DriverOperation {
  readonly label: string;
  readonly #calls: E5rtCalls;
  readonly #createOptions: Handle<"create_options">;
  readonly #operation: Handle<"operation">;
  readonly #ports: Handle<"io_port">[] = [];
  #event: Handle<"async_event"> | undefined;
  #isReleased = false;

  constructor(
    calls: E5rtCalls,
    program: E5rtProgram,
    inputs: readonly Handle<"buffer_object">[],
    outputs: readonly Handle<"buffer_object">[],
    label: string,
  ) {
    this.label = label;
    this.#calls = calls;
    const site: CallSite = {
      code: "engine.ane.load",
      doing: `loading program "${program.label}" for "${label}"`,
    };
    const createOptions = calls.create<"create_options">(
      site,
      "e5rt_precompiled_compute_op_create_options_create_with_program_function",
      program.fn,
    );
    this.#createOptions = createOptions;
    try {
      calls.check(
        site,
        "e5rt_precompiled_compute_op_create_options_set_operation_name",
        createOptions,
        "main",
      );
      calls.check(
        site,
        "e5rt_precompiled_compute_op_create_options_set_allocate_intermediate_buffers",
        createOptions,
        1,
      );
      this.#operation = calls.create<"operation">(
        site,
        "e5rt_execution_stream_operation_create_precompiled_compute_operation_with_options",
        createOptions,
      );
    } catch (error) {
      calls.release("e5rt_precompiled_compute_op_create_options_release", createOptions);
      throw error;
    }
    try {
      program.operationExists();
      this.#bind(site, "input", inputs);
      this.#bind(site, "output", outputs);
      this.#event = calls.create<"async_event">(site, "e5rt_async_event_create", "anecdote", 0);
      calls.attempt(
        "e5rt_execution_stream_operation_bind_completion_event",
        this.#operation,
        this.#event,
      );
    } catch (error) {
      this.release();
      throw error;
    }
  }

  encodeOn(stream: Handle<"stream">, site: CallSite): void {
    this.#calls.check(site, "e5rt_execution_stream_encode_operation", stream, this.#operation);
  }

  /** Ports, event, operation, options: assumption `e5rt.release-order`. Buffers belong to whoever allocated them. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    for (const port of this.#ports.splice(0)) this.#calls.release("e5rt_io_port_release", port);
    if (this.#event !== undefined) this.#calls.release("e5rt_async_event_release", this.#event);
    this.#calls.release("e5rt_execution_stream_operation_release", this.#operation);
    this.#calls.release("e5rt_precompiled_compute_op_create_options_release", this.#createOptions);
  }

  #bind(
    site: CallSite,
    side: "input" | "output",
    buffers: readonly Handle<"buffer_object">[],
  ): void {
    for (const [index, buffer] of buffers.entries()) {
      const port = this.#calls.retain<"io_port">(
        site,
        `e5rt_execution_stream_operation_retain_${side}_port`,
        this.#operation,
        portName(side, index),
      );
      this.#ports.push(port);
      this.#calls.check(site, "e5rt_io_port_bind_buffer_object", port, buffer);
    }
  }
}

class E5rtStream implements DriverStream {
  readonly handle: Handle<"stream">;
  readonly #calls: E5rtCalls;
  #isReleased = false;

  constructor(calls: E5rtCalls, handle: Handle<"stream">) {
    this.#calls = calls;
    this.handle = handle;
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#calls.release("e5rt_execution_stream_release", this.handle);
  }
}
