import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { threadId } from "node:worker_threads";
import { makeFolders } from "../../../util/atomic-file.ts";
import { errorCode } from "../../../util/errors.ts";

/**
 * A folder whose name others choose too: the same program has the same one in every process. Its users stand
 * beside it as empty files, and the last one to leave removes it.
 */
export class SharedFolder {
  readonly path: string;
  readonly #mark: string;

  constructor(path: string) {
    this.path = path;
    makeFolders(dirname(path));
    this.#mark = `${path}${MARK}${process.pid}-${threadId}-${users++}`;
    writeFileSync(this.#mark, "");
    makeFolders(path);
  }

  leave(): void {
    rmSync(this.#mark, { force: true });
    const parent = dirname(this.path);
    const prefix = `${basename(this.path)}${MARK}`;
    for (const name of readdirSync(parent)) {
      if (!name.startsWith(prefix)) continue;
      if (isAlive(Number.parseInt(name.slice(prefix.length), 10))) return;
      // Left by a process that was killed.
      rmSync(join(parent, name), { force: true });
    }
    rmSync(this.path, { recursive: true, force: true });
  }
}

const MARK = ".used-by-";
let users = 0;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}
