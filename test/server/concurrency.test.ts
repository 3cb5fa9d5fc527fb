import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withGenerator } from "../../src/generate/from-folder.ts";
import { tinyServer } from "./tiny-server.ts";
import type { TinyServer } from "./tiny-server.ts";

// The same for a minute, with memory watched: npm run bench:serve-soak.
const CLIENTS = 64;

let server: TinyServer;
beforeAll(async () => {
  server = await tinyServer({ texts: { maximumTexts: 16, maximumWaiting: CLIENTS } });
});
afterAll(async () => server.close());

/** A request of its own for each client: prompts and lengths of many sizes, some that begin alike. */
const requests = Array.from({ length: CLIENTS }, (_, index) => ({
  model: "tiny",
  prompt: `${"You are a cat. ".repeat(index % 4)}${String(index).repeat(1 + (index % 5))}`,
  max_tokens: 3 + (index % 13),
  temperature: 0,
}));

describe("64 clients at once", () => {
  it("get what `generate` writes, though others are written beside", async () => {
    const wanted = await withGenerator(
      server.folder,
      { engine: "cpu", threads: 1 },
      async (generator) => {
        const texts: string[] = [];
        for (const { prompt, max_tokens: maxTokens } of requests)
          texts.push((await generator.generate(prompt, { maxTokens, temperature: 0 })).text);
        return texts;
      },
    );
    const got = await Promise.all(
      requests.map(async (request) => server.client.completions.create(request)),
    );
    expect(got.map(({ choices }) => choices[0]?.text)).toEqual(wanted);
  });

  it("each get what they get alone, streamed or not, and nobody is lost", async () => {
    const { client } = server;
    const alone: (string | undefined)[] = [];
    for (const request of requests)
      alone.push((await client.completions.create(request)).choices[0]?.text);
    const together = await Promise.all(
      requests.map(async (request, index) => {
        if (index % 2 === 0) return (await client.completions.create(request)).choices[0]?.text;
        let text = "";
        for await (const { choices } of await client.completions.create({
          ...request,
          stream: true,
        }))
          text += choices[0]?.text ?? "";
        return text;
      }),
    );
    expect(together).toEqual(alone);
    expect(server.served.service.load).toEqual({ running: 0, waiting: 0, outstanding: 0 });
  });

  it("do not keep others from an answer: health is told while texts are written", async () => {
    const { client, served } = server;
    // Long enough that some are still written when the first answer on health is there.
    const busy = requests.map(async (request) =>
      client.completions.create({ ...request, max_tokens: 60 }),
    );
    const written = { isDone: false };
    const all = Promise.all(busy).finally(() => {
      written.isDone = true;
    });
    let healthCount = 0;
    let whileWriting = 0;
    while (!written.isDone) {
      expect((await fetch(`${served.server.url}/health`)).status).toBe(200);
      healthCount++;
      if (served.service.load.outstanding > 0) whileWriting++;
    }
    await all;
    // Answers would wait for all texts together otherwise: there would be one, at the end.
    expect(healthCount).toBeGreaterThan(1);
    expect(whileWriting).toBeGreaterThan(0);
  });
});
