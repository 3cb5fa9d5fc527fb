// What commands cost before they work: the processor time of a whole process, all threads, node's own start included.
// Runs are interleaved; the middle one is told. `--root DIR` measures another build beside this one, in turn.
//
// `--first-step PRESET` measures instead what a run takes up to its first step (Linux): configuration, tokenizer, plan,
// weights drawn and programs compiled, of a byte tokenizer on a text of 270 kB.
//
// `--first-token` measures `generate` up to its first token: a drawn model of stories15M's sizes from llama2.c's file, a
// folder and GGUF, or the model that `--model PATH` names. The system's files are warm.
//
//   npm run bench:start -- [--rounds 5] [--root DIR] [--only WORD] [--first-step stories110M] \
//     [--first-token [--model PATH]] [--json]
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { loadavg, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeFirstTokenModels } from "./first-token-models.mjs";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    root: { type: "string" },
    only: { type: "string", default: "" },
    "first-step": { type: "string" },
    "first-token": { type: "boolean", default: false },
    model: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const here = dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "anecdote-start-"));
const program = join(folder, "gelu.mil");
writeFileSync(
  program,
  `program(1.0) {
  func main<ios15>(tensor<fp16, [1, 64, 1, 64]> x) {
    tensor<fp16, [1, 64, 1, 64]> y = relu(x = x)[name = string("y")];
  } -> (y);
}
`,
);

/** Help loads what stands on the command line; the others also what their smallest work needs. */
const HELPS = [
  ...["train", "finetune", "fuse", "generate", "eval", "export", "runs", "plan", "estimate"],
  ...["inspect", "check", "run", "convert", "diff", "ops", "chips", "bench", "data", "tokenizer"],
  "doctor",
];
const COMMANDS = [
  ["--version"],
  ["--help"],
  ...HELPS.map((name) => [name, "--help"]),
  ["train", "--print-config"],
  ["plan", "--preset", "nanogpt-char"],
  ["estimate", program],
  ["check", program, "--chip", "m4"],
  ["inspect", program],
  ["ops", "--json"],
  ["plan", "--preset", "microgpt-1.1b"],
  ["estimate", "--preset", "microgpt-1.1b"],
].filter((words) => words.join(" ").includes(values.only));

/** Processor milliseconds of one command of a build; undefined where it failed. */
function timeOf(root, words) {
  const { stdio, status } = run([join(root, "bin/anecdote.mjs"), ...words]);
  return status === 0 ? Number(stdio) : undefined;
}

function run(args) {
  const child = spawnSync(
    process.execPath,
    ["--require", join(here, "processor-time.cjs"), ...args],
    { stdio: ["ignore", "ignore", "ignore", "pipe"], cwd: folder },
  );
  return { status: child.status, stdio: child.output[3]?.toString() };
}

/** Processor milliseconds of a process so far, all threads. */
function processorMsOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  const ticksPerSecond = 100;
  return (1000 * (Number(fields[11]) + Number(fields[12]))) / ticksPerSecond;
}

/** What a run of a preset takes until it begins its first step: the event that tells of its memory stands there. */
async function firstStep(root, preset) {
  const data = join(folder, "text.txt");
  writeFileSync(data, "a small cat slept by the warm stove ".repeat(7500));
  const run = join(folder, `run-${Math.random()}`);
  const args = ["train", "--preset", preset, "--data", data, "--output-dir", run, "--json"];
  const more = ["--max-steps", "1", "--tokenizer", "byte"];
  const child = spawn(process.execPath, [join(root, "bin/anecdote.mjs"), ...args, ...more], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let time;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.includes('"kind":"memory"')) continue;
    time = processorMsOf(child.pid);
    child.kill("SIGKILL");
    break;
  }
  return time;
}

const roots = [join(here, ".."), ...(values.root === undefined ? [] : [resolve(values.root)])];
if (values["first-step"] !== undefined) {
  const found = roots.map(() => []);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const [which, root] of roots.entries()) {
      const time = await firstStep(root, values["first-step"]);
      if (time !== undefined) found[which].push(time);
    }
  }
  rmSync(folder, { recursive: true, force: true });
  const cells = found.map((list) =>
    list.length === 0 ? "failed" : `${median(list).toFixed(0)} ms`,
  );
  console.log(
    `up to the first step of ${values["first-step"]}: ${cells.join(", ")}; load ${loadavg()[0].toFixed(1)}`,
  );
  process.exit(0);
}
if (values["first-token"]) {
  const models =
    values.model === undefined
      ? writeFirstTokenModels(folder, roots[0])
      : { [values.model]: resolve(values.model) };
  for (const [name, model] of Object.entries(models)) {
    const words = ["generate", "--model", model, "--prompt", "Once upon a time"];
    const found = roots.map(() => []);
    for (let round = 0; round <= Number(values.rounds); round += 1) {
      for (const [which, root] of roots.entries()) {
        const time = timeOf(root, [...words, "--max-tokens", "1"]);
        // The first round warms the system's files.
        if (time !== undefined && round > 0) found[which].push(time);
      }
    }
    const cells = found.map((list) =>
      list.length === 0 ? "failed" : `${median(list).toFixed(0)} ms`,
    );
    console.log(`first token, ${name}: ${cells.join(", ")}; load ${loadavg()[0].toFixed(1)}`);
  }
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
}
const times = COMMANDS.map(() => roots.map(() => []));
const bare = [];
try {
  for (let round = 0; round < Number(values.rounds); round += 1) {
    bare.push(Number(run(["--eval", "0"]).stdio));
    for (const [index, words] of COMMANDS.entries()) {
      for (const [which, root] of roots.entries()) {
        const time = timeOf(root, words);
        if (time !== undefined) times[index][which].push(time);
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const rows = COMMANDS.map((words, index) => ({
  command: words.join(" ").replace(program, "FILE"),
  processorMs: times[index].map((list) => (list.length === 0 ? null : median(list))),
}));
const load = loadavg()[0];
if (values.json) {
  console.log(JSON.stringify({ node: process.version, load, bareMs: median(bare), roots, rows }));
} else {
  console.log(
    `node ${process.version}, load ${load.toFixed(1)}; node alone ${median(bare).toFixed(0)} ms`,
  );
  for (const { command, processorMs } of rows) {
    const cells = processorMs.map((ms) =>
      (ms === null ? "failed" : `${ms.toFixed(0)} ms`).padStart(9),
    );
    console.log(`${command.padEnd(36)}${cells.join("")}`);
  }
}
