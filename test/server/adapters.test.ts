import { mkdirSync, rmSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateFromFolder } from "../../src/generate/index.ts";
import { writeAdapter } from "../../src/model/adapters/adapter-files.ts";
import { byteTokenizer, saveTokenizer, withChatTemplate } from "../../src/text/index.ts";
import { Random } from "../../src/util/random.ts";
import { tinyServer } from "./tiny-server.ts";
import type { TinyServer } from "./tiny-server.ts";

const RANK = 2;
const SIZE = 32;
const LAYERS = [0, 1];

/** An adapter of the tiny model that changes much of what it writes. */
function drawnAdapter(folder: string, seed: number): void {
  mkdirSync(folder, { recursive: true });
  const random = new Random(seed);
  const drawn = (length: number): Float32Array =>
    Float32Array.from({ length }, () => random.normal());
  writeAdapter(folder, {
    adapter: {
      ...{ method: "lora", rank: RANK, alpha: 4, isRankStabilized: false, dropout: 0 },
      ...{ modules: ["self_attn.q_proj", "self_attn.o_proj"], layers: LAYERS },
      isFanInFanOut: false,
    },
    baseName: "tiny",
    layerCount: LAYERS.length,
    matrices: new Map(
      LAYERS.flatMap((layer) =>
        ["q_proj", "o_proj"].map((module) => [
          `model.layers.${layer}.self_attn.${module}`,
          {
            ...{ rank: RANK, inputSize: SIZE, outputSize: SIZE, scale: 2 },
            a: drawn(RANK * SIZE),
            b: drawn(SIZE * RANK),
          },
        ]),
      ),
    ),
  });
}

/** What ends a turn is text here, one that this model would go on behind. */
const POETS_TEMPLATE =
  "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.role == 'assistant' %}~{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

let place: string;
let server: TinyServer;
beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), "anecdote-test-"));
  const adapters = ["pirate", "poet"].map((name, seed) => {
    drawnAdapter(join(place, name), seed + 1);
    if (name === "poet")
      saveTokenizer(join(place, name), withChatTemplate(byteTokenizer(), POETS_TEMPLATE));
    return { name, sources: [{ folder: join(place, name), weight: 1 }] };
  });
  server = await tinyServer({ texts: { adapters } });
});
afterAll(async () => {
  await server.close();
  rmSync(place, { recursive: true, force: true });
});

describe("adapters beside a model", () => {
  it("are listed as models whose parent is the model", async () => {
    const { data } = await server.client.models.list();
    expect(data.map((model) => [model.id, (model as { parent?: unknown }).parent])).toEqual([
      ["tiny", null],
      ["pirate", "tiny"],
      ["poet", "tiny"],
    ]);
  });

  it("answer for themselves, at the same time as others, with prompts that begin alike", async () => {
    const prompt = "Once upon a time there was a cat";
    const wanted = await Promise.all(
      [[], ["pirate"], ["poet"]].map(
        async (names) =>
          (
            await generateFromFolder(server.folder, prompt, {
              ...{ engine: "cpu", threads: 1, maxTokens: 12 },
              adapters: names.map((name) => ({ folder: join(place, name), weight: 1 })),
            })
          ).text,
      ),
    );
    expect(new Set(wanted).size).toBe(3);
    for (let round = 0; round < 2; round++) {
      const answers = await Promise.all(
        ["tiny", "pirate", "poet"].map(async (model) =>
          server.client.completions.create({ model, prompt, max_tokens: 12, temperature: 0 }),
        ),
      );
      expect(answers.map(({ choices }) => choices[0]?.text)).toEqual(wanted);
      expect(answers.map(({ model }) => model)).toEqual(["tiny", "pirate", "poet"]);
    }
  });

  it("stand beside weights in another format, which answer as generate does with them", async () => {
    const prompt = "Once upon a time there was a cat";
    const adapters = [{ name: "pirate", sources: [{ folder: join(place, "pirate"), weight: 1 }] }];
    const packed = await tinyServer({ texts: { adapters, weights: "int4" } });
    try {
      const wanted = await Promise.all(
        [[], ["pirate"]].map(async (names) => {
          const adapters = names.map((name) => ({ folder: join(place, name), weight: 1 }));
          const options = { engine: "cpu", threads: 1, maxTokens: 12, adapters } as const;
          const { text } = await generateFromFolder(packed.folder, prompt, {
            ...options,
            weights: "int4",
          });
          return text;
        }),
      );
      const answers = await Promise.all(
        ["tiny", "pirate", "tiny"].map(async (model) =>
          packed.client.completions.create({ model, prompt, max_tokens: 12, temperature: 0 }),
        ),
      );
      const texts = answers.map(({ choices }) => choices[0]?.text);
      expect(texts).toEqual([wanted[0], wanted[1], wanted[0]]);
      const whole = await server.client.completions.create({
        ...{ model: "tiny", prompt, max_tokens: 12, temperature: 0, logprobs: 0 },
      });
      const again = await packed.client.completions.create({
        ...{ model: "tiny", prompt, max_tokens: 12, temperature: 0, logprobs: 0 },
      });
      const first = ({ choices }: OpenAI.Completion): number =>
        choices[0]?.logprobs?.token_logprobs?.[0] ?? NaN;
      expect(first(again)).not.toBe(first(whole));
      expect(Math.abs(first(again) - first(whole))).toBeLessThan(1);
    } finally {
      await packed.close();
    }
  });

  it("talk in the form that they were trained with, and end their turn as it does", async () => {
    const messages = [{ role: "user", content: "Hi" }] as const;
    const ask = async (model: string): Promise<OpenAI.ChatCompletion> =>
      server.client.chat.completions.create({
        ...{ model, messages: [...messages], max_tokens: 8, temperature: 0 },
        // What ends a turn is the likeliest.
        logit_bias: { [byteTokenizer().tokenizer.encode("~")[0] ?? 0]: 100 },
      });
    await expect(ask("tiny")).rejects.toThrow(/no chat template/);
    const answer = await ask("poet");
    expect(answer.usage?.prompt_tokens).toBe("[user]Hi[assistant]".length);
    expect(answer.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "" } });
  });
});
