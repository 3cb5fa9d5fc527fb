import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiledUrl } from "../util/source-layout.ts";
import type { Application } from "./application.ts";
import { ServerError } from "./errors.ts";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Where the build puts the page. */
export function pageFolder(): string {
  return fileURLToPath(compiledUrl("page"));
}

/**
 * Adds the page: its few files, read once, under their names, and index.html at `/`. Throws `ServerError` `server.page`
 * where it was not built.
 */
export function addPageFiles(application: Application, folder = pageFolder()): void {
  if (!existsSync(join(folder, "index.html")))
    throw new ServerError("server.page", `the page is not built: ${folder} has no index.html`, {
      remedy: "In a checkout, `npm run build` builds it.",
    });
  for (const name of readdirSync(folder)) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const bytes = readFileSync(join(folder, name));
    const tag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
    const headers = { "Content-Type": type, ETag: tag, "Cache-Control": "no-cache" };
    application.get(name === "index.html" ? "/" : `/${name}`, (context) =>
      context.req.header("if-none-match") === tag
        ? context.body(null, 304, headers)
        : context.body(bytes, 200, headers),
    );
  }
}
