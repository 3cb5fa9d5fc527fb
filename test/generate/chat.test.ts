import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Chat } from "../../src/generate/index.ts";
import type { WrittenPiece } from "../../src/generate/index.ts";
import { resolveModelFolder, train } from "../../src/train/index.ts";
import type { TrainSettings } from "../../src/train/index.ts";
import { finished, runCli, startCli } from "../helpers/cli.ts";

describe("a conversation", () => {
  let folder: string;
  let base: string;
  const adapters: string[] = [];
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "anecdote-chat-"));
    const rows = ["cat", "dog", "cow"].map((animal, index) => ({
      messages: [
        { role: "user", content: `${animal}?` },
        { role: "assistant", content: ["meow", "woof", "moo"][index] },
        { role: "user", content: "Bye" },
        { role: "assistant", content: "Goodbye" },
      ],
    }));
    const data = join(folder, "chats.jsonl");
    const lines = Array.from({ length: 24 }, (_, index) => JSON.stringify(rows[index % 3]));
    writeFileSync(data, `${lines.join("\n")}\n`);
    const common: TrainSettings = {
      ...{ data, max_seq_length: 128, batch_size: 4, engine: "cpu", threads: 1 },
      ...{ eval_steps: 0, save_steps: 0, chat_template: "plain", mask_prompt: true },
    };
    const run = await train({
      ...common,
      ...{ tokenizer: "byte", layers: 2, hidden_size: 32, heads: 2, ffn_size: 64 },
      ...{ max_steps: 60, learning_rate: 1e-2, output_dir: join(folder, "base") },
    });
    await run.finished();
    base = resolveModelFolder(join(folder, "base"));
    for (const [name, seed] of [
      ["one", 1],
      ["two", 2],
    ] as const) {
      const tuned = await train({
        ...common,
        ...{ model: base, method: "lora", lora_rank: 2, seed, max_steps: 4, learning_rate: 0.05 },
        output_dir: join(folder, name),
      });
      await tuned.finished();
      adapters.push(resolveModelFolder(join(folder, name)));
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const SETTINGS = { engine: "cpu", threads: 1 } as const;
  const GREEDY = { maxTokens: 12, temperature: 0 };
  const open = async (more: Parameters<typeof Chat.open>[1] = {}): Promise<Chat> =>
    await Chat.open(base, { ...SETTINGS, ...more });

  it("keeps its cache between turns, and answers as one that reads everything anew", async () => {
    const chat = await open();
    const first = await chat.say("cat?", GREEDY);
    expect(first.reusedTokenCount).toBe(0);
    const second = await chat.say("Bye", GREEDY);
    // All but what stands behind the last answer was read before.
    expect(second.reusedTokenCount).toBeGreaterThan(first.promptTokenCount);
    const other = await open();
    other.load(saved(chat, "turns.json"));
    expect(other.messages).toEqual(chat.messages);
    const again = await other.retry(GREEDY);
    expect(again.text).toBe(second.text);
    expect(chat.messages.map(({ role }) => role)).toEqual([
      "user",
      "assistant",
      "user",
      "assistant",
    ]);
    await chat.close();
    await other.close();
  });

  const saved = (chat: Chat, name: string): string => {
    const path = join(folder, name);
    chat.save(path);
    return path;
  };

  it("is edited and tried again without a trace of what was asked before", async () => {
    const chat = await open({ system: "Be loud." });
    await chat.say("cat?", GREEDY);
    await chat.edit("dog?", GREEDY);
    const answer = await chat.retry(GREEDY);
    expect(chat.messages).toEqual([
      { role: "system", content: "Be loud." },
      { role: "user", content: "dog?" },
      { role: "assistant", content: answer.text },
    ]);
    chat.system = "";
    chat.reset();
    expect(chat.messages).toEqual([]);
    await expect(chat.retry(GREEDY)).rejects.toThrow("nothing was asked yet");
    await chat.close();
  });

  it("loses nothing where an answer is stopped or a file is none", async () => {
    const chat = await open();
    await chat.say("cow?", GREEDY);
    const before = chat.messages;
    await expect(
      chat.say("dog?", { ...GREEDY, signal: AbortSignal.abort(new Error("enough")) }),
    ).rejects.toThrow("enough");
    const path = join(folder, "none.json");
    writeFileSync(path, '{"messages": [{"role": "user"}]}');
    expect(() => chat.load(path)).toThrow(/none\.json is no conversation/);
    expect(chat.messages).toEqual(before);
    await chat.close();
  });

  it("leaves its oldest turns out where the context ends, and says so", async () => {
    const notes: string[] = [];
    const chat = await open({ onNote: (note) => notes.push(note) });
    for (let turn = 0; turn < 5; turn++) await chat.say("cat? and once more", GREEDY);
    expect(chat.messages).toHaveLength(10);
    expect(notes.at(-1)).toMatch(/its first \d+ messages are not read/);
    await chat.close();
  });

  it("answers as each adapter does alone, whatever was loaded before", async () => {
    const alone: string[] = [];
    for (const list of [[], [adapters[0] ?? ""], [adapters[1] ?? ""]]) {
      const chat = await open({ adapters: list.map((place) => ({ folder: place, weight: 1 })) });
      alone.push((await chat.say("cat?", GREEDY)).text);
      await chat.close();
    }
    const chat = await open();
    const answers: string[] = [];
    for (const index of [1, 2, 0, 1]) {
      const place = adapters[index - 1];
      await chat.setAdapters(place === undefined ? [] : [{ folder: place, weight: 1 }]);
      chat.reset();
      answers.push((await chat.say("cat?", GREEDY)).text);
    }
    expect(answers).toEqual([alone[1], alone[2], alone[0], alone[1]]);
    await chat.close();
  });

  it("answers from weights in another format, with any adapter", async () => {
    const [folder = ""] = adapters;
    const scoresOf = async (chat: Chat): Promise<number[]> => {
      const scores: number[] = [];
      const onPiece = ({ tokens }: WrittenPiece): void => {
        scores.push(...tokens.map(({ logprob }) => logprob));
      };
      await chat.say("cat?", { ...GREEDY, topLogprobs: 0, onPiece });
      return scores;
    };
    const packed = await open({ weights: "int4", adapters: [{ folder, weight: 1 }] });
    const wanted = await scoresOf(packed);
    await packed.close();
    const chat = await open({ weights: "int4" });
    await chat.setAdapters([{ folder, weight: 1 }]);
    expect(await scoresOf(chat)).toEqual(wanted);
    await chat.close();
    const whole = await open({ adapters: [{ folder, weight: 1 }] });
    expect((await scoresOf(whole))[0]).not.toBe(wanted[0]);
    await whole.close();
  });

  it("keeps adapter, template and words where adapters are refused, and says what goes on answering", async () => {
    const [one = "", two = ""] = adapters;
    const beside = (place: string) => [{ folder: place, weight: 1 }];
    const bare = join(folder, "bare");
    cpSync(base, bare, { recursive: true });
    rmSync(join(bare, "chat_template.jinja"), { force: true });
    const config = join(bare, "tokenizer_config.json");
    const { chat_template: _, ...others } = JSON.parse(readFileSync(config, "utf8")) as {
      chat_template?: string;
    };
    writeFileSync(config, JSON.stringify(others));
    await expect(Chat.open(bare, SETTINGS)).rejects.toMatchObject({ code: "text.chat.none" });

    const chat = await Chat.open(bare, { ...SETTINGS, adapters: beside(one) });
    const first = await chat.say("cat?", GREEDY);
    const refused = (reason: string) => ({
      code: "generate.chat.adapters",
      message: expect.stringMatching(
        new RegExp(`${reason}.*Nothing was changed: answers go on from the model with ${one}`, "s"),
      ),
    });
    await expect(chat.setAdapters([])).rejects.toMatchObject({
      ...refused("bare has no chat template"),
      remedy: expect.stringContaining("--chat-template"),
    });
    await expect(chat.setAdapters(beside(bare))).rejects.toMatchObject(
      refused("has no adapter_config.json|has no chat template"),
    );
    expect(chat.adapters).toEqual(beside(one));
    // The cache is still that of the same model: all but the last token was read before.
    const again = await chat.retry(GREEDY);
    expect(again).toMatchObject({ text: first.text, promptTokenCount: first.promptTokenCount });
    expect(again.reusedTokenCount).toBeGreaterThan(0);

    await chat.setAdapters(beside(two));
    expect(chat.adapters).toEqual(beside(two));
    const other = await open({ adapters: beside(two) });
    expect((await chat.retry(GREEDY)).text).toBe((await other.say("cat?", GREEDY)).text);
    await chat.close();
    await other.close();

    // A template that is given outlives every adapter.
    const given = await Chat.open(bare, {
      ...{ ...SETTINGS, adapters: beside(one), chatTemplate: "plain" },
    });
    await given.setAdapters([]);
    const alone = await open();
    expect((await given.say("cat?", GREEDY)).text).toBe((await alone.say("cat?", GREEDY)).text);
    await given.close();
    await alone.close();
  });

  it("is held line by line where the input is no terminal, as a command", async () => {
    const path = join(folder, "kept.json");
    const asked = await runCli(
      [
        ...["chat", "--model", base, "--temperature", "0", "--max-tokens", "12"],
        ...["--engine", "cpu", "--threads", "1", "--json", "--prompt", "cat?"],
      ],
      {},
    );
    expect(asked.code).toBe(0);
    expect(JSON.parse(asked.stdout)).toMatchObject({ role: "assistant", reused_tokens: 0 });
    const { code, stdout, stderr } = await runCliWithInput(
      ["chat", "--model", base, "--temperature", "0", "--max-tokens", "12", "--engine", "cpu"],
      `/system Be kind.\ncat?\n/edit dog?\n/adapter ${adapters[0] ?? ""}\n/retry\n/save ${path}\n/history\n/quit\nnever\n`,
    );
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("system: Be kind.\nuser: dog?\nassistant: ");
    const kept = JSON.parse(readFileSync(path, "utf8")) as { messages: { role: string }[] };
    expect(kept.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant"]);
    const wrong = await runCliWithInput(["chat", "--model", base, "--engine", "cpu"], "/rety\n");
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('mean "/retry"') });
  });
});

async function runCliWithInput(args: readonly string[], input: string) {
  const child = startCli(args, {}, { input: "pipe" });
  child.stdin?.end(input);
  return await finished(child);
}
