// Many short launches of several processes, on this machine and between network namespaces, with busy processes beside
// them: does each end by itself? One that does not is asked where its threads are. Prints one JSON object.
//
//   node bench/cluster-stress.mjs [--launches 50] [--load 4] [--limit-seconds 60]
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Namespaces, run, withoutNamespaces } from "./cluster-namespaces.mjs";

const EXCHANGE = fileURLToPath(new URL("cluster-exchange.mjs", import.meta.url));
const flag = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const launches = flag("--launches", 50);
const limitMs = 1000 * flag("--limit-seconds", 60);
const busy = Array.from({ length: flag("--load", 4) }, () =>
  spawn(process.execPath, ["-e", "for (;;) Math.sqrt(2);"], { stdio: "ignore" }),
);
const folder = mkdtempSync(join(tmpdir(), "anecdote-cluster-stress-"));

/** Launches of `size` processes that exchange a little and end. */
async function launch(size, words) {
  const times = [];
  const failures = [];
  for (let number = 0; number < launches; number++) {
    const startedMs = performance.now();
    try {
      await run(
        "mpirun",
        [...words, "-np", String(size), process.execPath, EXCHANGE, "50000", "2"],
        { limitMs },
      );
      times.push(performance.now() - startedMs);
    } catch (error) {
      failures.push(error.message);
      process.stderr.write(`${error.message}\n`);
    }
  }
  const ordered = times.toSorted((a, b) => a - b);
  return {
    ...{ size, launches, failed: failures.length },
    medianMs: ordered[Math.floor(ordered.length / 2)],
    slowestMs: ordered.at(-1),
    failures,
  };
}

try {
  const local = [await launch(2, []), await launch(4, [])];
  const without = withoutNamespaces();
  let between = without;
  if (without === undefined) {
    const spaces = new Namespaces(3, 500, folder);
    try {
      between = await launch(3, spaces.mpirunWords());
    } finally {
      spaces.remove();
    }
  }
  process.stdout.write(`${JSON.stringify({ local, between }, null, 2)}\n`);
} finally {
  for (const one of busy) one.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
