import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import * as z from "zod";
import { writeWholeFile } from "./atomic-file.ts";
import { errorCode } from "./errors.ts";
import { processStart } from "./process-start.ts";

const recordSchema = z.object({
  token: z.string().regex(/^[0-9a-f]+$/),
  host: z.string(),
  /** ISO 8601. */
  since: z.string(),
  /** Processes that hold it together: it is free once all of them are gone. */
  holders: z.array(z.object({ pid: z.int().positive(), mark: z.string().optional() })),
});

/** What a lock file says. */
export type LockRecord = z.infer<typeof recordSchema>;

/** Another process holds the lock. */
export class LockHeld extends Error {
  readonly record: LockRecord;

  constructor(record: LockRecord) {
    super(`held by process ${record.holders[0]?.pid ?? 0}`);
    this.record = record;
  }
}

const RETRY_COUNT = 200;
const RETRY_MS = 10;
const RECORD_BYTE_LIMIT = 1 << 16;

/**
 * A lock file that names the processes that hold it. It appears whole or not at all; one whose processes are gone,
 * however they ended, is taken over by one process alone. A lock of another machine never counts as left.
 */
export class ProcessLock {
  readonly path: string;
  /** What lets another process join in. */
  readonly token: string;

  private constructor(path: string, token: string) {
    this.path = path;
    this.token = token;
  }

  /** Throws `LockHeld`, and the system's errors where the file cannot be written. */
  static take(path: string): ProcessLock {
    const record = newRecord();
    acquire(path, record);
    return new ProcessLock(path, record.token);
  }

  /** Holds another process's lock together with it. As `take` where that lock is not there any more. */
  static join(path: string, token: string): ProcessLock {
    const joined = replaceWhere(path, token, (found) => ({
      ...found,
      holders: [...found.holders, ownHolder()],
    }));
    return joined ? new ProcessLock(path, token) : ProcessLock.take(path);
  }

  /** Leaves it to the processes that hold it too, or removes the file. */
  release(): void {
    const record = read(this.path);
    if (record?.token !== this.token) return;
    const others = record.holders.filter(({ pid }) => pid !== process.pid).filter(isRunning);
    if (others.length === 0) rmSync(this.path, { force: true });
    else writeWholeFile(this.path, textOf({ ...record, holders: others }));
  }
}

/** Who holds a lock now; nothing where it is free. Only reads. */
export function lockHolder(path: string): LockRecord | undefined {
  const record = read(path);
  return record !== undefined && isHeld(record) ? record : undefined;
}

type Holder = LockRecord["holders"][number];

function ownHolder(): Holder {
  const start = processStart(process.pid);
  const mark = start.kind === "runs" ? start.mark : undefined;
  return { pid: process.pid, ...(mark !== undefined && { mark }) };
}

function newRecord(): LockRecord {
  return {
    token: randomBytes(8).toString("hex"),
    host: hostname(),
    since: new Date().toISOString(),
    holders: [ownHolder()],
  };
}

function isRunning({ pid, mark }: Holder): boolean {
  const start = processStart(pid);
  if (start.kind === "gone") return false;
  return mark === undefined || start.mark === undefined || mark === start.mark;
}

function isHeld({ host, holders }: LockRecord): boolean {
  return host !== hostname() || holders.some(isRunning);
}

function acquire(path: string, record: LockRecord): void {
  for (let attempt = 0; ; attempt++) {
    if (createWhole(path, textOf(record))) return;
    const found = read(path);
    if (found === undefined) continue;
    if (isHeld(found) || attempt === RETRY_COUNT) throw new LockHeld(found);
    if (replaceWhere(path, found.token, () => record)) return;
  }
}

/**
 * Replaces a record where the file still has the one of `token`, and says whether it did. Whoever wants to do that
 * holds a second lock meanwhile, named by that token, so that a record is replaced by one process only.
 */
function replaceWhere(
  path: string,
  token: string,
  change: (found: LockRecord) => LockRecord,
): boolean {
  const claim = `${path}.${token}`;
  try {
    acquire(claim, newRecord());
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    return false;
  }
  try {
    const found = read(path);
    if (found?.token !== token) return false;
    writeWholeFile(path, textOf(change(found)));
    return true;
  } finally {
    rmSync(claim, { force: true });
  }
}

/** Makes a file with its contents in one go. False where it is there already. */
function createWhole(path: string, text: string): boolean {
  const aside = `${path}.${process.pid}.new`;
  writeWholeFile(aside, text);
  try {
    linkSync(aside, path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    return createExclusively(path, text, error);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** For file systems without hard links. */
function createExclusively(path: string, text: string, cause: unknown): boolean {
  try {
    writeFileSync(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw cause;
  }
}

/** Nothing where there is no file; a file that says nothing is of nobody. */
function read(path: string): LockRecord | undefined {
  let text: string;
  try {
    text = statSync(path).size > RECORD_BYTE_LIMIT ? "" : readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return { token: "0", host: hostname(), since: "", holders: [] };
  }
}

function textOf(record: LockRecord): string {
  return `${JSON.stringify(record)}\n`;
}
