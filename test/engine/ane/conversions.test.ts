import { createRequire } from "node:module";
import { afterAll, describe, expect, test } from "vitest";
import type { ConversionItem } from "../../../src/engine/ane/conversion-item.ts";
import { ConversionPool } from "../../../src/engine/ane/conversion-pool.ts";
import { float16ToFloat32, float16Value, float32ToFloat16 } from "../../../src/util/float16.ts";
import { Random } from "../../../src/util/random.ts";

interface Koffi {
  load(path: null): { func(prototype: string): (byteLength: number) => bigint };
  view(address: bigint, byteLength: number): ArrayBuffer;
}
const koffi = createRequire(import.meta.url)("koffi") as Koffi;
const malloc = koffi.load(null).func("void *malloc(size_t)");

const COUNT = 100_003;

/** Elements that differ; a NaN is like any other. */
function differences(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < wanted.length; i++) if (!Object.is(got[i], wanted[i])) count++;
  return count;
}

describe.each([
  ["on the calling thread", 1, Infinity],
  ["on one thread", 1, 1],
  ["on three threads", 3, 1],
])("conversions %s", (_, threads, away) => {
  const pool = new ConversionPool(threads, away);
  afterAll(() => pool.close());
  const byteLength = 2 * COUNT + 64;
  const address = malloc(byteLength);
  const device = new Uint16Array(koffi.view(address, byteLength), 0, COUNT);
  const host = new SharedArrayBuffer(4 * COUNT + 8);
  const singles = new Float32Array(host, 8, COUNT);
  const item = { host, hostByteOffset: 8, count: COUNT, address, byteLength, start: 0 } as const;

  test("equal the scalar ones for every kind of number", async () => {
    const random = new Random(5);
    const words = new Uint32Array(host, 8, COUNT);
    for (let i = 0; i < COUNT; i++) words[i] = random.uint32();
    const halves = new Uint16Array(COUNT);
    float32ToFloat16(singles, halves);
    await pool.convert([{ kind: "to-halves", ...item }]);
    expect(differences(device, halves)).toBe(0);
    for (let i = 0; i < COUNT; i++) device[i] = i;
    const wanted = new Float32Array(COUNT);
    float16ToFloat32(device, wanted);
    await pool.convert([{ kind: "to-singles", factor: 1, ...item }]);
    expect(differences(singles, wanted)).toBe(0);
  });

  test("multiply with a power of two beyond what fp16 holds", async () => {
    const factor = 2 ** -21;
    for (let i = 0; i < COUNT; i++) device[i] = i % 0x7c00;
    await pool.convert([{ kind: "to-singles", factor, ...item }]);
    const wanted = Float32Array.from(device, (bits) => float16Value(bits) * factor);
    expect(differences(singles, wanted)).toBe(0);
    await pool.convert([{ kind: "add", factor, ...item }]);
    expect(
      differences(
        singles,
        wanted.map((value) => value + value),
      ),
    ).toBe(0);
  });

  test("add as fp32 does, and leave what is beside alone", async () => {
    const before = Float32Array.from({ length: COUNT }, (_, i) => Math.sin(i) * 10 ** (i % 7));
    singles.set(before);
    for (let i = 0; i < COUNT; i++) device[i] = i % 0x7c00;
    const [first, count] = [1000, COUNT - 3000];
    await pool.convert([
      { kind: "add", factor: 1, ...item, hostByteOffset: 8 + 4 * first, start: first, count },
    ]);
    const wanted = before.map((value, i) =>
      i < first || i >= first + count ? value : value + float16Value(device[i] ?? 0),
    );
    expect(differences(singles, wanted)).toBe(0);
  });

  test("make one-hot rows", async () => {
    const rows = 500;
    const indices = new Int32Array(host, 8, rows);
    for (let row = 0; row < rows; row++) indices[row] = (row % 220) - 10;
    device.fill(7);
    const request: ConversionItem = {
      ...item,
      kind: "one-hot",
      size: 1 << 20,
      negative: "first",
      first: 5,
      depth: 190,
      count: rows,
    };
    await pool.convert([request]);
    for (let row = 0; row < rows; row++) {
      const ones = [...device.subarray(row * 190, (row + 1) * 190).entries()].flatMap(
        ([column, value]) => (value === 0 ? [] : [[column, value]]),
      );
      const column = (row % 220) - 15;
      expect(ones).toEqual(column >= 0 && column < 190 ? [[column, 0x3c00]] : []);
    }
    expect(device[rows * 190]).toBe(7);
  });
});

test("a conversion that cannot be done says why, and the next one is done", async () => {
  const pool = new ConversionPool(2, 1);
  const host = new SharedArrayBuffer(400);
  const byteLength = 256;
  const item = {
    kind: "to-halves",
    host,
    hostByteOffset: 0,
    address: malloc(byteLength),
    byteLength,
    start: 0,
  } as const;
  await expect(pool.convert([{ ...item, count: 1000 }])).rejects.toMatchObject({
    code: "engine.ane.conversions",
    message: expect.stringContaining("Invalid typed array length") as unknown,
  });
  await pool.convert([{ ...item, count: 100 }]);
  await pool.close();
});
