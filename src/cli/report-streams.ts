import { fstatSync } from "node:fs";
import type { Stats } from "node:fs";

/** Where a command's report goes. */
export interface ReportStreams {
  /** Rows, and on a terminal the lines that are redrawn in place. */
  readonly stream: NodeJS.WriteStream;
  /** Gets the rows as well, without colours. */
  readonly copy?: NodeJS.WriteStream;
}

/** What standard output and standard error are. */
export interface OutputKinds {
  readonly stdout: { readonly isTerminal: boolean; readonly stats: OutputStats | undefined };
  readonly stderr: { readonly isTerminal: boolean; readonly stats: OutputStats | undefined };
}

type OutputStats = Pick<Stats, "dev" | "ino" | "isFile" | "isCharacterDevice">;

/**
 * A report stands on standard error, and in whatever standard output is redirected to, so that `| tee log` and `> log`
 * keep it. Behind a pipe somebody else may write to the terminal (tee does): then nothing is redrawn there and the pipe
 * alone gets the rows. Both into one place (`2>&1`) gets each row once.
 */
export function chooseStreams({ stdout, stderr }: OutputKinds): {
  readonly stream: "stdout" | "stderr";
  readonly copies: boolean;
} {
  const { stats } = stdout;
  const isKept = !stdout.isTerminal && stats !== undefined && !stats.isCharacterDevice();
  if (!isKept) return { stream: "stderr", copies: false };
  if (stderr.isTerminal)
    return stats.isFile()
      ? { stream: "stderr", copies: true }
      : { stream: "stdout", copies: false };
  const isSame = stats.dev === stderr.stats?.dev && stats.ino === stderr.stats.ino;
  return { stream: "stderr", copies: !isSame };
}

export function reportStreams(): ReportStreams {
  const { stdout, stderr } = process;
  const { stream, copies } = chooseStreams({
    stdout: { isTerminal: stdout.isTTY, stats: statsOf(1) },
    stderr: { isTerminal: stderr.isTTY, stats: statsOf(2) },
  });
  return { stream: stream === "stdout" ? stdout : stderr, ...(copies && { copy: stdout }) };
}

function statsOf(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor);
  } catch {
    return undefined; // closed
  }
}
