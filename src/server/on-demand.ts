import type { DashboardOptions, RunningDashboard } from "./dashboard.ts";

/**
 * Serves the page of a folder of runs, as `anecdote dashboard`. What measures and draws is loaded when it is called.
 * Throws `ServerError` for hosts and ports that cannot be had.
 */
export async function startDashboard(options: DashboardOptions): Promise<RunningDashboard> {
  return await (await import("./dashboard.ts")).startDashboard(options);
}

/**
 * A run as one HTML file without anything from elsewhere, as `anecdote report`. `chip`: id of the one that its step is priced
 * for. Throws `RunError` for a folder that has told nothing.
 */
export async function runReport(folder: string, chip?: string): Promise<string> {
  return await (await import("./report/run-report.ts")).runReport(folder, chip);
}
