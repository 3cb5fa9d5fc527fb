import { DEFAULT_HOST, listen } from "./listen.ts";
import type { RunningServer } from "./listen.ts";
import { createApplication } from "./application.ts";
import { ServerError } from "./errors.ts";
import { addBenchRoutes } from "./benches/bench-routes.ts";
import { addFileRoutes, isUploadPath } from "./files/file-routes.ts";
import { Uploads } from "./files/uploads.ts";
import { addPageFiles } from "./page-files.ts";
import { PageKey } from "./page-key.ts";
import { addPlanRoutes } from "./plan/plan-routes.ts";
import { ModelPool } from "./playground/model-pool.ts";
import { addPlaygroundRoutes } from "./playground/playground-routes.ts";
import { addReportRoutes } from "./report/report-routes.ts";
import { addRunRoutes } from "./runs/run-routes.ts";
import { RunStore } from "./runs/run-store.ts";
import { isLoopback } from "./safety.ts";

/** Of the page where nobody chooses another. */
export const DEFAULT_PAGE_PORT = 7007;

/** Where a page of runs is served, and of which. */
export interface DashboardOptions {
  /** The folder of runs, as `runs`. */
  readonly runsFolder: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 7007, or a free one where that is taken. */
  readonly port?: number | undefined;
  /** Further names that the machine is reached by. */
  readonly allowedHosts?: readonly string[];
  /** Hears of faults of ours; who asked is told that there was one. */
  readonly onInternalError?: (error: unknown) => void;
}

/** A dashboard that listens. */
export interface RunningDashboard extends RunningServer {
  /** With the key that lets its reader pause, save and stop runs: `http://127.0.0.1:7007/#key=...`. */
  readonly address: string;
}

/**
 * Serves the page of a folder of runs. Whoever reaches the port of the loopback may look; on other hosts everything takes
 * the page's key. Throws `ServerError` where the port is taken or the page is not built.
 */
export async function startDashboard(options: DashboardOptions): Promise<RunningDashboard> {
  const { runsFolder, host = DEFAULT_HOST, port, allowedHosts, onInternalError } = options;
  const key = PageKey.of(runsFolder);
  const application = createApplication({
    host,
    ...(allowedHosts && { allowedHosts }),
    ...(onInternalError && { onInternalError }),
    apiKey: isLoopback(host) ? undefined : key.text,
    takesBytes: isUploadPath,
  });
  addPageFiles(application);
  const store = new RunStore(runsFolder);
  addRunRoutes(application, { store, key });
  addPlanRoutes(application, store);
  addReportRoutes(application, store);
  addBenchRoutes(application, runsFolder);
  const uploads = new Uploads();
  addFileRoutes(application, { root: runsFolder, uploads, key });
  const pool = new ModelPool(store);
  addPlaygroundRoutes(application, { pool, key });
  const server = await listenNear(application, host, port);
  return {
    ...server,
    address: `${server.url}/#key=${key.text}`,
    async close(how) {
      await server.close(how);
      await pool.close();
      uploads.close();
    },
  };
}

async function listenNear(
  application: Parameters<typeof listen>[0],
  host: string,
  port: number | undefined,
): Promise<RunningServer> {
  if (port !== undefined) return listen(application, { host, port });
  try {
    return await listen(application, { host, port: DEFAULT_PAGE_PORT });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return listen(application, { host, port: 0 });
  }
}
