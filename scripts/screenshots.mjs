// Takes the pictures of docs/images/ that show the page: a folder of runs in Chromium, at the width of a screen and of a
// phone, light and dark.
//
//   node scripts/screenshots.mjs --runs-dir runs --run storyteller [--beside OTHER] [--only dashboard-files]
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values } = parseArgs({
  options: {
    "runs-dir": { type: "string", default: "runs" },
    run: { type: "string", default: "storyteller" },
    beside: { type: "string" },
    only: { type: "string" },
    prompt: { type: "string", default: "Once upon a time" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "docs", "images");
mkdirSync(folder, { recursive: true });

const server = spawn(
  process.execPath,
  [
    join(root, "bin", "anecdote.mjs"),
    ...["dashboard", "--runs-dir", values["runs-dir"], "--port", "0", "--json"],
  ],
  { stdio: ["ignore", "pipe", "inherit"] },
);
const line = await new Promise((resolve) => {
  server.stdout.once("data", (piece) => resolve(String(piece)));
});
const [base, key] = JSON.parse(line).address.split("#");
const browser = await chromium.launch({
  executablePath: values.chromium,
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});

/** One picture: `act` may do something on the page before. */
async function take(name, place, options, act = () => delay(1500)) {
  if (values.only !== undefined && values.only !== name) return;
  const { width = 1200, height = 780, colorScheme = "light" } = options;
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  await page.goto(`${base}#${place}&${key}`);
  await page.locator(".panel").first().waitFor();
  await act(page);
  await page.screenshot({ path: join(folder, `${name}.png`) });
  await page.close();
  process.stdout.write(`docs/images/${name}.png\n`);
}

try {
  const run = `/run/${values.run}`;
  await take("dashboard", run, {});
  await take("dashboard-dark", run, { colorScheme: "dark" });
  await take("dashboard-phone", run, { width: 390, height: 780 });
  await take("dashboard-runs", "/", { height: 640 });
  await take("dashboard-plan", `${run}/plan`, { height: 900 }, async (page) => {
    await page.getByText("data flow", { exact: true }).waitFor({ timeout: 60_000 });
    await page.getByText("timeline of one update").scrollIntoViewIfNeeded();
    await delay(500);
  });
  if (values.beside !== undefined)
    await take("dashboard-compare", `/compare/${values.run},${values.beside}`, { height: 900 });
  await take("dashboard-playground", `/playground/${values.run}`, { height: 700 }, async (page) => {
    await page.getByLabel("beside").waitFor();
    await delay(500);
    const names = await page
      .getByLabel("beside")
      .locator("option")
      .evaluateAll((options) => options.map((option) => option.value));
    await page.getByLabel("beside").selectOption(names[1] ?? "");
    await page.getByRole("textbox", { name: "prompt" }).fill(values.prompt);
    await page.getByRole("button", { name: "write", exact: true }).click();
    await delay(500);
    await page
      .getByRole("button", { name: "write", exact: true })
      .and(page.locator(":enabled"))
      .waitFor({ timeout: 90_000 });
    await page.locator(".token").nth(6).hover();
    await delay(300);
  });
  await take("dashboard-slider", `/playground/${values.run}`, { height: 560 }, async (page) => {
    await page.getByRole("textbox", { name: "prompt" }).fill(values.prompt);
    await page.getByRole("button", { name: "write with each" }).click();
    await page
      .getByRole("button", { name: "write with each" })
      .and(page.locator(":enabled"))
      .waitFor({ timeout: 180_000 });
    const slider = page.locator(".slider input");
    await slider.press("ArrowLeft");
    await slider.press("ArrowLeft");
    await slider.scrollIntoViewIfNeeded();
    await page.getByRole("region", { name: "Through the checkpoints" }).scrollIntoViewIfNeeded();
    await delay(300);
  });
  await take("dashboard-files", "/files", { height: 900 }, async (page) => {
    await page.getByText(/in the folder of runs/).click();
    await page
      .getByRole("button", { name: new RegExp(`^${values.run}/checkpoint-`) })
      .last()
      .click();
    await page.locator("article svg").first().waitFor({ timeout: 90_000 });
    await page.getByText(/in the folder of runs/).click();
    await page.evaluate("scrollTo(0, 0)");
    await page
      .getByRole("heading", { name: /^Cost/ })
      .first()
      .evaluate((heading) => scrollTo(0, heading.getBoundingClientRect().top - 70));
    await delay(500);
  });
} finally {
  await browser.close();
  server.kill();
}
