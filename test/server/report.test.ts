import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EventLog, eventsPath } from "../../src/runs/event-log.ts";
import { runReport } from "../../src/server/report/run-report.ts";
import { runCli, temporaryFolder } from "../helpers/cli.ts";

function aRun(): string {
  const folder = join(temporaryFolder(), "small");
  mkdirSync(folder);
  writeFileSync(
    join(folder, "config.yaml"),
    "preset: storyteller\nengine: cpu\nbatch_size: 2\nmax_seq_length: 64\n",
  );
  const log = new EventLog(eventsPath(folder));
  log.append({
    ...{ kind: "start", version: 2, step: 0, max_steps: 100, run: "r", engine: "cpu" },
    ...{ device: "A <b>chip</b>", runtime: "r", threads: 1, parameters: 7, tokens_per_step: 128 },
    ...{ train_tokens: 1, eval_tokens: 1, plan_bytes: 1, preset: "storyteller" },
  });
  for (let step = 1; step <= 50; step++)
    log.append({
      ...{ kind: "step", step, train_loss: 5 / step, learning_rate: 1e-3, gradient_norm: 1 },
      ...{ tokens_per_second: 1280, iterations_per_second: 1, trained_tokens: step * 128 },
      eta_seconds: 1,
    });
  log.append({ kind: "sample", step: 50, prompt: "Once", text: "<script>alert(1)</script>" });
  log.append({
    kind: "timings",
    step: 50,
    dispatches: [{ section: "forward_backward", label: "all", runs: 50, elapsed_ms: 500 }],
  });
  log.close();
  return folder;
}

describe("a run's report", () => {
  it("is one file that fetches nothing, runs nothing, and shows text as text", async () => {
    const html = await runReport(aRun());
    expect(html).not.toMatch(/<script|<link|<img|<iframe|(?:src|href)=/);
    expect(
      html.match(/https?:\/\/[^"\s<]+/g)?.filter((url) => !url.includes("www.w3.org")) ?? [],
    ).toEqual([]);
    expect(html).toContain("Once&lt;script&gt;alert(1)&lt;/script&gt;");
    expect(html).toContain("A &lt;b&gt;chip&lt;/b&gt;");
    expect(html).toContain("default-src &#39;none&#39;".replaceAll("&#39;", "'"));
  });

  it("holds curves, what was measured beside what is predicted, where programs run, and settings", async () => {
    const html = await runReport(aRun(), "m1");
    expect(html).toContain('aria-label="loss. loss over steps"');
    expect(html).toContain("measured, cpu");
    expect(html).toMatch(/measured, cpu<\/th><td>100 ms<\/td><td>1280<\/td>/);
    expect(html).toContain("predicted, M1");
    expect(html).toContain("all: 10.0 ms measured");
    expect(html).toContain("host kernel adamw");
    expect(html).toContain("max_seq_length");
  });

  it("is written by a command, never over a file that is there", async () => {
    const folder = aRun();
    const output = join(folder, "..", "out.html");
    const first = await runCli(["report", folder, "--output", output, "--json"]);
    expect(JSON.parse(first.stdout)).toMatchObject({ output });
    expect(readFileSync(output, "utf8")).toContain("Run small");
    const second = await runCli(["report", folder, "--output", output]);
    expect(second.code).not.toBe(0);
    expect(second.stderr).toContain("--overwrite");
    const none = await runCli(["report", "smal", "--runs-dir", join(folder, "..")]);
    expect(none.stderr).toContain("small");
    expect(existsSync("small.html")).toBe(false);
  });
});
