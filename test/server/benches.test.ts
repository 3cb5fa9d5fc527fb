import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startDashboard } from "../../src/server/dashboard.ts";
import type { BenchRow, BenchView } from "../../src/server/benches/views.ts";
import { runCli, temporaryFolder } from "../helpers/cli.ts";

it("reports of bench engine in the folder of runs are listed, and drawn as their own file is", async () => {
  const root = temporaryFolder();
  const runs = join(root, "runs");
  const bench = join(runs, "predicted");
  const { code, stderr } = await runCli(
    ["bench", "engine", "--engine", "sim:m4", "--quick", "--suite", "latency"].concat(
      "--output-dir",
      bench,
    ),
  );
  expect([code, stderr]).toEqual([0, expect.anything()]);
  mkdirSync(join(runs, "other"));
  writeFileSync(join(runs, "other", "report.json"), '{"schema":"of somebody else"}');
  symlinkSync(root, join(runs, "out"));
  writeFileSync(join(root, "report.json"), readFileSync(join(bench, "report.json")));
  const dashboard = await startDashboard({ runsFolder: runs, port: 0 });
  try {
    const ask = async (path: string): Promise<Response> => fetch(dashboard.url + path);
    const rows = (await (await ask("/api/benches")).json()) as BenchRow[];
    expect(rows.map(({ id, kind }) => [id, kind])).toEqual([["predicted", "predicted"]]);
    const view = (await (await ask("/api/benches/predicted")).json()) as BenchView;
    const file = readFileSync(join(bench, "report.html"), "utf8");
    for (const part of view.html.split("\n<section"))
      expect(file).toContain(part.trim().slice(0, 2000));
    expect(view.html).not.toMatch(/<script|style=/);
    expect((await ask("/api/benches/other")).status).toBe(422);
    expect((await ask("/api/benches/out")).status).toBe(404);
    expect((await ask("/api/benches/..%2f..")).status).toBe(404);
    const { svg } = (await (await ask("/api/chips/m1/roofline")).json()) as { svg: string };
    expect(svg).toContain("Roofline of M1");
    expect((await ask("/api/chips/m77/roofline")).status).toBe(404);
  } finally {
    await dashboard.close();
  }
});
