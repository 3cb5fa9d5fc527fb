import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  downloadHubFile,
  downloadTinyStories,
  openDataset,
  byteTokenizer,
  TINY_STORIES,
} from "../../src/text/index.ts";
import { HubError } from "../../src/hub/errors.ts";
import type { DownloadOptions, HubEnvironment } from "../../src/text/index.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const FILE = { dataset: "owner/name", file: "data/stories.txt" };
const PATH = "/datasets/owner/name/resolve/main/data/stories.txt";
const content = Buffer.from("Once upon a time there was a file. ".repeat(20_000));
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A real HTTP server; `handle` answers, `asked` is what came. */
async function serve(
  handle: (request: IncomingMessage, response: ServerResponse, asked: readonly Asked[]) => void,
): Promise<{ readonly endpoint: string; readonly asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const { range, authorization } = request.headers;
    asked.push({ method: request.method ?? "", url: request.url ?? "", range, authorization });
    handle(request, response, asked);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return { endpoint: `http://127.0.0.1:${address.port}`, asked };
}

/** Answers as a file server does: HEAD, whole file, or the rest from a position. */
function answer(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  headers: Record<string, string> = {},
): void {
  const match = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
  const start = match === null ? 0 : Number(match[1]);
  const etag = headers["etag"] ?? `"${sha256(bytes)}"`;
  if (match !== null && start >= bytes.length) {
    response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
    return;
  }
  response.writeHead(match === null ? 200 : 206, {
    etag,
    "content-length": bytes.length - start,
    ...(match === null
      ? {}
      : { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
    ...headers,
  });
  response.end(request.method === "HEAD" ? undefined : bytes.subarray(start));
}

/** Sends some bytes and cuts the connection. */
function cutAfter(response: ServerResponse, start: number, count: number): void {
  response.writeHead(start === 0 ? 200 : 206, {
    etag: `"${sha256(content)}"`,
    "content-length": content.length - start,
    ...(start === 0
      ? {}
      : { "content-range": `bytes ${start}-${content.length - 1}/${content.length}` }),
  });
  response.write(content.subarray(start, start + count), () =>
    setTimeout(() => response.destroy(), 20),
  );
}

const environmentOf = (endpoint: string, more: HubEnvironment = {}): HubEnvironment => ({
  HF_ENDPOINT: endpoint,
  HF_HOME: temporaryFolder(),
  ...more,
});

const fast = (environment: HubEnvironment): DownloadOptions => ({
  environment,
  pauseMs: 1,
  attempts: 3,
  stallMs: 5000,
});

async function errorOf(promise: Promise<unknown>): Promise<HubError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof HubError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("fetching a file of the Hub", () => {
  it("writes it under its name, reports progress, and does not ask again", async () => {
    const { endpoint, asked } = await serve((request, response) =>
      answer(request, response, content),
    );
    const folder = join(temporaryFolder(), "new");
    const progress: number[] = [];
    const environment = environmentOf(`${endpoint}/`);
    const found = await downloadHubFile(FILE, folder, {
      ...fast(environment),
      onProgress: ({ byteCount, byteTotal }) => {
        expect(byteTotal).toBe(content.length);
        progress.push(byteCount);
      },
    });
    expect(found).toEqual({
      path: join(folder, "stories.txt"),
      byteLength: content.length,
      origin: "downloaded",
    });
    expect(readFileSync(found.path).equals(content)).toBe(true);
    expect(readdirSync(folder)).toEqual(["stories.txt"]);
    expect(progress.at(-1)).toBe(content.length);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
      `HEAD ${PATH}`,
      `GET ${PATH}`,
    ]);
    expect((await downloadHubFile(FILE, folder, fast(environment))).origin).toBe("present");
    expect(asked).toHaveLength(2);
  });

  it("goes on where a cut connection stopped, asking for the rest only", async () => {
    const { endpoint, asked } = await serve((request, response, before) => {
      if (request.method === "GET" && before.filter(({ method }) => method === "GET").length <= 2) {
        const start = Number(/\d+/.exec(request.headers.range ?? "0")?.[0]);
        cutAfter(response, start, 100_000);
      } else answer(request, response, content);
    });
    const folder = temporaryFolder();
    await downloadHubFile(FILE, folder, fast(environmentOf(endpoint)));
    expect(readFileSync(join(folder, "stories.txt")).equals(content)).toBe(true);
    const ranges = asked
      .filter(({ method }) => method === "GET")
      .map(({ range }) => Number(/\d+/.exec(range ?? "0")?.[0]));
    expect(ranges).toHaveLength(3);
    expect(ranges[0]).toBe(0);
    expect(ranges[1]).toBeGreaterThan(0);
    expect(ranges[2]).toBeGreaterThan(ranges[1] ?? 0);
  });

  it("keeps what came when it gives up, and a later run needs only the rest", async () => {
    let broken = true;
    const { endpoint, asked } = await serve((request, response) => {
      if (request.method === "GET" && broken) {
        if (request.headers.range === undefined) cutAfter(response, 0, 200_000);
        else response.destroy();
      } else answer(request, response, content);
    });
    const folder = temporaryFolder();
    const environment = environmentOf(endpoint);
    const error = await errorOf(downloadHubFile(FILE, folder, fast(environment)));
    expect(error.code).toBe("text.download.connection");
    expect(error.message).toContain("run again");
    expect(existsSync(join(folder, "stories.txt"))).toBe(false);
    const kept = readFileSync(join(folder, "stories.txt.part"));
    expect(kept.length).toBeGreaterThan(0);
    broken = false;
    await downloadHubFile(FILE, folder, fast(environment));
    expect(asked.at(-1)?.range).toBe(`bytes=${kept.length}-`);
    expect(readFileSync(join(folder, "stories.txt")).equals(content)).toBe(true);
    expect(readdirSync(folder)).toEqual(["stories.txt"]);
  });

  it("starts over when the server ignores ranges", async () => {
    const { endpoint } = await serve((request, response, before) => {
      if (request.method === "GET" && before.length <= 2) cutAfter(response, 0, 150_000);
      else if (request.method === "GET") {
        response
          .writeHead(200, { etag: `"${sha256(content)}"`, "content-length": content.length })
          .end(content);
      } else answer(request, response, content);
    });
    const folder = temporaryFolder();
    await downloadHubFile(FILE, folder, fast(environmentOf(endpoint)));
    expect(readFileSync(join(folder, "stories.txt")).equals(content)).toBe(true);
  });

  it("starts over when the file changed in between: two versions are never mixed", async () => {
    const changed = Buffer.from(content.toString().toUpperCase());
    const { endpoint } = await serve((request, response, before) => {
      if (request.method === "GET" && before.length <= 2) cutAfter(response, 0, 150_000);
      else answer(request, response, before.length <= 2 ? content : changed);
    });
    const folder = temporaryFolder();
    await downloadHubFile(FILE, folder, fast(environmentOf(endpoint)));
    expect(readFileSync(join(folder, "stories.txt")).equals(changed)).toBe(true);
  });

  it("starts over when the file changes between the question and the answer", async () => {
    const changed = Buffer.from(content.toString().toLowerCase());
    const { endpoint } = await serve((request, response, before) =>
      answer(request, response, before.length === 1 ? content : changed),
    );
    const folder = temporaryFolder();
    await downloadHubFile(FILE, folder, fast(environmentOf(endpoint)));
    expect(readFileSync(join(folder, "stories.txt")).equals(changed)).toBe(true);
  });

  it("does not believe a server that lies about the length", async () => {
    const short = await serve((request, response) => {
      if (request.method === "HEAD") answer(request, response, content);
      else
        response
          .writeHead(200, { etag: `"${sha256(content)}"`, "content-length": 1000 })
          .end(content.subarray(0, 1000));
    });
    const folder = temporaryFolder();
    const error = await errorOf(downloadHubFile(FILE, folder, fast(environmentOf(short.endpoint))));
    expect(error.code).toBe("text.download.connection");
    expect(error.message).toContain(`1000 of ${content.length} bytes`);

    const long = await serve((request, response) => {
      if (request.method === "HEAD")
        answer(request, response, content.subarray(0, 1000), { etag: '"x"' });
      else response.writeHead(200, { etag: '"x"' }).end(content);
    });
    const other = temporaryFolder();
    expect(
      (await errorOf(downloadHubFile(FILE, other, fast(environmentOf(long.endpoint))))).code,
    ).toBe("text.download.length");
    expect(existsSync(join(other, "stories.txt"))).toBe(false);

    const silent = await serve((_request, response) => {
      response.writeHead(200, { "transfer-encoding": "chunked" }).end();
    });
    expect(
      (
        await errorOf(
          downloadHubFile(FILE, temporaryFolder(), fast(environmentOf(silent.endpoint))),
        )
      ).code,
    ).toBe("text.download.size");
  });

  it("keeps nothing whose checksum is wrong", async () => {
    const damaged = Buffer.from(content);
    damaged[5] = 0;
    const { endpoint } = await serve((request, response) =>
      answer(request, response, damaged, { etag: `"${sha256(content)}"` }),
    );
    const folder = temporaryFolder();
    expect((await errorOf(downloadHubFile(FILE, folder, fast(environmentOf(endpoint))))).code).toBe(
      "text.download.checksum",
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it("knows git's checksum of small files", async () => {
    const bytes = Buffer.from("small\n");
    const id = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    const { endpoint } = await serve((request, response) =>
      answer(request, response, bytes, { etag: `W/"${id}"` }),
    );
    expect(
      (await downloadHubFile(FILE, temporaryFolder(), fast(environmentOf(endpoint)))).byteLength,
    ).toBe(bytes.length);
    const wrong = await serve((request, response) =>
      answer(request, response, Buffer.from("smell\n"), { etag: `"${id}"` }),
    );
    expect(
      (await errorOf(downloadHubFile(FILE, temporaryFolder(), fast(environmentOf(wrong.endpoint)))))
        .code,
    ).toBe("text.download.checksum");
  });

  it("follows the Hub to its storage server and resumes there, without showing it the token", async () => {
    let cuts = 1;
    const storage = await serve((request, response) => {
      if (cuts-- > 0) cutAfter(response, 0, 120_000);
      // A storage server has an etag of its own.
      else answer(request, response, content, { etag: '"storage"' });
    });
    const hub = await serve((_request, response) => {
      response
        .writeHead(302, {
          location: `${storage.endpoint}/blob`,
          "x-linked-size": content.length,
          "x-linked-etag": `"${sha256(content)}"`,
          "content-length": 0,
        })
        .end();
    });
    const folder = temporaryFolder();
    await downloadHubFile(
      FILE,
      folder,
      fast(environmentOf(hub.endpoint, { HF_TOKEN: "hf_secret" })),
    );
    expect(readFileSync(join(folder, "stories.txt")).equals(content)).toBe(true);
    expect(hub.asked.every(({ authorization }) => authorization === "Bearer hf_secret")).toBe(true);
    expect(storage.asked.map(({ authorization }) => authorization)).toEqual([undefined, undefined]);
    expect(storage.asked[1]?.range).toMatch(/^bytes=\d+-$/);
  });

  it("finds the token that was stored by logging in", async () => {
    const { endpoint, asked } = await serve((request, response) =>
      answer(request, response, content),
    );
    const environment = environmentOf(endpoint);
    writeFileSync(join(environment.HF_HOME ?? "", "token"), "hf_stored\n");
    await downloadHubFile(FILE, temporaryFolder(), fast(environment));
    expect(asked[0]?.authorization).toBe("Bearer hf_stored");
  });

  it.each([
    [401, "set HF_TOKEN"],
    [403, "may not read"],
    [404, "does not exist"],
  ])("says what status %i means, without trying again", async (status, words) => {
    const { endpoint, asked } = await serve((_request, response) => {
      response.writeHead(status).end();
    });
    const error = await errorOf(
      downloadHubFile(FILE, temporaryFolder(), fast(environmentOf(endpoint))),
    );
    expect(error.code).toBe("text.download.status");
    expect(error.message).toContain(words);
    expect(asked).toHaveLength(1);
  });

  it("tries again when the server is busy", async () => {
    const { endpoint, asked } = await serve((request, response, before) => {
      if (before.length <= 2) response.writeHead(before.length === 1 ? 503 : 429).end();
      else answer(request, response, content);
    });
    await downloadHubFile(FILE, temporaryFolder(), fast(environmentOf(endpoint)));
    expect(asked.map(({ method }) => method)).toEqual(["HEAD", "HEAD", "HEAD", "GET"]);
  });

  it("gives a server up that stops sending", async () => {
    const { endpoint } = await serve((request, response) => {
      if (request.method === "HEAD") answer(request, response, content);
      else {
        response.writeHead(200, { etag: `"${sha256(content)}"`, "content-length": content.length });
        response.write(content.subarray(0, 1000));
      }
    });
    const error = await errorOf(
      downloadHubFile(FILE, temporaryFolder(), {
        ...fast(environmentOf(endpoint)),
        stallMs: 100,
        attempts: 2,
      }),
    );
    expect(error.code).toBe("text.download.connection");
    expect(error.message).toContain("nothing came");
  });

  it("says what to do without a network", async () => {
    const { endpoint } = await serve(() => undefined);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    const error = await errorOf(
      downloadHubFile(FILE, temporaryFolder(), fast(environmentOf(endpoint))),
    );
    expect(error.code).toBe("text.download.connection");
    expect(error.message).toContain("ECONNREFUSED");
    expect(error.message).toContain("HF_ENDPOINT");
  });

  it("is forbidden by HF_HUB_OFFLINE, unless the file is there or in the shared cache", async () => {
    const home = temporaryFolder();
    const environment: HubEnvironment = {
      HF_HUB_OFFLINE: "1",
      HF_HOME: home,
      HF_ENDPOINT: "http://127.0.0.1:9",
    };
    const folder = temporaryFolder();
    const error = await errorOf(downloadHubFile(FILE, folder, fast(environment)));
    expect(error.code).toBe("text.download.offline");
    expect(error.message).toContain(join(folder, "stories.txt"));
    const cache = join(home, "hub", "datasets--owner--name");
    mkdirSync(join(cache, "snapshots", "abc", "data"), { recursive: true });
    mkdirSync(join(cache, "refs"));
    writeFileSync(join(cache, "refs", "main"), "abc");
    writeFileSync(join(cache, "snapshots", "abc", "data", "stories.txt"), "cached");
    const found = await downloadHubFile(FILE, folder, fast(environment));
    expect(found.origin).toBe("cache");
    expect(readFileSync(found.path, "utf8")).toBe("cached");
  });

  it("can be stopped, and says where the part is kept", async () => {
    const controller = new AbortController();
    const { endpoint } = await serve((request, response) => {
      if (request.method === "HEAD") answer(request, response, content);
      else {
        response.writeHead(200, { etag: `"${sha256(content)}"`, "content-length": content.length });
        response.write(content.subarray(0, 1000));
      }
    });
    const folder = temporaryFolder();
    const error = await errorOf(
      downloadHubFile(FILE, folder, {
        ...fast(environmentOf(endpoint)),
        signal: controller.signal,
        onProgress: () => controller.abort(),
      }),
    );
    expect(error.code).toBe("text.download.aborted");
    expect(readFileSync(join(folder, "stories.txt.part"))).toHaveLength(1000);
  });
});

describe("TinyStories", () => {
  it("come as two files in a folder that opens as a data set", async () => {
    const { endpoint, asked } = await serve((request, response) => {
      const split = /(train|valid)\.txt$/.exec(request.url ?? "")?.[1] ?? "";
      answer(request, response, Buffer.from(`One ${split}.\n<|endoftext|>\nTwo.\n`));
    });
    const folder = temporaryFolder();
    const files = await downloadTinyStories(folder, fast(environmentOf(endpoint)));
    expect(files.map(({ origin }) => origin)).toEqual(["downloaded", "downloaded"]);
    expect(new Set(asked.map(({ url }) => url))).toEqual(
      new Set(
        TINY_STORIES.files.map((file) => `/datasets/roneneldan/TinyStories/resolve/main/${file}`),
      ),
    );
    const { tokenizer } = byteTokenizer();
    const dataset = openDataset(folder, { tokenizer, cacheFolder: temporaryFolder() });
    expect(dataset.train.tokenCount).toBe("One train.".length + "Two.".length + 2);
    expect(dataset.validation?.tokenCount).toBe("One valid.".length + "Two.".length + 2);
    dataset.close();
  });
});
