// Requests and tokens a second of `anecdote serve` at 1, 8 and 32 clients, whole answers and streamed ones, time to the
// first token and memory, against `anecdote generate` and, where its path is given, llama.cpp's server. Rounds are
// interleaved; medians are told. Processor time counts where the machine is shared.
// Usage: node bench/serve.mjs [--preset stories15M | --model DIR] [--rounds 5] [--tokens 100] [--clients 1,8,32]
//        [--products rows | packed] [--llama-server PATH --gguf FILE] [--json]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { median } from "./median.mjs";
import { ask, drawnModelFolder, eventsOf, processOf, startServer } from "./serve-model.mjs";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "stories15M" },
    model: { type: "string" },
    rounds: { type: "string", default: "5" },
    tokens: { type: "string", default: "100" },
    clients: { type: "string", default: "1,8,32" },
    products: { type: "string", default: "rows" },
    "llama-server": { type: "string" },
    gguf: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const here = dirname(fileURLToPath(import.meta.url));
const BIN = join(here, "../bin/anecdote.mjs");
const tokenCount = Number(values.tokens);
const clientCounts = values.clients.split(",").map(Number);
const roundCount = Number(values.rounds);
const temporary = mkdtempSync(join(tmpdir(), "anecdote-bench-"));
const folder = values.model ?? temporary;
if (values.model === undefined) drawnModelFolder(folder, values.preset);
const promptOf = (number) =>
  values.model === undefined ? `w${number + 7} w9 w11 w13` : `Once upon a time ${number} `;

const most = Math.max(...clientCounts);
const ours = await startServer(folder, [
  ...["--max-texts", String(most), "--prefix-cache", "0", "--products", values.products],
]);
const readyBytes = ours.residentBytes();
const servers = [{ name: "anecdote", ...ours }];
if (values["llama-server"] !== undefined) servers.push(await startLlama());
const results = new Map();
const generated = [];

/** llama.cpp's server with as many places and the same context for each. */
async function startLlama() {
  const port = 18_080 + (process.pid % 1000);
  const context = String(ours.event.context * most);
  const child = spawn(
    values["llama-server"],
    ["-m", values.gguf, "--port", String(port), "-np", String(most), "-c", context],
    { stdio: "ignore" },
  );
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; attempt < 300; attempt++) {
    const response = await fetch(`${url}/health`).catch(() => undefined);
    if (response?.ok) return { name: "llama.cpp", ...processOf(child), url: `${url}/v1` };
    await delay(200);
  }
  throw new Error("llama.cpp's server does not become healthy");
}

/** So many clients, each with a request after the other. */
async function measure(server, { clientCount, isStreamed }, isWarmUp) {
  const requestCount = isWarmUp ? 1 : Math.max(2, Math.ceil(8 / clientCount));
  const before = { ms: performance.now(), cpuMs: server.cpuMs() };
  const clientBefore = process.cpuUsage();
  const answers = await Promise.all(
    Array.from({ length: clientCount }, async (_, client) => {
      const own = [];
      for (let number = 0; number < requestCount; number++)
        own.push(
          await ask(server.url, {
            ...{ prompt: promptOf(client), max_tokens: tokenCount, stream: isStreamed },
            ...{ temperature: 0, ignore_eos: true },
          }),
        );
      return own;
    }),
  );
  const all = answers.flat();
  const elapsedMs = performance.now() - before.ms;
  const { user, system } = process.cpuUsage(clientBefore);
  const cpuMs = server.cpuMs() - before.cpuMs;
  for (const answer of all.map((each) => each.text)) {
    // An event a token, and one that tells why it ends; llama.cpp's server joins some.
    if (isStreamed) eventsOf(answer);
    else if (JSON.parse(answer).usage.completion_tokens !== tokenCount)
      throw new Error(`an answer of other than ${tokenCount} tokens: ${answer.slice(0, 500)}`);
  }
  return {
    tokensPerSecond: (all.length * tokenCount * 1000) / elapsedMs,
    requestsPerSecond: (all.length * 1000) / elapsedMs,
    cpuMsPerToken: cpuMs / (all.length * tokenCount),
    clientCpuMsPerToken: (user + system) / 1000 / (all.length * tokenCount),
    firstTokenMs: isStreamed ? median(all.map(({ firstMs }) => firstMs)) : undefined,
    residentBytes: server.residentBytes(),
  };
}

/** `anecdote generate` with so many texts of one prompt: what it tells of each, and its processor time. */
async function generate(count) {
  const child = spawn(
    process.execPath,
    [
      ...["--require", join(here, "processor-time.cjs"), BIN, "generate", "--model", folder],
      ...["--prompt", promptOf(0), "--max-tokens", String(tokenCount), "--temperature", "0"],
      ...["-n", String(count), "--json"],
    ],
    { stdio: ["ignore", "pipe", "ignore", "pipe"] },
  );
  const ended = once(child, "exit");
  const [told, cpuMs] = await Promise.all([child.stdio[1], child.stdio[3]].map(text));
  const [code] = await ended;
  if (code !== 0) throw new Error(`generate ended with ${code}`);
  return { texts: told.trim().split("\n").map(JSON.parse), cpuMs: Number(cpuMs) };
}

/** What `anecdote generate` gives for the same text; the first one compiles. */
async function measureGenerate() {
  const [first, all] = [await generate(1), await generate(5)];
  return {
    tokensPerSecond: median(all.texts.slice(1).map((line) => line.tokens_per_second)),
    cpuMsPerToken: (all.cpuMs - first.cpuMs) / (4 * tokenCount),
  };
}

for (let round = 0; round <= roundCount; round++) {
  const isWarmUp = round === 0;
  const alone = await measureGenerate();
  if (!isWarmUp) generated.push(alone);
  for (const server of servers) {
    for (const clientCount of clientCounts) {
      for (const isStreamed of [false, true]) {
        const result = await measure(server, { clientCount, isStreamed }, isWarmUp);
        const key = JSON.stringify({ name: server.name, clients: clientCount, isStreamed });
        if (!isWarmUp) results.set(key, [...(results.get(key) ?? []), result]);
      }
    }
  }
}
const rows = [...results].map(([key, all]) => {
  const of = (field) => median(all.map((result) => result[field]));
  return {
    ...JSON.parse(key),
    tokensPerSecond: of("tokensPerSecond"),
    requestsPerSecond: of("requestsPerSecond"),
    cpuMsPerToken: of("cpuMsPerToken"),
    clientCpuMsPerToken: of("clientCpuMsPerToken"),
    firstTokenMs: of("firstTokenMs"),
    residentBytes: of("residentBytes"),
    rounds: all.map(({ tokensPerSecond }) => tokensPerSecond),
  };
});
for (const server of servers) await server.stop();
rmSync(temporary, { recursive: true, force: true });
const alone = median(generated.map(({ tokensPerSecond }) => tokensPerSecond));
const aloneCpuMs = median(generated.map(({ cpuMsPerToken }) => cpuMsPerToken));
const oneClientOf = (row) =>
  rows.find(
    ({ name, clients, isStreamed }) =>
      name === row.name && clients === 1 && isStreamed === row.isStreamed,
  );
const report = {
  model: values.model ?? values.preset,
  machine: { processor: cpus()[0]?.model, cores: cpus().length, load: loadavg()[0] },
  tokens: tokenCount,
  generateTokensPerSecond: alone,
  generateCpuMsPerToken: aloneCpuMs,
  readyBytes,
  rows: rows.map((row) => {
    const one = oneClientOf(row);
    return {
      ...row,
      ofGenerate: row.tokensPerSecond / alone,
      ofGenerateByProcessor: aloneCpuMs / row.cpuMsPerToken,
      timesOneClient: one && row.tokensPerSecond / one.tokensPerSecond,
      timesOneClientByProcessor: one && one.cpuMsPerToken / row.cpuMsPerToken,
    };
  }),
};
if (values.json) console.log(JSON.stringify(report));
else {
  const { processor, cores, load } = report.machine;
  console.log(
    `${report.model}, ${tokenCount} tokens a request, ${processor}, ${cores} cores, load ${load.toFixed(1)}`,
  );
  console.log(
    `generate: ${alone.toFixed(0)} tokens/s, ${aloneCpuMs.toFixed(2)} ms of processor a token`,
  );
  for (const row of report.rows) {
    const times =
      row.clients === 1
        ? `${row.ofGenerate.toFixed(2)} of generate (${row.ofGenerateByProcessor.toFixed(2)} by processor time)`
        : `${(row.timesOneClient ?? NaN).toFixed(2)} times one client (${(row.timesOneClientByProcessor ?? NaN).toFixed(2)} by processor time)`;
    const how = row.isStreamed
      ? `streamed, first token after ${row.firstTokenMs.toFixed(0)} ms`
      : "whole answers";
    console.log(
      `${row.name}, ${String(row.clients).padStart(2)} clients, ${how}: ${row.tokensPerSecond.toFixed(0)} tokens/s, ${times}, ${row.requestsPerSecond.toFixed(1)} requests/s, ${row.cpuMsPerToken.toFixed(2)} ms of processor a token and the client's ${row.clientCpuMsPerToken.toFixed(2)}, ${(row.residentBytes / 2 ** 20).toFixed(0)} MiB`,
    );
  }
}
