// What commands cost before they work: the processor time of a whole process, all threads, node's own start included.
// Runs are interleaved; the middle one is told. `--root DIR` measures another build beside this one, in turn.
//
//   npm run bench:start -- [--rounds 5] [--root DIR] [--only WORD] [--json]
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    root: { type: "string" },
    only: { type: "string", default: "" },
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

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

const roots = [join(here, ".."), ...(values.root === undefined ? [] : [resolve(values.root)])];
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
