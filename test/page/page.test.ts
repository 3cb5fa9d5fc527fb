import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { EventLog, readEvents, eventsPath } from "../../src/runs/event-log.ts";
import { listCheckpoints } from "../../src/runs/checkpoint.ts";
import { byteTokenizer, CHAT_TEMPLATES, withChatTemplate } from "../../src/text/index.ts";
import { buildDouble } from "../engine/ane/double-library.ts";
import { pathWith } from "../helpers/fake-commands.ts";
import { tinyModelFolder } from "../helpers/model-folder.ts";
import { MACMON } from "../track/fake-meters.ts";
import { finished, startCli, tinyTraining } from "../helpers/cli.ts";
import { chromiumPath, dashboardOf, launchBrowser, openPage } from "./browser.ts";
import type { OpenOptions } from "./browser.ts";

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
  let metered: Promise<{ readonly code: number | null; readonly stderr: string }>;
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
    mkdirSync(join(root, "bin"));
    writeFileSync(join(root, "bin", "macmon"), MACMON, { mode: 0o755 });
    // One through the driver's double, beside a power meter that is none; one that answers chats.
    metered = finished(
      startCli(
        tinyTraining(root, join(runs, "metered"), [
          ...["--engine", "ane", "--max-steps", "30", "--logging-steps", "5", "--save-steps", "0"],
        ]),
        {
          PATH: pathWith(join(root, "bin")),
          ANECDOTE_POWER: "macmon",
          ANECDOTE_ANE_LIBRARY: buildDouble("e5rt"),
          ANECDOTE_ANE_CHIP: "m4",
          ANECDOTE_CACHE_DIR: join(root, "cache"),
        },
      ),
    );
    talkingRun(join(runs, "talker"));
    [server, address] = await dashboardOf(runs);
    browser = await launchBrowser(CHROMIUM ?? "");
  });
  afterAll(async () => {
    await browser?.close();
    for (const child of [server, training]) if (child?.exitCode === null) child.kill("SIGKILL");
    rmSync(root, { recursive: true, force: true });
  });

  const opened = async (path: string, options: OpenOptions = {}): Promise<Page> =>
    openPage(browser, address, path, options);

  /** A file that was sent to somebody: it is opened without a network, and asks for nothing. */
  async function opensAlone(path: string, heading: string): Promise<void> {
    const html = join(root, "sent.html");
    writeFileSync(html, readFileSync(path));
    const context = await browser.newContext({ offline: true });
    const page = await context.newPage();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    page.on("console", (message) => asked.push(message.text()));
    await page.goto(`file://${html}`);
    await page.getByRole("heading", { level: 1, name: heading }).waitFor();
    expect(await page.locator("svg").count()).toBeGreaterThan(1);
    expect(await page.locator("script").count()).toBe(0);
    expect(asked).toEqual([`file://${html}`]);
    await context.close();
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
    await expect.poll(step, PATIENT).not.toBe(stepBefore);
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
    await page.getByRole("button", { name: "draw none" }).click();
    for (const name of ["first", "second"]) await page.getByLabel(`draw ${name}`).check();
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
    // What was trained depends on when it was stopped; an end of text is never the likeliest.
    await page.getByLabel("temperature").fill("0");
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

  it("shows what a meter and an engine told, and each dispatch as measured and as predicted", async () => {
    const { code, stderr } = await metered;
    expect(code, stderr).toBe(0);
    const page = await opened("/run/metered");
    for (const name of ["engine share", "TFLOPS", "watts", "joules a token"])
      await page.getByRole("img", { name: new RegExp(`^${name}: `) }).waitFor();
    await page.locator(".tile", { hasText: "power" }).getByText("3.5 W").waitFor();
    await page.getByRole("link", { name: "Plan" }).click();
    await page.getByRole("region", { name: "Timeline, measured" }).waitFor();
    const table = page.getByRole("region", { name: "Times measured and predicted" });
    await page.getByText("each dispatch, measured and predicted").click();
    const rows = await table.locator("tbody tr").allInnerTexts();
    const blocks = rows.filter((row) => /\bforward block\.0/.test(row));
    expect(blocks).toHaveLength(1);
    expect(blocks[0]).toMatch(/block_forward.*\d ms.*\d ms/s);
  });

  it("shows a program's MIL when it is clicked on, in the timeline and in the data flow", async () => {
    const page = await opened("/run/metered/plan");
    const program = page.locator("#program pre");
    for (const picture of ["Timeline, measured", "Timeline, predicted", "Data flow"]) {
      const part = page
        .getByRole("region", { name: picture })
        .locator('[data-key="block_forward"]')
        .first();
      await part.click();
      await expect.poll(async () => program.innerText(), PATIENT).toMatch(/^program\(.*fp16/s);
      expect(await page.locator("#program h2").innerText()).toBe("block_forward");
      await page.locator("#program").getByLabel("as").selectOption("the plan has it");
      expect(await program.innerText()).toContain("fp32");
      await page.getByRole("button", { name: "close" }).click();
    }
  });

  it("gives a run's report and looks into files, as one file holds it", async () => {
    expect((await metered).code).toBe(0);
    const page = await opened("/run/metered");
    const [report] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "report" }).click(),
    ]);
    expect(report.suggestedFilename()).toBe("metered.html");
    await opensAlone(await report.path(), "Run metered");
    await page.getByRole("link", { name: "Files" }).click();
    await page.getByLabel("files", { exact: true }).setInputFiles({
      ...{ name: "small.mil", mimeType: "text/plain", buffer: Buffer.from(SMALL_PROGRAM) },
    });
    const article = page.getByRole("article", { name: "Report of small.mil" });
    await article.getByText("Cost of main on M4").waitFor();
    await page.getByRole("form", { name: "What is asked" }).locator("select").selectOption("M1");
    await article.getByText("Cost of main on M1").waitFor();
    const [saved] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "save as one HTML file" }).click(),
    ]);
    await opensAlone(await saved.path(), "small.mil");
    const file = readFileSync(await saved.path(), "utf8").replace(/<style>.*<\/style>/s, "");
    // The same drawings, as the browser has read both.
    const drawn = "[...document.querySelectorAll('article svg')].map((svg) => svg.outerHTML)";
    const ofFile = `[...new DOMParser().parseFromString(${JSON.stringify(file)}, "text/html").querySelectorAll("svg")].map((svg) => svg.outerHTML)`;
    expect(await page.evaluate(drawn)).toEqual(await page.evaluate(ofFile));
    await page.getByText(/in the folder of runs/).click();
    await page.getByRole("button", { name: "talker/checkpoint-2" }).click();
    await page.getByText(/one token, with a cache of/).waitFor();
    await page.getByLabel("files", { exact: true }).setInputFiles({
      ...{ name: "broken.onnx", mimeType: "", buffer: Buffer.from("nothing") },
    });
    await page.getByRole("alert").getByText("broken.onnx").waitFor();
  }, 60_000);

  it("talks with a model that has a chat template, turn by turn, with two checkpoints at once", async () => {
    const page = await opened("/playground/talker");
    await page.getByLabel("you say").fill("Hello");
    await page.getByLabel("tokens").fill("5");
    await page.getByLabel("temperature").fill("0");
    await page.getByLabel("beside").selectOption("checkpoint-1");
    await page.getByLabel("you say").press("Enter");
    const answer = (step: number) =>
      page.locator(".columns").getByRole("article", { name: `Answer of checkpoint-${step}` });
    for (const step of [2, 1])
      await answer(step).getByText("stopped at the number of tokens").waitFor({ timeout: 30_000 });
    const texts = [await answer(2).locator(".output").innerText()];
    texts.push(await answer(1).locator(".output").innerText());
    expect(texts[0]).not.toBe(texts[1]);
    await answer(2).locator(".token").first().hover();
    expect(await answer(2).locator(".chances").innerText()).toMatch(/\d\.\d %/);
    await page.getByRole("button", { name: "go on with this answer" }).click();
    expect(await page.locator(".turns li").count()).toBe(2);
    await page.getByLabel("you say").fill("And then?");
    await page.getByRole("button", { name: "write", exact: true }).click();
    await answer(2).getByText("stopped at the number of tokens").waitFor();
  }, 60_000);

  const PATHS = [
    ...["/", "/run/first", "/run/first/samples", "/run/first/checkpoints", "/run/first/settings"],
    ...["/run/metered/plan", "/compare/first,second", "/playground/talker", "/engine", "/files"],
  ];

  it("has names, contrast and an order that axe finds nothing wrong with, light and dark, wide and on a phone", async () => {
    for (const width of [1280, 375]) {
      const page = await opened("/", { width });
      // The policy lets no script in; axe comes by the debugger, which it does not bind.
      await page.evaluate(readFileSync(AXE, "utf8"));
      const found = async (rules: string): Promise<unknown> =>
        page.evaluate(
          `axe.run(document, ${rules}).then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes.map((node) => node.html).join(" | ").slice(0, 300)))`,
        );
      for (const path of PATHS) {
        await visit(page, path);
        const across = await page.evaluate("document.documentElement.scrollWidth");
        expect([path, across]).toEqual([path, width]);
        await page.emulateMedia({ colorScheme: "light" });
        expect([path, width, "light", await found("{}")]).toEqual([path, width, "light", []]);
        // The same page in other colours: nothing else can have changed.
        await page.emulateMedia({ colorScheme: "dark" });
        const dark = await found('{ runOnly: ["color-contrast"] }');
        expect([path, width, "dark", dark]).toEqual([path, width, "dark", []]);
      }
    }
  }, 120_000);

  it("lets whoever has no mouse reach all that can be used", async () => {
    const page = await opened("/");
    for (const path of ["/", "/run/metered/plan", "/playground/talker", "/files"]) {
      await visit(page, path);
      // Each gets a number, once what answers bring has come; every one of them has to be met by Tab.
      const count = await page.evaluate(`(async () => {
        const usable = "a[href], button, input, select, textarea, summary, [tabindex='0']";
        const find = () => [...document.querySelectorAll(usable)].filter((element) =>
          !element.disabled && element.checkVisibility() && element.type !== "file");
        let seen = [];
        for (let now = find(); now.length !== seen.length || now.some((one, at) => one !== seen[at]); now = find()) {
          seen = now;
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
        seen.forEach((element, index) => element.setAttribute("data-reach", index));
        document.activeElement?.blur();
        return seen.length;
      })()`);
      const met = new Set<string>();
      for (let press = 0; press < Number(count) + 5; press++) {
        await page.keyboard.press("Tab");
        met.add(String(await page.evaluate('document.activeElement?.getAttribute("data-reach")')));
      }
      met.delete("null");
      expect([path, met.size]).toEqual([path, count]);
    }
  });

  /** Goes to another place of a page that is open, and waits until it is drawn. */
  async function visit(page: Page, path: string): Promise<void> {
    await page.evaluate(`location.hash = ${JSON.stringify(`#${path}`)}`);
    await page.locator("main .panel").first().waitFor();
    await page.locator(".waiting").first().waitFor({ state: "detached" });
    // Charts take the size of what is around them once that is there.
    await page.evaluate(
      "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))",
    );
  }
});

function copyRun(from: string, to: string, change: (config: string) => string): void {
  mkdirSync(to);
  writeFileSync(eventsPath(to), readFileSync(eventsPath(from)));
  writeFileSync(join(to, "config.yaml"), change(readFileSync(join(from, "config.yaml"), "utf8")));
}

/** Two checkpoints of a model that was not trained, with a template for chats. */
function talkingRun(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const described = withChatTemplate(byteTokenizer(), CHAT_TEMPLATES.plain);
  for (const [index, size] of [32, 64].entries())
    tinyModelFolder(join(folder, `checkpoint-${index + 1}`), {
      ...{ described, contextLength: 256, config: { intermediate_size: size } },
    });
  const log = new EventLog(eventsPath(folder));
  log.append({ kind: "notice", step: 2, message: "made" });
  log.close();
}

const SMALL_PROGRAM = `program(1.3)
{
    func main<ios18>(tensor<fp16, [8, 64]> x) {
        tensor<fp16, [8, 64]> y = relu(x = x)[name = string("y")];
    } -> (y);
}
`;
