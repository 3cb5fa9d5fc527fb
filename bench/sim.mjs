// Speed of the simulator, kernel and whole step: npm run bench:sim -- [--threads N] [--json] [--output FILE]
// --output writes both results with the machine, the commit and the protocol.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: String(Math.min(2, availableParallelism())) },
    json: { type: "boolean", default: false },
    output: { type: "string" },
  },
});
const isJson = values.json || values.output !== undefined;
const loadBefore = loadavg()[0];

function run(script) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const options = [path, "--threads", values.threads, ...(isJson ? ["--json"] : [])];
  const { status, stdout } = spawnSync(process.execPath, options, {
    encoding: "utf8",
    stdio: ["ignore", isJson ? "pipe" : "inherit", "inherit"],
  });
  if (status !== 0) process.exit(status ?? 1);
  return isJson ? JSON.parse(stdout) : undefined;
}

const kernel = run("./sim-kernel.mjs");
const step = run("./sim-step.mjs");
if (isJson) {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const report = {
    date: new Date().toISOString().slice(0, 10),
    commit,
    machine: { cpu: cpus()[0]?.model, cores: availableParallelism(), node: process.version },
    // Above the number of cores others were computing too: then CPU seconds count, not the clock.
    load_average: { before: loadBefore, after: loadavg()[0] },
    protocol: {
      kernel: "best of 12 batches of at least 5e7 multiply-accumulates, packing included",
      step: "median of 21 steps after one: gradients, norm and update; sim:m4, exact",
    },
    kernel,
    step,
  };
  const text = JSON.stringify(report, null, 2);
  if (values.output === undefined) process.stdout.write(`${text}\n`);
  else writeFileSync(values.output, `${text}\n`);
}
