// Mutates engine programs and E5 manifests and decodes each: `node bench/fuzz-hwx.mjs [--count N] [--seed S] [FILE...]`.
// Every run must decode or fail with an InspectError that names offset and field, within a second and without reading
// more bytes than the file has. Files given are mutated besides the two that are made here. Needs dist/ (npm run build).
import { readFileSync } from "node:fs";
import { decodeE5Manifest, e5ManifestListing } from "../dist/inspect/e5/index.js";
import {
  decodeHwx,
  diffHwx,
  graphToMermaid,
  graphToSvg,
  hwxGraph,
  hwxListing,
  hwxToJson,
  locateWeights,
} from "../dist/inspect/hwx/index.js";
import { InspectError } from "../dist/inspect/inspect-error.js";
import { memorySource } from "../dist/util/byte-source.js";

const SLOWEST_MS = 1000;

/** @returns {number} the number behind an option, or the default */
function option(name, fallback) {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

const count = option("--count", 100_000);
const seed = option("--seed", 1);
const paths = process.argv
  .slice(2)
  .filter(
    (arg, index, all) => !arg.startsWith("--") && !/^--(count|seed)$/.test(all[index - 1] ?? ""),
  );

/** Two tasks of one-word records behind the smallest container that holds them. */
function smallProgram(subtype) {
  const isNew = subtype >= 5;
  const threadBytes = isNew ? 0x890 : 0x880;
  const commandBytes = 152 + threadBytes + 24;
  const bytes = new Uint8Array(0x1400);
  const view = new DataView(bytes.buffer);
  const u32 = (at, ...values) =>
    values.forEach((value, index) => view.setUint32(at + index * 4, value, true));
  const text = (at, value) => bytes.set(new TextEncoder().encode(value), at);
  u32(0, 0xbeefface, 0x80, subtype, 2, 3, commandBytes, 0x200000, 0);
  u32(32, 0x19, 152);
  text(40, "__TEXT");
  u32(56, 0x30000000, 0, 0x4000, 0, 0x1000, 0, 0x400, 0, 5, 5, 1, 4);
  text(104, "__text");
  text(120, "__TEXT");
  u32(136, 0x30000000, 0, 0x200, 0, 0x1000, 14, 0, 0, 0x28);
  const thread = 32 + 152;
  u32(thread, 4, threadBytes, isNew ? 4 : 1, 0x21a);
  u32(thread + 0x810, 0x30000000, 0);
  if (isNew) u32(thread + 0x820, 4, 0x80, 0, 0, 2);
  else u32(thread + 0x818, 27, 2, 0, 0xffff);
  u32(thread + threadBytes, 2, 24, 0x1300, 2, 0x1320, 16);
  const task = 0x1000;
  if (isNew) {
    u32(task, 1, 0, 0, 0);
    const headerWords = subtype >= 7 ? 9 : 8;
    const peConfig = subtype >= 7 ? 0x1140 : 0x240;
    const records = [
      0x38000,
      0x00040004,
      4,
      8,
      8,
      1,
      0x00040004,
      4,
      8,
      peConfig,
      0x80004,
      0x22808444,
      0,
      0,
      0x23008542,
      0,
      0,
    ];
    for (const [index, at] of [task + 16, task + 16 + 112].entries()) {
      u32(at, ((headerWords + records.length) << 16) | index);
      u32(at + (headerWords - 1) * 4, 0x20001, ...records);
    }
  } else {
    for (const at of [task, task + 0x100]) {
      u32(at, 0x02000000, 27 << 16, 0, 0, 0, 0, 0x30009800, at === task ? 0x100 : 0, 0x24966, 0);
      u32(
        at + 40,
        0x18000000,
        0x00040004,
        1,
        0x2a,
        8,
        8,
        0x00040004,
        1,
        0x0c008800,
        0x80004,
        0,
        0,
        0,
        0x0c00c800,
        0x82,
        0x100000,
        0,
        0,
      );
    }
  }
  return bytes;
}

/** A FlatBuffer of one table with a string and a list, and the symbol description behind it. */
function smallManifest() {
  const bytes = new Uint8Array(96);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 16, true);
  [12, 20, 4, 8, 12, 16].forEach((value, index) => view.setUint16(4 + index * 2, value, true));
  [12, 16, 24, 32, 4].forEach((value, index) => view.setUint32(16 + index * 4, value, true));
  view.setUint32(36, 4, true);
  bytes.set(new TextEncoder().encode("main"), 40);
  [1, 4, 4].forEach((value, index) => view.setUint32(48 + index * 4, value, true));
  view.setUint32(84, 0x02e4e5, true);
  view.setUint16(88, 0x6021, true);
  return bytes;
}

let state = seed >>> 0;
function random(limit) {
  state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
}

const EDGES = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffc];

/** Flips bytes, writes edge values, cuts, repeats a part: one to eight changes, half of them near the front. */
function mutate(original) {
  let bytes = original.slice();
  for (let changes = random(8) + 1; changes > 0 && bytes.byteLength > 8; changes--) {
    const reach = random(2) === 0 ? Math.min(bytes.byteLength, 0x1400) : bytes.byteLength;
    const at = random(reach - 4);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    switch (random(6)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        view.setUint32(at & ~3, EDGES[random(EDGES.length)], true);
        break;
      case 2:
        view.setUint32(at & ~3, random(2 ** 32), true);
        break;
      case 3:
        bytes[at] ^= 1 << random(8);
        break;
      case 4:
        bytes.copyWithin(at, random(reach), Math.min(bytes.byteLength, random(reach) + 64));
        break;
      default:
        if (random(4) === 0) bytes = bytes.slice(0, random(bytes.byteLength));
    }
  }
  return bytes;
}

/** A source that counts what is read of it. */
function countingSource(bytes, name) {
  const inner = memorySource(bytes, name);
  const source = {
    ...inner,
    largest: 0,
    read: (offset, length) => {
      source.largest = Math.max(source.largest, length);
      return inner.read(offset, length);
    },
  };
  return source;
}

const programs = [
  smallProgram(4),
  smallProgram(5),
  smallProgram(7),
  ...paths
    .filter((path) => !path.endsWith(".e5"))
    .map((path) => new Uint8Array(readFileSync(path))),
];
const manifests = [
  smallManifest(),
  ...paths.filter((path) => path.endsWith(".e5")).map((path) => new Uint8Array(readFileSync(path))),
];
const reference = decodeHwx(memorySource(programs[0], "reference"));
const outcome = { decoded: 0, refused: 0, slowestMs: 0, largestRead: 0 };
const codes = new Map();
const startHeap = process.memoryUsage().rss;

for (let run = 0; run < count; run++) {
  const isManifest = run % 10 === 9;
  const from = isManifest ? manifests : programs;
  const bytes = mutate(from[random(from.length)]);
  const source = countingSource(bytes, `run ${run}`);
  const started = performance.now();
  try {
    if (isManifest) {
      const manifest = decodeE5Manifest(source);
      if (run % 50 === 9) e5ManifestListing(manifest);
    } else {
      const file = decodeHwx(source);
      if (run % 50 === 0) {
        hwxListing(file, { registers: true });
        JSON.stringify(hwxToJson(file, { registers: true }));
        const graph = hwxGraph(file);
        graphToSvg(graph);
        graphToMermaid(graph);
        diffHwx(reference, file);
        locateWeights(file);
      }
    }
    outcome.decoded++;
  } catch (error) {
    if (
      !(error instanceof InspectError) ||
      !Number.isSafeInteger(error.offset) ||
      error.field === ""
    ) {
      console.error(`run ${run}, seed ${seed}:`, error);
      process.exit(1);
    }
    outcome.refused++;
    codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
  }
  const tookMs = performance.now() - started;
  outcome.slowestMs = Math.max(outcome.slowestMs, tookMs);
  outcome.largestRead = Math.max(outcome.largestRead, source.largest);
  if (tookMs > SLOWEST_MS || source.largest > bytes.byteLength) {
    console.error(
      `run ${run}, seed ${seed}: ${tookMs.toFixed(0)} ms, ${source.largest} bytes read of ${bytes.byteLength}`,
    );
    process.exit(1);
  }
}
console.log(
  JSON.stringify(
    {
      count,
      seed,
      ...outcome,
      slowestMs: Number(outcome.slowestMs.toFixed(1)),
      grownMiB: Math.round((process.memoryUsage().rss - startHeap) / 2 ** 20),
      codes: Object.fromEntries(codes),
    },
    null,
    2,
  ),
);
