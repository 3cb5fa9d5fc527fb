import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventsPath } from "../../src/runs/event-log.ts";
import { startDashboard } from "../../src/server/dashboard.ts";
import type { RunningDashboard } from "../../src/server/dashboard.ts";
import type {
  ComparisonView,
  RunDetail,
  RunList,
  SeriesView,
} from "../../src/server/runs/views.ts";
import { START, appendRun, evaluation, report } from "../helpers/run-logs.ts";

let root: string;
let dashboard: RunningDashboard;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "anecdote-odd-"));
  dashboard = await startDashboard({ runsFolder: root, port: 0 });
});
afterAll(async () => {
  await dashboard.close();
  rmSync(root, { recursive: true, force: true });
});

/** An answer and its status. */
async function ask<Value>(path: string): Promise<readonly [number, Value]> {
  const response = await fetch(dashboard.url + path);
  return [response.status, (await response.json()) as Value];
}

async function json<Value>(path: string): Promise<Value> {
  const [status, value] = await ask<Value>(path);
  expect([status, path, status === 200 ? "" : value]).toEqual([200, path, ""]);
  return value;
}

const rowOf = async (id: string) =>
  (await json<RunList>("/api/runs")).runs.find((run) => run.id === id);

async function curve(id: string, query: string) {
  const path = `/api/runs/${encodeURIComponent(id)}/series?${query}`;
  return (await json<SeriesView>(path)).curves[0];
}

describe("odd runs over HTTP", () => {
  it("are found by any name that a folder can have", async () => {
    const names = [
      "a,b",
      "100%",
      "a%20b",
      "a b#?&=c",
      "ä日本😀",
      `'"<b>`,
      "..a",
      "-rf",
      "a\\b",
      "n\nl",
    ];
    for (const name of [...names, "__proto__", "constructor"]) {
      appendRun(root, name, [report(1)]);
      const id = encodeURIComponent(name);
      expect((await json<RunDetail>(`/api/runs/${id}`)).run.id).toBe(name);
      expect(await curve(name, "names=train_loss")).toMatchObject({ x: [1], y: [1] });
      const compared = await json<ComparisonView>(`/api/comparison?run=${id}&run=${id}`);
      expect(compared.runs[0]).toMatchObject({ id: name, x: [1] });
      await json(`/api/settings?run=${id}`);
    }
  });

  it("that cannot be read say why, and leave the list and the curves of the others alone", async () => {
    appendRun(root, "whole", [START, report(1)]);
    const later = appendRun(root, "later", []);
    writeFileSync(eventsPath(later), `${JSON.stringify({ t: 1, ...START, version: 99 })}\n`);
    expect(await rowOf("later")).toMatchObject({
      state: "unreadable",
      problem: expect.stringContaining("version 99"),
    });
    expect(await rowOf("whole")).toMatchObject({ problem: null, trainLoss: 1 });
    const view = await json<ComparisonView>("/api/comparison?runs=later,whole");
    expect(view.runs).toMatchObject([
      { id: "later", x: [], isWhole: true },
      { id: "whole", x: [1], isWhole: true },
    ]);
    expect(await ask("/api/runs/later")).toMatchObject([
      422,
      { error: { code: "run_events_version" } },
    ]);
  });

  it("tell what their logs hold beside settings that cannot be read", async () => {
    const folder = appendRun(root, "unset", [report(1)]);
    writeFileSync(join(folder, "config.yaml"), "a: [1, 2\nb: }{");
    const detail = await json<RunDetail>("/api/runs/unset");
    expect(detail).toMatchObject({ config: {}, run: { trainLoss: 1 } });
    expect(detail.configProblem).toContain("config.yaml cannot be read");
    expect(await ask("/api/settings?run=unset")).toMatchObject([422, {}]);
    writeFileSync(join(folder, "config.yaml"), "format_version: 99\na: 1\n");
    expect((await json<RunDetail>("/api/runs/unset")).configProblem).toContain("version 99");
  });

  it("may be empty, or end in the middle of a line that is ended later", async () => {
    const empty = appendRun(root, "empty", []);
    expect(await rowOf("empty")).toMatchObject({ state: "empty", step: 0, byteLength: 0 });
    expect((await json<SeriesView>("/api/runs/empty/series?names=train_loss")).curves).toEqual([]);
    appendRun(root, "empty", [report(1), report(2)]);
    const { sequence } = await json<RunDetail>("/api/runs/empty");
    const line = JSON.stringify({ sequence: sequence + 1, t: 1, ...report(3) });
    appendFileSync(eventsPath(empty), line.slice(0, 40));
    expect(await curve("empty", "names=train_loss")).toMatchObject({ x: [1, 2] });
    appendFileSync(eventsPath(empty), `${line.slice(40)}\n`);
    expect(await curve("empty", "names=train_loss")).toMatchObject({ x: [1, 2, 3] });
    // Cut off by a crash, and written anew from there: what is read is what stands there.
    truncateSync(eventsPath(empty), 10);
    appendRun(root, "empty", [report(5)]);
    expect(await curve("empty", "names=train_loss")).toMatchObject({ x: [5] });
  });

  it("draw a number through the events that tell it, and one that was told once", async () => {
    const some = Array.from({ length: 60 }, (_, index) => ({
      ...report(index + 1),
      ...(index % 2 === 0 && { watts: index }),
      ...(index === 30 && { loss_scale: 8 }),
    }));
    appendRun(root, "some", some);
    const watts = await curve("some", "names=watts");
    expect(watts?.x).toHaveLength(30);
    expect(watts?.y).not.toContain(null);
    expect(await curve("some", "names=loss_scale")).toMatchObject({ x: [31], y: [8] });
    const compared = await json<ComparisonView>("/api/comparison?run=some&name=watts");
    expect(compared.runs[0]?.y).not.toContain(null);
  });

  it("leave out a number that is none, and keep the rest of what was told with it", async () => {
    appendRun(root, "infinite", [report(1), { ...evaluation(1, 800), perplexity: Infinity }]);
    expect(await rowOf("infinite")).toMatchObject({ evalLoss: 800 });
  });

  it("count on where the system's clock was set back", async () => {
    const folder = appendRun(root, "clock", []);
    const times = [1000, 1001, 1002, 11, 12, 13];
    const lines = times.map((t, index) =>
      JSON.stringify({ sequence: index + 1, t, ...report(index + 1) }),
    );
    writeFileSync(eventsPath(folder), `${lines.join("\n")}\n`);
    const seconds = await curve("clock", "names=train_loss&axis=seconds");
    expect(seconds?.x).toEqual([0, 1, 2, 2, 3, 4]);
  });

  it("keep their last evaluation in the list, however long ago it was", async () => {
    const reports = Array.from({ length: 4000 }, (_, index) => report(index + 10));
    appendRun(root, "rare", [START, evaluation(1, 9), report(2), evaluation(3, 4), ...reports]);
    expect(await rowOf("rare")).toMatchObject({ evalLoss: 4, trainLoss: 1 / 4009 });
    // One that a resume took back holds no longer.
    appendRun(root, "rare", [{ kind: "rewind", step: 1 }, report(2)]);
    expect(await rowOf("rare")).toMatchObject({ trainLoss: 0.5 });
    expect((await rowOf("rare"))?.evalLoss).not.toBe(4);
  });

  it("are read anew where another log stands in the place of the first, in the same file even", async () => {
    const folder = appendRun(root, "swapped", [report(1), report(2)]);
    const { log } = await json<RunDetail>("/api/runs/swapped");
    expect(await curve("swapped", "names=train_loss")).toMatchObject({ x: [1, 2] });
    const follow = async (): Promise<string> => {
      const abort = new AbortController();
      const url = `${dashboard.url}/api/runs/swapped/events?after=2`;
      const { body } = await fetch(url, { signal: abort.signal });
      let text = "";
      for await (const piece of body?.pipeThrough(new TextDecoderStream()) ?? []) {
        text += piece;
        if (/^event: log\n?/m.test(text) && /^data: /m.test(text)) break;
      }
      abort.abort();
      return text;
    };
    expect(await follow()).toContain(`data: ${log}\n`);
    const lines = [7, 8, 9].map((step, index) =>
      JSON.stringify({ sequence: index + 1, t: 5, ...report(step) }),
    );
    writeFileSync(eventsPath(folder), `${lines.join("\n")}\n`);
    expect(await curve("swapped", "names=train_loss")).toMatchObject({ x: [7, 8, 9] });
    expect((await json<RunDetail>("/api/runs/swapped")).log).not.toBe(log);
    expect(await follow()).not.toContain(`data: ${log}\n`);
  });

  it("that are removed while they are followed end their stream, and are gone then", async () => {
    const folder = appendRun(root, "gone", [report(1)]);
    const abort = AbortSignal.timeout(10_000);
    const stream = await fetch(`${dashboard.url}/api/runs/gone/events`, { signal: abort });
    const ended = stream.text();
    await delay(50);
    renameSync(folder, `${root}-gone`);
    rmSync(`${root}-gone`, { recursive: true });
    expect(await ended).toContain('"kind":"step"');
    expect((await ask("/api/runs/gone"))[0]).toBe(404);
    expect(await rowOf("gone")).toBeUndefined();
    mkdirSync(folder);
    expect((await ask("/api/runs/gone"))[0]).toBe(404);
  });
});
