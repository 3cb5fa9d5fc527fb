import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import { makeFolders } from "../../util/atomic-file.ts";
import { errorCode } from "../../util/errors.ts";
import { processStart } from "../../util/process-start.ts";
import { EngineError } from "../errors.ts";
import { MACHINE_PROGRAM_LIMIT } from "./assumptions.ts";
import type { AneLibrary } from "./library.ts";
import { cacheFolder } from "./program-folder.ts";

/** Another process of ours that holds programs on this machine's engine. */
export interface ProgramHolder {
  readonly pid: number;
  /** The command it runs, as far as it said so. */
  readonly command: string;
  readonly count: number;
}

export interface MachineProgramsOptions {
  readonly folder: string;
  /** Programs that all processes hold together. */
  readonly limit: number;
  /** How long to wait for others to let go of some. */
  readonly waitMs: number;
}

/** A program's place among those of the machine. */
export interface ProgramPlace {
  leave(): void;
}

const DEFAULT_WAIT_SECONDS = 10;
const POLL_MS = 100;
/** What may be printed of what another process wrote. */
const COMMAND = /^[a-z][a-z-]{0,23}$/;
const MARK = /^(\d+)-\d+-\d+$/;

/**
 * Programs that processes of ours hold on one machine's engine (`machine-programs`), a small file for each in a folder
 * that all of them know: its name tells the process, its contents when that began and what it does. Whoever counts
 * removes what killed processes left.
 */
export class MachinePrograms {
  readonly limit: number;
  readonly #folder: string;
  readonly #waitMs: number;

  constructor({ folder, limit, waitMs }: MachineProgramsOptions) {
    this.#folder = folder;
    this.limit = limit;
    this.#waitMs = waitMs;
  }

  /** Those of the environment: `ANECDOTE_ANE_MACHINE_PROGRAMS` and `ANECDOTE_ANE_WAIT`. Throws `EngineError` `engine.ane.shared`. */
  static of(library: AneLibrary): MachinePrograms {
    // Both drivers reach the system's one engine; a named library is an engine of its own.
    const name = library.isNamed
      ? createHash("sha256").update(library.path).digest("hex").slice(0, 12)
      : "system";
    return new MachinePrograms({
      folder: join(cacheFolder(), "machine", "programs", name),
      limit: fromEnvironment("ANECDOTE_ANE_MACHINE_PROGRAMS", MACHINE_PROGRAM_LIMIT, 1),
      waitMs: fromEnvironment("ANECDOTE_ANE_WAIT", DEFAULT_WAIT_SECONDS, 0) * 1000,
    });
  }

  /**
   * A place for one more program. Where all are taken and other processes have some of them, `letGo` is asked to give up places of this process, then others
   * are waited for. Throws `EngineError` `engine.ane.shared` that names who holds how many.
   */
  async take(label: string, letGo: () => void = () => undefined): Promise<ProgramPlace> {
    const until = Date.now() + this.#waitMs;
    for (let attempt = 0; ; attempt++) {
      const path = this.#mark();
      // Marked before it is counted: two processes never both find the last place free.
      const holders = this.#holders();
      const count = holders.reduce((sum, holder) => sum + holder.count, 0);
      // A process alone is bound by its own limits.
      const isAlone = holders.every(({ pid }) => pid === process.pid);
      if (count <= this.limit || isAlone) return { leave: () => removeMark(path) };
      removeMark(path);
      if (attempt === 0) letGo();
      else if (Date.now() >= until) throw this.#refusal(label, holders);
      // Those that meet at the last place try again at different times.
      else await sleep(POLL_MS * (1 + Math.random()));
    }
  }

  /** Processes of ours that hold programs now, this one among them. */
  get holders(): readonly ProgramHolder[] {
    return this.#holders();
  }

  /** Whether more than half of all places are taken, other processes among those who took them. */
  get isScarce(): boolean {
    const holders = this.#holders();
    const count = holders.reduce((sum, holder) => sum + holder.count, 0);
    return count > this.limit / 2 && holders.some(({ pid }) => pid !== process.pid);
  }

  #mark(): string {
    const path = join(this.#folder, `${process.pid}-${threadId}-${marks++}`);
    ownStart ??= processStart(process.pid);
    const text = JSON.stringify({
      began: ownStart.kind === "runs" ? ownStart.mark : undefined,
      command: process.argv[2] ?? "",
    });
    try {
      makeFolders(this.#folder);
      writeFileSync(path, text);
    } catch (error) {
      // A cache that cannot be written keeps nobody from the engine; it counts nothing then.
      if (errorCode(error) === undefined) throw error;
    }
    return path;
  }

  #holders(): readonly ProgramHolder[] {
    let names: readonly string[];
    try {
      names = readdirSync(this.#folder);
    } catch {
      return [];
    }
    const byProcess = new Map<number, string[]>();
    for (const name of names) {
      const pid = Number(MARK.exec(name)?.[1] ?? 0);
      if (pid > 0) byProcess.set(pid, [...(byProcess.get(pid) ?? []), name]);
    }
    const holders: ProgramHolder[] = [];
    for (const [pid, files] of byProcess) {
      const command = this.#commandOf(pid, files);
      if (command !== undefined) {
        holders.push({ pid, command, count: files.length });
        continue;
      }
      for (const name of files) removeMark(join(this.#folder, name));
    }
    return holders.sort((a, b) => b.count - a.count);
  }

  /** What a process said that it does; nothing where it is gone, or another one has its number now. */
  #commandOf(pid: number, files: readonly string[]): string | undefined {
    const start = processStart(pid);
    if (start.kind === "gone") return undefined;
    for (const name of files) {
      try {
        const told: unknown = JSON.parse(readFileSync(join(this.#folder, name), "utf8"));
        if (typeof told !== "object" || told === null) continue;
        const { began, command } = told as { readonly began?: unknown; readonly command?: unknown };
        const isOther =
          typeof began === "string" && start.mark !== undefined && began !== start.mark;
        if (isOther) return undefined;
        return typeof command === "string" && COMMAND.test(command) ? command : "";
      } catch {
        // Being written or removed right now; another of its files may tell.
      }
    }
    return "";
  }

  #refusal(label: string, holders: readonly ProgramHolder[]): EngineError {
    const others = holders.filter(({ pid }) => pid !== process.pid);
    const own = holders.find(({ pid }) => pid === process.pid)?.count ?? 1;
    const list = others.map(
      ({ pid, command, count }) =>
        `process ${pid}${command === "" ? "" : ` (${command})`} holds ${count}`,
    );
    const [first] = others;
    const limit = "set another limit with ANECDOTE_ANE_MACHINE_PROGRAMS";
    return new EngineError(
      "engine.ane.shared",
      `program "${label}" has no place: processes of Anecdote may hold ${this.limit} programs together on this machine, ${[...list, `this one ${own - 1}`].join(", ")}${this.#waitMs > 0 ? `; waited ${this.#waitMs / 1000} s` : ""}`,
      {
        remedy:
          first === undefined
            ? `${limit.replace("set", "Set")}.`
            : `Stop one (\`kill ${first.pid}\`), wait longer with ANECDOTE_ANE_WAIT=SECONDS, or ${limit}.`,
      },
    );
  }
}

let marks = 0;
let ownStart: ReturnType<typeof processStart> | undefined;

function removeMark(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // It counts while its process lives, and is removed by the next one that counts.
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function fromEnvironment(variable: string, value: number, least: number): number {
  const text = process.env[variable];
  if (text === undefined || text === "") return value;
  const number = Number(text);
  if (Number.isFinite(number) && number >= least) return number;
  throw new EngineError(
    "engine.ane.shared",
    `${variable} must be a number of at least ${least}, not "${text.slice(0, 32)}"`,
  );
}
