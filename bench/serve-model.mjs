// What the benches of the server share: a model folder, a server as a process of its own, clients.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { initialiseWeight, modelOf, saveWeights, writeModelConfig } from "../dist/model/index.js";
import { presetOf } from "../dist/train/config/presets.js";

const BIN = fileURLToPath(new URL("../bin/anecdote.mjs", import.meta.url));

/** A folder with a preset's model, its weights drawn at random, and a tokenizer of a word a row of its table. */
export function drawnModelFolder(folder, preset) {
  mkdirSync(folder, { recursive: true });
  const model = modelOf(presetOf(preset).model);
  writeModelConfig(folder, model.config);
  const values = new Map();
  for (const weight of model.parameters.weights) {
    const numbers = new Float32Array(weight.type.shape.reduce((count, size) => count * size, 1));
    initialiseWeight(weight, 5, numbers);
    values.set(weight.name, numbers);
  }
  saveWeights(folder, model.parameters, (name) => values.get(name));
  const vocab = Object.fromEntries(
    Array.from({ length: model.config.vocabularySize }, (_, id) => [
      id === 0 ? "<unk>" : `w${id}`,
      id,
    ]),
  );
  const parts = { normalizer: null, post_processor: null, truncation: null, padding: null };
  writeFileSync(
    join(folder, "tokenizer.json"),
    JSON.stringify({
      ...{ version: "1.0", added_tokens: [], ...parts },
      pre_tokenizer: { type: "WhitespaceSplit" },
      decoder: null,
      model: { type: "WordLevel", vocab, unk_token: "<unk>" },
    }),
  );
  return { vocabularySize: model.config.vocabularySize };
}

/** `anecdote serve` on a free port; resolves once it listens. */
export async function startServer(folder, flags = []) {
  const child = spawn(
    process.execPath,
    [BIN, "serve", "--model", folder, "--model-name", "bench", "--port", "0", "--json", ...flags],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const event = await new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end >= 0) resolve(JSON.parse(text.slice(0, end)));
    });
    child.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { ...processOf(child), url: `${event.url}/v1`, event };
}

/** A process with what it took so far, where the system tells it. */
export function processOf(child) {
  return {
    child,
    /** Milliseconds of processor time, threads included. */
    cpuMs() {
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
    residentBytes() {
      const [, kibibytes] = /VmRSS:\s+(\d+)/.exec(
        readFileSync(`/proc/${child.pid}/status`, "utf8"),
      );
      return Number(kibibytes) * 1024;
    },
    async stop() {
      if (child.exitCode !== null) return;
      child.kill("SIGTERM");
      await new Promise((resolve) => child.on("exit", resolve));
    },
  };
}

// A connection for each client, which stays open: what is measured is the server.
const agent = new Agent({ keepAlive: true });

/**
 * A completion as bytes: streamed unless `stream` is false. Nothing is read in them until all have come, since a client
 * takes processor time from the server beside it.
 */
export async function ask(url, body) {
  const startedMs = performance.now();
  const content = JSON.stringify({ model: "bench", stream: true, ...body });
  const headers = { "Content-Type": "application/json", "Content-Length": content.length };
  const sent = request(`${url}/completions`, { method: "POST", agent, headers });
  sent.end(content);
  const [response] = await once(sent, "response");
  const chunks = [];
  let firstMs = NaN;
  response.on("data", (chunk) => {
    if (chunks.length === 0) firstMs = performance.now() - startedMs;
    chunks.push(chunk);
  });
  await once(response, "end");
  const elapsedMs = performance.now() - startedMs;
  const text = Buffer.concat(chunks).toString("utf8");
  if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${text}`);
  return { text, firstMs, elapsedMs };
}

/** The events of a streamed answer without what ends it. Throws where it did not end, or with an error. */
export function eventsOf(text) {
  const events = text.split("\n\n").map((event) => event.replace(/^data: /, ""));
  if (events.at(-2) !== "[DONE]")
    throw new Error(`an answer that did not end: ${text.slice(-200)}`);
  return events.slice(0, -2);
}

/** A streamed completion: its text, and when the first piece of it came. */
export async function complete(url, body) {
  const { text: answer, firstMs, elapsedMs } = await ask(url, body);
  let text = "";
  let reason = null;
  for (const { choices, error } of eventsOf(answer).map((event) => JSON.parse(event))) {
    if (error) throw new Error(error.message);
    text += choices[0]?.text ?? "";
    reason = choices[0]?.finish_reason ?? reason;
  }
  if (reason === null) throw new Error("an answer without a reason for its end");
  return { text, firstMs, elapsedMs };
}
