import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  constants,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { syncFolder, writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile, withFileSource, hashSource } from "../util/byte-source.ts";
import { FileError, messageOf } from "../util/errors.ts";
import { HubError } from "./errors.ts";
import { cachedHubFile, hubToken, hubUrl, isOffline } from "./hub-environment.ts";
import type { HubEnvironment, HubFile } from "./hub-environment.ts";

/** How much of a file is there, in bytes. */
export interface DownloadProgress {
  readonly file: string;
  readonly byteCount: number;
  readonly byteTotal: number;
}

/** Where a file is kept, and who hears of it. */
export interface DownloadOptions {
  /** Default: the process's environment. */
  readonly environment?: HubEnvironment;
  /** Hears of each file's bytes. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Attempts in a row that bring no byte before giving up. Default 4. */
  readonly attempts?: number;
  /** A connection that brings nothing for so long is given up. Default 30 seconds. */
  readonly stallMs?: number;
  /** Pause before the second attempt; it doubles each time. Default one second. */
  readonly pauseMs?: number;
  readonly signal?: AbortSignal;
}

/** A file of the Hub that is on this machine. */
export interface DownloadedFile {
  readonly path: string;
  readonly byteLength: number;
  /** present: it stood there; cache: copied from the Hub's shared cache. */
  readonly origin: "present" | "cache" | "downloaded";
}

/** What a server says of a file before it is fetched. */
interface RemoteFile {
  readonly byteLength: number;
  /** Without quotes and weakness mark; empty when the server names none. */
  readonly etag: string;
  /** Whether the bytes come from a storage server that has etags of its own. */
  readonly isLinked: boolean;
}

function fileOf(headers: Headers, url: string): RemoteFile {
  // Large files are stored elsewhere: the redirect carries size and hash of the file itself.
  const byteLength = Number(
    headers.get("x-linked-size") ?? headers.get("content-length") ?? Number.NaN,
  );
  if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
    throw new HubError(
      "text.download.size",
      `${url}: the server does not say how large the file is`,
    );
  }
  return { byteLength, etag: etagOf(headers), isLinked: headers.has("x-linked-size") };
}

function etagOf(headers: Headers): string {
  return (headers.get("x-linked-etag") ?? headers.get("etag") ?? "")
    .replace(/^W\//, "")
    .replaceAll('"', "");
}

/** Throws `HubError` for an answer that is an error. `what`: what was asked for. */
export function refuseStatus(status: number, url: string, what: string): never {
  const subject = what.replace(/^t/, "T");
  const remedies: Readonly<Record<number, string>> = {
    401: `${subject} needs an access token, or does not exist: set HF_TOKEN.`,
    403: `The token in HF_TOKEN may not read ${what}: its terms may have to be accepted on its page first.`,
    404: `${subject} does not exist there, or it is private: set HF_TOKEN.`,
  };
  const remedy = remedies[status];
  throw new HubError(
    `text.download.status`,
    `${url}: the server answered ${status}`,
    remedy === undefined ? {} : { remedy },
  );
}

/** Worth another attempt: the connection broke, or the server says so. */
class Interrupted extends Error {}

const MANUAL = "Or fetch the file by other means and put it there; it is then taken as it is.";

class Download {
  readonly #url: string;
  readonly #target: string;
  readonly #part: string;
  readonly #options: DownloadOptions;
  readonly #headers: Record<string, string>;

  constructor(url: string, target: string, token: string | undefined, options: DownloadOptions) {
    this.#url = url;
    this.#target = target;
    this.#part = `${target}.part`;
    this.#options = options;
    this.#headers = {
      "accept-encoding": "identity",
      "user-agent": "anecdote",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
  }

  async run(): Promise<number> {
    const attempts = this.#options.attempts ?? 4;
    const firstPauseMs = this.#options.pauseMs ?? 1000;
    let failures = 0;
    let furthest = this.#partLength();
    for (;;) {
      try {
        if (failures > 0) await this.#pause(Math.min(firstPauseMs * 2 ** (failures - 1), 30_000));
        return await this.#attempt();
      } catch (error) {
        if (this.#options.signal?.aborted === true) {
          throw new HubError(
            "text.download.aborted",
            `${this.#url}: the download was stopped; what came is kept in ${this.#part}`,
            { cause: error },
          );
        }
        if (!(error instanceof Interrupted)) throw error;
        failures = this.#partLength() > furthest ? 1 : failures + 1;
        furthest = Math.max(furthest, this.#partLength());
        if (failures < attempts) continue;
        throw new HubError(
          "text.download.connection",
          `${this.#url}: ${error.message}, after ${attempts} attempts`,
          {
            remedy: `Check the connection and run again: ${this.#partLength()} bytes are kept and the rest is fetched. HF_ENDPOINT names another server. ${MANUAL}`,
            cause: error,
          },
        );
      }
    }
  }

  async #pause(pauseMs: number): Promise<void> {
    const { signal } = this.#options;
    await sleep(pauseMs, undefined, signal === undefined ? {} : { signal });
  }

  async #attempt(): Promise<number> {
    const remote = await this.#ask();
    let start = this.#resumable(remote);
    if (start < remote.byteLength) start = await this.#fetch(remote, start);
    this.#verify(remote, start);
    renameSync(this.#part, this.#target);
    rmSync(`${this.#part}.json`, { force: true });
    syncFolder(dirname(this.#target));
    return remote.byteLength;
  }

  async #ask(): Promise<RemoteFile> {
    // Redirects within the server are followed; the one to the storage server carries the facts and is not.
    let url = this.#url;
    const headers = { ...this.#headers };
    for (let hop = 0; hop < 5; hop++) {
      const response = await this.#request(url, { method: "HEAD", redirect: "manual", headers });
      const location = response.headers.get("location");
      const isRedirect = response.status >= 300 && response.status < 400 && location !== null;
      if (!isRedirect || response.headers.has("x-linked-size")) {
        if (response.status >= 500 || response.status === 429)
          throw new Interrupted(`the server answered ${response.status}`);
        if (response.status >= 400) refuseStatus(response.status, url, "the file");
        return fileOf(response.headers, url);
      }
      const next = new URL(location, url);
      if (next.origin !== new URL(url).origin) delete headers["authorization"];
      url = next.href;
    }
    throw new HubError("text.download.status", `${this.#url}: the server redirects without end`);
  }

  async #request(url: string, init: RequestInit): Promise<Response> {
    const stall = AbortSignal.timeout(this.#options.stallMs ?? 30_000);
    const signal =
      this.#options.signal === undefined ? stall : AbortSignal.any([stall, this.#options.signal]);
    try {
      return await fetch(url, { ...init, signal });
    } catch (error) {
      throw this.#interrupted(error);
    }
  }

  #interrupted(error: unknown): unknown {
    if (this.#options.signal?.aborted === true) return error;
    const cause =
      error instanceof Error && error.cause !== undefined ? `: ${messageOf(error.cause)}` : "";
    return new Interrupted(`${messageOf(error)}${cause}`, { cause: error });
  }

  #partLength(): number {
    return existsSync(this.#part) ? statSync(this.#part).size : 0;
  }

  /** How many bytes of an earlier attempt are of the file that the server has now. */
  #resumable(remote: RemoteFile): number {
    const facts = `${this.#part}.json`;
    const length = this.#partLength();
    const now = JSON.stringify({ url: this.#url, ...remote });
    const saved =
      existsSync(facts) && length > 0 ? Buffer.from(readSmallFile(facts, 1 << 16)).toString() : "";
    if (saved === now && remote.etag !== "" && length <= remote.byteLength) return length;
    rmSync(this.#part, { force: true });
    writeWholeFile(facts, now);
    return 0;
  }

  /** Appends to the part file; returns its length. */
  async #fetch(remote: RemoteFile, start: number): Promise<number> {
    const range: Record<string, string> = start === 0 ? {} : { range: `bytes=${start}-` };
    // A storage server does not know the Hub's etag and would send everything; there the checksum decides.
    if (start > 0 && !remote.isLinked) range["if-range"] = `"${remote.etag}"`;
    const quiet = new AbortController();
    const outer = this.#options.signal;
    const signal = outer === undefined ? quiet.signal : AbortSignal.any([quiet.signal, outer]);
    const stallMs = this.#options.stallMs ?? 30_000;
    const timer = setTimeout(
      () => quiet.abort(new Error(`nothing came for ${stallMs / 1000} s`)),
      stallMs,
    );
    const handle = openSync(this.#part, start === 0 ? "w" : "r+");
    try {
      const response = await fetch(this.#url, { headers: { ...this.#headers, ...range }, signal });
      let at = this.#startOf(response, remote, start);
      if (at === 0) ftruncateSync(handle, 0);
      if (response.body === null) throw new Interrupted("the answer has no content");
      const chunks = response.body as AsyncIterable<Uint8Array>;
      for await (const chunk of chunks) {
        timer.refresh();
        if (at + chunk.byteLength > remote.byteLength) {
          ftruncateSync(handle, 0);
          throw new HubError(
            "text.download.length",
            `${this.#url}: the server sends more than the ${remote.byteLength} bytes it announced`,
          );
        }
        let done = 0;
        while (done < chunk.byteLength)
          done += writeSync(handle, chunk, done, chunk.byteLength - done, at + done);
        at += chunk.byteLength;
        this.#options.onProgress?.({
          file: basename(this.#target),
          byteCount: at,
          byteTotal: remote.byteLength,
        });
      }
      fsyncSync(handle);
      if (at < remote.byteLength)
        throw new Interrupted(`the connection ended after ${at} of ${remote.byteLength} bytes`);
      return at;
    } catch (error) {
      if (error instanceof HubError || error instanceof Interrupted) throw error;
      if (isFileProblem(error)) {
        throw new FileError(
          `file.${error.code.toLowerCase()}`,
          `cannot write ${this.#part}: ${error.message}`,
          {
            remedy: "What came is kept. Make room or choose another folder, and run again.",
            cause: error,
          },
        );
      }
      throw this.#interrupted(error);
    } finally {
      clearTimeout(timer);
      closeSync(handle);
    }
  }

  /** Where the bytes of an answer belong: at the asked place, or at 0 when the server ignores ranges. */
  #startOf(response: Response, remote: RemoteFile, start: number): number {
    const { status } = response;
    if (status >= 500 || status === 429) throw new Interrupted(`the server answered ${status}`);
    const etag = etagOf(response.headers);
    if (
      status === 416 ||
      (!remote.isLinked && etag !== "" && remote.etag !== "" && etag !== remote.etag)
    ) {
      rmSync(`${this.#part}.json`, { force: true });
      throw new Interrupted("the file on the server changed while it was fetched");
    }
    if (status === 200) return 0;
    if (status !== 206) return refuseStatus(status, this.#url, "the file");
    const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
    if (
      match?.[1] !== String(start) ||
      (match[2] !== "*" && Number(match[2]) !== remote.byteLength)
    ) {
      rmSync(`${this.#part}.json`, { force: true });
      throw new Interrupted("the server sent another part of the file than the one asked for");
    }
    return start;
  }

  /** The Hub's etag of a large file is its SHA-256, of a small one the id git gives it. */
  #verify(remote: RemoteFile, byteLength: number): void {
    const { etag } = remote;
    let hash: Hash;
    if (/^[0-9a-f]{64}$/.test(etag)) hash = createHash("sha256");
    else if (/^[0-9a-f]{40}$/.test(etag)) hash = createHash("sha1").update(`blob ${byteLength}\0`);
    else return;
    const found = withFileSource(this.#part, (source) => hashSource(hash, source)).digest("hex");
    if (found === etag) return;
    rmSync(this.#part, { force: true });
    rmSync(`${this.#part}.json`, { force: true });
    throw new HubError(
      "text.download.checksum",
      `${this.#url}: the bytes that came do not have the file's checksum (${found}, announced ${etag})`,
      {
        remedy: "Nothing of it was kept. Run again; a proxy in between may change what passes.",
      },
    );
  }
}

function isFileProblem(error: unknown): error is Error & { readonly code: string } {
  return (
    error instanceof Error &&
    "syscall" in error &&
    "code" in error &&
    typeof error.code === "string" &&
    ["write", "open", "ftruncate", "fsync"].includes(String(error.syscall))
  );
}

/**
 * Fetches a file. A broken download goes on where it stopped, in this run or the next one; the file gets its name only
 * when size and checksum fit. Throws `HubError` `text.download.*`.
 */
export async function fetchHubFile(
  url: string,
  target: string,
  token: string | undefined,
  options: DownloadOptions = {},
): Promise<number> {
  return await new Download(url, target, token, options).run();
}

/**
 * Fetches a file of a data set into a folder. A broken download goes on where it stopped, in this run or the next
 * one; the file gets its name only when size and checksum fit. A file that stands there is taken as it is, and one in
 * the Hub's shared cache is copied.
 * Throws `HubError` `text.download.*`; `text.download.offline` when HF_HUB_OFFLINE forbids to fetch.
 */
export async function downloadHubFile(
  wanted: HubFile,
  folder: string,
  options: DownloadOptions = {},
): Promise<DownloadedFile> {
  const environment = options.environment ?? process.env;
  const target = join(folder, basename(wanted.file));
  if (existsSync(target))
    return { path: target, byteLength: statSync(target).size, origin: "present" };
  mkdirSync(folder, { recursive: true });
  const cached = cachedHubFile(environment, wanted);
  if (cached !== undefined) {
    const aside = `${target}.copy`;
    copyFileSync(cached, aside, constants.COPYFILE_FICLONE);
    renameSync(aside, target);
    return { path: target, byteLength: statSync(target).size, origin: "cache" };
  }
  const url = hubUrl(environment, wanted);
  if (isOffline(environment)) {
    throw new HubError(
      "text.download.offline",
      `${target} is not there and HF_HUB_OFFLINE forbids to fetch ${url}`,
      {
        remedy: `Unset HF_HUB_OFFLINE. ${MANUAL}`,
      },
    );
  }
  const byteLength = await new Download(url, target, hubToken(environment), options).run();
  return { path: target, byteLength, origin: "downloaded" };
}
