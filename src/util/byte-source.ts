import type { Hash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { errorCode, FileError, messageOf } from "./errors.ts";
import { didYouMean } from "./nearest.ts";
import { closing } from "./closing.ts";

/** Bytes that are read by position, so that a file larger than memory is never held whole. */
export interface ByteSource {
  readonly byteLength: number;
  /** What the bytes are called in messages, usually a path. */
  readonly name: string;
  /** Copies `length` bytes at `offset` into fresh memory. Throws `FileError` outside the source. */
  read(offset: number, length: number): Uint8Array;
  /** Fills `target` from `offset` on. Throws `FileError` outside the source. */
  readInto(offset: number, target: Uint8Array): void;
  /** Closes the file; reads throw after it. */
  close(): void;
}

function checkRange(source: ByteSource, offset: number, length: number): void {
  if (
    !Number.isSafeInteger(offset) ||
    !Number.isSafeInteger(length) ||
    offset < 0 ||
    length < 0 ||
    offset + length > source.byteLength
  ) {
    throw new FileError(
      "file.range",
      `${source.name}: bytes ${offset} to ${offset + length} were asked for, the file has ${source.byteLength}`,
    );
  }
}

/** Opens a file for positioned reads. Throws `FileError` when it is missing, unreadable or a folder. */
export function openFileSource(path: string): ByteSource {
  let handle: number;
  try {
    handle = openSync(path, "r");
  } catch (error) {
    throw new FileError("file.open", openProblem(path, error), { cause: error });
  }
  const status = fstatSync(handle);
  if (!status.isFile()) {
    closeSync(handle);
    throw new FileError("file.kind", `${path} is not a regular file`);
  }
  const source: ByteSource = {
    byteLength: status.size,
    name: path,
    read(offset, length) {
      checkRange(source, offset, length);
      const bytes = new Uint8Array(length);
      source.readInto(offset, bytes);
      return bytes;
    },
    readInto(offset, target) {
      checkRange(source, offset, target.byteLength);
      let done = 0;
      while (done < target.byteLength) {
        const chunk = Math.min(target.byteLength - done, 1 << 30);
        const count = readSync(handle, target, done, chunk, offset + done);
        if (count === 0)
          throw new FileError("file.shrunk", `${path} became shorter while it was read`);
        done += count;
      }
    },
    close: () => closeSync(handle),
  };
  return source;
}

/** Why a file cannot be opened, with the nearest name beside it where there is no such file. */
function openProblem(path: string, error: unknown): string {
  const code = errorCode(error);
  if (code !== "ENOENT" && code !== "ENOTDIR") return `${path}: ${messageOf(error)}`;
  let beside: readonly string[] = [];
  try {
    beside = readdirSync(dirname(path));
  } catch {
    return `there is no file ${path}: there is no folder ${dirname(path)}`;
  }
  return `there is no file ${path}.${didYouMean(basename(path), beside)}`;
}

/** Bytes already in memory, behind the same contract as a file. */
export function memorySource(bytes: Uint8Array, name = "memory"): ByteSource {
  const source: ByteSource = {
    byteLength: bytes.byteLength,
    name,
    read(offset, length) {
      checkRange(source, offset, length);
      return bytes.slice(offset, offset + length);
    },
    readInto(offset, target) {
      checkRange(source, offset, target.byteLength);
      target.set(bytes.subarray(offset, offset + target.byteLength));
    },
    close: () => undefined,
  };
  return source;
}

/** Opens a file for `use`, and closes it whatever comes of that. Throws what `openFileSource` throws. */
export function withFileSource<Result>(path: string, use: (source: ByteSource) => Result): Result {
  return closing(openFileSource(path), use);
}

/** What reads on from a file: the file stays open for it, unless it cannot be made. */
export function openedFile<Reader>(path: string, make: (source: ByteSource) => Reader): Reader {
  const source = openFileSource(path);
  try {
    return make(source);
  } catch (error) {
    source.close();
    throw error;
  }
}

/** Adds bytes of a source to a hash, a window at a time. */
export function hashSource(
  hash: Hash,
  source: ByteSource,
  start = 0,
  end = source.byteLength,
): Hash {
  const window = new Uint8Array(Math.min(HASH_WINDOW, Math.max(0, end - start)));
  for (let at = start; at < end; at += HASH_WINDOW) {
    const part = window.subarray(0, Math.min(HASH_WINDOW, end - at));
    source.readInto(at, part);
    hash.update(part);
  }
  return hash;
}
const HASH_WINDOW = 4 << 20;

/** Reads a whole text or JSON file, refusing one that is larger than `byteLimit`. */
export function readSmallFile(path: string, byteLimit: number): Uint8Array {
  return withFileSource(path, (source) => {
    if (source.byteLength <= byteLimit) return source.read(0, source.byteLength);
    throw new FileError(
      "file.size",
      `${path} has ${source.byteLength} bytes, at most ${byteLimit} are read`,
    );
  });
}
