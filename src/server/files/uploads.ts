import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { formatBytes } from "../../util/format.ts";
import { Refusal } from "../errors.ts";

/** Of all files of one upload. */
export const UPLOAD_BYTES = 512 * 2 ** 20;
/** An .mlpackage has three, a model's folder some ten. */
const MOST_FILES = 500;
/** Kept at once: the ones that were not looked into for longest go first. */
const MOST_UPLOADS = 4;
/** An upload that nobody looks into any more. */
const IDLE_MS = 30 * 60_000;
const NAME_LENGTH = 200;

/** A file that is going to be sent. */
export interface AnnouncedFile {
  /** With slashes, as a folder of files is sent. */
  readonly path: string;
  readonly byteLength: number;
}

interface Upload {
  readonly folder: string;
  readonly files: readonly (AnnouncedFile & { isThere: boolean })[];
  usedMs: number;
}

/**
 * Files that a page sent to be looked into: of bounded sizes and number, in a folder of their own that no name leads out
 * of, gone with the server.
 */
export class Uploads {
  /** In the order of their last use. */
  readonly #uploads = new Map<string, Upload>();
  #root: string | undefined;

  /** Makes room for files. Throws `Refusal` 400 for names that are none, 413 for too many bytes or files. */
  announce(files: readonly AnnouncedFile[]): string {
    if (files.length === 0) throw new Refusal(400, "an upload has at least one file");
    if (files.length > MOST_FILES)
      throw new Refusal(413, `an upload has at most ${MOST_FILES} files, not ${files.length}`, {
        code: "request_too_large",
      });
    const byteLength = files.reduce((sum, file) => sum + file.byteLength, 0);
    if (byteLength > UPLOAD_BYTES)
      throw new Refusal(
        413,
        `an upload has at most ${formatBytes(UPLOAD_BYTES)}, not ${formatBytes(byteLength)}; a file in the folder of runs is looked into where it is`,
        { code: "request_too_large" },
      );
    const seen = new Set<string>();
    for (const { path } of files) {
      requireSafePath(path);
      if (seen.has(path)) throw new Refusal(400, `${JSON.stringify(path)} is there twice`);
      seen.add(path);
    }
    this.#forgetOld();
    const id = randomBytes(12).toString("hex");
    this.#root ??= mkdtempSync(join(tmpdir(), "anecdote-uploads-"));
    const folder = join(this.#root, id);
    mkdirSync(folder, { mode: 0o700 });
    this.#uploads.set(id, {
      folder,
      files: files.map((file) => ({ ...file, isThere: false })),
      usedMs: Date.now(),
    });
    return id;
  }

  /**
   * Writes a file's bytes. Throws `Refusal` 404 for an upload that is gone or has no such file, 400 for more or fewer bytes
   * than were announced, 409 for a file that is there.
   */
  async write(id: string, index: number, body: ReadableStream<Uint8Array> | null): Promise<void> {
    const upload = this.#upload(id);
    const file = upload.files[index];
    if (file === undefined) throw new Refusal(404, `the upload has no file ${index}`);
    if (file.isThere) throw new Refusal(409, `${file.path} is there already`);
    file.isThere = true;
    const path = join(upload.folder, ...file.path.split("/"));
    let byteLength = 0;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      const handle = await open(path, "wx", 0o600);
      try {
        for await (const piece of body ?? []) {
          byteLength += piece.byteLength;
          if (byteLength > file.byteLength) break;
          await handle.writeFile(piece);
        }
      } finally {
        await handle.close();
      }
    } catch (error) {
      this.#remove(id);
      throw error;
    }
    if (byteLength === file.byteLength) return;
    this.#remove(id);
    throw new Refusal(
      400,
      `${file.path} was announced with ${file.byteLength} bytes; ${byteLength > file.byteLength ? "more" : byteLength} came`,
    );
  }

  /**
   * The path of what was sent: the file, or the folder that all of it stands in. Throws `Refusal` 404 for an upload that is
   * gone, 409 while files are missing.
   */
  pathOf(id: string, main?: string): { readonly path: string; readonly name: string } {
    const upload = this.#upload(id);
    const missing = upload.files.find(({ isThere }) => !isThere);
    if (missing !== undefined)
      throw new Refusal(409, `${missing.path} has not been sent yet`, { code: "upload_open" });
    const names = upload.files.map(({ path }) => path);
    const [first = ""] = names;
    const name = main === undefined ? (first.split("/")[0] ?? first) : requireName(main, names);
    return { path: join(upload.folder, ...name.split("/")), name };
  }

  close(): void {
    for (const id of [...this.#uploads.keys()]) this.#remove(id);
    if (this.#root !== undefined) rmSync(this.#root, { recursive: true, force: true });
  }

  #upload(id: string): Upload {
    const upload = this.#uploads.get(id);
    if (upload === undefined)
      throw new Refusal(404, "this upload is not there any more; send the file again", {
        code: "unknown_upload",
      });
    this.#uploads.delete(id);
    this.#uploads.set(id, upload);
    upload.usedMs = Date.now();
    return upload;
  }

  #forgetOld(): void {
    const now = Date.now();
    for (const [id, { usedMs }] of this.#uploads)
      if (this.#uploads.size >= MOST_UPLOADS || now - usedMs > IDLE_MS) this.#remove(id);
  }

  #remove(id: string): void {
    const upload = this.#uploads.get(id);
    this.#uploads.delete(id);
    if (upload !== undefined) rmSync(upload.folder, { recursive: true, force: true });
  }
}

/** One of the files, or a folder of some. */
function requireName(main: string, names: readonly string[]): string {
  requireSafePath(main);
  if (names.some((name) => name === main || name.startsWith(`${main}/`))) return main;
  throw new Refusal(400, `the upload has no ${JSON.stringify(main)}`, { param: "main" });
}

/** Throws `Refusal` 400 for a path that is not a plain one below a folder. */
function requireSafePath(path: string): void {
  const parts = path.split("/");
  const isPlain = parts.every(
    (part) =>
      part !== "" &&
      part !== "." &&
      part !== ".." &&
      part.length <= NAME_LENGTH &&
      !part.includes(sep) &&
      !/[\\\p{Cc}:]/u.test(part),
  );
  if (isPlain && parts.length <= 8) return;
  throw new Refusal(400, `${JSON.stringify(path.slice(0, 100))} is no name of a file`, {
    param: "files",
  });
}
