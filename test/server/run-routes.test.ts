import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventsPath } from "../../src/runs/event-log.ts";
import type { UntimedEvent } from "../../src/runs/events.ts";
import { RunControl } from "../../src/runs/run-control.ts";
import { RunLock } from "../../src/runs/run-lock.ts";
import { startDashboard } from "../../src/server/dashboard.ts";
import type { RunningDashboard } from "../../src/server/dashboard.ts";
import type {
  ComparisonView,
  RunDetail,
  RunList,
  SampleView,
  SeriesView,
  SettingsView,
} from "../../src/server/runs/views.ts";
import { START, appendRun, report } from "../helpers/run-logs.ts";

let root: string;
let dashboard: RunningDashboard;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "anecdote-routes-"));
  mkdirSync(join(root, "runs"));
  dashboard = await startDashboard({ runsFolder: join(root, "runs"), port: 0 });
});
afterEach(async () => {
  await dashboard.close();
  rmSync(root, { recursive: true, force: true });
});

const append = (id: string, events: readonly UntimedEvent[]): string =>
  appendRun(join(root, "runs"), id, events);

/** A log too long to be read at a glance. */
function longRun(id: string, count: number): void {
  const folder = join(root, "runs", id);
  mkdirSync(folder);
  const lines = Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      sequence: index + 1,
      t: index,
      ...report(index + 1, index === 7777 ? 50 : 1),
    }),
  );
  writeFileSync(eventsPath(folder), `${lines.join("\n")}\n`);
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function ask(
  path: string,
  {
    method = "GET",
    headers = {},
    body,
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    // Not fetch: it would tidy the path, and set Host itself.
    const sent = request(
      { port: dashboard.port, host: "127.0.0.1", path, method, headers },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

async function json<Value>(path: string): Promise<Value> {
  const { status, body } = await ask(path);
  expect([status, path]).toEqual([200, path]);
  return JSON.parse(body) as Value;
}

const codeOf = ({ body }: Answer): unknown =>
  (JSON.parse(body) as { error: { code: unknown } }).error.code;

describe("runs over HTTP", () => {
  it("are listed, the newest first, with what their logs tell", async () => {
    append("old", [START, report(1), { ...END, step: 1 }]);
    await delay(5);
    append("new", [START, report(1), report(2)]);
    const { runs } = await json<RunList>("/api/runs");
    expect(runs.map(({ id, state, step }) => [id, state, step])).toEqual([
      ["new", "died", 2],
      ["old", "finished", 1],
    ]);
    expect(runs[0]).toMatchObject({ model: "storyteller", trainLoss: 0.5, losses: [1, 0.5] });
  });

  it("give numbers sampled down, with peaks, over part of an axis, and as they grow", async () => {
    longRun("long", 20_000);
    const view = await json<SeriesView>("/api/runs/long/series?names=train_loss,none&points=200");
    expect(view.curves.map(({ name }) => name)).toEqual(["train_loss"]);
    expect(view.curves[0]?.x.length).toBeLessThanOrEqual(200);
    expect(Math.max(...(view.curves[0]?.y ?? []).map(Number))).toBe(50);
    const part = await json<SeriesView>(
      "/api/runs/long/series?names=train_loss&axis=tokens&from=1000&to=1100",
    );
    expect(part.curves[0]?.x).toEqual([...Array(13).keys()].map((index) => 990 + index * 10));
    append("long", [report(20_001)]);
    const grown = await json<SeriesView>("/api/runs/long/series?names=train_loss&from=20001");
    expect(grown.curves[0]?.x.at(-1)).toBe(20_001);
  });

  it("are compared at once by a glimpse, and in whole soon after", async () => {
    longRun("long", 20_000);
    append("short", [report(1), report(2)]);
    const path = "/api/comparison?runs=long,short&name=train_loss&points=100";
    const first = await json<ComparisonView>(path);
    expect(first.runs.map(({ id, isWhole }) => [id, isWhole])).toEqual([
      ["long", false],
      ["short", true],
    ]);
    expect(first.runs[0]?.x.length).toBeGreaterThan(20);
    let second = first;
    for (let turn = 0; turn < 100 && !second.runs[0]?.isWhole; turn++) {
      await delay(20);
      second = await json<ComparisonView>(path);
    }
    expect(Math.max(...(second.runs[0]?.y ?? []).map(Number))).toBe(50);
  });

  it("tell samples, settings that differ, and a run in detail", async () => {
    const text = "<script>alert(1)</script>";
    const a = append("a", [START, report(1), { kind: "sample", step: 1, prompt: "Once", text }]);
    const b = append("b", [START]);
    writeFileSync(join(a, "config.yaml"), "learning_rate: 0.1\nseed: 1\n");
    writeFileSync(join(b, "config.yaml"), "learning_rate: 0.2\nseed: 1\n");
    expect(await json<SampleView[]>("/api/runs/a/samples")).toEqual([
      { step: 1, prompt: "Once", text },
    ]);
    expect((await json<SettingsView>("/api/settings?runs=a,b")).rows).toEqual([
      { name: "learning_rate", values: [0.1, 0.2], isDifferent: true },
      { name: "seed", values: [1, 1], isDifferent: false },
    ]);
    const detail = await json<RunDetail>("/api/runs/a");
    expect(detail).toMatchObject({ sequence: 3, sampleCount: 1, config: { seed: 1 } });
  });

  it("refuses what cannot be meant, by name", async () => {
    append("a", [report(1)]);
    expect((await ask("/api/runs/b")).body).toContain("there is no run");
    expect(await ask("/api/runs/a/series?names=x&axis=days")).toMatchObject({ status: 400 });
    expect(await ask("/api/runs/a/series?names=x&points=1")).toMatchObject({ status: 400 });
    expect(await ask("/api/runs/a/series?names=x&from=word")).toMatchObject({ status: 400 });
    expect(await ask("/api/runs/a", { method: "DELETE" })).toMatchObject({ status: 405 });
    writeFileSync(eventsPath(append("later", [])), '{"kind":"start","version":99,"step":0}\n');
    expect(codeOf(await ask("/api/runs/later"))).toBe("run_events_version");
  });
});

const END: UntimedEvent = {
  ...{ kind: "end", step: 1, train_loss: 1, eval_loss: 1, elapsed_seconds: 1 },
  ...{ tokens_per_second: 1, peak_memory_bytes: 1 },
};

/** Numbers and kinds of the events of a stream, read until there are so many. */
async function streamed(path: string, count: number, headers: Record<string, string> = {}) {
  const abort = new AbortController();
  const response = await fetch(dashboard.url + path, { headers, signal: abort.signal });
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  const found: (readonly [string, string])[] = [];
  let text = "";
  for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += piece;
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const [, data = "", id = ""] = /^data: (.*)\nid: (\d+)$/m.exec(block) ?? [];
      if (id !== "") found.push([id, (JSON.parse(data) as { kind: string }).kind]);
    }
    if (found.length >= count) break;
  }
  abort.abort();
  return found;
}

describe("a run's stream of events", () => {
  it("goes on after the number that a reader had, across a resume that rewinds", async () => {
    append("a", [report(1), report(2), report(3)]);
    const reading = streamed("/api/runs/a/events", 3, { "Last-Event-ID": "2" });
    await delay(300);
    append("a", [{ kind: "rewind", step: 1 }, report(2)]);
    expect(await reading).toEqual([
      ["3", "step"],
      ["4", "rewind"],
      ["5", "step"],
    ]);
  });

  it("begins anew for a reader that knows more than the log holds", async () => {
    append("a", [report(1)]);
    expect(await streamed("/api/runs/a/events?after=40", 2)).toEqual([
      ["0", "rewind"],
      ["1", "step"],
    ]);
  });
});

describe("what a page may do", () => {
  const key = (): string => dashboard.address.split("#key=")[1] ?? "";
  const writeWith = async (model: string, headers: Record<string, string>): Promise<Answer> =>
    ask("/v1/completions", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ model, prompt: "a" }),
    });

  it("takes the page's key for a run's token, and the token for an action", async () => {
    const folder = append("a", [report(1)]);
    const post = async (headers: Record<string, string>, body = '{"command":"pause"}') =>
      ask("/api/runs/a/actions", {
        method: "POST",
        headers: { "Content-Type": "application/json", ...headers },
        body,
      });
    const authorization = { Authorization: `Bearer ${key()}` };
    expect(codeOf(await ask("/api/runs/a/token", { headers: authorization }))).toBe(
      "run_not_running",
    );
    const lock = RunLock.take(folder);
    const control = RunControl.open(folder);
    try {
      expect((await ask("/api/runs/a/token")).status).toBe(401);
      expect(
        (await ask("/api/runs/a/token", { headers: { Authorization: "Bearer x" } })).status,
      ).toBe(401);
      const { body } = await ask("/api/runs/a/token", { headers: authorization });
      const { token } = JSON.parse(body) as { token: string };
      expect((await post({})).status).toBe(403);
      expect((await post(authorization)).status).toBe(403);
      expect(codeOf(await post({ "X-Run-Token": "0".repeat(32) }))).toBe("run_token_wrong");
      expect((await post({ "X-Run-Token": token }, '{"command":"rm"}')).status).toBe(400);
      expect((await post({ "X-Run-Token": token, Origin: "http://evil.example" })).status).toBe(
        403,
      );
      expect((await post({ "X-Run-Token": token, "Content-Type": "text/plain" })).status).toBe(415);
      expect(control.take()).toEqual([]);
      expect((await post({ "X-Run-Token": token })).status).toBe(202);
      expect(control.take()).toEqual(["pause"]);
    } finally {
      control.close();
      lock.release();
    }
  });

  it("takes the page's key to write with a checkpoint, and knows no other models", async () => {
    append("a", [report(1)]);
    expect((await writeWith("a", {})).status).toBe(401);
    const authorization = { Authorization: `Bearer ${key()}` };
    for (const model of ["a", "a/checkpoint-1", "none", "../outside", "a/../../outside"])
      expect([(await writeWith(model, authorization)).status, model]).toEqual([404, model]);
  });

  it("never leaves the folder of runs", async () => {
    append("a", [report(1)]);
    const outside = join(root, "outside");
    mkdirSync(outside);
    writeFileSync(eventsPath(outside), `${JSON.stringify({ t: 1, sequence: 1, ...report(1) })}\n`);
    symlinkSync(outside, join(root, "runs", "link"));
    // A folder that is one, with files that are not its own.
    for (const [id, file] of [
      ["log", "events.ndjson"],
      ["set", "config.yaml"],
      ["nowhere", "config.yaml"],
    ] as const) {
      const folder = join(root, "runs", id);
      mkdirSync(folder);
      if (file !== "events.ndjson") append(id, [report(1)]);
      symlinkSync(id === "nowhere" ? join(root, "none") : eventsPath(outside), join(folder, file));
    }
    symlinkSync(outside, join(root, "runs", "a", "checkpoint-9"));
    for (const id of [
      "..",
      "%2e%2e",
      "..%2foutside",
      "..%5coutside",
      "%2fetc",
      "a%2f..%2f..%2foutside",
      ...[
        "link",
        "log",
        "set",
        "nowhere",
        ".",
        "a%00",
        "a%00/../../outside",
        "%00",
        "...",
        "....//",
      ],
      ...[
        "%252e%252e%252foutside",
        "..%c0%afoutside",
        "%c0%ae%c0%ae",
        "..%00%2foutside",
        "%E0%A4%A",
      ],
      ...[
        "C:%5cWindows",
        "C:",
        "%5c%5cserver%5cshare",
        "..%5c..%5coutside",
        "%5c%3f%5cC:%5c",
        "NUL",
      ],
      ...[encodeURIComponent(outside), `file:%2f%2f${outside}`, "a/../../outside", "a%2f", "%20a"],
    ])
      for (const rest of ["", "/series?names=train_loss", "/samples", "/events", "/token"])
        expect([(await ask(`/api/runs/${id}${rest}`)).status >= 400, id]).toEqual([true, id]);
    for (const id of ["../outside", "link", "log", encodeURIComponent(outside)])
      for (const path of ["/api/comparison?name=train_loss&runs=", "/api/settings?run="])
        expect([(await ask(`${path}${id}`)).status, id]).toEqual([404, id]);
    for (const headers of [{ Authorization: `Bearer ${key()}` }])
      for (const model of ["link/checkpoint-1", "a/checkpoint-9", "../outside", outside])
        expect([(await writeWith(model, headers)).status, model]).toEqual([404, model]);
    expect((await json<RunList>("/api/runs")).runs.map(({ id }) => id)).toEqual(["a"]);
    for (const path of ["/../package.json", "/%2e%2e/package.json", "/.sources", "/page.js.map"])
      expect((await ask(path)).status).toBe(404);
  });

  it("is served with a policy that lets nothing in from elsewhere", async () => {
    const response = await fetch(dashboard.url);
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    const html = await response.text();
    expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
    for (const name of ["page.js", "page.css"]) {
      const text = await (await fetch(`${dashboard.url}/${name}`)).text();
      const [foreign] = /@import|url\((?!data:|#)[^)]*|importScripts/.exec(text) ?? [];
      expect(foreign).toBeUndefined();
    }
    for (const Host of [
      "evil.example",
      "127.0.0.1.evil.example:7007",
      "localhost.evil.example",
      "a",
    ])
      expect([(await ask("/api/runs", { headers: { Host } })).status, Host]).toEqual([403, Host]);
    for (const Host of ["LOCALHOST", `LocalHost:${dashboard.port}`, "[::1]:7007", "[::1]"])
      expect([(await ask("/api/runs", { headers: { Host } })).status, Host]).toEqual([200, Host]);
    // What a page whose name was turned to this machine would send, and pages of other ports.
    const Host = `127.0.0.1:${dashboard.port}`;
    for (const Origin of [
      "http://evil.example",
      "null",
      "http://127.0.0.1:1",
      "http://localhost",
      "file://",
    ])
      expect([(await ask("/api/runs", { headers: { Host, Origin } })).status, Origin]).toEqual([
        403,
        Origin,
      ]);
    expect((await ask("/api/runs", { headers: { Host, Origin: `http://${Host}` } })).status).toBe(
      200,
    );
  });

  it("keeps its key over restarts, in a file for its owner alone", async () => {
    expect(statSync(join(root, "runs", ".page-key")).mode & 0o077).toBe(0);
    const before = key();
    await dashboard.close();
    dashboard = await startDashboard({ runsFolder: join(root, "runs"), port: 0 });
    expect(key()).toBe(before);
  });
});
