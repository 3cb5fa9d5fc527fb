import { dirname, join } from "node:path";
import { makeFolders, writeFileAtomically } from "../../../util/atomic-file.ts";
import { EngineError } from "../../errors.ts";
import type { DriverProgram } from "../driver.ts";
import type { ObjectPointer } from "../ffi/objc-functions.ts";
import type { ProgramPlace } from "../machine-programs.ts";
import type { ProgramFiles, WeightFile } from "../program-text.ts";
import type { Attempt } from "./attempt.ts";
import type { EngineThread } from "./engine-thread.ts";
import type { ObjcRuntime } from "./objc.ts";
import { COMPILATION_ROUTES } from "./routes.ts";
import type { CompilationRoute, Receivers } from "./routes.ts";
import type { NoWeights } from "./settings.ts";
import { SharedFolder } from "./shared-folder.ts";

/** Key of the weight file; the part after @model_path is its place in the folder (`in-memory.files`). */
export const WEIGHTS_KEY = "@model_path/weights/weights.bin";
const LOAD_RETRY_MS = 100;
/** Digits of the hash that name a folder of ours. */
const NAME_DIGITS = 24;

/** A model object, retained, and the folder that the compiler reads. */
export interface MadeModel {
  readonly model: ObjectPointer<"model">;
  readonly folder: SharedFolder;
}

/** How each way gets its model object: inside an autorelease pool. */
export const MODEL_MAKERS: Readonly<
  Record<
    CompilationRoute,
    (objc: ObjcRuntime, files: ProgramFiles, doing: string, none: NoWeights) => MadeModel
  >
> = {
  model: (objc, { text, weightFiles }, doing, none) => {
    const bytes = Buffer.from(text, "utf8");
    const dictionary =
      weightFiles.length === 0 && none === "nil"
        ? null
        : objc.dictionary(
            weightFiles.map(({ path, bytes: weights }) => [
              path,
              objc.dictionary([
                ["offset", objc.ask("NSNumber", "numberWithInt:", 0)],
                ["data", objc.data(weights)],
              ]),
            ]),
          );
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
    if (!/^[0-9A-Za-z_.-]+$/.test(identifier) || identifier.startsWith(".")) {
      throw new EngineError(
        "engine.ane.compile",
        `${doing}: its identifier "${identifier}" is no name of a folder`,
      );
    }
    const folder = folderWith(join(temporaryFolder(objc), identifier), bytes, weightFiles);
    return { model: objc.retain(model), folder };
  },
  client: (objc, { text, weightFiles, hash }) => {
    const name = `anecdote-${process.pid}-${hash.slice(0, NAME_DIGITS)}`;
    const path = join(temporaryFolder(objc), name);
    const url = objc.ask("NSURL", "fileURLWithPath:isDirectory:", objc.string(path), true);
    const model = objc.ask<"model">("_ANEModel", "modelAtURL:key:", url, objc.string(hash));
    const folder = folderWith(path, Buffer.from(text, "utf8"), weightFiles);
    return { model: objc.retain(model), folder };
  },
};

function temporaryFolder(objc: ObjcRuntime): string {
  return objc.text(objc.call("NSTemporaryDirectory") as ObjectPointer);
}

function folderWith(path: string, text: Buffer, weightFiles: readonly WeightFile[]): SharedFolder {
  const folder = new SharedFolder(path);
  try {
    writeFileAtomically(join(path, "model.mil"), (write) => write(text));
    for (const { place, bytes } of weightFiles) {
      const weightsPath = join(path, place);
      makeFolders(dirname(weightsPath));
      writeFileAtomically(weightsPath, (write) => write(bytes));
    }
    return folder;
  } catch (error) {
    folder.leave();
    throw error;
  }
}

/** A program on its way to the engine and on it. */
export class InMemoryProgram implements DriverProgram {
  readonly label: string;
  readonly receivers: Receivers;
  users = 0;
  readonly #objc: ObjcRuntime;
  readonly #thread: EngineThread;
  readonly #route: (typeof COMPILATION_ROUTES)[CompilationRoute];
  readonly #folder: SharedFolder;
  readonly #place: ProgramPlace | undefined;
  readonly #onUnused: (program: InMemoryProgram) => void;
  #isLoaded = false;
  isReleased = false;

  constructor(
    objc: ObjcRuntime,
    thread: EngineThread,
    parts: {
      readonly label: string;
      readonly route: CompilationRoute;
      readonly folder: SharedFolder;
      readonly receivers: Receivers;
      /** Among the machine's programs. */
      readonly place: ProgramPlace | undefined;
      /** Told when the last user has let go: whether it stays loaded is the driver's choice. */
      readonly onUnused: (program: InMemoryProgram) => void;
    },
  ) {
    this.#objc = objc;
    this.#thread = thread;
    this.label = parts.label;
    this.receivers = parts.receivers;
    this.#route = COMPILATION_ROUTES[parts.route];
    this.#folder = parts.folder;
    this.#place = parts.place;
    this.#onUnused = parts.onUnused;
  }

  /** Assumption `in-memory.load-retry`: loading is tried twice. */
  async compileAndLoad(): Promise<void> {
    const doing = `program "${this.label}"`;
    const compiled = await this.#attempt(`compiling ${doing}`, this.#route.compile(this.receivers));
    if (compiled !== undefined) {
      throw new EngineError(
        "engine.ane.compile",
        `compiling ${doing} failed. It said:\n  ${compiled}`,
      );
    }
    const load = this.#route.load(this.receivers);
    if ((await this.#attempt(`loading ${doing}`, load)) !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, LOAD_RETRY_MS));
      const reason = await this.#attempt(`loading ${doing}`, load);
      if (reason !== undefined)
        throw new EngineError("engine.ane.load", `loading ${doing} failed: ${reason}`);
    }
    this.#isLoaded = true;
  }

  release(): void {
    if (--this.users === 0 && !this.isReleased) this.#onUnused(this);
  }

  /** Unloaded first, then let go of, then its folder is removed. */
  releaseAll(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    if (this.#isLoaded) {
      // A failure here cannot be acted upon.
      this.#attempt(`unloading "${this.label}"`, this.#route.unload(this.receivers)).catch(
        () => undefined,
      );
    }
    this.#thread.afterwards(() => {
      this.#objc.release(this.receivers.model);
      this.#folder.leave();
      this.#place?.leave();
    });
  }

  /** The reason of a failure, or nothing. */
  async #attempt(doing: string, attempt: Attempt): Promise<string | undefined> {
    const { failed, reason } = await this.#thread.run(doing, [attempt]);
    return failed === undefined ? undefined : reason;
  }
}
