import { randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { RunError } from "./errors.ts";
import { COMMANDS } from "./events.ts";
import type { RunCommand } from "./events.ts";
import { CONTROL_FOLDER as FOLDER } from "./run-lock.ts";
import { isRunning } from "./run-summary.ts";
import { refuseLater } from "../util/format-version.ts";

/*
 * How a run is asked for something from outside its process: `control/` in its folder, which none but its owner can
 * enter. `run.json` there holds a token; whoever knows it puts a file beside it. Nothing but the file system is needed,
 * so that a run on another machine can be asked through a shared folder as well.
 */
const TOKEN_FILE = "run.json";
const CONTROL_VERSION = 1;
const FILE_BYTES = 4096;

const tokenSchema = z.object({ version: z.int(), token: z.string().regex(/^[0-9a-f]{32}$/) });
const orderSchema = z.object({ token: z.string(), command: z.enum(COMMANDS) });

/** The end of it that the process which trains holds. */
export class RunControl {
  readonly #folder: string;
  readonly #token: string;

  private constructor(folder: string, token: string) {
    this.#folder = folder;
    this.#token = token;
  }

  /** For the process that holds the run's lock. What others asked of an earlier process is forgotten. */
  static open(runFolder: string): RunControl {
    const folder = join(runFolder, FOLDER);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o700 });
    const token = randomBytes(16).toString("hex");
    writeWholeFile(join(folder, TOKEN_FILE), textOf({ version: CONTROL_VERSION, token }));
    return new RunControl(folder, token);
  }

  /** What was asked for since the last call, in order. Files that are no orders, or lack the token, are removed. */
  take(): readonly RunCommand[] {
    if (!existsSync(this.#folder)) return [];
    const commands: RunCommand[] = [];
    for (const name of readdirSync(this.#folder).sort()) {
      if (name === TOKEN_FILE || name.startsWith(".")) continue;
      const path = join(this.#folder, name);
      const order = orderSchema.safeParse(jsonOf(path));
      if (order.success && isSame(order.data.token, this.#token)) commands.push(order.data.command);
      rmSync(path, { force: true, recursive: true });
    }
    return commands;
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/**
 * The token of a run that can be asked; nothing where nobody trains there. Throws `RunError` for a later version's.
 */
export function runToken(runFolder: string): string | undefined {
  const path = join(runFolder, FOLDER, TOKEN_FILE);
  if (!existsSync(path) || !isRunning(runFolder)) return undefined;
  const content = jsonOf(path);
  refuseLater(content, { known: CONTROL_VERSION, what: path }, RunError, "run.control.version");
  const record = tokenSchema.safeParse(content);
  return record.success ? record.data.token : undefined;
}

/**
 * Asks the process that trains in a folder for something; a `control` event, or `interrupted`, says when it is done.
 * Throws `RunError`: `run.control.none` where nobody trains there, `run.control.token` for another token than the run's.
 */
export function askRun(runFolder: string, token: string, command: RunCommand): void {
  const wanted = runToken(runFolder);
  if (wanted === undefined)
    throw new RunError("run.control.none", `nobody trains in ${runFolder} now`, {
      remedy: "Go on with it by `anecdote train --resume --output-dir DIR`.",
    });
  if (!isSame(token, wanted))
    throw new RunError("run.control.token", `this is not the token of ${runFolder}`, {
      remedy: `It stands in ${join(runFolder, FOLDER, TOKEN_FILE)}, and is another one for every process.`,
    });
  const order = String(Date.now()).padStart(15, "0");
  const name = `${order}-${String(process.hrtime.bigint()).padStart(20, "0")}.json`;
  writeWholeFile(join(runFolder, FOLDER, name), textOf({ token, command }));
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}

function textOf(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

function jsonOf(path: string): unknown {
  try {
    return JSON.parse(Buffer.from(readSmallFile(path, FILE_BYTES)).toString("utf8"));
  } catch {
    return undefined;
  }
}
