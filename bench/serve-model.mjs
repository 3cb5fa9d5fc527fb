// What the benches of the server share: a model folder, a server as a process of its own, clients.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
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

/** A streamed completion: its text, its pieces, and when the first of them came. */
export async function complete(url, body) {
  const startedMs = performance.now();
  const response = await fetch(`${url}/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "bench", stream: true, ...body }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  let firstMs;
  let text = "";
  let buffered = "";
  let isDone = false;
  let reason = null;
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    buffered += chunk;
    const events = buffered.split("\n\n");
    buffered = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") isDone = true;
      else {
        const { choices, error } = JSON.parse(data);
        if (error) throw new Error(error.message);
        const [choice] = choices;
        if (choice?.text) {
          firstMs ??= performance.now() - startedMs;
          text += choice.text;
        }
        reason = choice?.finish_reason ?? reason;
      }
    }
  }
  if (!isDone || reason === null) throw new Error("an answer that did not end");
  return { text, firstMs: firstMs ?? NaN, elapsedMs: performance.now() - startedMs };
}
