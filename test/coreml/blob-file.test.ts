import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { BlobBuilder } from "../../src/coreml/blob-builder.ts";
import { BLOB_TYPE_CODES, BlobFile } from "../../src/coreml/blob-file.ts";
import type { BlobDataType } from "../../src/coreml/blob-file.ts";
import { decodeElements, encodeElements } from "../../src/coreml/element-bytes.ts";
import { CoreMlError } from "../../src/coreml/errors.ts";
import { allocateNumbers } from "../../src/mil/literal.ts";
import type { NumericData } from "../../src/mil/program.ts";
import { DATA_TYPE_BITS } from "../../src/mil/types.ts";
import { memorySource, openFileSource } from "../../src/util/byte-source.ts";
import type { ByteSource } from "../../src/util/byte-source.ts";

const BLOB_TYPES = Object.keys(BLOB_TYPE_CODES) as BlobDataType[];
const scratch = mkdtempSync(join(tmpdir(), "anecdote-blob-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Numbers that the type can hold, made from random bytes. */
function numbersOf(dataType: BlobDataType, seed: readonly number[]): NumericData {
  const bits = DATA_TYPE_BITS[dataType];
  const bytes = Uint8Array.from(
    { length: Math.ceil((seed.length * bits) / 8) },
    (_, i) => seed[i % seed.length] ?? 0,
  );
  const numbers = decodeElements(dataType, bytes, seed.length);
  // A number that is nothing has many bit patterns; only one of them is written.
  for (let i = 0; i < numbers.length; i++) if (Number.isNaN(numbers[i])) numbers[i] = 1;
  return numbers;
}

function bytesOf(blobs: BlobBuilder): Buffer {
  const chunks: Buffer[] = [];
  blobs.produce((bytes) => chunks.push(Buffer.from(bytes)));
  return Buffer.concat(chunks);
}

function openBytes(bytes: Uint8Array): BlobFile {
  return new BlobFile(memorySource(bytes, "weight.bin"));
}

describe("weight files", () => {
  it("pack types below a byte as a stream of bits, low bits first", () => {
    const pack = (dataType: BlobDataType, values: readonly number[]): string => {
      const numbers = allocateNumbers(dataType, values.length);
      for (const [index, value] of values.entries()) numbers[index] = value;
      return Buffer.from(encodeElements(dataType, numbers)).toString("hex");
    };
    // Bytes that Apple's writer makes.
    expect(pack("int4", [-8, -7, -1, 0, 1, 2, 7])).toBe("980f2107");
    expect(pack("uint3", [0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3])).toBe("88c6fad100");
    expect(pack("uint6", [0, 1, 33, 63, 62, 5, 17])).toBe("4010fe7e1101");
    expect(pack("uint1", [1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1])).toBe("8d05");
    expect(pack("fp16", [1, -2, 65504])).toBe("003c00c0ff7b");
    expect(pack("bf16", [1, -2])).toBe("803f00c0");
    expect(pack("fp8e4m3fn", [1, -2, 448, 2 ** -9])).toBe("38c07e01");
    expect(pack("fp8e5m2", [1, -2, 57344, Infinity])).toBe("3cc07b7c");
  });

  it("give back what was put in, for all 17 types and any length", () => {
    expect(BLOB_TYPES).toHaveLength(17);
    const tensors = fc.array(
      fc.record({
        dataType: fc.constantFrom(...BLOB_TYPES),
        seed: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 40 }),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(tensors, (list) => {
        const blobs = new BlobBuilder();
        const expected = list.map(({ dataType, seed }) => {
          const numbers = numbersOf(dataType, seed);
          return { dataType, numbers, offset: blobs.addNumbers(dataType, numbers) };
        });
        const file = openBytes(bytesOf(blobs));
        for (const { dataType, numbers, offset } of expected) {
          expect(offset % 64).toBe(0);
          const record = file.record(offset);
          expect(record).toMatchObject({
            dataType,
            elementCount: numbers.length,
            dataOffset: offset + 64,
          });
          expect(file.readNumbers(record)).toEqual(numbers);
        }
        expect([...file.records()]).toHaveLength(blobs.blobCount);
      }),
      { numRuns: 100 },
    );
  });

  it("store equal tensors once and end right after the last byte", () => {
    const blobs = new BlobBuilder();
    const first = blobs.addNumbers("int8", Int8Array.of(1, 2, 3));
    expect(blobs.addNumbers("int8", Int8Array.of(1, 2, 3))).toBe(first);
    expect(blobs.addNumbers("uint8", Uint8Array.of(1, 2, 3))).toBe(192);
    expect(bytesOf(blobs)).toHaveLength(192 + 64 + 3);
  });

  it("are written whole, and read record by record without the rest", () => {
    const blobs = new BlobBuilder();
    const large = Float32Array.from({ length: 2_500_000 }, (_, i) => Math.fround(Math.sin(i)));
    const offset = blobs.addNumbers("fp32", large);
    const small = blobs.addNumbers("uint3", Uint8Array.of(7, 0, 5));
    const path = join(scratch, "weights", "weight.bin");
    const hash = blobs.write(path);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    const source = openFileSource(path);
    let readLength = 0;
    const counting: ByteSource = {
      ...source,
      read: (from, length) => {
        readLength += length;
        return source.read(from, length);
      },
    };
    const file = new BlobFile(counting);
    expect(file.readNumbers(file.record(small))).toEqual(Uint8Array.of(7, 0, 5));
    expect(readLength).toBe(8 + 64 + 2);
    expect(
      Buffer.from(file.readNumbers(file.record(offset)).buffer).equals(Buffer.from(large.buffer)),
    ).toBe(true);
    expect(file.readBytes(file.record(offset), 4, 4)).toEqual(
      new Uint8Array(large.slice(1, 2).buffer),
    );
    const copy = new BlobBuilder();
    copy.addRecord(file, file.record(offset));
    copy.addRecord(file, file.record(small));
    expect(bytesOf(copy).equals(readFileSync(path))).toBe(true);
    file.close();
  });

  it("may lack padding between blobs and hold rubbish in unused fields, as some writers leave it", () => {
    const blobs = new BlobBuilder();
    blobs.addNumbers("int8", Int8Array.of(1, 2, 3));
    const second = blobs.addNumbers("fp16", Float32Array.of(1, 2));
    const bytes = bytesOf(blobs);
    bytes.writeBigUInt64LE(13376768496n, 64 + 24);
    const tight = Buffer.concat([bytes.subarray(0, 64 + 64 + 3), bytes.subarray(second)]);
    tight.writeBigUInt64LE(BigInt(64 + 64 + 3 + 64), 64 + 64 + 3 + 16);
    const file = openBytes(tight);
    expect([...file.records()].map((record) => file.readNumbers(record))).toEqual([
      Int8Array.of(1, 2, 3),
      Float32Array.of(1, 2),
    ]);
  });

  it("are refused when they lie", () => {
    const blobs = new BlobBuilder();
    blobs.addNumbers("int4", Int8Array.of(1, 2, 3));
    const bytes = bytesOf(blobs);
    const change = (write: (copy: Buffer) => void): BlobFile => {
      const copy = Buffer.from(bytes);
      write(copy);
      return openBytes(copy);
    };
    const first = (file: BlobFile) => () => [...file.records()];
    expect(() => openBytes(Buffer.alloc(10))).toThrow(
      "weight.bin: a weight file has 64 bytes or more, this one 10",
    );
    expect(() => change((copy) => copy.writeUInt32LE(1, 4))).toThrow(
      "version 2 are read, this one says 1",
    );
    expect(first(change((copy) => copy.writeUInt32LE(99, 0)))).toThrow(
      "there is no blob at offset",
    );
    expect(first(change((copy) => copy.writeUInt32LE(0, 64)))).toThrow("its mark is missing");
    expect(first(change((copy) => copy.writeUInt32LE(77, 68)))).toThrow("unknown element type 77");
    expect(first(change((copy) => copy.writeBigUInt64LE(1n << 62n, 72)))).toThrow(
      "claims bytes 128 to",
    );
    expect(first(change((copy) => copy.writeBigUInt64LE(1n << 63n, 80)))).toThrow(
      "the file has 130",
    );
    expect(first(change((copy) => copy.writeBigUInt64LE(3n, 88)))).toThrow(
      "not whole int4 elements",
    );
    expect(() => change(() => undefined).record(1)).toThrow(CoreMlError);
  });
});
