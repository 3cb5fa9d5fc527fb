import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";

/** Of the first line: its number, and its time to the millisecond. */
const HEAD_BYTES = 64;

/**
 * The first bytes of a log. They tell it from one that stands in its place later, which may have the same length, and the
 * same number in its file system.
 */
export async function readHead(handle: FileHandle): Promise<Buffer> {
  const head = Buffer.alloc(HEAD_BYTES);
  const { bytesRead } = await handle.read(head, 0, HEAD_BYTES, 0);
  return head.subarray(0, bytesRead);
}

/** Whether a log that began so when it may have been shorter begins so still. */
export function beginsAs(head: Buffer, before: Buffer): boolean {
  return head.subarray(0, before.byteLength).equals(before);
}

/** A name for a log among all that may stand in its place; "" for one that has no line yet. */
export function logName(path: string): string {
  const head = Buffer.alloc(HEAD_BYTES);
  try {
    const handle = openSync(path, "r");
    try {
      if (readSync(handle, head, 0, HEAD_BYTES, 0) < HEAD_BYTES) return "";
    } finally {
      closeSync(handle);
    }
  } catch {
    return "";
  }
  return createHash("sha256").update(head).digest("base64url").slice(0, 16);
}
