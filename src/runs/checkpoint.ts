import { createHash } from "node:crypto";
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { makeFolders, noteWrittenFiles, syncFolder, writeWholeFile } from "../util/atomic-file.ts";
import type { WrittenFile } from "../util/atomic-file.ts";
import { readSmallFile, withFileSource, hashSource } from "../util/byte-source.ts";
import { FileError, messageOf } from "../util/errors.ts";
import { RunError } from "./errors.ts";
import { refuseLater } from "../util/format-version.ts";

const CHECKSUMS = "checksums.json";
const LATEST = "latest";
const FOLDER_NAME = /^checkpoint-(\d+)$/;

/** Of a checkpoint's list of files, and so of what the files mean. */
const CHECKPOINT_VERSION = 1;
const LATER_CHECKPOINT = "run.checkpoint.version";

/** A checkpoint of a run, by its step. */
export interface CheckpointFolder {
  readonly folder: string;
  readonly step: number;
}

function hashFile(path: string): WrittenFile {
  return withFileSource(path, (source) => ({
    byteLength: source.byteLength,
    sha256: hashSource(createHash("sha256"), source).digest("hex"),
  }));
}

/** Slows a save down between its files, so that a test can kill the process inside one. */
function pauseForTests(): void {
  const delayMs = Number(process.env["ANECDOTE_TEST_SAVE_DELAY_MS"] ?? 0);
  if (delayMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
}

export function checkpointPath(runFolder: string, step: number): string {
  return join(runFolder, `checkpoint-${step}`);
}

/**
 * Writes `checkpoint-<step>` into a run's folder. `writers` fill a folder aside, each writing and syncing its own
 * files; checksums follow, then one rename makes the checkpoint appear. Whatever stops this, earlier checkpoints
 * are as they were. A whole checkpoint of the same step is left alone: a run gives equal bytes for equal steps.
 * Returns the checkpoint's path and the bytes written.
 */
export function writeCheckpoint(
  runFolder: string,
  step: number,
  writers: readonly ((folder: string) => void)[],
): { readonly folder: string; readonly byteLength: number } {
  const name = `checkpoint-${step}`;
  const aside = join(runFolder, `.${name}.tmp`);
  const target = join(runFolder, name);
  try {
    makeFolder(runFolder);
    if (existsSync(target) && checkpointProblem(target) === undefined) {
      return { folder: target, byteLength: 0 };
    }
    rmSync(aside, { recursive: true, force: true });
    makeFolder(aside);
    const written = noteWrittenFiles(() => {
      for (const write of writers) {
        write(aside);
        pauseForTests();
      }
    });
    const files: Record<string, WrittenFile> = {};
    let byteLength = 0;
    for (const file of readdirSync(aside).sort()) {
      // Files that come another way than aside and renamed are read once more.
      const record = written.get(join(aside, file)) ?? hashFile(join(aside, file));
      files[file] = record;
      byteLength += record.byteLength;
    }
    writeWholeFile(
      join(aside, CHECKSUMS),
      `${JSON.stringify({ version: CHECKPOINT_VERSION, step, files }, null, 2)}\n`,
    );
    pauseForTests();
    syncFolder(aside);
    rmSync(target, { recursive: true, force: true });
    renameSync(aside, target);
    syncFolder(runFolder);
    pauseForTests();
    writeWholeFile(join(runFolder, LATEST), `${name}\n`);
    return { folder: target, byteLength };
  } catch (error) {
    try {
      rmSync(aside, { recursive: true, force: true });
    } catch {
      // What stopped the save may stop the clean-up too; the folder aside is removed at the next start.
    }
    throw error;
  }
}

function makeFolder(folder: string): void {
  try {
    makeFolders(folder);
  } catch (error) {
    throw new FileError("file.folder", `cannot make the folder ${folder}: ${messageOf(error)}`, {
      remedy: "Choose another folder with --output-dir.",
      cause: error,
    });
  }
}

/** A run's checkpoints, oldest first; what stands aside from a save that was cut off does not count. */
export function listCheckpoints(runFolder: string): readonly CheckpointFolder[] {
  if (!existsSync(runFolder) || !statSync(runFolder).isDirectory()) return [];
  return readdirSync(runFolder)
    .flatMap((name) => {
      const step = FOLDER_NAME.exec(name)?.[1];
      return step === undefined ? [] : [{ folder: join(runFolder, name), step: Number(step) }];
    })
    .sort((a, b) => a.step - b.step);
}

/** Throws `RunError` naming the first file that is missing or not what was written. */
export function verifyCheckpoint(folder: string): void {
  const fail = (problem: string): never => {
    throw new RunError("train.checkpoint.damaged", `${folder} is damaged: ${problem}`);
  };
  const path = join(folder, CHECKSUMS);
  if (!existsSync(path)) fail(`${CHECKSUMS} is missing`);
  let listing: unknown;
  try {
    listing = JSON.parse(Buffer.from(readSmallFile(path, 1 << 20)).toString("utf8"));
  } catch (error) {
    fail(`${CHECKSUMS}: ${messageOf(error)}`);
  }
  refuseLater(listing, { known: CHECKPOINT_VERSION, what: folder }, RunError, LATER_CHECKPOINT);
  const { files } = (listing ?? {}) as {
    readonly files?: Readonly<Record<string, WrittenFile>> | null;
  };
  if (typeof files !== "object" || files === null) fail(`${CHECKSUMS} lists no files`);
  for (const [name, expected] of Object.entries(files ?? {})) {
    const file = join(folder, basename(name));
    if (!existsSync(file)) fail(`${name} is missing`);
    const found = hashFile(file);
    if (found.byteLength !== expected.byteLength) {
      fail(`${name} has ${found.byteLength} bytes, ${expected.byteLength} were written`);
    }
    if (found.sha256 !== expected.sha256) fail(`${name} does not match its checksum`);
  }
}

/**
 * What `verifyCheckpoint` finds wrong, as a sentence; nothing for a whole one. A later format is no damage: it throws
 * `RunError`, so that nobody sets aside what another version can read.
 */
export function checkpointProblem(folder: string): string | undefined {
  try {
    verifyCheckpoint(folder);
    return undefined;
  } catch (error) {
    if (error instanceof RunError && error.code === LATER_CHECKPOINT) throw error;
    return messageOf(error);
  }
}
