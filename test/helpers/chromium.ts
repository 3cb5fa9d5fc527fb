import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import type { Browser } from "playwright-core";

const PLACES = [
  process.env["CHROMIUM"] ?? "",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/** The browser of this machine; none is downloaded. */
export const CHROMIUM = PLACES.find((path) => path !== "" && existsSync(path));

/** Why a test that needs a browser does not run, or nothing. */
export const NO_BROWSER =
  CHROMIUM === undefined ? "no Chromium here: install one, or name it in CHROMIUM" : undefined;

export async function openBrowser(): Promise<Browser> {
  if (CHROMIUM === undefined) throw new Error(NO_BROWSER);
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}
