// Packages that this project writes, loaded by coremltools itself: the forward pass of a model of each family, and the
// same with keys and values in states as fp16, int8 and 4-bit palettes. coremltools reads the description, the weights
// and every op of the program, which it checks against its own definitions. It is no dependency: say where its folder
// stands (what contains `coremltools/`, with `libmilstoragepython` and `libmodelpackage` built); python3 with numpy,
// protobuf and what it imports must be there (PYTHON chooses one). One row a package, exit 1 if one is refused.
//
//   npm run conformance:coremltools -- --coremltools DIR [--only qwen3,llama] [--json]
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { convertFile, exportPackage } from "../dist/index.js";
import { makeDrawnModel } from "./drawn-models.mjs";
import { chosenModels, foreignOptions } from "./foreign-library.mjs";

const values = await foreignOptions({
  flag: "coremltools",
  missing: "coremltools stands",
});

const SCRIPT = fileURLToPath(new URL("coremltools-load.py", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "anecdote-coremltools-"));
try {
  const paths = [];
  const expected = new Map();
  for (const described of chosenModels(values)) {
    const from = await makeDrawnModel(folder, described);
    const { num_hidden_layers, n_layer } = JSON.parse(
      readFileSync(join(from, "config.json"), "utf8"),
    );
    const plain = join(folder, `${described.name}.mlpackage`);
    convertFile(from, plain, { sequenceLength: 32 });
    paths.push(plain);
    expected.set(plain, 0);
    for (const type of ["float16", "int8", "palette4"]) {
      const path = join(folder, `${described.name}-${type}.mlpackage`);
      exportPackage(from, path, { type, cacheLength: 64 });
      paths.push(path);
      expected.set(path, 2 * (num_hidden_layers ?? n_layer));
    }
  }
  const python = process.env.PYTHON ?? "python3";
  const { stdout, stderr, status } = spawnSync(
    python,
    [SCRIPT, resolve(values.coremltools), ...paths],
    { encoding: "utf8", maxBuffer: 1 << 26 },
  );
  const [head, ...rows] = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  if (head === undefined || rows.length !== paths.length) {
    console.error(`error: coremltools did not load (exit ${status})\n${stderr.slice(-2000)}`);
    process.exitCode = 2;
  } else {
    for (const row of rows) {
      if (row.error === undefined && row.states !== expected.get(row.path))
        row.error = `${row.states} states, ${expected.get(row.path)} were written`;
      const told = row.error ?? `${row.ops} ops of ${row.kinds} kinds, ${row.states} states`;
      if (!values.json) console.log(`${basename(row.path).padEnd(34)} ${told}`);
    }
    const refused = rows.filter(({ error }) => error !== undefined).length;
    console.log(
      values.json
        ? JSON.stringify({ coremltools: head.version, packages: rows.length, refused, rows })
        : `${rows.length} packages, ${refused} refused (coremltools ${head.version})`,
    );
    process.exitCode = refused > 0 ? 1 : 0;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
