import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join, sep } from "node:path";

/** What a command printed; where it failed also why. Text is what came before the failure. */
export type CommandResult =
  | { readonly ok: true; readonly stdout: string }
  | { readonly ok: false; readonly stdout: string; readonly reason: string };

export interface CommandOptions {
  /** Default 2000. */
  readonly timeoutMs?: number;
  /** Default 1 MiB; what a command prints beyond it ends the command. */
  readonly maximumBytes?: number;
}

/** Where macOS keeps its own commands: a job's PATH may lack some. */
const SYSTEM_FOLDERS = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** PATH with the system's folders behind it, and English output. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PATH: [process.env["PATH"], ...SYSTEM_FOLDERS].filter(Boolean).join(delimiter),
    LC_ALL: "C",
  };
}

/**
 * Whether a command is there to be run. A process that is made to find out that it is not costs milliseconds, the more
 * the larger this one is.
 */
export function hasCommand(name: string): boolean {
  if (name.includes(sep)) return isRunnable(name);
  const folders = commandEnvironment()["PATH"]?.split(delimiter) ?? [];
  return folders.some((folder) => isRunnable(join(folder, name)));
}

function isRunnable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs a command of the system to its end, without a shell, in bounded time and memory. Never throws. */
export async function runCommand(
  name: string,
  operands: readonly string[],
  { timeoutMs = 2000, maximumBytes = 1 << 20 }: CommandOptions = {},
): Promise<CommandResult> {
  return await new Promise((resolve) => {
    const child = execFile(
      name,
      [...operands],
      {
        timeout: timeoutMs,
        maxBuffer: maximumBytes,
        killSignal: "SIGKILL",
        env: commandEnvironment(),
        encoding: "utf8",
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ ok: true, stdout });
        else resolve({ ok: false, stdout, reason: reasonOf(name, error, stderr, timeoutMs) });
      },
    );
    child.stdin?.end();
  });
}

function reasonOf(
  name: string,
  error: Error & {
    readonly code?: number | string | null;
    readonly killed?: boolean;
    readonly signal?: NodeJS.Signals | null;
  },
  stderr: string,
  timeoutMs: number,
): string {
  if (error.code === "ENOENT") return `there is no ${name} on this machine`;
  if (error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `${name} printed too much`;
  if (error.killed === true) return `${name} did not end within ${timeoutMs / 1000} s`;
  const said = cleanLine(stderr);
  const how =
    typeof error.signal === "string" ? `by ${error.signal}` : `with code ${String(error.code)}`;
  return `${name} ended ${how}${said === "" ? "" : `: ${said}`}`;
}

/** The first line of foreign text, without control characters and of bounded length. */
export function cleanLine(text: string, maximumLength = 200): string {
  const line =
    text
      .slice(0, 8 * maximumLength)
      .trim()
      .split(/[\r\n]/)[0] ?? "";
  const clean = line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ").trim();
  return clean.length > maximumLength ? `${clean.slice(0, maximumLength)} …` : clean;
}
