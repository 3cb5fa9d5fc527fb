import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { makeFolders, writeFileAtomically } from "../../util/atomic-file.ts";
import type { ProgramFiles } from "./program-text.ts";

/** Digits of the hash that name a folder. */
const NAME_DIGITS = 24;

/** What may be made again: `ANECDOTE_CACHE_DIR`, or where the system keeps caches. */
export function cacheFolder(): string {
  const own = process.env["ANECDOTE_CACHE_DIR"];
  if (own !== undefined && own !== "") return own;
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "anecdote");
  return join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "anecdote");
}

/** Where compiled programs are kept. */
export function programCacheFolder(): string {
  return join(cacheFolder(), "ane");
}

export interface ProgramFolder {
  readonly modelPath: string;
  /** For what the runtime's compiler leaves. */
  readonly cachePath: string;
}

/**
 * The folder of a program, named by its contents: `model.mil`, its weight files, and room for the compiler's output.
 * Files that are not whole (another hash, another length) are written again. Throws `FileError`.
 */
export function writeProgramFolder(root: string, files: ProgramFiles): ProgramFolder {
  const folder = join(root, files.hash.slice(0, NAME_DIGITS));
  const modelPath = join(folder, "model.mil");
  const cachePath = join(folder, "cache");
  let isFresh = false;
  for (const { place, bytes } of files.weightFiles) {
    const path = join(folder, place);
    if (hasBytes(path, bytes)) continue;
    writeFileAtomically(path, (write) => write(bytes));
    isFresh = true;
  }
  const text = Buffer.from(files.text, "utf8");
  if (!hasBytes(modelPath, text)) {
    writeFileAtomically(modelPath, (write) => write(text));
    isFresh = true;
  }
  // What was compiled from other files must not be taken for this program's.
  if (isFresh) rmSync(cachePath, { recursive: true, force: true });
  makeFolders(cachePath);
  return { modelPath, cachePath };
}

function hasBytes(path: string, bytes: Uint8Array): boolean {
  if (!existsSync(path) || statSync(path).size !== bytes.byteLength) return false;
  return readFileSync(path).equals(bytes);
}
