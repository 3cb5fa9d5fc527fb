import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { temporaryFolder, tinyTask } from "./helpers/cli.ts";

const root = join(import.meta.dirname, "..");
const MOST_BYTES = 8 << 20;
/** Native libraries, which npm puts beside the package. All others are inside its bundle. */
const NATIVE = ["koffi", "onnxruntime-node", "onnxruntime-common", "@koromix"];

/** The package as `npm pack` makes it once the build was called, unpacked where `npm install` would put it. */
function installed(folder: string): { readonly bin: string; readonly packedBytes: number } {
  // Scripts of packages do not run here (.npmrc): nothing but this call builds.
  execFileSync(process.execPath, [join(root, "scripts", "build.mjs")], { stdio: "ignore" });
  execFileSync("npm", ["pack", "--pack-destination", folder], {
    cwd: root,
    stdio: ["ignore", "ignore", "ignore"],
  });
  const [tarball = ""] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "anecdote"), { recursive: true });
  const path = join(folder, tarball);
  execFileSync("tar", ["-xzf", path, "-C", join(modules, "anecdote"), "--strip-components", "1"]);
  const present = readdirSync(join(root, "node_modules"));
  for (const name of NATIVE.filter((one) => present.includes(one))) {
    symlinkSync(join(root, "node_modules", name), join(modules, name));
  }
  return {
    bin: join(modules, "anecdote", "bin", "anecdote.mjs"),
    packedBytes: statSync(path).size,
  };
}

it("the package is small, and trains, writes, simulates, checks and serves where only native libraries stand beside it", async () => {
  const folder = temporaryFolder();
  const { bin, packedBytes } = installed(folder);
  expect(packedBytes).toBeLessThan(MOST_BYTES);
  for (const name of ["src", "node_modules"])
    expect(existsSync(join(bin, "..", "..", name)), name).toBe(false);
  expect(statSync(bin).mode & 0o111).not.toBe(0);
  const run = (...words: readonly string[]): string =>
    execFileSync(process.execPath, [bin, ...words], { cwd: folder, encoding: "utf8" });
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly version: string;
  };
  expect(run("--version").trim()).toBe(version);

  const { config, data } = tinyTask(folder);
  const train = (name: string, ...more: readonly string[]): string =>
    run(
      ...["train", "--model-config", config, "--data", data, "--tokenizer", "byte"],
      ...["--batch-size", "2", "--max-seq-length", "16", "--output-dir", name, "--json"],
      ...["--max-steps", "2", ...more],
    );
  expect(train("run", "--threads", "2")).toContain('"kind":"end"');
  expect(train("engine", "--engine", "sim:m4")).toContain('"kind":"end"');
  const text = run("generate", "--model", "run", "--prompt", "the", "--max-tokens", "4", "--json");
  expect(text).toContain('"text"');

  const program = join(folder, "relu.mil");
  writeFileSync(
    program,
    `program(1.0) {
  func main<ios15>(tensor<fp16, [1, 64, 1, 64]> x) {
    tensor<fp16, [1, 64, 1, 64]> y = relu(x = x)[name = string("y")];
  } -> (y);
}
`,
  );
  expect(run("check", program, "--chip", "m4")).toContain("ok");
  // The simulator's kernels are in it: nothing has to be built.
  const simulated = ["run", program, "--engine", "sim:m4", "--random", "1"];
  const ran = spawnSync(process.execPath, [bin, ...simulated], { cwd: folder, encoding: "utf8" });
  expect([ran.status, ran.stderr]).toEqual([0, expect.not.stringContaining("build")]);
  expect(run("chips", "m4")).toContain("M4");

  const script = join(folder, "use.mjs");
  writeFileSync(
    script,
    `import { VERSION, runFunction } from "anecdote";
     import * as inspect from "anecdote/inspect";
     import * as measure from "anecdote/measure";
     import * as whole from "anecdote";
     console.log(VERSION, typeof runFunction, Object.keys(whole).length > 3, Object.keys(inspect).length > 3, Object.keys(measure).length > 3);`,
  );
  const used = execFileSync(process.execPath, [script], { cwd: folder, encoding: "utf8" });
  expect(used.trim()).toBe(`${version} function true true true`);

  const words = [bin, "serve", "--model", "run", "--port", "0", "--json"];
  const server = spawn(process.execPath, words, {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void server.kill("SIGKILL"));
  let address = "";
  for await (const line of createInterface({ input: server.stdout })) {
    address = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? "";
    if (address !== "") break;
  }
  const models = await fetch(`${address}/v1/models`);
  expect(await models.text()).toContain('"object":"list"');
}, 180_000);
