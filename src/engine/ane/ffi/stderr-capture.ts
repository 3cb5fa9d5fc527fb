import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { foreign } from "../../../ffi/foreign.ts";
import type { ForeignFunction } from "../../../ffi/foreign.ts";

/** Text kept for an error; a runtime that floods stderr must not fill the message. */
const KEPT_CHARACTERS = 4000;
const STDERR = 2;

/**
 * A folder in which what is caught stays on disk: what a process that dies in native code said last is there for
 * whoever started it.
 */
export const STDERR_FOLDER_VARIABLE = "ANECDOTE_STDERR_FOLDER";

/**
 * Catches what native code writes to the process's stderr: the runtime gives its reasons nowhere else
 * (assumption `e5rt.error-text`). Nothing is lost: what was caught goes on to the real stderr, unless the caller
 * puts it into an error. Works through a file, so that a flood cannot block the writer.
 */
export class StderrCapture {
  readonly #dup: ForeignFunction;
  readonly #close: ForeignFunction;
  readonly #dup2: ForeignFunction;
  readonly #file: number;
  #saved = -1;

  constructor() {
    const libc = foreign().load(
      process.platform === "darwin" ? "/usr/lib/libSystem.B.dylib" : null,
    );
    this.#dup = libc.func("int dup(int)");
    this.#close = libc.func("int close(int)");
    this.#dup2 = libc.func("int dup2(int, int)");
    const kept = process.env[STDERR_FOLDER_VARIABLE];
    const path = join(kept ?? tmpdir(), `anecdote-stderr-${process.pid}-${captures++}`);
    this.#file = openSync(path, "ax+", 0o600);
    if (kept === undefined) rmSync(path);
  }

  /** Whether this call began it: a capture within another one leaves the text to the outer. */
  begin(): boolean {
    if (this.#saved >= 0) return false;
    this.#saved = this.#dup(STDERR) as number;
    if (this.#saved >= 0) this.#dup2(this.#file, STDERR);
    return this.#saved >= 0;
  }

  /** Ends the capture and returns its text. `keep` leaves it to the caller; else it goes to the real stderr. */
  end(keep: boolean): string {
    if (this.#saved < 0) return "";
    this.#dup2(this.#saved, STDERR);
    // Node warns about descriptors that it has not opened itself.
    this.#close(this.#saved);
    this.#saved = -1;
    const byteLength = fstatSync(this.#file).size;
    if (byteLength === 0) return "";
    const bytes = Buffer.alloc(Math.min(byteLength, 1 << 20));
    readSync(this.#file, bytes, 0, bytes.length, 0);
    ftruncateSync(this.#file);
    if (!keep) writeSync(STDERR, bytes);
    const text = bytes.toString("utf8").trim();
    return text.length > KEPT_CHARACTERS ? `${text.slice(0, KEPT_CHARACTERS)} …` : text;
  }

  close(): void {
    this.end(false);
    closeSync(this.#file);
  }
}
let captures = 0;
