import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { getRequestListener } from "@hono/node-server";
import type { Application } from "./application.ts";
import { errorCode, messageOf } from "../util/errors.ts";
import { ServerError } from "./errors.ts";

/** Where a server listens. */
export interface ListenOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Connections at once; more are closed as they come. Default 1,024. */
  readonly maximumConnections?: number;
}

/** A server that listens. */
export interface RunningServer {
  readonly host: string;
  readonly port: number;
  /** As `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Connections that are open. */
  connections(): Promise<number>;
  /**
   * Takes no more connections, lets answers that were begun end for `graceMs` milliseconds (default 0), and closes what is
   * open still.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

export const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_CONNECTIONS = 1024;
/** How often connections that wait for a next request are closed while a server stops. */
const IDLE_CHECK_MS = 50;

/** Serves an application. Throws `ServerError` where the port is taken or may not be used. */
export async function listen(
  application: Application,
  { host = DEFAULT_HOST, port, maximumConnections = DEFAULT_CONNECTIONS }: ListenOptions,
): Promise<RunningServer> {
  const server = createServer(
    getRequestListener(application.fetch, { overrideGlobalObjects: false }),
  );
  server.maxConnections = maximumConnections;
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (error) {
    throw new ServerError("server.listen", problemOf(error, host, port), {
      cause: error,
      ...(errorCode(error) === "EADDRINUSE" && {
        remedy: "Choose another one with --port, or 0 for a free one.",
      }),
    });
  }
  const { port: taken } = server.address() as AddressInfo;
  return {
    host,
    port: taken,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}`,
    connections: async () =>
      new Promise((resolve, reject) => {
        server.getConnections((error, count) => {
          if (error === null) resolve(count);
          else reject(error);
        });
      }),
    async close({ graceMs = 0 } = {}) {
      const closed = once(server, "close");
      server.close();
      const deadlineMs = performance.now() + graceMs;
      const isClosed = closed.then(() => true);
      for (;;) {
        // A connection that is kept alive would keep the server open.
        server.closeIdleConnections();
        const leftMs = deadlineMs - performance.now();
        if (leftMs <= 0) break;
        if (await Promise.race([isClosed, delay(Math.min(leftMs, IDLE_CHECK_MS), false)])) return;
      }
      server.closeAllConnections();
      await closed;
    },
  };
}

function problemOf(error: unknown, host: string, port: number): string {
  switch (errorCode(error)) {
    case "EADDRINUSE":
      return `port ${port} of ${host} is taken by another program`;
    case "EACCES":
      return `port ${port} may only be used by the system's administrator`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `this machine has no address ${host}`;
    default:
      return `cannot listen at ${host}, port ${port}: ${messageOf(error)}`;
  }
}
