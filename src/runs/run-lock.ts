import { existsSync, lstatSync, readdirSync, rmSync, rmdirSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { makeFolders } from "../util/atomic-file.ts";
import { FileError, messageOf } from "../util/errors.ts";
import { processStart } from "../util/process-start.ts";
import { LockHeld, ProcessLock } from "../util/process-lock.ts";
import type { LockRecord } from "../util/process-lock.ts";
import { RunError } from "./errors.ts";
import { removeUnfinishedSaves } from "./whole-checkpoints.ts";

export const LOCK_FILE = "run.lock";
/** Where a run that trains is asked for something (`run-control.ts`). */
export const CONTROL_FOLDER = "control";
/** Folders of a run that it fills before its first step. */
const PREPARED = ["data", "tokenizer"];

/**
 * The right to write into a run's folder, for one process and those that go on with its run. Released on every way
 * out of the process; what a killed one left counts as free.
 */
export class RunLock {
  readonly #lock: ProcessLock;
  readonly #runFolder: string;
  /** Folders that did not exist, innermost first. */
  readonly #made: readonly string[];
  #isReleased = false;
  readonly #onExit = (): void => this.release();

  private constructor(lock: ProcessLock, runFolder: string, made: readonly string[]) {
    this.#lock = lock;
    this.#runFolder = runFolder;
    this.#made = made;
    process.on("exit", this.#onExit);
  }

  /**
   * `token`: of the process whose run this one goes on with. Throws `RunError` `train.busy` where another process
   * trains there, and `FileError` where the folder cannot be made or written.
   */
  static take(runFolder: string, token?: string): RunLock {
    const made = missingFolders(runFolder);
    try {
      makeFolders(runFolder);
      const path = join(runFolder, LOCK_FILE);
      const lock = token === undefined ? ProcessLock.take(path) : ProcessLock.join(path, token);
      removeUnfinishedFiles(runFolder);
      removeUnfinishedSaves(runFolder);
      return new RunLock(lock, runFolder, made);
    } catch (error) {
      if (error instanceof LockHeld) throw busy(runFolder, error.record);
      removeFoldersIfEmpty(made);
      if (error instanceof FileError) throw error;
      throw new FileError("file.folder", `cannot write into ${runFolder}: ${messageOf(error)}`, {
        remedy: "Choose another folder with --output-dir.",
        cause: error,
      });
    }
  }

  /** Lets a process that goes on with this run `take` the lock as well. */
  get token(): string {
    return this.#lock.token;
  }

  /** Also removes folders that were made for a run that has put nothing into them. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    process.off("exit", this.#onExit);
    try {
      removeUnfinishedFiles(this.#runFolder);
      rmSync(join(this.#runFolder, CONTROL_FOLDER), { recursive: true, force: true });
      this.#lock.release();
      for (const name of PREPARED) removeEmptyFolders(join(this.#runFolder, name));
    } catch {
      // A disk that is gone or full; the process ends, and then the lock is free by itself.
    }
    removeFoldersIfEmpty(this.#made);
  }
}

function busy(runFolder: string, { host, since, holders }: LockRecord): RunError {
  const pid = holders.at(-1)?.pid ?? 0;
  const began = new Date(since).toLocaleString("sv-SE");
  const isHere = host === hostname();
  return new RunError(
    "train.busy",
    `${runFolder} is being trained by process ${pid}${isHere ? "" : ` on ${host}`} since ${began}`,
    {
      remedy: isHere
        ? `Wait for it, stop it with \`kill ${pid}\`, or choose another folder with --output-dir.`
        : `Wait for it, or choose another folder with --output-dir. If nothing trains there any more, delete ${join(runFolder, LOCK_FILE)}.`,
    },
  );
}

function missingFolders(folder: string): readonly string[] {
  const missing: string[] = [];
  for (let at = folder; !existsSync(at) && dirname(at) !== at; at = dirname(at)) missing.push(at);
  return missing;
}

function removeFoldersIfEmpty(folders: readonly string[]): void {
  for (const folder of folders) {
    try {
      rmdirSync(folder);
    } catch {
      return; // in use
    }
  }
}

function removeEmptyFolders(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (lstatSync(path).isDirectory()) removeEmptyFolders(path);
  }
  removeFoldersIfEmpty([folder]);
}

/** What a process that was killed while it wrote a file left beside it (util/atomic-file.ts). */
function removeUnfinishedFiles(runFolder: string): void {
  const remove = (folder: string, depth: number): void => {
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      if (lstatSync(path).isDirectory()) {
        if (depth > 0) remove(path, depth - 1);
        continue;
      }
      const pid = Number(/^\..+\.(\d+)\.tmp$/.exec(name)?.[1] ?? 0);
      const isLeft = pid === process.pid || processStart(pid).kind === "gone";
      if (pid > 0 && isLeft) rmSync(path, { force: true });
    }
  };
  remove(runFolder, 0);
  for (const name of PREPARED) remove(join(runFolder, name), 2);
}
