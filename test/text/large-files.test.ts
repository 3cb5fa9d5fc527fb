import { spawnSync } from "node:child_process";
import { existsSync, openSync, closeSync, ftruncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { temporaryFolder } from "./temporary-folder.ts";

const entry = new URL("../../dist/text/index.js", import.meta.url);
const SIX_GIB = 6 * 2 ** 30;

/** Runs a module in a process of its own with little heap; it prints one JSON line. */
function runSmall(heapMegabytes: number, script: string): Record<string, number> {
  if (!existsSync(fileURLToPath(entry)))
    throw new Error("dist/ is missing: run node scripts/build.mjs");
  const source = `import * as text from ${JSON.stringify(entry.href)};\n${script}`;
  const run = spawnSync(
    process.execPath,
    [`--max-old-space-size=${heapMegabytes}`, "--input-type=module", "-e", source],
    { encoding: "utf8" },
  );
  expect(run.stderr).toBe("");
  expect(run.status).toBe(0);
  return JSON.parse(run.stdout) as Record<string, number>;
}

it("a token file of 6 GiB is opened, sampled and judged with 64 MB of heap and no more memory than a small one", () => {
  const path = join(temporaryFolder(), "train.bin");
  const handle = openSync(path, "w");
  ftruncateSync(handle, SIX_GIB);
  // Ids that only positioned reads beyond 4 GiB can find.
  writeSync(handle, Buffer.from(Uint16Array.of(11, 12, 13).buffer), 0, 6, SIX_GIB - 6);
  closeSync(handle);
  const found = runSmall(
    64,
    `
    const dataset = text.openDataset(${JSON.stringify(path)}, { vocabularySize: 50257, cacheFolder: "" });
    const last = new Int32Array(3);
    dataset.validation.read(dataset.validation.tokenCount - 3, last);
    let furthest = 0;
    let batches = 0;
    for (const sampling of ["random", "epochs"]) {
      const watched = { ...dataset.train, read: (position, target) => { furthest = Math.max(furthest, position); dataset.train.read(position, target); } };
      const source = new text.WindowBatches(watched, { sampling, seed: 1, contextLength: 1024, batchSize: 8 });
      for (let step = 0; step < 100; step++) batches += source.next().batchSize > 0 ? 1 : 0;
    }
    let judged = 0;
    for (const batch of text.evaluationBatches(dataset.validation, { batchSize: 8, contextLength: 1024, batchLimit: 200 })) judged += batch.validTargetCount;
    dataset.close();
    console.log(JSON.stringify({
      tokenCount: dataset.train.tokenCount + dataset.validation.tokenCount,
      last: last.join(",") === "11,12,13" ? 1 : 0,
      furthestBytes: furthest * 2, batches, judged,
      maxRssKiB: process.resourceUsage().maxRSS,
    }));
  `,
  );
  expect(found["tokenCount"]).toBe(SIX_GIB / 2);
  expect(found["last"]).toBe(1);
  expect(found["furthestBytes"]).toBeGreaterThan(4 * 2 ** 30);
  expect(found["batches"]).toBe(200);
  expect(found["judged"]).toBe(200 * 8 * 1024);
  expect(found["maxRssKiB"]).toBeLessThan(180 * 1024);
});

it("a text larger than the heap is tokenized in bounded memory", () => {
  const folder = temporaryFolder();
  const path = join(folder, "long.txt");
  const handle = openSync(path, "w");
  const line = "It was the best of times, it was the worst of times.\n";
  const block = line.repeat(20_000);
  let byteLength = 0;
  while (byteLength < 24e6) byteLength += writeSync(handle, block);
  closeSync(handle);
  const found = runSmall(
    32,
    `
    const { tokenizer } = text.trainBpe([${JSON.stringify(line)}.repeat(5)], { vocabularySize: 400 });
    const dataset = text.openDataset(${JSON.stringify(path)}, { tokenizer, cacheFolder: ${JSON.stringify(folder)}, validationFraction: 0 });
    const perLine = tokenizer.encode(${JSON.stringify(line.repeat(100))}).length / 100;
    console.log(JSON.stringify({ tokenCount: dataset.train.tokenCount, perLine, maxRssKiB: process.resourceUsage().maxRSS }));
    dataset.close();
  `,
  );
  expect(found["tokenCount"]).toBe((found["perLine"] ?? 0) * (byteLength / line.length) + 1);
  expect(found["maxRssKiB"]).toBeLessThan(250 * 1024);
});
