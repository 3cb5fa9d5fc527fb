import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { FileError, messageOf } from "./errors.ts";

/** What was written to a file. */
export interface WrittenFile {
  readonly byteLength: number;
  /** In hexadecimal digits. */
  readonly sha256: string;
}

/** Where whole files are noted while `noteWrittenFiles` runs. */
let notes: Map<string, WrittenFile> | undefined;

/**
 * Runs what writes files, and returns length and hash of each by its path, computed from the bytes on their way to the
 * disk: nobody has to read them again.
 */
export function noteWrittenFiles(run: () => void): ReadonlyMap<string, WrittenFile> {
  const before = notes;
  const own = new Map<string, WrittenFile>();
  notes = own;
  try {
    run();
  } finally {
    notes = before;
  }
  return own;
}

/** Appends chunks to a file that is still aside. */
export type WriteChunk = (bytes: Uint8Array) => void;

/**
 * Makes a folder and those above it. Unlike Node's recursive `mkdir`, which says ENOENT on a read-only mount,
 * it throws the system's own reason.
 */
export function makeFolders(folder: string): void {
  if (existsSync(folder)) return;
  const parent = dirname(folder);
  if (parent !== folder) makeFolders(parent);
  try {
    mkdirSync(folder);
  } catch (error) {
    if (!existsSync(folder)) throw error; // another process may have made it
  }
}

/** Flushes a folder's entry list, so that a rename inside it survives a power cut. */
export function syncFolder(folder: string): void {
  let handle: number | undefined;
  try {
    handle = openSync(folder, "r");
    fsyncSync(handle);
  } catch {
    // Some file systems refuse to sync a folder; the rename itself is still atomic.
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

/**
 * Writes a file aside, syncs it and renames it over `path`: a reader sees the old bytes or all of the new ones.
 * On any failure the file aside is removed and `path` is as it was. Throws `FileError` with the system's reason.
 */
export function writeFileAtomically(path: string, produce: (write: WriteChunk) => void): void {
  const aside = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  let handle: number | undefined;
  try {
    makeFolders(dirname(path));
    const opened = openSync(aside, "w");
    handle = opened;
    const noted = notes;
    const hash = noted === undefined ? undefined : createHash("sha256");
    let byteLength = 0;
    produce((bytes) => {
      let done = 0;
      hash?.update(bytes);
      byteLength += bytes.byteLength;
      while (done < bytes.byteLength)
        done += writeSync(opened, bytes, done, Math.min(bytes.byteLength - done, 1 << 30));
    });
    fsyncSync(opened);
    closeSync(opened);
    handle = undefined;
    renameSync(aside, path);
    syncFolder(dirname(path));
    if (hash !== undefined) noted?.set(path, { byteLength, sha256: hash.digest("hex") });
  } catch (error) {
    if (handle !== undefined) closeSync(handle);
    try {
      rmSync(aside, { force: true });
    } catch {
      // A read-only or full disk may refuse this as well; the first error is the one to tell.
    }
    if (isSystemError(error)) {
      throw new FileError(
        `file.${error.code.toLowerCase()}`,
        `cannot write ${path}: ${messageOf(error)}`,
        {
          remedy: remedyFor(error.code),
          cause: error,
        },
      );
    }
    throw error;
  }
}

/** Writes a text or a byte array atomically. */
export function writeWholeFile(path: string, content: string | Uint8Array): void {
  writeFileAtomically(path, (write) =>
    write(typeof content === "string" ? Buffer.from(content) : content),
  );
}

function isSystemError(error: unknown): error is Error & { code: string } {
  return (
    error instanceof Error &&
    "syscall" in error &&
    "code" in error &&
    typeof error.code === "string"
  );
}

function remedyFor(code: string): string {
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return "The disk is full. Free some space and run again; earlier files are intact.";
    case "EFBIG":
      return "The file system or a limit (ulimit -f) refuses a file of this size; earlier files are intact.";
    case "EROFS":
      return "The folder is on a read-only mount: choose another one.";
    case "EACCES":
    case "EPERM":
      return "You may not write there: choose another folder, or change its permissions.";
    default:
      return "Earlier files are intact.";
  }
}
