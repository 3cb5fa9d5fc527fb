// Joins the modules under src/ to the few files of dist/bundle/ that the bin and the package's entries load: a start
// that opens one file for a whole room, instead of six hundred, takes less than half the processor time.
//
// Entries keep their paths below src/; what several share is in chunks/, and what is imported lazily is a chunk of its
// own. Names are kept, so that stacks of errors can be read. koffi and ONNX Runtime are native and stay outside.
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** What a package's user imports, and the command line. */
const ENTRIES = ["src/index.ts", "src/inspect.ts", "src/measure.ts", "src/cli/main.ts"];

/** Native modules, found by Node where the package is installed. */
const EXTERNAL = ["koffi", "onnxruntime-node"];

/** Names of the files of the last bundle, beside them. */
const OUTPUTS = "outputs.json";

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

/** What the index of a room exports from its files, by exported name: the file, and its name there. */
function exportsOf(path) {
  const found = new Map();
  const text = readFileSync(path, "utf8");
  for (const [, names, file] of text.matchAll(/^export \{([^}]*)\} from "([^"]+)";$/gm)) {
    for (const name of namesIn(names)) {
      found.set(name.local, { name: name.imported, path: resolve(dirname(path), file) });
    }
  }
  return found;
}

const namesIn = (list) =>
  list
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => {
      const [imported, local = imported] = part.split(" as ");
      return { imported, local };
    });

/** zod as one value brings its messages in fifty languages; as a namespace it brings what is used. */
const asNamespace = (text) =>
  text.replace(/^import \{ z \} from "zod";$/m, 'import * as z from "zod";');

/**
 * Imports from the index of a room become imports from the files that it names. esbuild puts all of what an index
 * names into the chunks of whoever imports one of them; with this, a command loads what it uses.
 */
const pastIndexes = {
  name: "past-indexes",
  setup({ onLoad }) {
    const indexes = new Map();
    const known = (path) => {
      if (!indexes.has(path)) indexes.set(path, exportsOf(path));
      return indexes.get(path);
    };
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
      const folder = dirname(path);
      const text = asNamespace(readFileSync(path, "utf8")).replaceAll(
        /^import \{([^}]*)\} from "([^"]+\/index\.ts)";$/gm,
        (whole, names, file) => {
          const index = known(resolve(folder, file));
          const wanted = namesIn(names);
          if (!wanted.every(({ imported }) => index.has(imported))) return whole;
          return wanted
            .map(({ imported, local }) => {
              const from = index.get(imported);
              const to = relative(folder, from.path).replaceAll("\\", "/");
              const specifier = to.startsWith(".") ? to : `./${to}`;
              return `import { ${from.name} as ${local} } from "${specifier}";`;
            })
            .join(" ");
        },
      );
      return { contents: text, loader: "ts" };
    });
  },
};

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
    plugins: [pastIndexes],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    banner: { js: REQUIRE },
    metafile: true,
    logLevel: "warning",
  });
  const outputs = Object.keys(metafile.outputs).map((path) => path.slice("dist/bundle/".length));
  removeOldChunks(folder, outputs);
  writeFileSync(join(folder, "licenses.txt"), licensesOf(root, Object.keys(metafile.inputs)));
}

/** Chunks of the bundle before stay, for processes that run since then and import lazily; older ones go. */
function removeOldChunks(folder, outputs) {
  const manifest = join(folder, OUTPUTS);
  const before = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")) : [];
  const kept = new Set([...before, ...outputs]);
  for (const name of readdirSync(join(folder, "chunks"))) {
    if (!kept.has(`chunks/${name}`)) rmSync(join(folder, "chunks", name));
  }
  writeFileSync(manifest, JSON.stringify(outputs));
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
