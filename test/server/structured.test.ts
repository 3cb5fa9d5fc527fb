import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHATML, tinyServer } from "./tiny-server.ts";
import type { TinyServer } from "./tiny-server.ts";

// A model of random weights writes noise: what comes out as JSON does so because nothing else was let through.
let server: TinyServer;
let client: OpenAI;
beforeAll(async () => {
  server = await tinyServer({ template: CHATML, contextLength: 1024 });
  ({ client } = server);
});
afterAll(async () => server.close());

const messages = [{ role: "user", content: "a" }] as OpenAI.ChatCompletionMessageParam[];
const SCHEMA = {
  type: "object",
  properties: {
    mood: { enum: ["happy", "sad"] },
    age: { type: "integer", minimum: 1, maximum: 99 },
    name: { type: "string", maxLength: 5 },
  },
  required: ["mood", "age", "name"],
  additionalProperties: false,
};

describe("response_format", () => {
  it("makes an answer fit a JSON schema, at any temperature, streamed or not", async () => {
    const seeds = [1, 2, 3, 4];
    const answers = await Promise.all(
      seeds.map(async (seed) =>
        client.chat.completions.create({
          ...{ model: "tiny", messages, seed, temperature: seed === 4 ? 0 : 1.5 },
          max_tokens: 200,
          response_format: { type: "json_schema", json_schema: { name: "who", schema: SCHEMA } },
        }),
      ),
    );
    for (const { choices } of answers) {
      expect(choices[0]?.finish_reason).toBe("stop");
      const value = JSON.parse(choices[0]?.message.content ?? "") as Record<string, unknown>;
      expect(Object.keys(value)).toEqual(["mood", "age", "name"]);
      expect(["happy", "sad"]).toContain(value["mood"]);
      expect(value["age"]).toBeGreaterThanOrEqual(1);
      expect(value["age"]).toBeLessThanOrEqual(99);
      expect(Array.from(String(value["name"])).length).toBeLessThanOrEqual(5);
    }
    const stream = await client.chat.completions.create({
      ...{ model: "tiny", messages, seed: 1, temperature: 1.5, max_tokens: 200, stream: true },
      response_format: { type: "json_schema", json_schema: { name: "who", schema: SCHEMA } },
    });
    let text = "";
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? "";
    expect(text).toBe(answers[0]?.choices[0]?.message.content);
  });

  it("makes an object of json_object, and tells where tokens did not last", async () => {
    // Brackets that close are made likely, so that the noise ends.
    const logit_bias = { ["}".charCodeAt(0)]: 8, ['"'.charCodeAt(0)]: 6, ["]".charCodeAt(0)]: 8 };
    const whole = await client.chat.completions.create({
      ...{ model: "tiny", messages, logit_bias, max_tokens: 400, temperature: 1, seed: 3 },
      response_format: { type: "json_object" },
    });
    expect(whole.choices[0]?.finish_reason).toBe("stop");
    expect(JSON.parse(whole.choices[0]?.message.content ?? "")).toBeTypeOf("object");
    const cut = await client.chat.completions.create({
      ...{ model: "tiny", messages, max_tokens: 1 },
      response_format: { type: "json_object" },
    });
    expect(cut.choices[0]).toMatchObject({ finish_reason: "length", message: { content: "{" } });
  });

  it("holds for texts as well", async () => {
    const response = await server.post("/v1/completions", {
      ...{ model: "tiny", prompt: "a", max_tokens: 50, temperature: 1 },
      response_format: {
        type: "json_schema",
        json_schema: { name: "x", schema: { type: "boolean" } },
      },
    });
    const { choices } = (await response.json()) as OpenAI.Completion;
    expect(["true", "false"]).toContain(choices[0]?.text);
  });

  it("refuses schemas that it cannot keep, before anything is written", async () => {
    for (const [schema, problem] of [
      [{ type: "object", patternProperties: {} }, /schema\.patternProperties/],
      [{ type: "string", minLength: 2, maxLength: 1 }, /no text can be/],
    ] as const) {
      for (const stream of [false, true]) {
        const response = await server.post("/v1/chat/completions", {
          ...{ model: "tiny", messages, stream },
          response_format: { type: "json_schema", json_schema: { name: "x", schema } },
        });
        const { error } = (await response.json()) as { error: Record<string, unknown> };
        expect(response.status).toBe(400);
        expect(error).toMatchObject({ param: "response_format", code: "invalid_json_schema" });
        expect(error["message"]).toMatch(problem);
      }
    }
    const unknown = await server.post("/v1/chat/completions", {
      ...{ model: "tiny", messages, response_format: { type: "xml" } },
    });
    expect(unknown.status).toBe(400);
  });
});

describe("tool_choice", () => {
  const tools = ["weather", "time"].map((name) => ({
    type: "function" as const,
    function: {
      name,
      parameters: {
        type: "object",
        properties: { city: { enum: ["Bath", "Ulm"] } },
        required: ["city"],
        additionalProperties: false,
      },
    },
  }));

  it("makes a call of a function, with arguments that fit its parameters", async () => {
    const asked = { model: "tiny", messages, tools, temperature: 1, max_tokens: 200 };
    const named = await client.chat.completions.create({
      ...asked,
      tool_choice: { type: "function", function: { name: "time" } },
    });
    const [choice] = named.choices;
    expect(choice).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
    const [call] = choice?.message.tool_calls ?? [];
    if (call?.type !== "function") throw new Error("no call of a function");
    expect(call.function.name).toBe("time");
    expect(JSON.parse(call.function.arguments)).toEqual({
      city: expect.stringMatching(/^(Bath|Ulm)$/),
    });
    const stream = await client.chat.completions.create({
      ...asked,
      tool_choice: "required",
      stream: true,
    });
    let content = "";
    const names: (string | undefined)[] = [];
    let reason: string | null = null;
    for await (const { choices } of stream) {
      content += choices[0]?.delta.content ?? "";
      for (const each of choices[0]?.delta.tool_calls ?? []) names.push(each.function?.name);
      reason = choices[0]?.finish_reason ?? reason;
    }
    expect([content, names.length, reason]).toEqual(["", 1, "tool_calls"]);
    expect(["weather", "time"]).toContain(names[0]);
  });

  it("refuses a function that is none of the tools", async () => {
    await expect(
      client.chat.completions.create({
        ...{ model: "tiny", messages, tools },
        tool_choice: { type: "function", function: { name: "whether" } },
      }),
    ).rejects.toThrow(/Did you mean "weather"/);
  });
});
