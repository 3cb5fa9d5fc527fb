import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateFromFolder } from "../../src/generate/index.ts";
import { CallWatcher, readToolCalls, toolFormatOf } from "../../src/server/openai/tool-calls.ts";
import { CHATML, tinyServer } from "./tiny-server.ts";
import type { TinyServer } from "./tiny-server.ts";

let server: TinyServer;
let client: OpenAI;
beforeAll(async () => {
  server = await tinyServer({ template: CHATML, contextLength: 512 });
  ({ client } = server);
});
afterAll(async () => server.close());

const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
} as const;

describe("/v1/chat/completions", () => {
  it("goes on from the conversation as the model's template renders it", async () => {
    const answer = await client.chat.completions.create({
      model: "tiny",
      messages: [
        { role: "developer", content: "Purr." },
        {
          role: "user",
          content: [
            { type: "text", text: "Hel" },
            { type: "text", text: "lo" },
          ],
        },
      ],
      max_completion_tokens: 10,
      temperature: 0,
    });
    const rendered =
      "<|im_start|>system\nPurr.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n";
    const { text } = await generateFromFolder(server.folder, rendered, {
      ...{ engine: "cpu", threads: 1, maxTokens: 10 },
    });
    expect(answer.choices[0]).toMatchObject({
      message: { role: "assistant", content: text, refusal: null },
      finish_reason: "length",
    });
    expect(answer.usage?.prompt_tokens).toBe(rendered.length);
  });

  it("streams the role first, then the same text with its scores, then why it ended", async () => {
    const asked = {
      model: "tiny",
      messages: [{ role: "user", content: "Hello" }] as OpenAI.ChatCompletionMessageParam[],
      ...{ max_tokens: 10, temperature: 0, logprobs: true, top_logprobs: 2, n: 2 },
    };
    const whole = await client.chat.completions.create(asked);
    const stream = await client.chat.completions.create({ ...asked, stream: true });
    const texts = ["", ""];
    const tokens: OpenAI.ChatCompletionTokenLogprob[][] = [[], []];
    const roles: (string | undefined)[] = [];
    const reasons: (string | null)[] = [];
    for await (const { choices } of stream) {
      for (const { index, delta, logprobs, finish_reason } of choices) {
        if (delta.role !== undefined) roles.push(delta.role);
        texts[index] += delta.content ?? "";
        tokens[index]?.push(...(logprobs?.content ?? []));
        if (finish_reason !== null) reasons.push(finish_reason);
      }
    }
    expect(roles).toEqual(["assistant", "assistant"]);
    expect(reasons).toEqual(["length", "length"]);
    for (const [index, { message, logprobs }] of whole.choices.entries()) {
      expect(texts[index]).toBe(message.content);
      for (const [at, token] of (logprobs?.content ?? []).entries()) {
        // A prompt that stood in the cache was read in other pieces: the last bits may differ.
        const { token: text, logprob } = tokens[index]?.[at] ?? { token: "", logprob: NaN };
        expect(text).toBe(token.token);
        expect(logprob).toBeCloseTo(token.logprob, 4);
      }
      expect(logprobs?.content).toHaveLength(10);
      for (const { logprob, top_logprobs: top, bytes } of logprobs?.content ?? []) {
        expect(top).toHaveLength(2);
        expect(top[0]?.logprob).toBe(logprob);
        expect(bytes).toHaveLength(1);
      }
    }
  });

  it("shows tools and earlier calls to the template", async () => {
    const answer = await client.chat.completions.create({
      model: "tiny",
      messages: [
        { role: "user", content: "Rain?" },
        {
          role: "assistant",
          content: null,
          tool_calls: [
            { id: "1", type: "function", function: { name: "weather", arguments: '{"city":"X"}' } },
          ],
        },
        { role: "tool", content: "yes", tool_call_id: "1" },
      ],
      tools: [WEATHER],
      max_tokens: 2,
      temperature: 0,
    });
    const plain = await client.chat.completions.create({
      model: "tiny",
      messages: [{ role: "user", content: "Rain?" }],
      tools: [WEATHER],
      tool_choice: "none",
      max_tokens: 2,
      temperature: 0,
    });
    expect(answer.usage?.prompt_tokens).toBeGreaterThan(
      (plain.usage?.prompt_tokens ?? 0) + JSON.stringify(WEATHER).length,
    );
  });

  it("refuses what it does not do, by name", async () => {
    const messages = [{ role: "user", content: "a" }];
    const cases: readonly (readonly [object, string, RegExp])[] = [
      [{ messages: [] }, "messages", /messages/],
      [{ messages: [{ role: "user" }] }, "messages[0].content", /missing/],
      [{ messages: [{ role: "cat", content: "a" }] }, "messages[0].role", /messages/],
      [
        { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
        "messages[0].content",
        /messages/,
      ],
      [{ messages, max_tokens: 3, max_completion_tokens: 4 }, "max_tokens", /one limit/],
      [{ messages, top_logprobs: 2 }, "top_logprobs", /logprobs true/],
      [{ messages, functions: [] }, "functions", /no parameter/],
      [{ messages, tool_choice: "auto" }, "tool_choice", /wants tools/],
      [{ messages, store: true }, "store", /store/],
    ];
    for (const [more, param, message] of cases) {
      const response = await server.post("/v1/chat/completions", { model: "tiny", ...more });
      const { error } = (await response.json()) as { error: Record<string, unknown> };
      expect([response.status, error["param"], error["message"]]).toEqual([
        400,
        param,
        expect.stringMatching(message),
      ]);
    }
    await expect(
      client.chat.completions.create({
        model: "tiny",
        messages: [{ role: "user", content: "x".repeat(600) }],
      }),
    ).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
  });
});

describe("calls of functions", () => {
  const names = new Set(["weather"]);

  it("are known by what the template teaches", () => {
    expect(toolFormatOf(CHATML)).toBe("tagged");
    expect(toolFormatOf("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS]")).toBe("list");
    expect(toolFormatOf('{{ tools }} {"name": function, "parameters": dictionary}')).toBe("json");
    expect(toolFormatOf("{{ messages }}")).toBeUndefined();
    expect(toolFormatOf(undefined)).toBeUndefined();
  });

  it("are read in each of the three ways, and text that is none stays text", () => {
    const call = '{"name": "weather", "arguments": {"city": "Bath"}}';
    const wanted = { name: "weather", arguments: '{"city":"Bath"}' };
    const tagged = readToolCalls(
      `Let me look.\n<tool_call>\n${call}\n</tool_call>\n<tool_call>${call}</tool_call>`,
      "tagged",
      names,
    );
    expect(tagged.content).toBe("Let me look.");
    expect(tagged.calls.map((each) => each.function)).toEqual([wanted, wanted]);
    expect(new Set(tagged.calls.map(({ id }) => id)).size).toBe(2);
    expect(readToolCalls(`<tool_call>${call}`, "tagged", names).calls).toHaveLength(1);
    expect(readToolCalls(` [TOOL_CALLS] [${call}]`, "list", names).calls[0]?.function).toEqual(
      wanted,
    );
    const llama = call.replace("arguments", "parameters");
    expect(readToolCalls(`<|python_tag|>${llama}`, "json", names).calls[0]?.function).toEqual(
      wanted,
    );
    for (const format of ["tagged", "list", "json"] as const) {
      for (const text of [
        "It rains.",
        '{"a": 1}',
        '<tool_call>{"name": "other"}</tool_call>',
        "[1]",
      ]) {
        expect(readToolCalls(text, format, names)).toEqual({ content: text, calls: [] });
      }
    }
  });

  it("are held back in a stream from where they may begin", () => {
    const watcher = new CallWatcher("tagged");
    const text = 'Hm < 3. <tool_call>{"name": "weather", "arguments": {}}</tool_call>';
    let shown = "";
    for (const character of text) shown += watcher.push(character);
    expect(shown).toBe("Hm < 3.");
    const { content } = readToolCalls(text, "tagged", names);
    expect(shown + watcher.rest(content)).toBe("Hm < 3.");
    const none = new CallWatcher("tagged");
    let plain = "";
    for (const character of "a <tool b") plain += none.push(character);
    expect(plain + none.rest("a <tool b")).toBe("a <tool b");
  });
});
