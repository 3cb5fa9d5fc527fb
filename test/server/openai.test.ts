import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateFromFolder } from "../../src/generate/index.ts";
import type { ServedModel } from "../../src/server/serve-model.ts";
import { tinyServer } from "./tiny-server.ts";
import type { TinyServer } from "./tiny-server.ts";

let server: TinyServer;
let served: ServedModel;
let client: OpenAI;
beforeAll(async () => {
  server = await tinyServer({ contextLength: 512 });
  ({ served, client } = server);
});
afterAll(async () => server.close());

/** What `anecdote generate` writes, without a server. */
async function alone(prompt: string, maxTokens: number): Promise<string> {
  const options = { engine: "cpu", threads: 1, maxTokens };
  return (await generateFromFolder(server.folder, prompt, options)).text;
}

describe("/v1/completions", () => {
  it("writes what generate writes, and counts tokens", async () => {
    const answer = await client.completions.create({
      model: "tiny",
      prompt: "the cat",
      max_tokens: 12,
      temperature: 0,
    });
    expect(answer.choices).toEqual([
      { index: 0, text: await alone("the cat", 12), logprobs: null, finish_reason: "length" },
    ]);
    expect(answer.usage).toMatchObject({
      prompt_tokens: 7,
      completion_tokens: 12,
      total_tokens: 19,
    });
    expect(answer.object).toBe("text_completion");
  });

  it("streams the same text in pieces, with its usage at the end", async () => {
    const stream = await client.completions.create({
      model: "tiny",
      prompt: "the cat",
      max_tokens: 12,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    const reasons: (string | null)[] = [];
    let usage: unknown;
    for await (const chunk of stream) {
      for (const choice of chunk.choices) {
        text += choice.text;
        reasons.push(choice.finish_reason);
      }
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(await alone("the cat", 12));
    expect(reasons.length).toBeGreaterThan(3);
    expect(reasons.at(-1)).toBe("length");
    expect(usage).toMatchObject({ total_tokens: 19 });
  });

  it("writes several texts of several prompts, each with its place", async () => {
    const answer = await client.completions.create({
      model: "tiny",
      prompt: ["the cat", "a dog"],
      n: 2,
      max_tokens: 6,
      temperature: 1,
      seed: 7,
    });
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    const again = await client.completions.create({
      model: "tiny",
      prompt: "the cat",
      max_tokens: 6,
      temperature: 1,
      seed: 8,
    });
    // The second text of a request is that of the next seed.
    expect(answer.choices[1]?.text).toBe(again.choices[0]?.text);
    expect(answer.choices[0]?.text).not.toBe(answer.choices[1]?.text);
  });

  it("ends before a stop string, in a stream too", async () => {
    const whole = await alone("the cat", 20);
    const stop = whole.slice(5, 8);
    const wanted = whole.slice(0, whole.indexOf(stop));
    const asked = { model: "tiny", prompt: "the cat", max_tokens: 20, temperature: 0, stop };
    const answer = await client.completions.create(asked);
    expect(answer.choices[0]).toMatchObject({ text: wanted, finish_reason: "stop" });
    let streamed = "";
    for await (const chunk of await client.completions.create({ ...asked, stream: true }))
      streamed += chunk.choices[0]?.text ?? "";
    expect(streamed).toBe(wanted);
  });

  it("tells how likely tokens are: probabilities add up, the likeliest is chosen", async () => {
    const answer = await client.completions.create({
      model: "tiny",
      prompt: "the cat",
      max_tokens: 5,
      temperature: 0,
      logprobs: 3,
    });
    const {
      tokens = [],
      token_logprobs: own = [],
      top_logprobs: top = [],
      text_offset,
    } = answer.choices[0]?.logprobs ?? {};
    expect(tokens.length).toBe(5);
    expect(text_offset?.[0]).toBe(0);
    for (const [index, logprob] of own.entries()) {
      const likeliest = Object.values(top[index] ?? {});
      expect(likeliest).toHaveLength(3);
      expect(Math.max(...likeliest)).toBe(logprob);
      const sum = likeliest.reduce((total, value) => total + Math.exp(value), 0);
      expect(sum).toBeLessThanOrEqual(1 + 1e-6);
    }
  });

  it("scores a prompt of token ids as lm-evaluation-harness asks for it", async () => {
    // What `local-completions` sends for log-likelihoods: two contexts with their continuations.
    const contexts = [Array.from(Buffer.from("the cat sat")), Array.from(Buffer.from("a dog"))];
    const response = await server.post("/v1/completions", {
      model: "tiny",
      prompt: contexts,
      temperature: 0,
      max_tokens: 1,
      logprobs: 1,
      seed: 1234,
      echo: true,
    });
    const answer = (await response.json()) as OpenAI.Completion;
    for (const [index, tokens] of contexts.entries()) {
      const choice = answer.choices[index];
      const { token_logprobs: own = [], top_logprobs: top = [] } = choice?.logprobs ?? {};
      expect(own).toHaveLength(tokens.length + 1);
      expect(own[0]).toBeNull();
      expect(choice?.text.startsWith(Buffer.from(tokens).toString())).toBe(true);
      for (let at = 1; at < tokens.length; at++) {
        // The same from the other side: what the model writes behind the tokens before.
        const { choices } = await client.completions.create({
          model: "tiny",
          prompt: tokens.slice(0, at),
          max_tokens: 1,
          temperature: 0,
          logprobs: 1,
        });
        const [likeliest] = choices[0]?.logprobs?.token_logprobs ?? [];
        expect(Math.max(...Object.values(top[at] ?? {}))).toBeCloseTo(likeliest ?? NaN, 4);
        expect(own[at]).toBeLessThanOrEqual((likeliest ?? NaN) + 1e-4);
      }
    }
    // And for texts: parameters of its own, `stop` as a list.
    const written = await server.post("/v1/completions", {
      prompt: contexts,
      model: "tiny",
      max_tokens: 4,
      temperature: 0,
      stop: ["\n\n"],
      seed: 1234,
    });
    expect(written.status).toBe(200);
  });

  it("says what is wrong with a request, and where", async () => {
    const cases: readonly (readonly [unknown, number, string | null, RegExp])[] = [
      [{ model: "tiny", prompt: "a", temprature: 1 }, 400, "temprature", /"temperature"/],
      [{ model: "tiny", prompt: "a", temperature: "hot" }, 400, "temperature", /a number/],
      [{ model: "tiny", prompt: "a", temperature: 3 }, 400, "temperature", /at most 2/],
      [{ model: "tiny", prompt: "a", n: 0 }, 400, "n", /at least 1/],
      [{ model: "tiny", prompt: "a", best_of: 3 }, 400, "best_of", /best_of 3/],
      [{ model: "tiny", prompt: "a", suffix: "b" }, 400, "suffix", /suffix/],
      [{ model: "tiny", prompt: [[1, 99_999]] }, 400, null, /token 99999/],
      [{ model: "tiny", prompt: "a", stream_options: {} }, 400, "stream_options", /stream true/],
      [{ prompt: "a" }, 400, "model", /missing/],
      [{ model: "tyni", prompt: "a" }, 404, "model", /Did you mean "tiny"/],
      [{ model: "tiny", prompt: "x".repeat(511), max_tokens: 2 }, 400, null, /context is 512/],
      [{ model: "tiny", prompt: "x".repeat(9999), max_tokens: 2 }, 400, null, /context is 512/],
      [[], 400, null, /JSON object/],
    ];
    for (const [body, status, param, message] of cases) {
      const response = await server.post("/v1/completions", body);
      const { error } = (await response.json()) as { error: Record<string, unknown> };
      expect([response.status, error["message"]]).toEqual([status, expect.stringMatching(message)]);
      if (param !== null) expect(error["param"]).toBe(param);
      expect(typeof error["type"]).toBe("string");
    }
    await expect(
      client.completions.create({ model: "tiny", prompt: "x".repeat(600) }),
    ).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
  });

  it("takes the parameters that change scores", async () => {
    const asked = { model: "tiny", prompt: "the cat", max_tokens: 8, temperature: 0 } as const;
    const letter = "q".charCodeAt(0);
    const biased = await client.completions.create({ ...asked, logit_bias: { [letter]: 100 } });
    expect(biased.choices[0]?.text).toBe("qqqqqqqq");
    const penalized = await server.post("/v1/completions", {
      ...asked,
      logit_bias: { [letter]: 4, [letter + 1]: 4 },
      presence_penalty: 2,
      frequency_penalty: 2,
    });
    expect(((await penalized.json()) as OpenAI.Completion).choices[0]?.text).not.toBe("qqqqqqqq");
    const banned = await client.completions.create({
      ...asked,
      logit_bias: Object.fromEntries(
        Array.from({ length: 257 }, (_, id) => [id, id === letter ? 0 : -100]),
      ),
    });
    expect(banned.choices[0]?.text).toBe("qqqqqqqq");
  });
});

describe("a served model", () => {
  it("is listed, and told by its name", async () => {
    const models = await client.models.list();
    expect(models.data.map(({ id }) => id)).toEqual(["tiny"]);
    expect(await client.models.retrieve("tiny")).toMatchObject({ id: "tiny", object: "model" });
    await expect(client.models.retrieve("other")).rejects.toMatchObject({ status: 404 });
  });

  it("wants its key, except of those who ask for its health", async () => {
    expect((await server.post("/v1/completions", { model: "tiny" }, "wrong")).status).toBe(401);
    const health = await fetch(`${served.server.url}/health`);
    expect([health.status, await health.json()]).toEqual([200, { status: "ok" }]);
    expect((await fetch(`${served.server.url}/metrics`)).status).toBe(401);
  });

  it("reads the beginning that requests have in common once", async () => {
    const system = "You are a small cat that likes to sleep by the stove. ";
    const asked = { model: "tiny", max_tokens: 4, temperature: 0 };
    const first = await client.completions.create({ ...asked, prompt: `${system}Sit!` });
    expect(first.usage?.prompt_tokens_details?.cached_tokens).toBe(0);
    const second = await client.completions.create({ ...asked, prompt: `${system}Run!` });
    expect(second.usage?.prompt_tokens_details?.cached_tokens).toBe(system.length);
    expect(second.choices[0]?.text).toBe(await alone(`${system}Run!`, 4));
  });

  it("stops to write when the client leaves, and refuses more than may wait", async () => {
    const leave = new AbortController();
    // A bias keeps the end of a text from coming early.
    const asked = {
      ...{ model: "tiny", prompt: "the cat", max_tokens: 500, temperature: 1 },
      logit_bias: { ["q".charCodeAt(0)]: 20 },
    };
    const long = Array.from({ length: 8 }, async () =>
      client.completions.create(asked, { signal: leave.signal }),
    );
    const ends = Promise.allSettled(long);
    await expect.poll(() => served.service.load.outstanding, { interval: 2 }).toBe(8);
    await expect(
      client.completions.create({ model: "tiny", prompt: "a", max_tokens: 1 }),
    ).rejects.toMatchObject({ status: 429, code: "too_many_requests" });
    leave.abort();
    await ends;
    await expect
      .poll(() => served.service.load)
      .toEqual({ running: 0, waiting: 0, outstanding: 0 });
    const stream = await client.completions.create({ ...asked, stream: true });
    for await (const _ of stream) break;
    await expect.poll(() => served.service.load.outstanding).toBe(0);
  });

  it("counts what it did, in a form that Prometheus reads", async () => {
    const response = await fetch(`${served.server.url}/metrics`, {
      headers: { Authorization: "Bearer secret" },
    });
    expect(response.headers.get("content-type")).toContain("version=0.0.4");
    const text = await response.text();
    const sample =
      /^[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? -?[0-9.e+-]+$|^# (HELP|TYPE) [a-z_]+ .+$/;
    for (const line of text.trimEnd().split("\n")) expect(line).toMatch(sample);
    expect(text).toMatch(
      /anecdote_requests_total\{method="POST",route="\/v1\/completions",status="200"\} \d+/,
    );
    expect(Number(/^anecdote_generated_tokens_total (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(50);
    const counts = [...text.matchAll(/^anecdote_request_duration_seconds_bucket\{.*\} (\d+)$/gm)];
    const numbers = counts.map(([, count]) => Number(count));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  });
});
