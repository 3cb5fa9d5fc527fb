import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { eventsPath } from "../../src/runs/event-log.ts";
import { RunControl } from "../../src/runs/run-control.ts";
import { RunLock } from "../../src/runs/run-lock.ts";
import { startDashboard } from "../../src/server/dashboard.ts";
import type { RunningDashboard } from "../../src/server/dashboard.ts";
import { START, appendRun, evaluation, report } from "../helpers/run-logs.ts";
import { chromiumPath, launchBrowser, openPage } from "./browser.ts";
import type { OpenOptions } from "./browser.ts";

const CHROMIUM = chromiumPath();

if (CHROMIUM === undefined)
  it.skip("the page beside what goes wrong: skipped, since there is no chromium on this machine's PATH", () =>
    undefined);

describe.skipIf(CHROMIUM === undefined)("the page beside what goes wrong", () => {
  let browser: Browser;
  let root: string;
  let dashboard: RunningDashboard;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "anecdote-odd-page-"));
    dashboard = await startDashboard({ runsFolder: root, port: 0 });
    browser = await launchBrowser(CHROMIUM ?? "");
  });
  afterAll(async () => {
    await browser?.close();
    await dashboard?.close();
    rmSync(root, { recursive: true, force: true });
  });

  const opened = async (path: string, options: OpenOptions = {}): Promise<Page> =>
    openPage(browser, dashboard.address, path, options);

  /** A run that this process holds, as if it trained there. */
  function running(id: string): { readonly control: RunControl; readonly folder: string } {
    const folder = appendRun(root, id, [START, report(1), report(2)]);
    const lock = RunLock.take(folder);
    const control = RunControl.open(folder);
    onTestFinished(() => {
      control.close();
      lock.release();
    });
    return { control, folder };
  }

  it("says that there are no runs yet, and shows the first as it begins", async () => {
    const page = await opened("/");
    await page.getByText("There are no runs in").waitFor();
    await page.clock.install();
    appendRun(root, "begun", [START, report(1)]);
    await page.clock.fastForward(2500);
    await page.getByRole("link", { name: "begun" }).click();
    // One point is something to see.
    await page.getByRole("img", { name: "loss: training 1" }).waitFor();
  });

  it("goes to runs of any name, and compares them", async () => {
    const names = ["a,b", "100%", "a%20b", "a b#?&=c", "<b>x&amp;", "..a", "a\\b", "w".repeat(200)];
    for (const name of names) appendRun(root, name, [START, report(1), report(2)]);
    const page = await opened("/");
    for (const name of names) {
      await page.getByRole("link", { name, exact: true }).click();
      await page.getByRole("heading", { name: `${name} died` }).waitFor();
      await page.goBack();
    }
    await page.getByRole("button", { name: "draw none" }).click();
    for (const name of ["a,b", "100%"]) await page.getByLabel(`draw ${name}`).check();
    await page.getByRole("link", { name: "compare 2 runs" }).click();
    await page.getByRole("img", { name: /training loss: (?=.*a,b \d).*100% \d/ }).waitFor();
    await page.setViewportSize({ width: 375, height: 700 });
    for (const path of ["/", `/run/${"w".repeat(200)}`, "/run/..a/settings"]) {
      await page.evaluate(`location.hash = ${JSON.stringify(`#${path}`)}`);
      await page.locator("main .panel").first().waitFor();
      expect([path, await page.evaluate("document.documentElement.scrollWidth")]).toEqual([
        path,
        375,
      ]);
    }
  });

  it("shows a run that it cannot read as such, among those that it can", async () => {
    const later = appendRun(root, "later", []);
    writeFileSync(eventsPath(later), `${JSON.stringify({ t: 1, ...START, version: 99 })}\n`);
    const unset = appendRun(root, "unset", [report(1)]);
    writeFileSync(join(unset, "config.yaml"), "a: [1\nb: }{");
    const page = await opened("/");
    const row = page.getByRole("row", { name: /later/ });
    await row.getByText("unreadable").waitFor();
    await row.getByText("is of version 99").waitFor();
    await page.getByRole("link", { name: "unset" }).click();
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByRole("alert").getByText("config.yaml cannot be read").waitFor();
    await page.getByRole("link", { name: "Curves" }).click();
    await page.getByRole("img", { name: "loss: training 1" }).waitFor();
  });

  it("sets a run's settings beside another's", async () => {
    for (const [id, rate] of [
      ["set-a", 0.1],
      ["set-b", 0.2],
    ] as const) {
      const folder = appendRun(root, id, [report(1)]);
      writeFileSync(join(folder, "config.yaml"), `learning_rate: ${rate}\nseed: 1\n`);
    }
    const page = await opened("/run/set-a/settings");
    await page.getByRole("row", { name: "seed 1" }).waitFor();
    await page.getByLabel("beside").selectOption("set-b");
    await page.getByRole("row", { name: "learning_rate 0.1 0.2" }).waitFor();
    expect(await page.getByRole("row", { name: /seed/ }).count()).toBe(0);
  });

  it("follows a run through a resume that goes back, on two pages at once", async () => {
    const { folder } = running("back");
    const pages = [await opened("/run/back"), await opened("/run/back")];
    const shows = async (text: string): Promise<void> => {
      for (const page of pages) await page.getByRole("img", { name: text, exact: true }).waitFor();
    };
    await shows("gradient norm: norm 1");
    for (const page of pages) {
      await page.getByText("live", { exact: true }).waitFor();
      await page.getByLabel("smoothing").fill("0");
    }
    appendRun(root, "back", [report(3, 9), evaluation(3, 8)]);
    await shows("loss: training 9, validation 8");
    // What was told of step 3 holds no longer, its evaluation included.
    appendRun(root, "back", [{ kind: "rewind", step: 2 }, { ...START, step: 2 }, report(3, 7)]);
    await shows("loss: training 7");
    appendRun(root, "back", [{ kind: "control", step: 3, command: "pause" }]);
    for (const page of pages) await page.locator(".badge.paused").waitFor();
    expect(folder).toContain("back");
  });

  it("says that a run's folder is gone, and shows what comes in its place", async () => {
    const folder = appendRun(root, "gone", [START, report(1)]);
    const page = await opened("/run/gone");
    await page.clock.install();
    await page.getByRole("img", { name: "loss: training 1" }).waitFor();
    rmSync(folder, { recursive: true });
    await page.getByText("This run's folder is gone").waitFor();
    expect(await page.getByRole("img", { name: "loss: training 1" }).count()).toBe(1);
    appendRun(root, "gone", [START, report(1, 3), report(2, 3)]);
    await page.clock.fastForward(3500);
    await page.getByRole("img", { name: "loss: training 3" }).waitFor();
    await page.getByText("This run's folder is gone").waitFor({ state: "detached" });
  });

  it("asks for the key of a server that was started with another one, and takes it as it is pasted", async () => {
    const { control } = running("keyed");
    const page = await opened("/run/keyed");
    await page.getByRole("button", { name: "pause" }).waitFor();
    const { port } = dashboard;
    const swapped = appendRun(root, "swapped", [START, report(1, 1), report(2, 1)]);
    const other = await opened("/run/swapped");
    await other.getByRole("img", { name: "loss: training 1" }).waitFor();
    await dashboard.close();
    rmSync(join(root, ".page-key"));
    // Another run takes the place of the first one meanwhile: nothing of that one is left on its page.
    rmSync(swapped, { recursive: true });
    appendRun(root, "swapped", [START, report(1, 3), report(2, 3), report(3, 3)]);
    dashboard = await startDashboard({ runsFolder: root, port });
    await other.getByRole("img", { name: "loss: training 3", exact: true }).waitFor();
    await page.getByText("live", { exact: true }).waitFor();
    await page.getByRole("button", { name: "pause" }).click();
    await page.getByLabel("the server wants a key that this page has not").fill(dashboard.address);
    expect(control.take()).toEqual([]);
    await page.getByRole("button", { name: "use it" }).click();
    await page.getByRole("button", { name: "pause" }).click();
    await expect.poll(() => control.take()).toEqual(["pause"]);
  });

  it("offers no action without the key, and takes the printed address in a tab that has the page already", async () => {
    const { control } = running("again");
    const page = await opened("/run/again", { withKey: false });
    await page.getByText("the key at the end of the printed address").waitFor();
    expect(await page.getByRole("button", { name: "save now" }).count()).toBe(0);
    await page.goto(dashboard.address);
    await page.getByRole("link", { name: "again" }).click();
    await page.getByRole("button", { name: "save now" }).click();
    await expect.poll(() => control.take()).toEqual(["save"]);
    expect(page.url()).not.toContain("key");
  });

  it("gives its connection back while nobody looks, and goes on when somebody does", async () => {
    running("hidden");
    const page = await opened("/", {});
    await page.clock.install();
    await page.getByRole("link", { name: "hidden" }).click();
    await page.getByText("live", { exact: true }).waitFor();
    const hide = async (isHidden: boolean): Promise<void> => {
      await page.evaluate(
        `Object.defineProperty(document, "hidden", { value: ${isHidden}, configurable: true }); document.dispatchEvent(new Event("visibilitychange"))`,
      );
    };
    const ended = page.waitForEvent("requestfailed", (request) =>
      request.url().endsWith("/events"),
    );
    await hide(true);
    await page.clock.fastForward(6000);
    await ended;
    appendRun(root, "hidden", [report(3, 4)]);
    await hide(false);
    await page.getByText("4.0000").waitFor();
  });
});
