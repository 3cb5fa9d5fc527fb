// How fast the page of many long runs is: 100 runs of 100,000 reports each, made in a temporary folder (3 GB), opened in
// Chromium with a server that has just started. Prints one JSON object.
//
//   npm run bench:page -- [--runs 100] [--points 100000]
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "100" },
    points: { type: "string", default: "100000" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const runCount = Number(values.runs);
const pointCount = Number(values.points);
const bin = join(dirname(fileURLToPath(import.meta.url)), "../bin/anecdote.mjs");
const root = mkdtempSync(join(tmpdir(), "anecdote-page-"));

function writeRun(index) {
  const folder = join(root, `run-${String(index).padStart(3, "0")}`);
  mkdirSync(folder);
  const handle = openSync(join(folder, "events.ndjson"), "w");
  let sequence = 0;
  let lines = [];
  const put = (event) => {
    lines.push(JSON.stringify({ sequence: ++sequence, t: 1.78e9 + sequence / 20, ...event }));
    if (lines.length < 5000) return;
    writeSync(handle, `${lines.join("\n")}\n`);
    lines = [];
  };
  put({
    ...{ kind: "start", version: 2, step: 0, max_steps: pointCount, run: folder },
    ...{ preset: "storyteller", engine: "cpu", device: "cpu", runtime: "none", threads: 1 },
    ...{ parameters: 1e6, tokens_per_step: 2048, train_tokens: 1e6, eval_tokens: 1e5 },
    plan_bytes: 1e8,
  });
  for (let step = 1; step <= pointCount; step++) {
    const loss = 1 + index / 50 + 4 * Math.exp(-step / (2000 + 100 * index));
    put({
      ...{ kind: "step", step, train_loss: loss + 0.3 * Math.random(), learning_rate: 1e-3 },
      ...{ gradient_norm: 1 + Math.random(), tokens_per_second: 20_000 + 1000 * Math.random() },
      ...{ iterations_per_second: 10, trained_tokens: step * 2048, eta_seconds: 1 },
    });
  }
  writeSync(handle, `${lines.join("\n")}\n`);
  closeSync(handle);
}

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

async function measure(address) {
  const browser = await chromium.launch({
    executablePath: values.chromium,
    args: [
      "--enable-precise-memory-info",
      "--js-flags=--expose-gc",
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    ],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.addInitScript(`
      window.tasks = [];
      new PerformanceObserver((list) => {
        for (const { startTime, duration } of list.getEntries()) window.tasks.push([startTime, duration]);
      }).observe({ type: "longtask", buffered: true });
    `);
    const startMs = performance.now();
    await page.goto(address);
    await page.waitForFunction(
      (count) => document.querySelectorAll("table.runs tbody tr").length === count,
      runCount,
    );
    const tableMs = performance.now() - startMs;
    await page.waitForFunction(() => document.querySelectorAll(".legend li").length > 0);
    const openMs = performance.now() - startMs;
    await delay(3000);
    await page.evaluate("window.tasks.length = 0");
    await delay(6000);
    const box = await page.locator(".u-over").first().boundingBox();
    await page.mouse.move(box.x + 300, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + 500, box.y + 60, { steps: 5 });
    await page.evaluate(`
      window.zoomed = new Promise((resolve) => document.addEventListener("mouseup", () => {
        const from = performance.now();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - from)));
      }, { capture: true, once: true }));
      0; // The promise itself would be waited for.
    `);
    await page.mouse.up();
    const zoomMs = await page.evaluate("window.zoomed");
    await delay(3000);
    const tasks = await page.evaluate("window.tasks");
    const heapBytes = await page.evaluate("gc(), performance.memory.usedJSHeapSize");
    return {
      table_ms: Math.round(tableMs),
      open_ms: Math.round(openMs),
      zoom_ms: Math.round(zoomMs),
      long_tasks_after_loading: tasks.map(([, duration]) => Math.round(duration)),
      heap_mb: Math.round(heapBytes / 1e6),
    };
  } finally {
    await browser.close();
  }
}

try {
  for (let index = 0; index < runCount; index++) writeRun(index);
  const { child, address } = await startServer();
  try {
    const figures = await measure(address);
    process.stdout.write(`${JSON.stringify({ runs: runCount, points: pointCount, ...figures })}\n`);
  } finally {
    child.kill();
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
