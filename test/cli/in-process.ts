import { vi } from "vitest";
import { main } from "../../src/cli/main.ts";

export interface Printed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command line run in this process; a real process is tested elsewhere. */
export async function run(...argv: readonly string[]): Promise<Printed> {
  let stdout = "";
  let stderr = "";
  const out = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    stdout += String(chunk);
    return true;
  });
  const err = vi.spyOn(process.stderr, "write").mockImplementation((chunk) => {
    stderr += String(chunk);
    return true;
  });
  try {
    return { code: await main(argv), stdout, stderr };
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
}

/** What a command printed under `--json`. */
export async function runJson(...argv: readonly string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run(...argv, "--json");
  return JSON.parse(stdout) as Record<string, unknown>;
}
