import { foreignObject } from "../driver.ts";
import type {
  AneDriver,
  DeviceBuffer,
  DriverCompilations,
  DriverOperation,
  DriverProgram,
  DriverStream,
  EngineSource,
} from "../driver.ts";
import type { ObjectPointer } from "../ffi/objc-functions.ts";
import { LOADED_PROGRAM_LIMIT } from "../assumptions.ts";
import type { MachinePrograms, ProgramPlace } from "../machine-programs.ts";
import { programFiles } from "../program-text.ts";
import type { ProgramFiles } from "../program-text.ts";
import { compilationsLeft, spendCompilation } from "./compile-budget.ts";
import { EngineThread } from "./engine-thread.ts";
import { ObjcRuntime } from "./objc.ts";
import { InMemoryProgram, MODEL_MAKERS, WEIGHTS_KEY } from "./program.ts";
import type { MadeModel } from "./program.ts";
import { InMemoryRequest, RequestSequence } from "./request.ts";
import { COMPILATION_ROUTES, EVALUATION_ROUTES } from "./routes.ts";
import type { ClientKind } from "./routes.ts";
import { chooseRoutes, compileBudgetOf, surfaceRules } from "./settings.ts";
import type { InMemorySettings, Routes } from "./settings.ts";
import { SurfaceBuffer } from "./surface.ts";

export interface InMemoryOptions extends InMemorySettings {
  /** A library in place of the system's. */
  readonly library?: string;
  /** How long one job of the engine's thread may take before the engine counts as hung. */
  readonly timeoutMs: number;
  /** Absent: programs are not counted. */
  readonly machinePrograms?: MachinePrograms | undefined;
}

/** Requests kept at once: each is a small object over a loaded model (`in-memory.shared-model`). */
const REQUEST_LIMIT = 4096;

/** A program without a user stays loaded, since compiling it again would cost budget, unless its weights are larger. */
const KEPT_WEIGHT_BYTES = 1 << 20;

/** What tells a client that the folder it compiles holds MIL text (`in-memory.client-compile`). */
const MIL_OPTIONS = [
  ["kANEFModelType", "kANEFModelMIL"],
  ["kANEFNetPlistFilenameKey", "model.mil"],
] as const;

/**
 * The driver over `_ANEInMemoryModel` and `_ANEClient`: the order of calls is that of facts ane-objc 1.2 and 1.6.
 * Objects are made on the calling thread; a thread of the driver compiles, loads and evaluates.
 */
export class InMemoryDriver implements AneDriver {
  readonly name = "in-memory";
  readonly runtime: string;
  readonly operationLimit = REQUEST_LIMIT;
  readonly buffers: AneDriver["buffers"];
  readonly routes: Routes;
  readonly #objc: ObjcRuntime;
  readonly #thread: EngineThread;
  readonly #settings: InMemorySettings;
  readonly #compileBudget: number;
  readonly #machinePrograms: MachinePrograms | undefined;
  readonly compilations: DriverCompilations;
  /** Text and weights of sources that were asked about. */
  readonly #files = new WeakMap<EngineSource, ProgramFiles>();
  /** By the hash of what was compiled, in the order of first use; a program that is being compiled is waited for. */
  readonly #programs = new Map<string, Promise<InMemoryProgram>>();
  /** Programs without a user that stay loaded, the one that has been without for the longest time first. */
  readonly #idle = new Map<string, InMemoryProgram>();
  /** Objects that all programs share, retained. */
  readonly #clients = new Map<ClientKind, ObjectPointer<"_ANEClient">>();
  readonly #dictionaries = new Map<"none" | "mil", ObjectPointer<"NSDictionary">>();

  constructor({ library, timeoutMs, machinePrograms, ...settings }: InMemoryOptions) {
    this.#machinePrograms = machinePrograms;
    this.#objc = new ObjcRuntime(library);
    const lacking = this.#objc.missing(["objectWithIOSurface:", REQUEST_SELECTOR]);
    if (lacking.length > 0) throw this.#objc.lacking(lacking);
    this.routes = chooseRoutes(this.#objc, settings);
    this.#settings = settings;
    this.#compileBudget = compileBudgetOf(settings);
    this.compilations = this.#describeCompilations();
    this.buffers = surfaceRules(settings);
    this.#thread = new EngineThread(library, timeoutMs);
    const { compilation, evaluation } = this.routes;
    this.runtime = `_ANEInMemoryModel (compiled by ${compilation}, run by ${evaluation}), ${library ?? "AppleNeuralEngine.framework"}`;
  }

  allocate(byteLength: number): DeviceBuffer {
    const size = Math.max(byteLength, this.buffers.minimumBytes);
    return new SurfaceBuffer(this.#objc, this.#thread, size);
  }

  async compile(source: EngineSource): Promise<DriverProgram> {
    const files = this.#filesOf(source);
    const known = this.#programs.get(files.hash);
    const making = known ?? this.#make(source.label, files);
    if (known === undefined) this.#programs.set(files.hash, making);
    try {
      const program = await making;
      if (program.isReleased) return await this.compile(source);
      this.#idle.delete(files.hash);
      program.users++;
      return program;
    } catch (error) {
      if (this.#programs.get(files.hash) === making) this.#programs.delete(files.hash);
      throw error;
    }
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
    const route = EVALUATION_ROUTES[this.routes.evaluation];
    const receivers = { ...program.receivers, client: this.#clientOf(route.client) };
    return new InMemoryRequest(
      this.#objc,
      this.#thread,
      { inputs: surfaces(inputs), outputs: surfaces(outputs) },
      label,
      (request) => route.evaluate(receivers, request),
    );
  }

  encode(operations: readonly DriverOperation[]): DriverStream {
    return new RequestSequence(
      this.#thread,
      operations.map((operation) => {
        if (!(operation instanceof InMemoryRequest)) throw foreignObject("operation");
        return operation;
      }),
    );
  }

  async execute(stream: DriverStream, label: string): Promise<void> {
    if (!(stream instanceof RequestSequence)) throw foreignObject("stream");
    await stream.execute(label);
  }

  async close(): Promise<void> {
    for (const making of this.#programs.values()) {
      making.then(
        (program) => program.releaseAll(),
        () => undefined,
      );
    }
    await Promise.allSettled(this.#programs.values());
    this.#programs.clear();
    this.#idle.clear();
    this.#thread.afterwards(() => {
      for (const object of [...this.#clients.values(), ...this.#dictionaries.values()])
        this.#objc.release(object);
      this.#clients.clear();
      this.#dictionaries.clear();
    });
    await this.#thread.close();
  }

  #describeCompilations(): DriverCompilations {
    const budget = this.#compileBudget;
    const keyOf = (source: EngineSource): string => this.#filesOf(source).hash;
    return {
      budget,
      get left() {
        return compilationsLeft(budget);
      },
      keyOf,
      isCompiled: (source) => this.#programs.has(keyOf(source)),
    };
  }

  #filesOf(source: EngineSource): ProgramFiles {
    const known = this.#files.get(source);
    if (known !== undefined) return known;
    const files = programFiles(source, WEIGHTS_KEY, this.#settings.weightFiles);
    this.#files.set(source, files);
    return files;
  }

  /** A program has lost its last user. */
  #keep(hash: string, program: InMemoryProgram, weightBytes: number): void {
    this.#idle.set(hash, program);
    const isScarce = this.#machinePrograms?.isScarce ?? false;
    if (weightBytes > KEPT_WEIGHT_BYTES || isScarce) this.#letGo(hash);
    else this.#makeRoom(LOADED_PROGRAM_LIMIT);
  }

  /** Lets go of programs without a user until at most `count` programs are loaded. */
  #makeRoom(count: number): void {
    for (const hash of this.#idle.keys()) {
      if (this.#programs.size <= count) return;
      this.#letGo(hash);
    }
  }

  #letGo(hash: string): void {
    this.#idle.get(hash)?.releaseAll();
    this.#idle.delete(hash);
    this.#programs.delete(hash);
  }

  async #make(label: string, files: ProgramFiles): Promise<InMemoryProgram> {
    this.#makeRoom(LOADED_PROGRAM_LIMIT - 1);
    // Others may need what this process keeps without a user.
    const place = await this.#machinePrograms?.take(label, () => this.#makeRoom(0));
    let program: InMemoryProgram;
    try {
      spendCompilation(this.#compileBudget, label);
      program = this.#describe(label, files, place);
    } catch (error) {
      place?.leave();
      throw error;
    }
    try {
      await program.compileAndLoad();
    } catch (error) {
      program.releaseAll();
      throw error;
    }
    return program;
  }

  #describe(label: string, files: ProgramFiles, place: ProgramPlace | undefined): InMemoryProgram {
    const objc = this.#objc;
    const { compilation } = this.routes;
    const weightBytes = files.weightFiles.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    const client = this.#clientOf(COMPILATION_ROUTES[compilation].client);
    const noOptions = this.#dictionary("none", []);
    const compileOptions =
      compilation === "client" ? this.#dictionary("mil", MIL_OPTIONS) : noOptions;
    const made: MadeModel = objc.pooled(() =>
      MODEL_MAKERS[compilation](
        objc,
        files,
        `program "${label}"`,
        this.#settings.noWeights ?? "dictionary",
      ),
    );
    return new InMemoryProgram(objc, this.#thread, {
      label,
      route: compilation,
      folder: made.folder,
      receivers: { model: made.model, client, noOptions, compileOptions },
      place,
      onUnused: (unused) => this.#keep(files.hash, unused, weightBytes),
    });
  }

  #clientOf(kind: ClientKind): ObjectPointer<"_ANEClient"> | undefined {
    if (kind === "none") return undefined;
    const known = this.#clients.get(kind);
    if (known !== undefined) return known;
    const objc = this.#objc;
    const made = objc.pooled(() => {
      if (kind === "shared") return objc.retain(objc.ask("_ANEClient", "sharedConnection"));
      // What alloc gives is owned already.
      return objc.ask(objc.ask("_ANEClient", "alloc"), "initWithRestrictedAccessAllowed:", true);
    }) as ObjectPointer<"_ANEClient">;
    this.#clients.set(kind, made);
    return made;
  }

  #dictionary(
    kind: "none" | "mil",
    entries: readonly (readonly [string, string])[],
  ): ObjectPointer<"NSDictionary"> {
    const known = this.#dictionaries.get(kind);
    if (known !== undefined) return known;
    const objc = this.#objc;
    const made = objc.pooled(() =>
      objc.retain(
        objc.dictionary(entries.map(([key, value]) => [key, objc.string(value)] as const)),
      ),
    );
    this.#dictionaries.set(kind, made);
    return made;
  }
}

const REQUEST_SELECTOR =
  "requestWithInputs:inputIndices:outputs:outputIndices:weightsBuffer:perfStats:procedureIndex:";
