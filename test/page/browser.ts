import { accessSync, constants } from "node:fs";
import type { ChildProcess } from "node:child_process";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import { expect, onTestFinished } from "vitest";
import { startCli } from "../helpers/cli.ts";

/** The system's Chromium; nothing is downloaded. */
export function chromiumPath(): string | undefined {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    for (const name of names) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not there.
      }
    }
  }
  return undefined;
}

export async function launchBrowser(executablePath: string): Promise<Browser> {
  const isRoot = process.getuid?.() === 0;
  return await chromium.launch({
    executablePath,
    // Chromium's sandbox does not start for root; the pages are our own.
    args: ["--disable-dev-shm-usage", ...(isRoot ? ["--no-sandbox"] : [])],
  });
}

export interface OpenOptions {
  readonly width?: number;
  readonly colorScheme?: "light" | "dark";
  /** As a tab that had the page before, without its key. */
  readonly withKey?: boolean;
}

/** A page without errors: whatever it prints as one fails the test. */
export async function openPage(
  browser: Browser,
  address: string,
  path: string,
  { width = 1280, colorScheme = "light", withKey = true }: OpenOptions = {},
): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  page.setDefaultTimeout(20_000);
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => {
    // A server that is away, and what it refuses, are told by the page itself.
    if (message.type() === "error" && !/net::ERR_|status of (401|404|422)/.test(message.text()))
      problems.push(message.text());
  });
  onTestFinished(async () => {
    await page.close();
    expect(problems).toEqual([]);
  });
  const [base = "", key = ""] = address.split("#");
  await page.goto(
    withKey ? `${base}#${path}${path.includes("/") ? "&" : ""}${key}` : `${base}#${path}`,
  );
  return page;
}

/** A dashboard as a process of its own, and its address. */
export async function dashboardOf(runs: string, port = "0"): Promise<[ChildProcess, string]> {
  const child = startCli(["dashboard", "--runs-dir", runs, "--port", port, "--json"]);
  const line = await new Promise<string>((resolve, reject) => {
    let errors = "";
    child.stderr?.on("data", (piece: Buffer) => (errors += piece.toString()));
    child.stdout?.once("data", (piece: Buffer) => resolve(piece.toString()));
    child.once("exit", () => reject(new Error(`the dashboard ended: ${errors}`)));
  });
  return [child, (JSON.parse(line) as { address: string }).address];
}
