import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import { createMiddleware } from "hono/factory";
import { formatBytes } from "../util/format.ts";
import { Refusal } from "./errors.ts";

/** Names of this machine that no other machine can be reached by. */
const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "::1"];

/** Whether a server that listens at this host is reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return LOOPBACK_NAMES.includes(host) || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** Whether a host is every address of the machine. */
export function isEveryAddress(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** The name in a `Host` header without its port; nothing for one that is none. */
function hostName(header: string | undefined): string | undefined {
  if (header === undefined || !/^[\w.\-[\]:]+$/.test(header)) return undefined;
  try {
    return new URL(`http://${header}`).hostname.replace(/^\[|\]$/g, "").toLowerCase();
  } catch {
    return undefined;
  }
}

/**
 * Refuses requests for another host. A page of the web can have its own name point at this machine and then read what
 * the server answers (DNS rebinding); its requests carry that name. An address names nobody else, so that addresses are
 * accepted where the server listens on more than the loopback.
 */
export function hostGuard(host: string, allowedHosts: readonly string[]) {
  const names = new Set([...LOOPBACK_NAMES, ...allowedHosts.map((name) => name.toLowerCase())]);
  if (!isEveryAddress(host)) names.add(host.toLowerCase());
  return createMiddleware(async ({ req }, next) => {
    const name = hostName(req.header("host"));
    const isAddress = !isLoopback(host) && name !== undefined && isIP(name) !== 0;
    if (name === undefined || !(names.has(name) || isAddress))
      throw new Refusal(
        403,
        `this server is not ${JSON.stringify(req.header("host") ?? "")}; it answers requests for ${[...names].join(", ")}. Start it with --allowed-host to add a name`,
        { code: "host_not_allowed" },
      );
    await next();
  });
}

/**
 * Refuses requests that a page of another origin makes. Clients that are no browsers send no origin. Pages of
 * `allowedOrigins` may ask.
 */
export function originGuard(allowedOrigins: readonly string[]) {
  return createMiddleware(async ({ req }, next) => {
    const origin = req.header("origin");
    if (origin !== undefined) {
      const host = req.header("host") ?? "";
      const isOwn = origin === `http://${host}` || origin === `https://${host}`;
      if (!isOwn && !allowedOrigins.includes(origin)) throw foreign(origin);
    } else if (
      req.header("sec-fetch-site") === "cross-site" &&
      req.header("sec-fetch-mode") !== "navigate"
    ) {
      throw foreign("another site");
    }
    await next();
  });
}

function foreign(origin: string): Refusal {
  return new Refusal(
    403,
    `pages of ${origin} may not use this server. Start it with --allowed-origin to let them`,
    { code: "origin_not_allowed" },
  );
}

/** Refuses what `isGuarded` names without the key, which comes as `Authorization: Bearer KEY`. */
export function keyGuard(apiKey: string, isGuarded: (path: string) => boolean) {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  const wanted = digest(apiKey);
  return createMiddleware(async ({ req }, next) => {
    if (isGuarded(req.path) && req.method !== "OPTIONS") {
      const [, given] = /^Bearer\s+(.+)$/i.exec(req.header("authorization") ?? "") ?? [];
      // Digests have one length, and comparing them takes the same time wherever they differ.
      if (given === undefined || !timingSafeEqual(digest(given), wanted))
        throw new Refusal(
          401,
          given === undefined
            ? "this server wants an API key, as the header Authorization: Bearer KEY"
            : "the API key is not the one that this server was started with",
          { code: "invalid_api_key", headers: { "WWW-Authenticate": "Bearer" } },
        );
    }
    await next();
  });
}

/** What the guards leave to routes. */
export interface GuardVariables {
  /** Text of the request's body. */
  body: string;
}

/** What bytes are sent as; as JSON, no form of another page's can say it without being asked. */
export const BYTES_TYPE = "application/octet-stream";

/**
 * Reads bodies, at most so many bytes, told ahead or not. Refuses those that are not JSON: forms, which a page of any
 * origin may send without being asked, are none. Paths of `isBytes` take bytes instead, which their route reads itself
 * and counts.
 */
export function bodyGuard(
  maximumByteLength: number,
  isBytes: (path: string) => boolean = () => false,
) {
  const tooLarge = (): Refusal =>
    new Refusal(413, `a request has at most ${formatBytes(maximumByteLength)}`, {
      code: "request_too_large",
    });
  return createMiddleware<{ Variables: GuardVariables }>(async (context, next) => {
    const { req } = context;
    if (["POST", "PUT", "PATCH"].includes(req.method)) {
      const type = req.header("content-type") ?? "";
      if (isBytes(req.path)) {
        if (type !== BYTES_TYPE)
          throw new Refusal(
            415,
            `the body has to be bytes with the header Content-Type: ${BYTES_TYPE}`,
            {
              code: "unsupported_media_type",
            },
          );
        await next();
        return;
      }
      if (!/^application\/json\s*(?:;|$)/i.test(type))
        throw new Refusal(
          415,
          `the body has to be JSON with the header Content-Type: application/json, not ${type === "" ? "without one" : JSON.stringify(type)}`,
          { code: "unsupported_media_type" },
        );
      if (Number(req.header("content-length") ?? 0) > maximumByteLength) throw tooLarge();
      const pieces: Uint8Array[] = [];
      let byteLength = 0;
      for await (const piece of req.raw.body ?? []) {
        byteLength += piece.byteLength;
        if (byteLength > maximumByteLength) throw tooLarge();
        pieces.push(piece);
      }
      context.set("body", Buffer.concat(pieces).toString("utf8"));
    }
    await next();
  });
}
