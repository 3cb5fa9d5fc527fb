import { createRequire } from "node:module";

let isStuck = false;

/** Tells the command line that a thread hangs in native code: it cannot be ended, nor waited for. */
export function noteStuckThread(): void {
  isStuck = true;
}

export function hasStuckThread(): boolean {
  return isStuck;
}

/**
 * Ends the process though a thread hangs in native code: Node's own exit waits for its threads. Nothing that was
 * to run at exit runs.
 */
export async function exitAtOnce(code: number): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => {
      stream.write("", () => resolve());
    });
  }
  try {
    const koffi = createRequire(import.meta.url)("koffi") as {
      load(path: null): { func(prototype: string): (code: number) => void };
    };
    koffi.load(null).func("void _exit(int)")(code);
  } catch {
    process.kill(process.pid, "SIGKILL");
  }
}
