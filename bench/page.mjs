// How fast the page of many long runs is: 100 runs of 100,000 reports each, made in a temporary folder (3 GB), opened in
// Chromium with a server that has just started. Prints one JSON object.
//
//   npm run bench:page -- [--runs 100] [--points 100000] [--distinct 100]
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { measurePage, writeLongRuns } from "./page-figures.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "100" },
    points: { type: "string", default: "100000" },
    distinct: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const runCount = Number(values.runs);
const pointCount = Number(values.points);
const distinctCount = Number(values.distinct ?? runCount);
const bin = join(dirname(fileURLToPath(import.meta.url)), "../bin/anecdote.mjs");
const root = mkdtempSync(join(tmpdir(), "anecdote-page-"));

async function startServer() {
  const child = spawn(
    process.execPath,
    [bin, "dashboard", "--runs-dir", root, "--port", "0", "--json"],
    { stdio: ["ignore", "pipe", 2] },
  );
  const [line] = await new Promise((resolve) => {
    child.stdout.once("data", (piece) => resolve(String(piece).split("\n")));
  });
  return { child, address: JSON.parse(line).address };
}

try {
  writeLongRuns(root, { runCount, pointCount, distinctCount });
  const { child, address } = await startServer();
  const browser = await chromium.launch({
    executablePath: values.chromium,
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    const figures = await measurePage(browser, address, {
      ...{ runCount, settleMs: 3000, watchMs: 5000 },
    });
    process.stdout.write(
      `${JSON.stringify({
        ...{ runs: runCount, points: pointCount },
        table_ms: Math.round(figures.tableMs),
        open_ms: Math.round(figures.openMs),
        zoom_ms: Math.round(figures.zoomMs),
        longest_task_after_loading_ms: Number(figures.longestTaskMs.toFixed(1)),
        its_processor_ms: Number(figures.longestTaskProcessorMs.toFixed(1)),
        heap_mb: Math.round(figures.heapBytes / 1e6),
      })}\n`,
    );
  } finally {
    await browser.close();
    child.kill();
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
