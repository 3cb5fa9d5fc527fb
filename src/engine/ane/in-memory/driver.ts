import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeFolders, writeFileAtomically } from "../../../util/atomic-file.ts";
import { EngineError } from "../../errors.ts";
import { COMPILE_BUDGET, SURFACE_MINIMUM } from "../assumptions.ts";
import type {
  AneDriver,
  DeviceBuffer,
  DriverOperation,
  DriverProgram,
  DriverStream,
  EngineSource,
} from "../driver.ts";
import type { ObjectPointer, Surface } from "../ffi/objc-functions.ts";
import { programFiles } from "../program-text.ts";
import { ObjcRuntime } from "./objc.ts";

export interface InMemoryOptions {
  /** A library in place of the system's. */
  readonly library?: string;
  readonly compileBudget?: number;
  /** Bytes of the smallest surface (`in-memory.surface-minimum`). */
  readonly minimumBytes?: number;
  /** Whether all surfaces of one side of a program have one size (`in-memory.equal-surfaces`). Default true. */
  readonly equalSizes?: boolean;
}

/** Assumption `in-memory.quality-of-service`. */
const QUALITY = 21;
/** Key of the weight file; the part after @model_path is its place in the folder (`in-memory.files`). */
const WEIGHTS_FILE = "weights/weights.bin";
const LOAD_RETRY_MS = 100;
const LOCK_READ_ONLY = 1;
/** Requests kept at once: each is a small object over a loaded model (`in-memory.shared-model`). */
const REQUEST_LIMIT = 4096;

/** Compilations of this process, all engines together (`in-memory.compile-budget`). */
let compileCount = 0;

/** The driver over `_ANEInMemoryModel`: the order of calls is that of facts ane-objc 1.2. */
export class InMemoryDriver implements AneDriver {
  readonly name = "in-memory";
  readonly runtime: string;
  readonly operationLimit = REQUEST_LIMIT;
  readonly buffers: AneDriver["buffers"];
  readonly #objc: ObjcRuntime;
  readonly #compileBudget: number;
  readonly #programs = new Map<string, InMemoryProgram>();

  constructor({ library, compileBudget, minimumBytes, equalSizes }: InMemoryOptions) {
    this.#objc = new ObjcRuntime(library);
    this.#compileBudget = compileBudget ?? COMPILE_BUDGET;
    this.buffers = {
      minimumBytes: minimumBytes ?? SURFACE_MINIMUM,
      equalSizes: equalSizes ?? true,
    };
    this.runtime = `_ANEInMemoryModel, ${library ?? "AppleNeuralEngine.framework"}`;
  }

  allocate(byteLength: number): DeviceBuffer {
    const size = Math.max(byteLength, this.buffers.minimumBytes);
    return new SurfaceBuffer(this.#objc, size);
  }

  async compile(source: EngineSource): Promise<DriverProgram> {
    const files = programFiles(source, `@model_path/${WEIGHTS_FILE}`);
    const known = this.#programs.get(files.hash);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    if (compileCount >= this.#compileBudget) {
      throw new EngineError(
        "engine.ane.budget",
        `this process has compiled ${compileCount} programs, and further ones would fail silently`,
        {
          remedy: "Start again; a run continues with --resume. The e5rt driver has no such limit.",
        },
      );
    }
    compileCount++;
    const doing = `program "${source.label}"`;
    const program = this.#objc.pooled(() =>
      this.#make(doing, source, files.text, files.weights, () => {
        this.#programs.delete(files.hash);
      }),
    );
    try {
      program.compile(doing);
      if (!program.load().ok) {
        await new Promise((resolve) => setTimeout(resolve, LOAD_RETRY_MS));
        const { ok, reason } = program.load();
        if (!ok) throw new EngineError("engine.ane.load", `loading ${doing} failed: ${reason}`);
      }
    } catch (error) {
      program.releaseAll();
      throw error;
    }
    this.#programs.set(files.hash, program);
    return program;
  }

  load(
    program: DriverProgram,
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    label: string,
  ): DriverOperation {
    if (!(program instanceof InMemoryProgram)) throw foreignObject("program");
    const surfaces = (buffers: readonly DeviceBuffer[]): readonly ObjectPointer[] =>
      buffers.map((buffer) => {
        if (!(buffer instanceof SurfaceBuffer)) throw foreignObject("buffer");
        return buffer.object;
      });
    return new InMemoryRequest(this.#objc, program, surfaces(inputs), surfaces(outputs), label);
  }

  encode(operations: readonly DriverOperation[]): DriverStream {
    return new RequestSequence(
      operations.map((operation) => {
        if (!(operation instanceof InMemoryRequest)) throw foreignObject("operation");
        return operation;
      }),
    );
  }

  /**
   * On the calling thread: an autorelease pool belongs to a thread, and without one every evaluation would leak.
   * So a hang is noticed by whoever watches the thread, not by a timeout.
   */
  async execute(stream: DriverStream): Promise<void> {
    if (!(stream instanceof RequestSequence)) throw foreignObject("stream");
    for (const request of stream.requests) request.evaluate();
    // The event loop gets its turn.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  close(): void {
    for (const program of this.#programs.values()) program.releaseAll();
    this.#programs.clear();
  }

  #make(
    doing: string,
    source: EngineSource,
    text: string,
    weights: Uint8Array | undefined,
    onRelease: () => void,
  ): InMemoryProgram {
    const objc = this.#objc;
    const key = `@model_path/${WEIGHTS_FILE}`;
    const dictionary = objc.dictionary(
      weights === undefined
        ? []
        : [
            [
              key,
              objc.dictionary([
                ["offset", objc.ask("NSNumber", "numberWithInt:", 0)],
                ["data", objc.data(weights)],
              ]),
            ],
          ],
    );
    const bytes = Buffer.from(text, "utf8");
    const descriptor = objc.ask(
      "_ANEInMemoryModelDescriptor",
      "modelWithMILText:weights:optionsPlist:",
      objc.data(bytes),
      dictionary,
      null,
    );
    const model = objc.ask<"model">(
      "_ANEInMemoryModel",
      "inMemoryModelWithDescriptor:",
      descriptor,
    );
    const identifier = objc.text(objc.ask(model, "hexStringIdentifier"));
    const temporary = objc.text(objc.call("NSTemporaryDirectory") as ObjectPointer);
    if (!/^[0-9A-Za-z_.-]+$/.test(identifier) || identifier.startsWith(".")) {
      throw new EngineError(
        "engine.ane.compile",
        `${doing}: its identifier "${identifier}" is no name of a folder`,
      );
    }
    const folder = join(temporary, identifier);
    makeFolders(folder);
    writeFileAtomically(join(folder, "model.mil"), (write) => write(bytes));
    if (weights !== undefined) {
      const path = join(folder, WEIGHTS_FILE);
      makeFolders(dirname(path));
      writeFileAtomically(path, (write) => write(weights));
    }
    return new InMemoryProgram(objc, objc.retain(model), source.label, folder, onRelease);
  }
}

function foreignObject(what: string): EngineError {
  return new EngineError("engine.ane.driver", `a ${what} of another driver was given`);
}

class InMemoryProgram implements DriverProgram {
  readonly label: string;
  readonly model: ObjectPointer<"model">;
  users = 1;
  readonly #objc: ObjcRuntime;
  readonly #folder: string;
  readonly #onRelease: () => void;
  #isLoaded = false;
  #isReleased = false;

  constructor(
    objc: ObjcRuntime,
    model: ObjectPointer<"model">,
    label: string,
    folder: string,
    onRelease: () => void,
  ) {
    this.#objc = objc;
    this.model = model;
    this.label = label;
    this.#folder = folder;
    this.#onRelease = onRelease;
  }

  compile(doing: string): void {
    const { ok, reason } = this.#with("compileWithQoS:options:error:");
    if (ok) return;
    throw new EngineError("engine.ane.compile", `compiling ${doing} failed. It said:\n  ${reason}`);
  }

  load(): { readonly ok: boolean; readonly reason: string } {
    const outcome = this.#with("loadWithQoS:options:error:");
    this.#isLoaded = outcome.ok;
    return outcome;
  }

  release(): void {
    if (--this.users > 0 || this.#isReleased) return;
    this.releaseAll();
    this.#onRelease();
  }

  /** Unloaded first, then let go of, then its folder is removed. */
  releaseAll(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#isLoaded)
      this.#objc.pooled(() => this.#objc.attempt(this.model, "unloadWithQoS:error:", QUALITY));
    this.#objc.release(this.model);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #with(selector: "compileWithQoS:options:error:" | "loadWithQoS:options:error:") {
    return this.#objc.pooled(() =>
      this.#objc.attempt(this.model, selector, QUALITY, this.#objc.dictionary([])),
    );
  }
}

/** A surface and the object that wraps it for requests. */
class SurfaceBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly object: ObjectPointer;
  readonly #objc: ObjcRuntime;
  readonly #surface: Surface;
  #isReleased = false;

  constructor(objc: ObjcRuntime, byteLength: number) {
    this.#objc = objc;
    this.byteLength = byteLength;
    const failure = (why: string): EngineError =>
      new EngineError("engine.ane.memory", `a surface of ${byteLength} bytes: ${why}`);
    const { surface, object } = objc.pooled(() => {
      const number = (value: number): ObjectPointer =>
        objc.ask("NSNumber", "numberWithLongLong:", value);
      const properties = objc.dictionary([
        ["IOSurfaceWidth", number(byteLength)],
        ["IOSurfaceHeight", number(1)],
        ["IOSurfaceBytesPerElement", number(1)],
        ["IOSurfaceBytesPerRow", number(byteLength)],
        ["IOSurfaceAllocSize", number(byteLength)],
        ["IOSurfacePixelFormat", number(0)],
      ]);
      const made = objc.call("IOSurfaceCreate", properties) as Surface | null;
      if (made === null) throw failure("the system makes none");
      try {
        return {
          surface: made,
          object: objc.retain(objc.ask("_ANEIOSurfaceObject", "objectWithIOSurface:", made)),
        };
      } catch (error) {
        objc.call("CFRelease", made);
        throw error;
      }
    });
    this.#surface = surface;
    this.object = object;
    try {
      const size = Number(objc.call("IOSurfaceGetAllocSize", surface));
      if (size < byteLength) throw failure(`the system made one of ${size}`);
      this.access("write", (halves) => halves.fill(0));
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** The address is good while the surface is locked. */
  access<Result>(mode: "read" | "write", use: (halves: Uint16Array) => Result): Result {
    if (this.#isReleased)
      throw new EngineError("engine.closed", "the engine's surface is released");
    const objc = this.#objc;
    const options = mode === "read" ? LOCK_READ_ONLY : 0;
    const status = Number(objc.call("IOSurfaceLock", this.#surface, options, null));
    if (status !== 0) {
      throw new EngineError("engine.ane.memory", `IOSurfaceLock failed with ${status}`);
    }
    try {
      const address = objc.call("IOSurfaceGetBaseAddress", this.#surface) as bigint | null;
      if (address === null) throw new EngineError("engine.ane.memory", "a surface has no address");
      return use(new Uint16Array(objc.memory(address, this.byteLength & ~1)));
    } finally {
      objc.call("IOSurfaceUnlock", this.#surface, options, null);
    }
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#objc.release(this.object);
    this.#objc.call("CFRelease", this.#surface);
  }
}

class InMemoryRequest implements DriverOperation {
  readonly label: string;
  readonly #objc: ObjcRuntime;
  readonly #program: InMemoryProgram;
  readonly #request: ObjectPointer;
  #isReleased = false;

  constructor(
    objc: ObjcRuntime,
    program: InMemoryProgram,
    inputs: readonly ObjectPointer[],
    outputs: readonly ObjectPointer[],
    label: string,
  ) {
    this.label = label;
    this.#objc = objc;
    this.#program = program;
    this.#request = objc.pooled(() => {
      const number = (value: number): ObjectPointer =>
        objc.ask("NSNumber", "numberWithInt:", value);
      const indices = (objects: readonly ObjectPointer[]): ObjectPointer =>
        objc.array(objects.map((_, index) => number(index)));
      return objc.retain(
        objc.ask(
          "_ANERequest",
          "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:",
          objc.array(inputs),
          indices(inputs),
          objc.array(outputs),
          indices(outputs),
          null,
          null,
          number(0),
        ),
      );
    });
  }

  evaluate(): void {
    const objc = this.#objc;
    const { ok, reason } = objc.pooled(() =>
      objc.attempt(
        this.#program.model,
        "evaluateWithQoS:options:request:error:",
        QUALITY,
        objc.dictionary([]),
        this.#request,
      ),
    );
    if (ok) return;
    throw new EngineError("engine.ane.execute", `${this.label}: evaluation failed: ${reason}`);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#objc.release(this.#request);
  }
}

class RequestSequence implements DriverStream {
  readonly requests: readonly InMemoryRequest[];

  constructor(requests: readonly InMemoryRequest[]) {
    this.requests = requests;
  }

  release(): void {
    // Nothing of its own: the requests belong to whoever loaded them.
  }
}
