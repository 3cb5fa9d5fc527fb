// Bundles dashboard/ into dist/page/ with esbuild: one script, one style sheet, one HTML file. About 0.1 s.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const source = join(root, "dashboard");
const folder = join(root, "dist", "page");
const STAMP = join(folder, ".sources");

/** What the page is made of; kits that it shares with the command line, and the versions of its packages, included. */
function digest() {
  const hash = createHash("sha256");
  const shared = ["src/util/format.ts", "package-lock.json", "scripts/build-page.mjs"];
  const plots = readdirSync(join(root, "src/util/plot")).map((name) => `src/util/plot/${name}`);
  const own = readdirSync(source, { recursive: true })
    .map((name) => `dashboard/${String(name)}`)
    .filter((name) => /\.(tsx?|css|html|svg)$/.test(name));
  for (const name of [...shared, ...plots, ...own].sort())
    hash.update(`\n${name}\n`).update(readFileSync(join(root, name)));
  return hash.digest("hex");
}

/** Whether dist/page lacks what stands in dashboard/. An installed package has the page and no sources. */
export function isPageStale() {
  if (!existsSync(source)) return false;
  return !existsSync(STAMP) || readFileSync(STAMP, "utf8") !== digest();
}

/** A server that reads the page meanwhile finds whole files. */
function writeAside(path, contents) {
  writeFileSync(`${path}.${process.pid}`, contents);
  renameSync(`${path}.${process.pid}`, path);
}

export async function buildPage() {
  if (!isPageStale()) return;
  const { build } = await import("esbuild");
  const made = digest();
  mkdirSync(folder, { recursive: true });
  const { outputFiles } = await build({
    entryPoints: { page: join(source, "main.tsx") },
    outdir: folder,
    write: false,
    bundle: true,
    minify: true,
    format: "esm",
    target: ["es2022"],
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    logLevel: "warning",
  });
  for (const { path, contents } of outputFiles) writeAside(path, contents);
  for (const name of ["index.html", "icon.svg"])
    writeAside(join(folder, name), readFileSync(join(source, name)));
  writeAside(STAMP, made);
}
