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
  readonly stderr: { readonly isTerminal: boolean };
}

type OutputStats = Pick<Stats, "isFile" | "isCharacterDevice">;

/**
 * A report stands where a terminal shows it, and in whatever standard output is redirected to, so that `| tee log` and
 * `> log` keep it. Whoever reads both outputs together gets each row once: it stands on standard output alone where that
 * is a pipe (tee may write to the terminal behind it) and where no terminal shows the other one.
 */
export function chooseStreams({ stdout, stderr }: OutputKinds): {
  readonly stream: "stdout" | "stderr";
  readonly copies: boolean;
} {
  const { stats } = stdout;
  const isKept = !stdout.isTerminal && stats !== undefined && !stats.isCharacterDevice();
  if (!isKept) return { stream: "stderr", copies: false };
  return stderr.isTerminal && stats.isFile()
    ? { stream: "stderr", copies: true }
    : { stream: "stdout", copies: false };
}

export function reportStreams(): ReportStreams {
  const { stdout, stderr } = process;
  const { stream, copies } = chooseStreams({
    stdout: { isTerminal: stdout.isTTY, stats: statsOf(stdout.fd) },
    stderr: { isTerminal: stderr.isTTY },
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
