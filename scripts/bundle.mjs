// Joins the modules under src/ to the few files of dist/bundle/ that the bin and the package's entries load: a start
// that opens one file for a whole room, instead of six hundred, takes less than half the processor time.
//
// Entries keep their paths below src/; what several share is in chunks/, and what is imported lazily is a chunk of its
// own. Names are kept, so that stacks of errors can be read. koffi and ONNX Runtime are native and stay outside.
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What a package's user imports, and the command line. */
const ENTRIES = ["src/index.ts", "src/inspect.ts", "src/measure.ts", "src/cli/main.ts"];

/** Native modules, found by Node where the package is installed. */
const EXTERNAL = ["koffi", "onnxruntime-node"];

/** Chunks that no entry names any more stay for processes that run since then and import lazily. */
const KEPT_MS = 14 * 24 * 3_600_000;

/** Libraries in the older form of modules ask for `require`. */
const REQUIRE =
  'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);';

/** Modules that are started as threads or processes: whatever `compiledUrl` is called with. */
function startedModules(root, sources) {
  const found = new Set();
  for (const source of sources.filter((path) => path.endsWith(".ts"))) {
    const text = readFileSync(join(root, source), "utf8");
    for (const [, path] of text.matchAll(/compiledUrl\(\s*"([^"]+\.ts)"/g))
      found.add(`src/${path}`);
  }
  return [...found].sort();
}

/** Bundles; `sources`: paths below the root. With `isClean` nothing of older bundles stays. */
export async function bundle(root, sources, { isClean = false } = {}) {
  const { build } = await import("esbuild");
  const folder = join(root, "dist", "bundle");
  if (isClean) rmSync(folder, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [...ENTRIES, ...startedModules(root, sources)],
    outbase: "src",
    outdir: "dist/bundle",
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: EXTERNAL,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    banner: { js: REQUIRE },
    metafile: true,
    logLevel: "warning",
  });
  removeOldChunks(root, new Set(Object.keys(metafile.outputs)));
  writeFileSync(join(folder, "licenses.txt"), licensesOf(root, Object.keys(metafile.inputs)));
}

function removeOldChunks(root, current) {
  const folder = "dist/bundle/chunks";
  mkdirSync(join(root, folder), { recursive: true });
  for (const name of readdirSync(join(root, folder))) {
    const path = join(root, folder, name);
    if (current.has(`${folder}/${name}`) || Date.now() - statSync(path).mtimeMs < KEPT_MS) continue;
    rmSync(path);
  }
}

/** The licences of the libraries that are in the bundle, which they ask to be kept with copies. */
function licensesOf(root, inputs) {
  const packages = new Set(
    inputs.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []),
  );
  const parts = [...packages].sort().map((name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "" : `\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
    return `${name} ${version} (${license})\n${text}`;
  });
  return `The bundle has parts of these libraries.\n\n${parts.join(`\n${"-".repeat(40)}\n\n`)}`;
}
