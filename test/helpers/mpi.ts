import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { finished } from "./cli.ts";
import type { CliResult } from "./cli.ts";

const BIN = fileURLToPath(new URL("../../bin/anecdote.mjs", import.meta.url));

/** Why tests that need several processes are skipped here; nothing where they run. */
export const WITHOUT_MPI: string | undefined = missing();

function missing(): string | undefined {
  const { stdout, error } = spawnSync("mpirun", ["--version"], { encoding: "utf8" });
  if (error !== undefined)
    return "Open MPI's mpirun is not installed (apt-get install openmpi-bin)";
  return stdout.includes("Open MPI") ? undefined : "the mpirun of this machine is not Open MPI's";
}

/** The name of a test, with the reason where it is skipped. */
export function needsMpi(name: string): string {
  return WITHOUT_MPI === undefined ? name : `${name} (skipped: ${WITHOUT_MPI})`;
}

const ENVIRONMENT = {
  NO_COLOR: "1",
  OMPI_ALLOW_RUN_AS_ROOT: "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
  OMPI_MCA_rmaps_base_oversubscribe: "1",
  OMPI_MCA_btl_base_warn_component_unused: "0",
};

/** `mpirun` with its own words, then those of a program; in a process group of its own. */
export function startMpi(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
  { cwd }: { readonly cwd?: string } = {},
): ChildProcess {
  return spawn("mpirun", words, {
    detached: true,
    ...(cwd !== undefined && { cwd }),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...ENVIRONMENT, ...env },
  });
}

/** Several processes of the command line. */
export function startCluster(
  size: number,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  return startMpi(["-np", String(size), process.execPath, BIN, ...args], env);
}

export async function runCluster(
  size: number,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
  return await finished(startCluster(size, args, env));
}

export { BIN };
