// How fast the page of many long runs is, by Chromium's own trace: shared by `npm run bench:page` and a test in a browser.
import { closeSync, linkSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/**
 * Runs with so many reports each. Of `distinctCount` of them the logs are written; the others are links to those, which
 * nobody who reads can tell from files of their own.
 */
export function writeLongRuns(root, { runCount, pointCount, distinctCount = runCount }) {
  for (let index = 0; index < runCount; index++) {
    const folder = join(root, `run-${String(index).padStart(3, "0")}`);
    mkdirSync(folder);
    const path = join(folder, "events.ndjson");
    const written = index % distinctCount;
    if (written === index) writeLog(path, index, pointCount);
    else linkSync(join(root, `run-${String(written).padStart(3, "0")}`, "events.ndjson"), path);
  }
}

function writeLog(path, index, pointCount) {
  const handle = openSync(path, "w");
  let sequence = 0;
  let lines = [];
  const write = () => {
    writeSync(handle, `${lines.join("\n")}\n`);
    lines = [];
  };
  const put = (event) => {
    lines.push(JSON.stringify({ sequence: ++sequence, t: 1.78e9 + sequence / 20, ...event }));
    if (lines.length === 5000) write();
  };
  put({
    ...{ kind: "start", version: 2, step: 0, max_steps: pointCount, run: path },
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
  if (lines.length > 0) write();
  closeSync(handle);
}

const CATEGORIES = [
  "toplevel",
  "devtools.timeline",
  "disabled-by-default-devtools.timeline",
  "blink.user_timing",
];

/**
 * Opens the page of a server and zooms into its chart. `settleMs` after the curves are drawn it counts as loaded; it is
 * watched for `watchMs` then, before and after the zoom.
 */
export async function measurePage(browser, address, { runCount, settleMs, watchMs }) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(60_000);
  try {
    await browser.startTracing(page, { categories: CATEGORIES });
    const startMs = performance.now();
    await page.goto(address);
    await page.waitForFunction(
      (count) => document.querySelectorAll("table.runs tbody tr").length === count,
      runCount,
    );
    const tableMs = performance.now() - startMs;
    await page.waitForFunction(() => document.querySelectorAll(".legend li").length > 0);
    const openMs = performance.now() - startMs;
    await page.evaluate('performance.mark("opened")');
    await delay(settleMs);
    await page.evaluate('performance.mark("loaded")');
    await delay(watchMs);
    const box = await page.locator(".u-over").first().boundingBox();
    await page.mouse.move(box.x + 300, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + 500, box.y + 60, { steps: 5 });
    await page.evaluate(`
      const canvas = document.querySelector(".chart canvas");
      const before = canvas.toDataURL();
      window.zoomed = new Promise((resolve) => document.addEventListener("mouseup", () => {
        performance.mark("released");
        // After the frame that draws it.
        requestAnimationFrame(() => setTimeout(() => {
          performance.mark("zoomed");
          resolve(canvas.toDataURL() !== before);
        }));
      }, { capture: true, once: true }));
      performance.mark("looked");
      0; // The promise itself would be waited for.
    `);
    await page.mouse.up();
    const isZoomed = await page.evaluate("window.zoomed");
    await page.evaluate('performance.mark("compared")');
    await delay(watchMs);
    const trace = JSON.parse((await browser.stopTracing()).toString("utf8"));
    return { tableMs, openMs, isZoomed, ...figuresOf(trace.traceEvents) };
  } finally {
    await page.close();
  }
}

/** What a trace tells of the page's thread. */
function figuresOf(events) {
  const marks = events.filter(({ cat, name }) => cat === "blink.user_timing" && MARKS.has(name));
  const at = new Map(marks.map(({ name, ts }) => [name, ts]));
  const [{ pid, tid }] = marks;
  // What this measurement itself does between two marks, to compare pictures, is none of the page's.
  const own = [
    [at.get("released") - 1e6, at.get("released")],
    [at.get("zoomed"), at.get("compared")],
  ];
  const all = events.filter(
    (event) => event.name.endsWith("RunTask") && event.pid === pid && event.tid === tid,
  );
  const tasks = all.filter(
    (event) =>
      event.ts > at.get("loaded") &&
      !own.some(([from, to]) => event.ts + event.dur > from && event.ts < to),
  );
  const heaps = events.flatMap(({ name, pid: other, args }) =>
    name === "UpdateCounters" && other === pid ? [args.data.jsHeapSizeUsed] : [],
  );
  const largest = (key) => tasks.reduce((most, task) => Math.max(most, task[key] ?? 0), 0) / 1000;
  const opening = all.filter(({ ts }) => ts < at.get("opened"));
  return {
    /** Of the page's thread, until it is open. */
    openProcessorMs: opening.reduce((sum, { tdur = 0 }) => sum + tdur, 0) / 1000,
    zoomMs: (at.get("zoomed") - at.get("released")) / 1000,
    taskCount: tasks.length,
    /** Of one task after loading: by the clock, and of the processor. */
    longestTaskMs: largest("dur"),
    longestTaskProcessorMs: largest("tdur"),
    heapBytes: Math.max(...heaps),
  };
}

const MARKS = new Set(["opened", "loaded", "looked", "released", "zoomed", "compared"]);
