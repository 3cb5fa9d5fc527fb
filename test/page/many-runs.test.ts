import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { expect, it, onTestFinished } from "vitest";
import { measurePage, writeLongRuns } from "../../bench/page-figures.mjs";
import type { PageFigures } from "../../bench/page-figures.mjs";
import { chromiumPath, dashboardOf, launchBrowser } from "./browser.ts";

const CHROMIUM = chromiumPath();
const RUN_COUNT = 100;
const POINT_COUNT = 100_000;
/** A server that has just started each time: what it knows already would make it faster. */
const MOST_TRIES = 3;

const name = `opens ${RUN_COUNT} runs of ${POINT_COUNT} reports in 2 s, zooms in 100 ms, has no task over 50 ms and less than 200 MB of heap, by Chromium's trace`;

if (CHROMIUM === undefined)
  it.skip(`${name}: skipped, since there is no chromium on this machine's PATH`, () => undefined);
else
  it(
    name,
    async () => {
      const root = mkdtempSync(join(tmpdir(), "anecdote-many-"));
      onTestFinished(() => rmSync(root, { recursive: true, force: true }));
      writeLongRuns(root, { runCount: RUN_COUNT, pointCount: POINT_COUNT, distinctCount: 3 });
      const browser = await launchBrowser(CHROMIUM);
      onTestFinished(async () => browser.close());
      // By the clock a machine that others use is no measure, and trying again does not help.
      const isBusy = (loadavg()[0] ?? 0) > 2 * availableParallelism();
      const tried: PageFigures[] = [];
      while (tried.length < (isBusy ? 1 : MOST_TRIES) && !tried.some(isInTime))
        tried.push(await measured(browser, root));
      for (const figures of tried) {
        expect(figures.isZoomed).toBe(true);
        expect(figures.taskCount).toBeGreaterThan(20);
        // Of the processor: what waits for one is no slower for that.
        expect(figures.openProcessorMs).toBeGreaterThan(10);
        expect(figures.openProcessorMs).toBeLessThan(1000);
        expect(figures.longestTaskProcessorMs).toBeGreaterThan(0);
        expect(figures.longestTaskProcessorMs).toBeLessThan(50);
        expect(figures.heapBytes).toBeGreaterThan(1e6);
        expect(figures.heapBytes).toBeLessThan(200e6);
      }
      if (isBusy)
        console.info(`a busy machine, times by its clock are not held: ${JSON.stringify(tried)}`);
      else expect(tried.some(isInTime), JSON.stringify(tried)).toBe(true);
    },
    120_000,
  );

async function measured(browser: Browser, root: string): Promise<PageFigures> {
  const [server, address] = await dashboardOf(root);
  try {
    return await measurePage(browser, address, {
      ...{ runCount: RUN_COUNT, settleMs: 1000, watchMs: 1000 },
    });
  } finally {
    server.kill("SIGKILL");
  }
}

function isInTime({ openMs, zoomMs, longestTaskMs }: PageFigures): boolean {
  return openMs < 2000 && zoomMs < 100 && longestTaskMs < 50;
}
