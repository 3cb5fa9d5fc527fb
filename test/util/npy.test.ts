import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { memorySource } from "../../src/util/byte-source.ts";
import { NpyError, readNpy, readNpyFile, writeNpyFile } from "../../src/files/npy.ts";
import type { NpyArray, NpyType } from "../../src/files/npy.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-npy-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file as NumPy lays it out, with any header. */
function npyBytes(header: string, data: Uint8Array, major = 1): Uint8Array {
  const length = major === 1 ? [header.length & 255, header.length >>> 8] : lengthOf(header);
  return Buffer.concat([
    Buffer.from([0x93, ...Buffer.from("NUMPY"), major, 0, ...length]),
    Buffer.from(header, "latin1"),
    data,
  ]);
}
const lengthOf = (header: string): number[] =>
  [0, 8, 16, 24].map((shift) => (header.length >>> shift) & 255);

const bytesOf = (...numbers: number[]): Uint8Array =>
  new Uint8Array(Float32Array.from(numbers).buffer);

describe("reading .npy files", () => {
  const header = (rest: string): string => `{'descr': '<f4', ${rest} }\n`;

  test("versions 1 and 2 give the same array", () => {
    const text = header("'fortran_order': False, 'shape': (2, 3),");
    for (const version of [1, 2]) {
      const array = readNpy(memorySource(npyBytes(text, bytesOf(1, 2, 3, 4, 5, 6), version)));
      expect(array).toEqual({
        type: "f4",
        shape: [2, 3],
        data: Float32Array.of(1, 2, 3, 4, 5, 6),
      });
    }
  });

  test("Fortran order becomes C order", () => {
    const text = header("'fortran_order': True, 'shape': (2, 3),");
    const { data } = readNpy(memorySource(npyBytes(text, bytesOf(1, 4, 2, 5, 3, 6))));
    expect(Array.from(data, Number)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("a scalar has no dimensions", () => {
    const text = header("'fortran_order': False, 'shape': (),");
    expect(readNpy(memorySource(npyBytes(text, bytesOf(7))))).toMatchObject({ shape: [] });
  });

  test.each([
    ["a claim of 2 GB", header("'fortran_order': False, 'shape': (500000000,),"), "npy.length"],
    [
      "a product beyond all numbers",
      header(`'fortran_order': False, 'shape': (${"9".repeat(300)}, 2),`),
      "npy.shape",
    ],
    [
      "big-endian numbers",
      "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
      "npy.order",
    ],
    ["complex numbers", "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "npy.type"],
    ["records", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "npy.type"],
    ["no shape", "{'descr': '<f4', 'fortran_order': False}", "npy.header"],
    [
      "a prototype's name for a type",
      "{'descr': '__proto__', 'fortran_order': False, 'shape': (1,), }",
      "npy.type",
    ],
  ])("%s is refused with a code", (_, text, code) => {
    const read = (): unknown => readNpy(memorySource(npyBytes(text, bytesOf(1))));
    expect(read).toThrow(NpyError);
    expect(read).toThrow(expect.objectContaining({ code }));
  });

  test("a header longer than the file is refused", () => {
    const bytes = npyBytes("{}", new Uint8Array(0));
    bytes[8] = 255;
    expect(() => readNpy(memorySource(bytes))).toThrow(/claims 255 bytes/);
  });

  test("no prefix and no flipped byte of a file does more than throw an NpyError", () => {
    const whole = npyBytes(header("'fortran_order': False, 'shape': (2,),"), bytesOf(1, 2));
    const tryRead = (bytes: Uint8Array): void => {
      try {
        readNpy(memorySource(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(NpyError);
      }
    };
    for (let length = 0; length < whole.length; length++) tryRead(whole.slice(0, length));
    for (let at = 0; at < whole.length; at++) {
      for (const bit of [1, 16, 128]) {
        const copy = whole.slice();
        copy[at] = (copy[at] ?? 0) ^ bit;
        tryRead(copy);
      }
    }
  });
});

describe("writing .npy files", () => {
  const CLASSES = {
    f2: Uint16Array,
    f4: Float32Array,
    f8: Float64Array,
    i1: Int8Array,
    i2: Int16Array,
    i4: Int32Array,
    i8: BigInt64Array,
    u1: Uint8Array,
    u2: Uint16Array,
    u4: Uint32Array,
    u8: BigUint64Array,
    b1: Uint8Array,
  } as const satisfies Record<NpyType, unknown>;

  test("what is written is read back, for every type and shape", () => {
    const path = join(folder, "any.npy");
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(CLASSES) as NpyType[])),
        fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
        (type, shape) => {
          const data = new CLASSES[type](shape.reduce((count, size) => count * size, 1));
          for (let i = 0; i < data.length; i++) {
            if (data instanceof BigInt64Array || data instanceof BigUint64Array)
              data[i] = BigInt(i);
            else data[i] = type === "b1" ? i % 2 : i;
          }
          const array: NpyArray = { type, shape, data };
          writeNpyFile(path, array);
          expect(readNpyFile(path)).toEqual(array);
          // NumPy aligns the data to 64 bytes.
          expect((readFileSync(path).length - data.byteLength) % 64).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("numbers that do not fill the shape are refused and leave the file as it was", () => {
    const path = join(folder, "kept.npy");
    writeFileSync(path, "before");
    const write = (): void =>
      writeNpyFile(path, { type: "f4", shape: [3], data: new Float32Array(2) });
    expect(write).toThrow(NpyError);
    expect(readFileSync(path, "utf8")).toBe("before");
  });
});
