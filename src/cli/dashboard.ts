import { existsSync } from "node:fs";
import type { Command } from "commander";
import { DEFAULT_PAGE_PORT, startDashboard } from "../server/dashboard.ts";
import { isLoopback } from "../server/safety.ts";
import type { Exit } from "./exit.ts";
import { EXIT_CODES } from "./errors.ts";
import { Interruptions } from "./interruptions.ts";
import { wholeNumber } from "./options.ts";
import { printNote, answer } from "./terminal.ts";

interface DashboardFlags {
  readonly runsDir: string;
  readonly host: string;
  readonly port?: string;
  readonly allowedHost: readonly string[];
  readonly json?: boolean;
}

export function register(program: Command, exit: Exit): void {
  program
    .command("dashboard")
    .option("--runs-dir <dir>", "the folder of runs", "runs")
    .option("--host <name>", "where it listens; other machines reach it by 0.0.0.0", "127.0.0.1")
    .option(
      "--port <number>",
      `0 takes a free one (default: ${DEFAULT_PAGE_PORT}, or a free one where that is taken)`,
    )
    .option("--allowed-host <name...>", "further names that this machine is reached by", [])
    .option("--json", "its address as one JSON object")
    .addHelpText(
      "after",
      `
The address that it prints ends in a key, with which the page may also pause, save and stop runs;
without it one can only look. Ctrl-C ends it; runs go on.

Examples:
  anecdote dashboard
  anecdote dashboard --runs-dir experiments --port 8080`,
    )
    .action(async (flags: DashboardFlags) => {
      exit(await serveDashboard(flags));
    });
}

async function serveDashboard(flags: DashboardFlags): Promise<number> {
  const interruptions = new Interruptions();
  try {
    const dashboard = await startDashboard({
      runsFolder: flags.runsDir,
      host: flags.host,
      port: flags.port === undefined ? undefined : wholeNumber("--port", flags.port, 0, 65_535),
      allowedHosts: flags.allowedHost,
      onInternalError: (error) => process.stderr.write(`${String(error)}\n`),
    });
    const { address, url, host, port } = dashboard;
    answer(flags, { address, url, host, port }, () => `${address}\n`);
    if (!existsSync(flags.runsDir)) printNote(`${flags.runsDir} has no runs yet`);
    if (!isLoopback(host))
      printNote("other machines can reach this port; everything but the page takes the key");
    await new Promise<void>((resolve) => {
      interruptions.listen(() => resolve());
    });
    await dashboard.close();
    return EXIT_CODES.ok;
  } finally {
    interruptions.end();
  }
}
