import { afterEach, describe, expect, it, vi } from "vitest";
import { buildDouble } from "../engine/ane/double-library.ts";
import { CHATML, tinyServer } from "./tiny-server.ts";

afterEach(() => vi.unstubAllEnvs());

/** Engines that a model is served on, beside cpu. */
const ENGINES: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ["reference", {}],
  ["sim:m4", {}],
  ["ane", { ANECDOTE_ANE_LIBRARY: buildDouble("e5rt"), ANECDOTE_ANE_CHIP: "m4" }],
];

describe.each(ENGINES)("a server on %s", (engine, environment) => {
  it("writes texts and chats of several clients, as each would be written alone", async () => {
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    const server = await tinyServer({
      ...{ contextLength: 64, template: CHATML },
      texts: { engine, threads: undefined, maximumTexts: 2, maximumWaiting: 4 },
    });
    try {
      expect(server.served.service.facts.engine).toBe(engine);
      const ask = async (prompt: string): Promise<string> => {
        const asked = { model: "tiny", prompt, max_tokens: 4, temperature: 0 };
        return (await server.client.completions.create(asked)).choices[0]?.text ?? "";
      };
      const prompts = ["the cat", "a dog"];
      const together = await Promise.all(prompts.map(ask));
      const alone: string[] = [];
      for (const prompt of prompts) alone.push(await ask(prompt));
      expect(together).toEqual(alone);
      expect(new Set(together).size).toBe(2);
      const chat = await server.client.chat.completions.create({
        ...{ model: "tiny", messages: [{ role: "user", content: "Hi" }], stream: true },
        ...{ max_tokens: 3, temperature: 0 },
      });
      let reason = "";
      for await (const { choices } of chat) reason = choices[0]?.finish_reason ?? reason;
      expect(reason).toBe("length");
    } finally {
      await server.close();
    }
  });
});
