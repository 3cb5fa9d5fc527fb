import { request } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { createApplication, jsonBody } from "../../src/server/application.ts";
import type { ApplicationOptions } from "../../src/server/application.ts";
import { Refusal } from "../../src/server/errors.ts";
import { listen } from "../../src/server/listen.ts";

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A server with an echo, a page, and a path that breaks; closed after the test. */
async function started(options: Partial<ApplicationOptions> = {}) {
  const application = createApplication({ host: "127.0.0.1", ...options });
  application.post("/v1/echo", (context) => context.json(jsonBody(context)));
  application.get("/page", (context) => context.html("<p>a page</p>"));
  application.get("/v1/broken", () => {
    throw new Error("a secret path: /etc/shadow");
  });
  application.get("/v1/refused", () => {
    throw new Refusal(429, "too many", { param: "n", headers: { "Retry-After": "1" } });
  });
  application.get("/slow", async (context) => {
    await delay(200);
    return context.text("done");
  });
  const server = await listen(application, { port: 0 });
  onTestFinished(async () => server.close());
  const ask = async (
    path: string,
    {
      method = "GET",
      headers = {},
      body,
    }: {
      readonly method?: string;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    } = {},
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const sent = request(
        { host: "127.0.0.1", port: server.port, path, method, headers },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (piece: string) => (text += piece));
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
          );
        },
      );
      sent.on("error", reject);
      sent.end(body);
    });
  const post = async (body: string, headers: Record<string, string> = {}) =>
    ask("/v1/echo", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body,
    });
  return { server, ask, post };
}

function errorOf({ body }: Answer): Record<string, unknown> {
  return (JSON.parse(body) as { error: Record<string, unknown> }).error;
}

describe("the application", () => {
  it("answers a request of this machine", async () => {
    const { post, server } = await started();
    expect((await post('{"a":1}')).body).toBe('{"a":1}');
    expect((await post("{}", { Host: `localhost:${server.port}` })).status).toBe(200);
    expect((await post("{}", { Host: `[::1]:${server.port}` })).status).toBe(200);
  });

  it("refuses requests for another host, however it is spelt", async () => {
    const { post } = await started();
    for (const Host of ["evil.example", "127.0.0.1.evil.example", "192.168.1.9:8080"])
      expect([(await post("{}", { Host })).status, Host]).toEqual([403, Host]);
    for (const Host of ["localhost@evil.example", "evil.example#localhost", "localhost a"])
      expect((await post("{}", { Host })).status).toBeGreaterThanOrEqual(400);
    expect(errorOf(await post("{}", { Host: "evil.example" }))).toMatchObject({
      type: "permission_error",
      code: "host_not_allowed",
    });
  });

  it("answers for names it was given, and for addresses where it listens on all of them", async () => {
    const named = await started({ allowedHosts: ["Mac-Mini.local"] });
    expect((await named.post("{}", { Host: "mac-mini.local:80" })).status).toBe(200);
    const open = await started({ host: "0.0.0.0" });
    expect((await open.post("{}", { Host: "192.168.1.9:8080" })).status).toBe(200);
    expect((await open.post("{}", { Host: "evil.example" })).status).toBe(403);
  });

  it("refuses pages of other origins, and lets its own and those it was told of ask", async () => {
    const { post, ask, server } = await started({ allowedOrigins: ["https://chat.example"] });
    for (const Origin of ["https://evil.example", "null", `http://localhost:${server.port + 1}`])
      expect((await post("{}", { Origin })).status).toBe(403);
    expect((await post("{}", { Origin: server.url })).status).toBe(200);
    const allowed = await post("{}", { Origin: "https://chat.example" });
    expect(allowed.headers["access-control-allow-origin"]).toBe("https://chat.example");
    const preflight = await ask("/v1/echo", {
      method: "OPTIONS",
      headers: { Origin: "https://chat.example", "Access-Control-Request-Method": "POST" },
    });
    expect(preflight.status).toBe(204);
    const picture = { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors" };
    expect((await ask("/page", { headers: picture })).status).toBe(403);
    const link = { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate" };
    expect((await ask("/page", { headers: link })).status).toBe(200);
  });

  it("wants its key on guarded paths alone", async () => {
    const { post, ask } = await started({ apiKey: "secret" });
    expect(errorOf(await post("{}"))).toMatchObject({
      type: "authentication_error",
      code: "invalid_api_key",
    });
    expect((await post("{}", { Authorization: "Bearer secreT" })).status).toBe(401);
    expect((await post("{}", { Authorization: "Bearer secret" })).status).toBe(200);
    expect((await ask("/page")).status).toBe(200);
  });

  it("refuses bodies that are too long, told or not, and bodies that are no JSON", async () => {
    const { post, ask } = await started({ maximumBodyBytes: 100 });
    expect((await post(`"${"x".repeat(200)}"`)).status).toBe(413);
    const chunked = { "Transfer-Encoding": "chunked" };
    expect((await post(`"${"x".repeat(200)}"`, chunked)).status).toBe(413);
    expect((await post(`"${"x".repeat(50)}"`, chunked)).status).toBe(200);
    expect(errorOf(await post("{"))).toMatchObject({ code: "invalid_json" });
    const form = { "Content-Type": "application/x-www-form-urlencoded" };
    expect((await ask("/v1/echo", { method: "POST", headers: form, body: "a=1" })).status).toBe(
      415,
    );
  });

  it("tells errors in OpenAI's form and keeps what broke inside to itself", async () => {
    const heard: unknown[] = [];
    const { ask } = await started({ onInternalError: (error) => heard.push(error) });
    const unknown = await ask("/v1/nothing");
    expect(unknown.status).toBe(404);
    expect(errorOf(unknown)).toMatchObject({ code: "unknown_url", type: "not_found_error" });
    const wrong = await ask("/v1/echo");
    expect([wrong.status, wrong.headers.allow]).toEqual([405, "POST"]);
    const refused = await ask("/v1/refused");
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "1"]);
    expect(errorOf(refused)).toEqual({
      message: "too many",
      type: "rate_limit_error",
      param: "n",
      code: null,
    });
    const broken = await ask("/v1/broken");
    expect(broken.status).toBe(500);
    expect(broken.body).not.toContain("shadow");
    expect(String(heard[0])).toContain("shadow");
  });

  it("tells browsers to load nothing from elsewhere and to frame it nowhere", async () => {
    const { ask } = await started();
    const { headers } = await ask("/page");
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
    expect(headers["content-security-policy"]).not.toContain("unsafe");
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["x-frame-options"]).toBe("DENY");
    expect(headers["referrer-policy"]).toBe("no-referrer");
  });
});

describe("a server", () => {
  it("says which port is taken", async () => {
    const { server } = await started();
    await expect(
      listen(createApplication({ host: "127.0.0.1" }), { port: server.port }),
    ).rejects.toThrow(`port ${server.port} of 127.0.0.1 is taken`);
  });

  it("lets answers end when it stops, and no longer than it is told to", async () => {
    const { server, ask } = await started();
    const slow = ask("/slow");
    await delay(50);
    await server.close({ graceMs: 5000 });
    expect((await slow).body).toBe("done");
    const other = await started();
    const cut = other.ask("/slow");
    const outcome = expect(cut).rejects.toThrow();
    await delay(50);
    await other.server.close({ graceMs: 10 });
    await outcome;
  });
});
