// 64 clients at once for a minute: nothing is lost, every greedy answer is the one that the same request gets alone, and
// memory does not grow. Ends with 1 where one of them does not hold.
// Usage: node bench/serve-soak.mjs [--clients 64] [--seconds 60] [--preset storyteller]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { median } from "./median.mjs";
import { complete, drawnModelFolder, startServer } from "./serve-model.mjs";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "64" },
    seconds: { type: "string", default: "60" },
    preset: { type: "string", default: "storyteller" },
  },
});
const clientCount = Number(values.clients);
const folder = mkdtempSync(join(tmpdir(), "anecdote-soak-"));
const { vocabularySize } = drawnModelFolder(folder, values.preset);
const server = await startServer(folder, ["--max-texts", "32", "--max-waiting", "64"]);
/** Prompts of several lengths, some of which begin alike. */
const requests = Array.from({ length: clientCount }, (_, index) => ({
  prompt: Array.from(
    { length: 3 + ((index * 7) % 40) },
    (_, at) => `w${1 + ((at * 31 + (index % 5) * 17) % (vocabularySize - 1))}`,
  ).join(" "),
  max_tokens: 8 + ((index * 5) % 40),
  temperature: 0,
  ignore_eos: true,
}));
const alone = [];
for (const request of requests) alone.push((await complete(server.url, request)).text);
const resident = [];
let answered = 0;
let differing = 0;
const differences = new Set();
const deadlineMs = performance.now() + Number(values.seconds) * 1000;
const watch = setInterval(() => resident.push(server.residentBytes()), 500);
let isLeaving = false;
await Promise.all(
  requests.map(async (request, index) => {
    while (performance.now() < deadlineMs) {
      const { text } = await complete(server.url, request);
      answered++;
      if (text === alone[index]) continue;
      differing++;
      differences.add(index);
    }
    isLeaving = true;
  }),
);
clearInterval(watch);
const third = Math.max(1, Math.floor(resident.length / 3));
const [early, late] = [median(resident.slice(third, 2 * third)), median(resident.slice(-third))];
const metrics = await (await fetch(server.url.replace("/v1", "/metrics"))).text();
const running = Number(/^anecdote_texts_running (\d+)$/m.exec(metrics)?.[1]);
await server.stop();
rmSync(folder, { recursive: true, force: true });
const growth = late / early - 1;
console.log(
  `${answered} answers of ${clientCount} clients in ${values.seconds} s, ${differing} differ from those alone (${differences.size} requests); resident ${(early / 2 ** 20).toFixed(0)} MiB in the second third, ${(late / 2 ** 20).toFixed(0)} MiB in the last (${(100 * growth).toFixed(1)} %); ${running} still running`,
);
if (!isLeaving || differing > 0 || growth > 0.05 || running > 0) process.exitCode = 1;
