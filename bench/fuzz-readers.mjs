// Mutates MIL text, models, weight files, manifests and safetensors and reads each:
// node bench/fuzz-readers.mjs [--count N] [--seed S]. Needs the build (npm run build).
// Every input must be read, or refused with an error of this project's own classes, within two seconds and without
// allocating more than ten times its size and a fixed bound. The readers run in a worker, so that a hang is seen.
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import {
  BlobBuilder,
  BlobFile,
  buildModel,
  CoreMlError,
  loadWeights,
  parseModel,
  serializeModel,
  Weights,
} from "../dist/coreml/index.js";
import { parseManifest } from "../dist/coreml/package.js";
import { MilError } from "../dist/mil/errors.js";
import { tensorLiteral } from "../dist/mil/literal.js";
import { parseProgram, printProgram } from "../dist/mil/text/index.js";
import { ModelError } from "../dist/model/errors.js";
import { openSafetensors } from "../dist/model/safetensors.js";
import { memorySource } from "../dist/util/byte-source.js";
import { Random } from "../dist/util/random.js";
import { deepMessage, Mutator, nastyTexts, TEXT_SEEDS } from "./reader-mutator.mjs";

const SLOWEST_MS = 2000;
const ALLOCATION_FACTOR = 10;
const ALLOCATION_BOUND = 64 * 2 ** 20;

/** Every number between the first bytes and the last of a blob file of several types. */
function blobSeed() {
  const blobs = new BlobBuilder();
  for (const dataType of ["fp16", "fp32", "uint8", "int4", "uint3", "bf16", "fp8e4m3fn", "int32"]) {
    const values = Array.from({ length: 21 }, (_, i) => i % 2);
    blobs.addNumbers(dataType, tensorLiteral(dataType, [21], values).data.numbers);
  }
  const chunks = [];
  blobs.produce((bytes) => chunks.push(Buffer.from(bytes)));
  return Buffer.concat(chunks);
}

function modelSeeds() {
  return TEXT_SEEDS.slice(0, 3).map((text) => {
    // Models take no bool at their edges.
    const program = parseProgram(text.replace("tensor<bool, []> p", "tensor<int32, []> p"));
    return Buffer.from(serializeModel(buildModel(program)));
  });
}

function safetensorsSeed() {
  const header = Buffer.from(
    '{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"__proto__":{"dtype":"I8","shape":[4],"data_offsets":[12,16]}}',
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(16)]);
}

const MANIFEST_SEED = Buffer.from(
  '{"fileFormatVersion":"1.0.0","itemInfoEntries":{"A-1":{"author":"com.apple.CoreML","path":"com.apple.CoreML/model.mlmodel"},"__proto__":{"path":"../x"}},"rootModelIdentifier":"A-1"}',
);

/** Each kind of input: its seeds and what is done with the mutated bytes. */
const TARGETS = {
  text: {
    share: 8,
    make: (mutator) =>
      mutator.random.below(4) === 0
        ? mutator.bytes(TEXT_SEEDS.map((text) => Buffer.from(text)))
        : mutator.text(TEXT_SEEDS),
    nasty: () => nastyTexts().map((text) => Buffer.from(text)),
    read(bytes) {
      const program = parseProgram(bytes);
      const printed = printProgram(program);
      // What was read is printed so that it reads the same.
      if (printProgram(parseProgram(printed)) !== printed)
        throw new Error("printed text reads differently");
    },
  },
  model: {
    share: 6,
    seeds: modelSeeds,
    make: (mutator, seeds) =>
      mutator.random.below(4) === 0 ? mutator.bytes(seeds) : mutator.message(seeds),
    nasty: () => [
      deepMessage(10_000),
      deepMessage(50),
      Buffer.alloc(0),
      Buffer.alloc(100_000, 0xff),
    ],
    read(bytes) {
      const { model, program } = parseModel(bytes);
      serializeModel(buildModel(program, { original: model }));
      loadWeights(program, new Weights("/nonexistent"));
    },
  },
  blob: {
    share: 3,
    seeds: () => [blobSeed()],
    nasty: () => [Buffer.alloc(64), Buffer.alloc(63)],
    read(bytes) {
      const file = new BlobFile(memorySource(bytes, "weights"));
      for (const record of file.records()) file.readNumbers(record);
    },
  },
  manifest: {
    share: 1,
    seeds: () => [MANIFEST_SEED],
    nasty: () => [Buffer.from("[".repeat(10_000)), Buffer.from('{"a":'.repeat(10_000))],
    read: (bytes) => void parseManifest(bytes),
  },
  safetensors: {
    share: 2,
    seeds: () => [safetensorsSeed()],
    nasty: () => [Buffer.from("[".repeat(10_000))],
    read: (bytes) => void openSafetensors(memorySource(bytes, "model.safetensors")),
  },
};

function isOwnError(error) {
  return error instanceof MilError || error instanceof CoreMlError || error instanceof ModelError;
}

function option(name, fallback) {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

function allocatedBytes() {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function work({ count, seed, shared }) {
  const progress = new Int32Array(shared);
  const mutator = new Mutator(new Random(seed));
  const names = Object.keys(TARGETS);
  const wheel = names.flatMap((name) => Array(TARGETS[name].share).fill(name));
  const seeds = Object.fromEntries(names.map((name) => [name, TARGETS[name].seeds?.() ?? []]));
  const queue = names.flatMap((name) => TARGETS[name].nasty().map((bytes) => [name, bytes]));
  const tally = Object.fromEntries(
    names.map((name) => [name, { inputs: 0, read: 0, refused: 0, slowestMs: 0, mostBytes: 0 }]),
  );
  const failures = [];
  for (let index = 0; index < count; index++) {
    const name = queue[index]?.[0] ?? mutator.pick(wheel);
    const target = TARGETS[name];
    const bytes =
      queue[index]?.[1] ?? target.make?.(mutator, seeds[name]) ?? mutator.bytes(seeds[name]);
    Atomics.store(progress, 0, index);
    const before = allocatedBytes();
    const start = performance.now();
    const row = tally[name];
    row.inputs++;
    try {
      target.read(bytes);
      row.read++;
    } catch (error) {
      row.refused++;
      if (!isOwnError(error))
        failures.push({
          index,
          name,
          problem: String(error?.stack ?? error),
          input: bytes.toString("base64").slice(0, 4000),
        });
    }
    const elapsedMs = performance.now() - start;
    const grown = allocatedBytes() - before;
    row.slowestMs = Math.max(row.slowestMs, elapsedMs);
    row.mostBytes = Math.max(row.mostBytes, grown);
    if (elapsedMs > SLOWEST_MS)
      failures.push({ index, name, problem: `took ${elapsedMs} ms`, input: "" });
    if (grown > ALLOCATION_FACTOR * bytes.length + ALLOCATION_BOUND) {
      failures.push({
        index,
        name,
        problem: `allocated ${grown} bytes for ${bytes.length}`,
        input: bytes.toString("base64").slice(0, 4000),
      });
    }
    if (failures.length >= 20) break;
  }
  parentPort.postMessage({ tally, failures }, []);
}

async function main() {
  const count = option("--count", 200_000);
  const seed = option("--seed", 1);
  const shared = new SharedArrayBuffer(4);
  const progress = new Int32Array(shared);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { count, seed, shared },
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  let seen = -1;
  let stuckSince = performance.now();
  const watch = setInterval(() => {
    const now = Atomics.load(progress, 0);
    if (now !== seen) [seen, stuckSince] = [now, performance.now()];
    else if (performance.now() - stuckSince > 15_000) {
      console.error(`input ${now} of seed ${seed} hangs`);
      process.exit(1);
    }
  }, 500);
  const { tally, failures } = await new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  clearInterval(watch);
  console.table(tally);
  for (const failure of failures) console.error(failure);
  console.log(`${count} inputs of seed ${seed}: ${failures.length} failures`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

if (isMainThread) await main();
else work(workerData);
