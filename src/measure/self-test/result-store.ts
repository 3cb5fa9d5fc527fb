import { createHash } from "node:crypto";
import { appendFileSync, existsSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Driver } from "../../chip/chip.ts";
import { cacheFolder } from "../../engine/ane/probe.ts";
import type { AneLibrary } from "../../engine/ane/probe.ts";
import { makeFolders } from "../../util/atomic-file.ts";
import { readSmallFile } from "../../util/byte-source.ts";
import { messageOf } from "../../util/errors.ts";
import { VERSION } from "../../util/version.ts";
import { resultSchema } from "./outcome.ts";
import type { ProbeResult } from "./outcome.ts";

const MAXIMUM_BYTES = 16 << 20;

/** What a result holds for. */
export interface StoreKey {
  readonly driver: Driver;
  readonly chip: string;
  readonly osBuild: string;
  readonly library: AneLibrary;
}

/**
 * Results of earlier and interrupted self-tests of one machine, system, driver and version of Anecdote: one line each,
 * written as soon as it is known. A file that cannot be read or written costs only the memory of it.
 */
export class ResultStore {
  readonly path: string;
  readonly #results = new Map<string, ProbeResult>();
  /** Why results are not kept. */
  failure: string | undefined;

  constructor(key: StoreKey, root = cacheFolder()) {
    this.path = join(root, "machine", `self-test-${hashOf(key)}.ndjson`);
    if (!existsSync(this.path)) return;
    try {
      const text = Buffer.from(readSmallFile(this.path, MAXIMUM_BYTES)).toString("utf8");
      for (const line of text.split("\n")) this.#take(line);
    } catch (error) {
      this.failure = messageOf(error);
    }
  }

  get(id: string): ProbeResult | undefined {
    return this.#results.get(id);
  }

  all(): readonly ProbeResult[] {
    return [...this.#results.values()];
  }

  add(result: ProbeResult): void {
    this.#results.set(result.id, result);
    try {
      makeFolders(dirname(this.path));
      appendFileSync(this.path, `${JSON.stringify(result)}\n`);
    } catch (error) {
      this.failure = messageOf(error);
    }
  }

  clear(): void {
    this.#results.clear();
    rmSync(this.path, { force: true });
  }

  /** The end of a line may be missing where a process was killed. */
  #take(line: string): void {
    if (line.trim() === "") return;
    try {
      const result = resultSchema.parse(JSON.parse(line));
      this.#results.set(result.id, result);
    } catch {
      // Asked again.
    }
  }
}

/** Orders to a library that stands for the engine are part of what is asked. */
const ORDERS = /^ANECDOTE_(?:DOUBLE|ANE)_/;

function hashOf({ driver, chip, osBuild, library }: StoreKey): string {
  const hash = createHash("sha256").update(
    [VERSION, driver, chip, osBuild, library.path].join("\0"),
  );
  if (library.isNamed) {
    const { size, mtimeMs } = statSync(library.path);
    hash.update(`${size} ${mtimeMs}`);
    for (const name of Object.keys(process.env)
      .filter((key) => ORDERS.test(key))
      .sort())
      hash.update(`\0${name}=${process.env[name] ?? ""}`);
  }
  return hash.digest("hex").slice(0, 16);
}
