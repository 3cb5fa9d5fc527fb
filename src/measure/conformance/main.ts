import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { MeasureError } from "../errors.ts";
import { againstKnown, readKnownRefusals, writeKnownRefusals } from "./known-refusals.ts";
import { ORACLE_PREFIX, ORACLES } from "./oracles.ts";
import type { Job } from "./outcome.ts";
import { runJobs } from "./pool.ts";
import { formatLeftOut, formatReport, summaryOf } from "./report.ts";
import type { TestResult } from "./report.ts";
import { openSuite } from "./suite.ts";
import type { Suite } from "./conformance-test.ts";

const DEFAULT_ENGINES = ["reference", "cpu"];
const LIMIT_MS = 60_000;
const PROGRESS_MS = 500;

export const USAGE = `Runs a folder of tests that others wrote: ONNX backend tests (FAMILY/TEST/model.onnx with
test_data_set_N) or packages named by a manifest.jsonl.

  npm run conformance -- DIR [options]

  --engine NAME      reference, cpu, sim:m4 ...; several times (default: ${DEFAULT_ENGINES.join(", ")})
  --oracle onnx      every program written as .onnx and run by ONNX Runtime itself: optimiser on, off, strict
  --filter TEXT      only tests whose name has TEXT in it; several times
  --failures FILE    where what did not pass is written, or "none"
                     (default: conformance-SUITE.jsonl)
  --known FILE       refusals that are known, ENGINE CODE TEST a line; anything else that does not pass ends in exit
                     code 1, and so does a line that no longer holds
  --write-known      writes that file, which may only get shorter
  --processes N      at once (default: one a core)
  --json             ends with one line of JSON
`;

/** The command behind `npm run conformance`; resolves to the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      engine: { type: "string", multiple: true },
      oracle: { type: "string", multiple: true, default: [] },
      filter: { type: "string", multiple: true },
      failures: { type: "string" },
      known: { type: "string" },
      "write-known": { type: "boolean", default: false },
      processes: { type: "string", default: String(availableParallelism()) },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const [folder] = positionals;
  if (values.help || folder === undefined) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  for (const oracle of values.oracle)
    if (!ORACLES.some((name) => name === oracle))
      throw new MeasureError("measure.suite.oracle", `there is no oracle "${oracle}", only onnx`);
  const oracles = values.oracle.map((name) => `${ORACLE_PREFIX}${name}`);
  const engines = [...(values.engine ?? (oracles.length > 0 ? [] : DEFAULT_ENGINES)), ...oracles];
  const suite = openSuite(folder);
  const chosen = suite.tests.filter(
    ({ id, leftOut }) =>
      leftOut === undefined &&
      (values.filter === undefined || values.filter.some((text) => id.includes(text))),
  );
  const stop = new AbortController();
  const interrupt = (): void => {
    stop.abort();
  };
  process.once("SIGINT", interrupt);
  const results = await runAll(suite, chosen, engines, {
    processes: Math.max(1, Number(values.processes) || 1),
    signal: stop.signal,
  });
  process.removeListener("SIGINT", interrupt);
  const failures = values.failures ?? `conformance-${suite.name}.jsonl`;
  const failed = results.filter(({ outcome }) => outcome.result !== "passed");
  const lines = failed.map((result) => `${JSON.stringify(result)}\n`).join("");
  if (failures === "none") process.stderr.write("no list of failures is written\n");
  else writeWholeFile(failures, new TextEncoder().encode(lines));
  const out = values.json ? process.stderr : process.stdout;
  out.write(formatLeftOut(suite));
  out.write(formatReport(engines, results));
  out.write(`${failed.length} that did not pass: ${failures}\n`);
  let code = 0;
  if (stop.signal.aborted) {
    out.write(`stopped after ${results.length} of ${chosen.length * engines.length} results\n`);
    code = 130;
  } else if (values.known !== undefined) {
    if (values["write-known"]) writeKnownRefusals(values.known, results);
    const problems = againstKnown(readKnownRefusals(values.known), results);
    for (const problem of problems) out.write(`${problem}\n`);
    out.write(
      problems.length === 0
        ? `as ${values.known} says\n`
        : `${problems.length} results are not as ${values.known} says\n`,
    );
    code = problems.length === 0 ? 0 : 1;
  }
  if (values.json)
    process.stdout.write(
      `${JSON.stringify(summaryOf(suite.name, chosen.length, engines, results))}\n`,
    );
  return code;
}

/** Results in the order of the suite's tests. */
async function runAll(
  suite: Suite,
  chosen: Suite["tests"],
  engines: readonly string[],
  { processes, signal }: { readonly processes: number; readonly signal: AbortSignal },
): Promise<readonly TestResult[]> {
  const { folder, layout } = suite;
  const families = new Map(chosen.map(({ id, family }) => [id, family]));
  const results: TestResult[] = [];
  const total = chosen.length * engines.length;
  const startedMs = performance.now();
  let shownMs = startedMs;
  await runJobs({
    jobs: chosen.map(({ id }): Job => ({ folder, layout, id, engines: [...engines] })),
    processes,
    limitMs: LIMIT_MS,
    signal,
    onEnd: ({ id }, engine, outcome) => {
      results.push({ id, family: families.get(id) ?? ".", engine, outcome });
      const nowMs = performance.now();
      if (!process.stderr.isTTY || (nowMs - shownMs < PROGRESS_MS && results.length < total))
        return;
      shownMs = nowMs;
      const leftSeconds = ((nowMs - startedMs) / results.length) * (total - results.length) * 1e-3;
      process.stderr.write(
        `\r${results.length} of ${total}, about ${Math.ceil(leftSeconds)} s left \u001b[K`,
      );
    },
  });
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  const order = new Map(chosen.map(({ id }, index) => [id, index]));
  return results.toSorted((a, b) => (order.get(a.id) ?? 0) - (order.get(b.id) ?? 0));
}
