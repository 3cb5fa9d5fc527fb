import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { readEvents, eventsPath } from "../../src/runs/event-log.ts";
import { listCheckpoints } from "../../src/runs/checkpoint.ts";
import { finished, startCli, tinyTraining } from "../helpers/cli.ts";
import { chromiumPath, launchBrowser } from "./browser.ts";

const CHROMIUM = chromiumPath();
/** A machine may be busy with other things. */
const PATIENT = { timeout: 20_000 };
const AXE = fileURLToPath(import.meta.resolve("axe-core/axe.min.js"));

if (CHROMIUM === undefined)
  it.skip("the page: skipped, since there is no chromium on this machine's PATH", () => undefined);

describe.skipIf(CHROMIUM === undefined)("the page in a real browser", () => {
  let browser: Browser;
  let root: string;
  let runs: string;
  let training: ChildProcess;
  let trained: Promise<{ readonly code: number | null }>;
  let server: ChildProcess;
  let address: string;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "anecdote-page-"));
    runs = join(root, "runs");
    mkdirSync(runs);
    // It trains until it is stopped by the page.
    training = startCli(
      tinyTraining(root, join(runs, "first"), [
        ...["--max-steps", "1000000", "--logging-steps", "5", "--eval-steps", "200"],
        ...["--sample-steps", "400", "--sample-tokens", "8", "--save-steps", "0"],
        ...["--sample-prompt", "<b>a</b>"],
      ]),
    );
    trained = finished(training);
    [server, address] = await dashboardOf(runs);
    browser = await launchBrowser(CHROMIUM ?? "");
  });
  afterAll(async () => {
    await browser?.close();
    for (const child of [server, training]) if (child?.exitCode === null) child.kill("SIGKILL");
    rmSync(root, { recursive: true, force: true });
  });

  /** A page without errors: whatever it prints as one fails the test. */
  async function opened(
    path: string,
    {
      width = 1280,
      colorScheme = "light",
    }: { readonly width?: number; readonly colorScheme?: "light" | "dark" } = {},
  ): Promise<Page> {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    page.setDefaultTimeout(20_000);
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => {
      // A server that is away is told by the page itself.
      if (message.type() === "error" && !message.text().includes("net::ERR_"))
        problems.push(message.text());
    });
    onTestFinished(async () => {
      await page.close();
      expect(problems).toEqual([]);
    });
    const [base = "", key = ""] = address.split("#");
    await page.goto(`${base}#${path}${path.includes("/") ? "&" : ""}${key}`);
    return page;
  }

  const kindsOf = (): readonly string[] =>
    readEvents(eventsPath(join(runs, "first"))).map((event) =>
      event.kind === "control" ? event.command : event.kind,
    );

  it("shows a training's curves and has them move, without loading anything from elsewhere", async () => {
    const page = await browser.newPage();
    onTestFinished(async () => page.close());
    const hosts = new Set<string>();
    page.on("request", (request) => hosts.add(new URL(request.url()).host));
    await page.goto(address);
    await page.getByRole("link", { name: "first" }).click();
    await page.getByText("gradient norm").waitFor();
    const canvas = page.locator(".chart canvas").first();
    const picture = async (): Promise<string> =>
      canvas.evaluate((element) => (element as unknown as { toDataURL(): string }).toDataURL());
    const step = async (): Promise<string> => page.locator(".run-head .progress").innerText();
    const [before, stepBefore] = [await picture(), await step()];
    await expect.poll(picture, PATIENT).not.toBe(before);
    expect(await step()).not.toBe(stepBefore);
    expect(await page.getByRole("img", { name: /^loss: training \d/ }).count()).toBe(1);
    expect([...hosts]).toEqual([new URL(address).host]);
  });

  it("zooms by a drag and by keys, and shows all again", async () => {
    const page = await opened("/run/first");
    const chart = page.locator(".chart").first();
    await chart.locator(".u-over").waitFor();
    const all = page.getByRole("button", { name: "show all" });
    await expect.poll(async () => all.isDisabled(), PATIENT).toBe(true);
    const box = await chart.locator(".u-over").boundingBox();
    if (box === null) throw new Error("the chart is not drawn");
    await page.mouse.move(box.x + box.width * 0.3, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 60, { steps: 4 });
    await page.mouse.up();
    expect(await all.isEnabled()).toBe(true);
    await all.click();
    expect(await all.isDisabled()).toBe(true);
    await chart.focus();
    await page.keyboard.press("+");
    expect(await all.isEnabled()).toBe(true);
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("0");
    expect(await all.isDisabled()).toBe(true);
    for (const name of ["tokens", "seconds", "step"]) {
      await page.getByLabel("over").selectOption(name);
      await page.getByLabel("log scale").click();
    }
  });

  it("pauses, goes on and saves as it is asked", async () => {
    const page = await opened("/run/first");
    await page.getByRole("button", { name: "pause" }).click();
    await page.locator(".badge.paused").waitFor();
    const held = kindsOf().length;
    await delay(400);
    expect(kindsOf().length).toBe(held);
    await page.getByRole("button", { name: "save now" }).click();
    await expect.poll(kindsOf, PATIENT).toContain("save");
    const last = readEvents(eventsPath(join(runs, "first"))).at(-1)?.step ?? -1;
    expect(listCheckpoints(join(runs, "first")).map(({ step }) => step)).toEqual([last]);
    await page.getByRole("link", { name: "Checkpoints" }).click();
    await page.getByRole("rowheader", { name: `checkpoint-${last}` }).waitFor();
    await page.getByRole("button", { name: "resume" }).click();
    await page.locator(".badge.running").waitFor();
    await expect.poll(() => kindsOf().length, PATIENT).toBeGreaterThan(held + 8);
  });

  it("offers no action to a page without the key", async () => {
    const page = await browser.newPage();
    onTestFinished(async () => page.close());
    await page.goto(`${address.split("#")[0]}#/run/first`);
    await page.getByText("the key at the end of the printed address").waitFor();
    expect(await page.getByRole("button", { name: "pause" }).count()).toBe(0);
  });

  it("shows samples as text, whatever they hold", async () => {
    const page = await opened("/run/first/samples");
    await page.locator(".samples .text").first().waitFor();
    expect(await page.locator(".samples .text b b").count()).toBe(0);
    expect(await page.locator(".samples .text").first().innerText()).toContain("<b>a</b>");
  });

  it("comes back by itself when the server was killed and started again", async () => {
    const page = await opened("/run/first");
    await page.getByText("live", { exact: true }).waitFor();
    const port = new URL(address).port;
    server.kill("SIGKILL");
    await page.getByText("connection lost").waitFor();
    [server] = await dashboardOf(runs, port);
    await page.getByText("live", { exact: true }).waitFor({ timeout: 15_000 });
    const before = await page.locator(".run-head .progress").innerText();
    await expect
      .poll(async () => page.locator(".run-head .progress").innerText(), PATIENT)
      .not.toBe(before);
  });

  it("stops the training, which saves what it has", async () => {
    const page = await opened("/run/first");
    page.on("dialog", (dialog) => void dialog.accept());
    await page.getByRole("button", { name: "stop" }).click();
    await page.locator(".badge.stopped").waitFor({ timeout: 15_000 });
    expect((await trained).code).toBe(130);
    const end = readEvents(eventsPath(join(runs, "first"))).at(-1);
    expect(end?.kind).toBe("interrupted");
    expect(existsSync(join(runs, "first", `checkpoint-${end?.step ?? 0}`))).toBe(true);
    expect(existsSync(join(runs, "first", "control"))).toBe(false);
  });

  it("compares runs: curves, losses, and settings that differ", async () => {
    copyRun(join(runs, "first"), join(runs, "second"), (text) =>
      text.replace(/learning_rate: .*/, "learning_rate: 0.125"),
    );
    const page = await opened("/");
    await page.getByRole("link", { name: "compare 2 runs" }).click();
    await page
      .getByRole("row", { name: /learning_rate/ })
      .getByText("0.125")
      .waitFor();
    await page
      .getByRole("img", { name: /training loss: (first|second) \d.*(first|second) \d/ })
      .waitFor();
    expect(await page.getByRole("row", { name: /max_steps/ }).count()).toBe(0);
    await page.getByLabel("show all").click();
    expect(await page.getByRole("row", { name: /max_steps/ }).count()).toBe(1);
  });

  it("writes with a checkpoint, tells how likely each token was, and flips through checkpoints", async () => {
    const [older, newer] = listCheckpoints(join(runs, "first")).map(({ step }) => step);
    const page = await opened("/playground/first");
    await page.getByRole("textbox", { name: "prompt" }).fill("a");
    await page.getByLabel("tokens").fill("6");
    await page.getByLabel("beside").selectOption(`checkpoint-${older ?? 0}`);
    await page.getByRole("button", { name: "write", exact: true }).click();
    const answer = (step = 0) =>
      page.locator(".columns").getByRole("article", { name: `Answer of checkpoint-${step}` });
    for (const step of [newer, older]) {
      await answer(step).getByText("stopped at the number of tokens").waitFor({ timeout: 30_000 });
      expect(await answer(step).locator(".token").count()).toBeGreaterThanOrEqual(6);
    }
    await answer(newer).locator(".output").press("ArrowRight");
    expect(await answer(newer).locator(".chances meter").count()).toBeGreaterThan(3);
    expect(await answer(newer).locator(".chances").innerText()).toMatch(/\d\.\d %/);
    await page.getByRole("button", { name: "write with each" }).click();
    const slider = page.locator(".slider input");
    await expect.poll(async () => slider.inputValue(), PATIENT).toBe("1");
    await slider.press("ArrowLeft");
    const flipped = page
      .locator("section")
      .getByRole("article", { name: `Answer of checkpoint-${older ?? 0}` });
    await flipped.getByText("stopped at the number of tokens").waitFor();
  }, 90_000);

  it("can be read on a phone: nothing is wider than the screen", async () => {
    for (const path of [
      "/",
      "/run/first",
      "/run/first/settings",
      "/compare/first,second",
      "/playground/first",
      "/engine",
    ]) {
      const page = await opened(path, { width: 390 });
      await page.locator(".panel").first().waitFor();
      await delay(200);
      const width = await page.evaluate("document.documentElement.scrollWidth");
      expect([path, width]).toEqual([path, 390]);
    }
  });

  it("has names, contrast and an order that axe finds nothing wrong with, light and dark", async () => {
    const paths = ["/", "/run/first", "/run/first/samples", "/run/first/checkpoints"];
    const more = [
      "/run/first/settings",
      "/compare/first,second",
      "/run/first/plan",
      "/playground/first",
      "/engine",
    ];
    for (const [colorScheme, path] of [
      ...[...paths, ...more].map((path) => ["light", path] as const),
      ...["/", "/run/first"].map((path) => ["dark", path] as const),
    ]) {
      const page = await opened(path, { colorScheme });
      await page.locator(".panel").first().waitFor();
      await delay(200);
      // The policy lets no script in; axe comes by the debugger, which it does not bind.
      await page.evaluate(readFileSync(AXE, "utf8"));
      const found = await page.evaluate(
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ').slice(0, 300)}`))",
      );
      expect([path, colorScheme, found]).toEqual([path, colorScheme, []]);
    }
  }, 120_000);
});

/** A dashboard as a process of its own, and its address. */
async function dashboardOf(runs: string, port = "0"): Promise<[ChildProcess, string]> {
  const child = startCli(["dashboard", "--runs-dir", runs, "--port", port, "--json"]);
  const line = await new Promise<string>((resolve, reject) => {
    let errors = "";
    child.stderr?.on("data", (piece: Buffer) => (errors += piece.toString()));
    child.stdout?.once("data", (piece: Buffer) => resolve(piece.toString()));
    child.once("exit", () => reject(new Error(`the dashboard ended: ${errors}`)));
  });
  return [child, (JSON.parse(line) as { address: string }).address];
}

function copyRun(from: string, to: string, change: (config: string) => string): void {
  mkdirSync(to);
  writeFileSync(eventsPath(to), readFileSync(eventsPath(from)));
  writeFileSync(join(to, "config.yaml"), change(readFileSync(join(from, "config.yaml"), "utf8")));
}
