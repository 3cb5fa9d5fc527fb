import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { cachedHubModel, fetchHubModel, hubModelNamed } from "../../src/hub/hub-model.ts";
import type { HubModel } from "../../src/hub/hub-model.ts";
import { readModelConfig } from "../../src/model/index.ts";
import { resolveModelFolder } from "../../src/runs/model-path.ts";
import { runCli } from "../helpers/cli.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const FIXTURES = fileURLToPath(new URL("../fixtures", import.meta.url));

/** A repository: names and contents. */
type Repository = Readonly<Record<string, Buffer>>;

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "anecdote-hub-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

function repositoryOf(folder: string, more: Repository = {}): Repository {
  const files = readdirSync(folder).map(
    (name) => [name, readFileSync(join(folder, name))] as const,
  );
  return { ...Object.fromEntries(files), ...more };
}

const LLAMA = repositoryOf(join(FIXTURES, "families", "llama-gelu-fp16"), {
  "README.md": Buffer.from("# A model"),
  "../../escape.json": Buffer.from("{}"),
  "original/consolidated.pth": Buffer.from("no"),
});
const GGUF = {
  "llama-Q8_0.gguf": readFileSync(join(FIXTURES, "weight-files", "llama-q8_0.gguf")),
  "llama-Q4_0.gguf": readFileSync(join(FIXTURES, "weight-files", "llama-q4_0.gguf")),
};
const REPOSITORIES: Readonly<Record<string, Repository>> = {
  "owner/llama": LLAMA,
  "owner/llama-gguf": GGUF,
  "owner/pickled": { "config.json": Buffer.from("{}"), "pytorch_model.bin": Buffer.from("no") },
  "owner/secret": LLAMA,
};

interface Hub {
  readonly endpoint: string;
  readonly asked: { readonly method: string; readonly url: string; readonly token: string }[];
  /** Contents after which connections are cut, once. */
  readonly cut: Set<string>;
}

/** A Hub of its own: the API that lists files, and the files with the headers that the real one sends. */
async function startHub(): Promise<Hub> {
  const hub: Hub = { endpoint: "", asked: [], cut: new Set() };
  const server = createServer((request, response) => answer(hub, request, response));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return Object.assign(hub, { endpoint: `http://127.0.0.1:${address.port}` });
}

function answer(hub: Hub, request: IncomingMessage, response: ServerResponse): void {
  const { method = "", url = "" } = request;
  hub.asked.push({ method, url, token: request.headers.authorization ?? "" });
  const [, api, file] =
    /^\/api\/models\/([^/]+\/[^/]+)\/revision\/main$/.exec(url) ??
    /^\/([^/]+\/[^/]+)\/resolve\/[0-9a-f]{40}\/(.+)$/.exec(url) ??
    [];
  const repository = REPOSITORIES[api ?? ""];
  if (repository === undefined) return void response.writeHead(404).end();
  if (api === "owner/secret" && request.headers.authorization !== "Bearer hf_right")
    return void response.writeHead(401).end();
  if (file === undefined) {
    const siblings = Object.keys(repository).map((rfilename) => ({ rfilename }));
    return void response.end(JSON.stringify({ id: api, sha: COMMIT, siblings }));
  }
  const bytes = repository[decodeURIComponent(file)];
  if (bytes === undefined) return void response.writeHead(404).end();
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  response.writeHead(start === 0 ? 200 : 206, {
    etag: `"${createHash("sha256").update(bytes).digest("hex")}"`,
    "content-length": bytes.length - start,
    ...(start > 0 && { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  });
  if (method === "HEAD") return void response.end();
  if (!hub.cut.delete(file)) return void response.end(bytes.subarray(start));
  response.write(bytes.subarray(start, start + 100), () =>
    setTimeout(() => response.destroy(), 20),
  );
}

function named(name: string): HubModel {
  const model = hubModelNamed(name);
  if (model === undefined) throw new Error(`${name} is no name`);
  return model;
}

function home(): string {
  return mkdtempSync(join(root, "home-"));
}

describe("a model's name on the Hub", () => {
  it("is told from a path", () => {
    expect(hubModelNamed("owner/name")).toEqual({
      ...{ id: "owner/name", revision: "main", file: undefined },
    });
    expect(hubModelNamed("owner/name:Q4_K_M@v1.0")).toEqual({
      ...{ id: "owner/name", revision: "v1.0", file: "Q4_K_M" },
    });
    const paths = [
      "name",
      "./owner/name",
      "/owner/name",
      "a/b/c",
      "runs/mine",
      "src/model",
      "a/..",
    ];
    for (const path of [...paths, "owner/name@../../etc", ""])
      expect(hubModelNamed(path), path).toBeUndefined();
  });

  it("brings the model into the cache that other tools share, and no second time", async () => {
    const hub = await startHub();
    const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: home() };
    const path = await fetchHubModel(named("owner/llama"), { environment });
    const folder = join(environment.HF_HOME, "hub", "models--owner--llama");
    expect(path).toBe(join(folder, "snapshots", COMMIT));
    expect(readFileSync(join(folder, "refs", "main"), "utf8")).toBe(COMMIT);
    expect(readModelConfig(path).family).toBe("llama");
    expect(readdirSync(path).toSorted((a, b) => a.localeCompare(b))).toEqual([
      "config.json",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
    ]);
    const count = hub.asked.length;
    expect(await fetchHubModel(named("owner/llama"), { environment })).toBe(path);
    expect(hub.asked.length).toBe(count);
    expect(existsSync(join(root, "escape.json"))).toBe(false);
    // The folder of the cache is a model too.
    expect(resolveModelFolder(folder)).toBe(path);
  });

  it("goes on where a download broke, in the next run too", async () => {
    const hub = await startHub();
    const shard = "model-00002-of-00002.safetensors";
    const options = { environment: { HF_ENDPOINT: hub.endpoint, HF_HOME: home() } };
    hub.cut.add(shard);
    await expect(
      fetchHubModel(named("owner/llama"), { ...options, attempts: 1 }),
    ).rejects.toMatchObject({ code: "text.download.connection" });
    expect(cachedHubModel(named("owner/llama"), options.environment)).toBeUndefined();
    const path = await fetchHubModel(named("owner/llama"), options);
    expect(readFileSync(join(path, shard))).toEqual(LLAMA[shard]);
    const whole = hub.asked.filter(
      ({ method, url }) => method === "GET" && url.endsWith("00001-of-00002.safetensors"),
    );
    expect(whole.length).toBe(1);
  });

  it("uses HF_TOKEN, and says so where one is needed", async () => {
    const hub = await startHub();
    const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: home() };
    await expect(fetchHubModel(named("owner/secret"), { environment })).rejects.toThrow(
      /owner\/secret.*set HF_TOKEN/s,
    );
    const withToken = { ...environment, HF_TOKEN: "hf_right" };
    await fetchHubModel(named("owner/secret"), { environment: withToken });
    expect(hub.asked.at(-1)?.token).toBe("Bearer hf_right");
  });

  it("asks nobody where HF_HUB_OFFLINE is set", async () => {
    const hub = await startHub();
    const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: home(), HF_HUB_OFFLINE: "1" };
    await expect(fetchHubModel(named("owner/llama"), { environment })).rejects.toMatchObject({
      code: "hub.offline",
    });
    expect(hub.asked).toEqual([]);
    await fetchHubModel(named("owner/llama"), {
      environment: { ...environment, HF_HUB_OFFLINE: "0" },
    });
    const count = hub.asked.length;
    expect(await fetchHubModel(named("owner/llama"), { environment })).toContain(COMMIT);
    expect(hub.asked.length).toBe(count);
  });

  it("may mean one of several GGUF files", async () => {
    const hub = await startHub();
    const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: home() };
    const fetching = (name: string): Promise<string> => fetchHubModel(named(name), { environment });
    await expect(fetching("owner/llama-gguf")).rejects.toThrow(
      /has 2 GGUF files: llama-Q4_0.gguf, llama-Q8_0.gguf[\s\S]*owner\/llama-gguf:Q4_0/,
    );
    await expect(fetching("owner/llama-gguf:Q5_K_M")).rejects.toThrow(/no GGUF file "Q5_K_M"/);
    const path = await fetching("owner/llama-gguf:q8_0");
    expect(path).toMatch(/llama-Q8_0\.gguf$/);
    expect(readModelConfig(path).family).toBe("llama");
  });

  it("that the Hub does not have, or has no safetensors of, is one clear error", async () => {
    const hub = await startHub();
    const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: home() };
    await expect(fetchHubModel(named("owner/nothing"), { environment })).rejects.toThrow(
      /answered 404[\s\S]*model "owner\/nothing" does not exist there, or it is private/,
    );
    await expect(fetchHubModel(named("owner/pickled"), { environment })).rejects.toThrow(
      /no weights as \.safetensors or \.gguf; it has config\.json, pytorch_model\.bin/,
    );
  });

  it("works for a command", async () => {
    const hub = await startHub();
    const cwd = mkdtempSync(join(root, "cwd-"));
    mkdirSync(join(cwd, "out"));
    const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: home() };
    const args = ["export", "--model", "owner/llama-gguf:Q8_0", "--output", "out/model", "--json"];
    const { stdout, stderr, code } = await runCli(args, environment, { cwd });
    expect(stderr).toContain("fetching owner/llama-gguf: llama-Q8_0.gguf (1 of 1)");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ output: "out/model" });
    expect(readModelConfig(join(cwd, "out", "model")).family).toBe("llama");
  });
});

describe("a name that is a path after all", () => {
  it("of a folder that is gone is told without asking anybody", () => {
    const cwd = mkdtempSync(join(root, "gone-"));
    writeFileSync(join(cwd, "x"), "");
    expect(() => resolveModelFolder(join(cwd, "nothing"))).toThrow(/there is no model folder/);
    expect(() => resolveModelFolder("runs/none-of-these")).toThrow(/there is no model folder/);
  });
});
