import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { finished, runCli, startCli, temporaryFolder } from "../helpers/cli.ts";
import { tinyModelFolder } from "../helpers/model-folder.ts";

/** `anecdote serve` of a tiny model on a free port, once it listens. */
async function serving(folder: string, flags: readonly string[] = []) {
  const child = startCli([
    ...["serve", "--model", folder, "--port", "0", "--json"],
    ...["--engine", "cpu", "--threads", "1", ...flags],
  ]);
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended = finished(child);
  let text = "";
  while (!text.includes("\n")) {
    const [chunk] = (await once(child.stdout ?? child, "data")) as [Buffer];
    text += chunk.toString();
  }
  const event = JSON.parse(text) as Readonly<Record<string, unknown>>;
  return { child, ended, event, url: String(event["url"]) };
}

async function streamed(url: string, maxTokens: number): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      ...{ model: "model", prompt: "a", max_tokens: maxTokens, stream: true, ignore_eos: true },
    }),
  });
}

describe("anecdote serve", () => {
  it("tells where it listens, and lets an answer end when it is asked to stop", async () => {
    const folder = join(temporaryFolder(), "model");
    tinyModelFolder(folder, { contextLength: 512 });
    const { child, ended, event, url } = await serving(folder);
    expect(event).toMatchObject({
      kind: "listening",
      model: "model",
      host: "127.0.0.1",
      context: 512,
    });
    expect(event["prepared"]).toContain("8x512");
    const response = await streamed(url, 500);
    child.kill("SIGTERM");
    const text = await response.text();
    expect(text).toContain('"finish_reason":"length"');
    expect(text.trimEnd().endsWith("data: [DONE]")).toBe(true);
    expect((await ended).code).toBe(0);
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  it("does not wait for an answer longer than its grace", async () => {
    const folder = join(temporaryFolder(), "model");
    tinyModelFolder(folder, { contextLength: 4096 });
    const { child, ended, url } = await serving(folder, ["--grace", "0", "--max-texts", "1"]);
    const response = await streamed(url, 4000);
    child.kill("SIGINT");
    await response.text().catch(() => undefined);
    expect((await ended).code).toBe(0);
  });

  it("says what is wrong before it loads a model, or with its address", async () => {
    const folder = join(temporaryFolder(), "model");
    tinyModelFolder(folder);
    const wrong: readonly (readonly [readonly string[], number, RegExp])[] = [
      [[], 2, /needs a model/],
      [["--model", join(folder, "nowhere")], 1, /no model folder/],
      [["--model", folder, "--port", "70000"], 2, /--port/],
      [["--model", folder, "--allowed-origin", "chat.example/x"], 2, /is no origin/],
      [["--model", folder, "--api-key", "a", "--api-key-file", "b"], 2, /exclude/],
      [["--model", folder, "--api-key-file", join(folder, "no-key")], 2, /cannot be read/],
      [["--model", folder, "--adapter", folder], 2, /two models are called model/],
      [["--model", folder, "--host", "203.0.113.77", "--port", "0"], 1, /no address 203/],
    ];
    writeFileSync(join(folder, "empty"), "");
    for (const [flags, code, problem] of wrong) {
      const result = await runCli(["serve", ...flags]);
      expect([result.code, result.stderr]).toEqual([code, expect.stringMatching(problem)]);
    }
  });
});
