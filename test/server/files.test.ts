import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FunctionBuilder, programOf } from "../../src/mil/builder.ts";
import { printProgram } from "../../src/mil/text/index.ts";
import { tensorType } from "../../src/mil/types.ts";
import { aside } from "../../src/server/aside.ts";
import { startDashboard } from "../../src/server/dashboard.ts";
import type { RunningDashboard } from "../../src/server/dashboard.ts";
import { fileReport, lookAtFile } from "../../src/server/files/file-look.ts";
import { UPLOAD_BYTES, Uploads } from "../../src/server/files/uploads.ts";
import type { FileRow, FileView } from "../../src/server/files/views.ts";
import { AnecdoteError } from "../../src/util/errors.ts";
import { tinyModelFolder } from "../helpers/model-folder.ts";

let root: string;
let runs: string;
let dashboard: RunningDashboard;
let key: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "anecdote-files-"));
  runs = join(root, "runs");
  mkdirSync(runs);
  dashboard = await startDashboard({ runsFolder: runs, port: 0 });
  [, key = ""] = dashboard.address.split("#key=");
});
afterAll(async () => {
  await dashboard.close();
  rmSync(root, { recursive: true, force: true });
});

/** A product, and an op that no chip's engine takes. */
function program(): string {
  const f = new FunctionBuilder("main");
  const x = f.input("x", tensorType("fp32", [8, 64]));
  const product = f.op("matmul", { x, y: x, transpose_y: true });
  const sums = f.op("cumsum", { x: f.op("softmax", { x: product, axis: -1 }), axis: 1 });
  return printProgram(programOf(f.finish({ y: f.op("add", { x: sums, y: 1 }) })));
}
const PROGRAM = program();

async function ask(
  path: string,
  {
    method = "GET",
    body,
    headers = {},
    hasKey = true,
  }: {
    readonly method?: string;
    readonly body?: object | Uint8Array;
    readonly headers?: Record<string, string>;
    readonly hasKey?: boolean;
  } = {},
): Promise<Response> {
  const isBytes = body instanceof Uint8Array;
  return await fetch(dashboard.url + path, {
    method,
    headers: {
      "Content-Type": isBytes ? "application/octet-stream" : "application/json",
      ...(hasKey && { Authorization: `Bearer ${key}` }),
      ...headers,
    },
    ...(body !== undefined && { body: isBytes ? Buffer.from(body) : JSON.stringify(body) }),
  });
}

type Files = Readonly<Record<string, string | Uint8Array>>;

async function upload(files: Files): Promise<string> {
  const contents = Object.entries(files).map(
    ([path, content]) => [path, Buffer.from(content as string)] as const,
  );
  const answer = await ask("/api/uploads", {
    method: "POST",
    body: { files: contents.map(([path, { byteLength }]) => ({ path, byteLength })) },
  });
  expect(answer.status).toBe(201);
  const { id } = (await answer.json()) as { id: string };
  for (const [index, [, content]] of contents.entries())
    expect(
      (await ask(`/api/uploads/${id}/${index}`, { method: "PUT", body: content })).status,
    ).toBe(200);
  return id;
}

const lookAt = async (body: object): Promise<Response> =>
  ask("/api/looks", { method: "POST", body });
const drawings = (html: string): readonly string[] => html.match(/<svg[\s\S]*?<\/svg>/g) ?? [];

describe("a look into a file", () => {
  it("is drawn on the page as it is in its own file: findings, costs, roofline, chips, data flow", async () => {
    const id = await upload({ "small.mil": PROGRAM });
    const view = (await (await lookAt({ upload: id, chip: "m1" })).json()) as FileView;
    expect(view).toMatchObject({ title: "small.mil", chip: "M1", functions: ["main"] });
    const file = await (await lookAt({ upload: id, chip: "m1", isFile: true })).text();
    const path = join(root, "small.mil");
    writeFileSync(path, PROGRAM);
    expect(fileReport(path, { chip: "m1", name: "small.mil" })).toBe(file);
    expect(drawings(view.html)).toEqual(drawings(file));
    expect(drawings(view.html).map((svg) => /aria-label="([^".]+)/.exec(svg)?.[1])).toEqual([
      "What a run's time goes into on M1".replace("'", "&#39;"),
      "The dearest ops on M1",
      "Roofline of M1",
      "main on every chip",
      undefined,
    ]);
    for (const section of view.html.split("\n<section").slice(1))
      expect(file).toContain(section.trim());
    expect(view.html).toContain("cumsum");
    expect(view.html).toMatch(/<th scope="row">unsupported-op<\/th>/);
    expect(view.html).not.toMatch(/<script|style=|anecdote-uploads/);
    expect(file).not.toMatch(/<script|<link|<img|(?:src|href)=/);
  });

  it("is at a model's folder in the folder of runs, with the price of a token and of a training step", async () => {
    tinyModelFolder(join(runs, "small"));
    const rows = (await (await ask("/api/files")).json()) as FileRow[];
    expect(rows.map(({ path, kind }) => [path, kind])).toContainEqual(["small", "model"]);
    const view = (await (await lookAt({ path: "small", chip: "m2" })).json()) as FileView;
    expect(view.html).toMatch(/one token, with a cache of \d+ positions/);
    expect(view.html).toMatch(/one training step of \d+ tokens/);
    expect(view.html).toContain("Roofline of M2");
    expect(view.html).toContain("host kernel adamw");
  });

  it("shows what a file calls its parts as text", async () => {
    const id = await upload({ "<img src=x>.mil": PROGRAM });
    const { html } = (await (await lookAt({ upload: id })).json()) as FileView;
    expect(html).toContain("&lt;img src=x&gt;.mil");
    expect(html).not.toContain("<img");
  });

  it("says what is wrong with files that are damaged, and goes on", async () => {
    const bytes = Uint8Array.from({ length: 3000 }, (_, index) => (index * 7919) % 251);
    const damaged: Files = {
      "text.mil": PROGRAM.slice(0, 400),
      "a.onnx": bytes,
      "a.mlmodel": bytes,
      "a.safetensors": Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 0x7b, 1, 2, 3),
      "a.hwx": Uint8Array.of(0xef, 0xbe, 0xad, 0xfe, ...bytes),
      "report.json": '{"schema":"of somebody else"}',
      nothing: "",
    };
    for (const [name, content] of Object.entries(damaged)) {
      const path = join(root, name);
      writeFileSync(path, content);
      expect(() => lookAtFile(path), name).toThrow(AnecdoteError);
    }
    const answer = await lookAt({ upload: await upload({ "a.onnx": bytes }) });
    expect(answer.status).toBe(422);
    const { error } = (await answer.json()) as { error: { message: string } };
    expect(error.message).toMatch(/^a.onnx/);
    expect((await ask("/api/runs")).status).toBe(200);
  });
});

describe("files that are sent", () => {
  it("take the page's key, and so do looks and the list", async () => {
    for (const [path, method, body] of [
      ["/api/uploads", "POST", { files: [{ path: "a", byteLength: 1 }] }],
      ["/api/uploads/ab/0", "PUT", Uint8Array.of(1)],
      ["/api/looks", "POST", { path: "small" }],
      ["/api/files", "GET", undefined],
    ] as const) {
      const answer = await ask(path, { method, ...(body && { body }), hasKey: false });
      expect([path, answer.status]).toEqual([path, 401]);
    }
    const foreign = await ask("/api/looks", {
      ...{ method: "POST", body: { path: "small" } },
      headers: { Origin: "http://elsewhere.example" },
    });
    expect(foreign.status).toBe(403);
  });

  it("have names that lead nowhere else, and sizes that were told", async () => {
    for (const path of [
      "../a",
      "/etc/passwd",
      "a/../../b",
      "a\\b",
      "",
      "a//b",
      ".",
      "c:d",
      "a\u0000",
    ]) {
      const answer = await ask("/api/uploads", {
        method: "POST",
        body: { files: [{ path, byteLength: 1 }] },
      });
      expect([path, answer.status]).toEqual([path, 400]);
    }
    const large = { files: [{ path: "a", byteLength: UPLOAD_BYTES + 1 }] };
    expect((await ask("/api/uploads", { method: "POST", body: large })).status).toBe(413);
    const announce = async (): Promise<string> => {
      const body = { files: [{ path: "a", byteLength: 2 }] };
      return (
        (await (await ask("/api/uploads", { method: "POST", body })).json()) as { id: string }
      ).id;
    };
    const id = await announce();
    expect((await lookAt({ upload: id })).status).toBe(409);
    for (const [size, status] of [
      [3, 400],
      [1, 400],
    ] as const) {
      const answer = await ask(`/api/uploads/${await announce()}/0`, {
        ...{ method: "PUT", body: new Uint8Array(size) },
      });
      expect(answer.status).toBe(status);
    }
    const asText = await ask(`/api/uploads/${id}/0`, {
      ...{ method: "PUT", body: new Uint8Array(2), headers: { "Content-Type": "text/plain" } },
    });
    expect(asText.status).toBe(415);
    expect((await lookAt({ upload: "0123" })).status).toBe(404);
    expect((await lookAt({ upload: id, path: "small" })).status).toBe(400);
  });

  it("are gone with the server, the oldest with newer ones", async () => {
    const uploads = new Uploads();
    const first = uploads.announce([{ path: "a/b", byteLength: 0 }]);
    await uploads.write(first, 0, null);
    const { path, name } = uploads.pathOf(first);
    expect([name, readdirSync(path)]).toEqual(["a", ["b"]]);
    for (let count = 0; count < 4; count++) uploads.announce([{ path: "a", byteLength: 1 }]);
    expect(() => uploads.pathOf(first)).toThrow(/send the file again/);
    uploads.close();
    expect(() => readdirSync(path)).toThrow(/ENOENT/);
  });
});

describe("paths in the folder of runs", () => {
  it("lead to files below it alone, and to none that holds a key", async () => {
    mkdirSync(join(runs, "first", "control"), { recursive: true });
    writeFileSync(join(runs, "first", "control", "run.json"), '{"token":"secret"}');
    writeFileSync(join(root, "outside.mil"), PROGRAM);
    symlinkSync(root, join(runs, "out"));
    symlinkSync(join(runs, ".page-key"), join(runs, "key.mil"));
    for (const path of [
      ...[".page-key", "first/control/run.json", "key.mil", "out/outside.mil", "../outside.mil"],
      ...["", "first/../../outside.mil", join(root, "outside.mil"), "none.mil", "first\\x"],
    ]) {
      const answer = await lookAt({ path });
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});

describe("a thread aside", () => {
  const module = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`);
  const limits = { milliseconds: 400, mebibytes: 32 };

  it("is ended when it takes too long or too much, and its failure is told", async () => {
    await expect(aside(module("for (;;);"), {}, limits)).rejects.toThrow(/more than 0.4 s/);
    const eater = "const all = []; for (;;) all.push(new Array(1000).fill({}));";
    await expect(aside(module(eater), {}, { ...limits, milliseconds: 20_000 })).rejects.toThrow(
      /more than 32 MiB/,
    );
    await expect(aside(module("process.exit(3)"), {}, limits)).rejects.toThrow(/ended/);
    await expect(aside(module("throw new Error('inside')"), {}, limits)).rejects.toThrow("inside");
  });
});
